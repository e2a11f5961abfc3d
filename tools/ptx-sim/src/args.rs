//! Kernel arguments on the command line: `in:FILE.npy`, `out:f32:1024:FILE.npy`, `i32:7`, `ptr:0+64`, `tmap:…`
//!
//! Arguments stand in parameter order. A buffer is an allocation of its own; `ptr:B+OFF` is an address inside buffer
//! B, which is the position of an earlier argument or the name of a `--buffer`. A buffer that only a tensor map
//! refers to is thus a named one:
//!
//! ```text
//! --buffer a=in:a.npy  --arg tmap:a:bf16:64,100:128:64,32:1,1:128:zero     a matrix of 100 rows of 64, box 32 × 64
//! ```
//!
//! bf16 and unsigned 16- and 32-bit buffers are written as the signed integers of their width, which is what `.npy` can
//! hold.

mod scalar;
mod tensor_map;

use ptx_sim::{ir::Kernel, memory::Memory};
use tile_base::DType;
use tile_tensor::{Tensor, read_npy, write_npy};

/// One argument or named buffer, its files read and its buffer placed.
struct Placed {
    /// `None`: an argument, found by its position.
    name: Option<String>,
    /// Bytes as passed.
    value: Vec<u8>,
    buffer: Option<u64>,
    result: Option<Output>,
}

struct Output {
    path: String,
    dtype: DType,
    shape: Vec<usize>,
}

/// Everything that a command line places in memory.
#[derive(Default)]
pub struct Arguments {
    all: Vec<Placed>,
    /// Named buffers of earlier launches, and where they are.
    before: Vec<(String, u64)>,
}

impl Arguments {
    /// Reads the specifications and places their buffers, named ones first. Those of earlier launches can be named, too.
    pub fn place(
        buffers: &[String],
        specs: &[String],
        memory: &mut Memory,
        earlier: &[Arguments],
    ) -> Result<Arguments, String> {
        let names = earlier.iter().flat_map(|a| &a.all).filter_map(|p| Some((p.name.clone()?, p.buffer?)));
        let mut arguments = Arguments { all: vec![], before: names.collect() };
        for text in buffers {
            let (name, spec) =
                text.split_once('=').ok_or_else(|| format!("--buffer `{text}`: expected NAME=SPEC"))?;
            let placed = arguments
                .place_one(spec, name, memory)
                .and_then(|p| if p.buffer.is_some() { Ok(p) } else { Err("not a buffer".into()) })
                .map_err(|e| format!("buffer `{text}`: {e}"))?;
            if name.parse::<usize>().is_ok() || arguments.address(name).is_ok() {
                return Err(format!("buffer `{text}`: the name is a number or taken"));
            }
            arguments.all.push(Placed { name: Some(name.into()), ..placed });
        }
        for (at, spec) in specs.iter().enumerate() {
            let placed = arguments
                .place_one(spec, &format!("argument {at}"), memory)
                .map_err(|e| format!("argument {at} `{spec}`: {e}"))?;
            arguments.all.push(placed);
        }
        Ok(arguments)
    }

    /// A named buffer, or the earlier argument of that number.
    fn find(&self, name: &str) -> Option<&Placed> {
        match name.parse::<usize>() {
            Ok(n) => self.positional().nth(n),
            Err(_) => self.all.iter().find(|p| p.name.as_deref() == Some(name)),
        }
    }

    fn positional(&self) -> impl Iterator<Item = &Placed> {
        self.all.iter().filter(|p| p.name.is_none())
    }

    /// `B` or `B+OFF`.
    fn address(&self, text: &str) -> Result<u64, String> {
        let (name, offset) = text.split_once('+').unwrap_or((text, "0"));
        let before = || self.before.iter().find(|b| b.0 == name).map(|b| b.1);
        let base = self.find(name).and_then(|p| p.buffer).or_else(before);
        let base = base.ok_or_else(|| format!("`{name}` is no earlier buffer"))?;
        let offset: u64 = offset.parse().map_err(|_| format!("`{offset}` is not an offset"))?;
        base.checked_add(offset).ok_or_else(|| format!("`{offset}` is too far"))
    }

    fn place_one(&self, spec: &str, name: &str, memory: &mut Memory) -> Result<Placed, String> {
        let (kind, rest) = spec.split_once(':').unwrap_or((spec, ""));
        let scalar = |value: Vec<u8>| Ok(Placed { name: None, value, buffer: None, result: None });
        match kind {
            "in" => Ok(buffer(&read(rest)?, None, name, memory)),
            "inout" => {
                let (from, to) = rest.split_once(':').ok_or("expected inout:FROM.npy:TO.npy")?;
                let tensor = read(from)?;
                let output = Output { path: to.into(), dtype: tensor.dtype, shape: tensor.shape.clone() };
                Ok(buffer(&tensor, Some(output), name, memory))
            }
            "out" => {
                let parts: Vec<&str> = rest.splitn(3, ':').collect();
                let [dtype, count, path] = parts[..] else {
                    return Err("expected out:DTYPE:N:FILE.npy".into());
                };
                let dtype = storage(dtype)?;
                let count: usize = count.parse().map_err(|_| format!("`{count}` is not a count"))?;
                let tensor = Tensor::try_zeros(dtype, &[count]).map_err(|e| e.to_string())?;
                let output = Output { path: path.into(), dtype, shape: vec![count] };
                Ok(buffer(&tensor, Some(output), name, memory))
            }
            "null" => scalar(vec![0; 8]),
            "ptr" => scalar(self.address(rest)?.to_le_bytes().to_vec()),
            "tmap" => scalar(tensor_map::encode(rest, &|buffer| self.address(buffer))?),
            "bytes" => scalar(scalar::hex(rest)?),
            _ => scalar(scalar::number(kind, rest)?),
        }
    }

    /// The parameter block of a kernel.
    pub fn parameters(&self, kernel: &Kernel) -> Result<Vec<u8>, String> {
        let given = self.positional().count();
        if given != kernel.params.len() {
            let wanted = kernel.params.len();
            return Err(format!("`{}` takes {wanted} arguments, {given} are given", kernel.name));
        }
        let mut block = vec![0; kernel.param_bytes];
        for (param, arg) in kernel.params.iter().zip(self.positional()) {
            if arg.value.len() != param.bytes {
                let (name, want, got) = (&param.name, param.bytes, arg.value.len());
                return Err(format!("`{name}` has {want} bytes, {got} are given"));
            }
            block[param.offset..param.offset + param.bytes].copy_from_slice(&arg.value);
        }
        Ok(block)
    }

    /// Writes the output buffers to their files.
    pub fn write_back(&self, memory: &Memory) -> Result<(), String> {
        for arg in &self.all {
            let (Some(base), Some(output)) = (arg.buffer, &arg.result) else { continue };
            let bytes = memory.contents(base).unwrap_or_default();
            let tensor =
                Tensor::from_bytes(output.dtype, &output.shape, &bytes).map_err(|e| e.to_string())?;
            write_npy(&output.path, &tensor).map_err(|d| d.message)?;
        }
        Ok(())
    }
}

fn buffer(tensor: &Tensor, result: Option<Output>, name: &str, memory: &mut Memory) -> Placed {
    let base = memory.allocate(name, tensor.bytes());
    Placed { name: None, value: base.to_le_bytes().to_vec(), buffer: Some(base), result }
}

fn read(path: &str) -> Result<Tensor, String> {
    Ok(read_npy(path).map_err(|d| format!("{}: {}", d.code, d.message))?.to_dense())
}

/// The dtype a buffer is stored as.
fn storage(name: &str) -> Result<DType, String> {
    match name {
        "u32" => Ok(DType::I32),
        "u64" => Ok(DType::I64),
        "u16" | "bf16" => Ok(DType::I16),
        other => DType::from_name(other).ok_or_else(|| format!("unknown dtype `{other}`")),
    }
}
