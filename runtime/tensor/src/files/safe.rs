//! `.safetensors`: 8 bytes of header length, a JSON header, the elements of all tensors.
//!
//! The crate `safetensors` owns the header's types and the writing; its reader wants the whole file in memory. Reading checks what the format promises (tensors
//! lie one after the other without gaps, each as long as its shape says, the last one ends with the file) against the
//! length of the file, and then reads only the tensor that is asked for.
//!
//! A sub-byte dtype that the format lacks (`i4 u4 i2`) is kept as the `u8` bytes of the packed elements, its last
//! axis divided by the elements in a byte; [`Tensor::unpacked`] gives it back.

use super::{Input, open, write_file};
use crate::Tensor;
use safetensors::tensor::{Dtype, TensorInfo, TensorView};
use std::io::{Cursor, Read, Seek, SeekFrom};
use tile_base::{DType, Diagnostic};

/// As in the reference implementation.
const HEADER_LIMIT: u64 = 100_000_000;

/// Reads one tensor; `None` when the file holds only one.
pub fn read_safetensors(path: &str, tensor: Option<&str>) -> Result<Tensor, Diagnostic> {
    let (from, len) = open(path)?;
    File::open(Input { from, len, name: path.to_string() })?.read(tensor)
}

/// Reads bytes in memory.
pub fn parse_safetensors(bytes: &[u8], tensor: Option<&str>) -> Result<Tensor, Diagnostic> {
    let name = "the .safetensors data".into();
    File::open(Input { from: Cursor::new(bytes), len: bytes.len() as u64, name })?.read(tensor)
}

/// The names in a file, in the order of their elements.
pub fn safetensors_names(path: &str) -> Result<Vec<String>, Diagnostic> {
    let (from, len) = open(path)?;
    Ok(File::open(Input { from, len, name: path.to_string() })?.names())
}

/// Reads every tensor of a file.
pub fn read_safetensors_all(path: &str) -> Result<Vec<(String, Tensor)>, Diagnostic> {
    let (from, len) = open(path)?;
    let mut file = File::open(Input { from, len, name: path.to_string() })?;
    file.names().into_iter().map(|n| file.read(Some(&n)).map(|t| (n, t))).collect()
}

struct File<R> {
    input: Input<R>,
    /// By the place of their elements.
    tensors: Vec<(String, TensorInfo)>,
    /// Where the elements begin.
    data: u64,
}

const DAMAGED: &str = "the file is damaged: write or copy it again";

impl<R: Read + Seek> File<R> {
    fn open(mut input: Input<R>) -> Result<Self, Diagnostic> {
        if input.len < 8 {
            return Err(input.fault("T0840", "too short for a .safetensors file", DAMAGED));
        }
        let header = input.number::<8>()?;
        if header > HEADER_LIMIT || header + 8 > input.len {
            let what = format!("the header claims {header} bytes, and the file has {}", input.len);
            return Err(input.fault("T0840", what, DAMAGED));
        }
        let mut text = vec![0u8; header as usize];
        input.read_exact(&mut text)?;
        let tensors = header_of(&text)
            .map_err(|e| input.fault("T0840", format!("the header cannot be read: {e}"), DAMAGED))?;
        let file = File { data: header + 8, input, tensors };
        file.check()?;
        Ok(file)
    }

    fn names(&self) -> Vec<String> {
        self.tensors.iter().map(|(name, _)| name.clone()).collect()
    }

    /// The promises of the format.
    fn check(&self) -> Result<(), Diagnostic> {
        let mut next = 0usize;
        for (name, info) in &self.tensors {
            let fault = |what: String| self.input.fault("T0841", format!("tensor `{name}`: {what}"), DAMAGED);
            let (start, end) = info.data_offsets;
            let size = size_of(info).ok_or_else(|| {
                let what = format!("tensor `{name}`: the shape {:?} has too many elements", info.shape);
                self.input.fault("T0837", what, DAMAGED)
            })?;
            if start != next || end < start || end - start != size {
                let what = format!(
                    "it claims the bytes {start}..{end}, and shape {:?} of {} from {next} needs {size}",
                    info.shape, info.dtype
                );
                return Err(fault(what));
            }
            next = end;
        }
        let have = self.input.len - self.data;
        if next as u64 == have {
            return Ok(());
        }
        let (code, what) = match (next as u64) > have {
            true => {
                ("T0835", format!("truncated: the header claims {next} bytes of elements, and {have} follow"))
            }
            false => ("T0836", format!("the header claims {next} bytes of elements, and {have} follow")),
        };
        Err(self.input.fault(code, what, DAMAGED))
    }

    fn read(&mut self, tensor: Option<&str>) -> Result<Tensor, Diagnostic> {
        let names = self.names();
        let has = || format!("it holds {}", list(&names));
        let name = match (tensor, &names[..]) {
            (Some(name), _) => name.to_string(),
            (None, [one]) => one.clone(),
            (None, _) => {
                let what = "a .safetensors file with several tensors, and no name is given";
                return Err(self.input.fault("T0844", what, &format!("write FILE#NAME; {}", has())));
            }
        };
        let Some((_, info)) = self.tensors.iter().find(|(n, _)| *n == name) else {
            return Err(self.input.fault("T0843", format!("no tensor `{name}`"), &has()));
        };
        let Some(dtype) = dtype_of(info.dtype) else {
            let what =
                format!("tensor `{name}` has elements of {}, which is no dtype of the language", info.dtype);
            return Err(self.input.fault("T0842", what, "convert it before saving"));
        };
        let (shape, start) = (info.shape.clone(), info.data_offsets.0);
        let mut t = Tensor::try_zeros(dtype, &shape)
            .map_err(|e| self.input.fault("T0828", e, "the machine has too little memory for this tensor"))?;
        self.input
            .from
            .seek(SeekFrom::Start(self.data + start as u64))
            .map_err(|e| self.input.fault("T0830", e, "check that the file is complete"))?;
        self.input.read_exact(t.bytes_mut())?;
        if dtype == DType::Bool {
            t.bytes_mut().iter_mut().for_each(|b| *b = (*b != 0) as u8);
        }
        Ok(t)
    }
}

fn header_of(text: &[u8]) -> Result<Vec<(String, TensorInfo)>, serde_json::Error> {
    let map: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(text)?;
    let mut tensors = vec![];
    for (name, value) in map {
        if name != "__metadata__" {
            tensors.push((name, serde_json::from_value::<TensorInfo>(value)?));
        }
    }
    tensors.sort_by_key(|(_, info)| info.data_offsets);
    Ok(tensors)
}

fn list(names: &[String]) -> String {
    const SHOWN: usize = 12;
    let mut text = names.iter().take(SHOWN).map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text += &format!(" and {} more", names.len() - SHOWN);
    }
    if text.is_empty() { "nothing".into() } else { text }
}

/// Bytes of a tensor by its shape; `None` on overflow or when they are no whole number.
fn size_of(info: &TensorInfo) -> Option<usize> {
    let count = crate::element_count(&info.shape)?;
    let bits = count.checked_mul(info.dtype.bitsize())?;
    bits.is_multiple_of(8).then_some(bits / 8)
}

fn dtype_of(d: Dtype) -> Option<DType> {
    Some(match d {
        Dtype::F64 => DType::F64,
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::Bf16,
        Dtype::F8_E4M3 => DType::F8e4m3,
        Dtype::F8_E5M2 => DType::F8e5m2,
        Dtype::F4 => DType::F4e2m1,
        Dtype::I64 => DType::I64,
        Dtype::I32 => DType::I32,
        Dtype::I16 => DType::I16,
        Dtype::I8 => DType::I8,
        Dtype::U8 => DType::U8,
        Dtype::BOOL => DType::Bool,
        _ => return None,
    })
}

fn stored(d: DType) -> Option<Dtype> {
    Some(match d {
        DType::F64 => Dtype::F64,
        DType::F32 | DType::Tf32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::Bf16 => Dtype::BF16,
        DType::F8e4m3 => Dtype::F8_E4M3,
        DType::F8e5m2 => Dtype::F8_E5M2,
        DType::F4e2m1 => Dtype::F4,
        DType::I64 => Dtype::I64,
        DType::I32 => Dtype::I32,
        DType::I16 => Dtype::I16,
        DType::I8 => Dtype::I8,
        DType::U8 => Dtype::U8,
        DType::Bool => Dtype::BOOL,
        DType::I4 | DType::U4 | DType::I2 => return None,
    })
}

/// Writes the tensors, each dense.
pub fn write_safetensors(path: &str, tensors: &[(&str, &Tensor)]) -> Result<(), Diagnostic> {
    let fault = |what: String| {
        Diagnostic::global("T0847", format!("`{path}`: {what}"))
            .help("choose another dtype or shape for the output")
    };
    let mut dense = vec![];
    for (name, t) in tensors {
        let t = t.to_dense();
        let t = match stored(t.dtype) {
            Some(_) => t,
            None => t.packed().ok_or_else(|| {
                fault(format!("the last axis of `{name}` does not fill whole bytes of {}", t.dtype))
            })?,
        };
        dense.push((*name, t));
    }
    let mut views = vec![];
    for (name, t) in &dense {
        let dtype = stored(t.dtype).ok_or_else(|| fault(format!(".safetensors has no dtype {}", t.dtype)))?;
        let view = TensorView::new(dtype, t.shape.clone(), t.bytes()).map_err(|e| fault(e.to_string()))?;
        views.push((*name, view));
    }
    let bytes = safetensors::serialize(views, None).map_err(|e| fault(e.to_string()))?;
    write_file(path, &[&bytes])
}
