//! NumPy's `.npy`, versions 1 to 3: magic, version, header length, a Python dict literal, the elements.
//!
//! ```text
//! \x93NUMPY 01 00 76 00 {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }      \n 48 bytes of f32
//! ```
//!
//! Written here rather than taken from a crate because every fault has to have its own code, and because the crates
//! allocate by what the header says. A Fortran-ordered array becomes a view with column-major strides: nothing is
//! moved. Refused: big-endian data, objects (pickled), structured and string dtypes, and dtypes that the language
//! does not have (u16, complex, …).

use super::{Input, open, write_file};
use crate::{Tensor, tensor};
use std::io::{Cursor, Read, Seek};
use tile_base::{DType, Diagnostic};

/// NumPy writes less than 200 bytes; a longer one than this is a lie.
const HEADER_LIMIT: u64 = 1 << 16;
const RANK_LIMIT: usize = 32;

/// Reads a file.
pub fn read_npy(path: &str) -> Result<Tensor, Diagnostic> {
    let (from, len) = open(path)?;
    read(Input { from, len, name: path.to_string() })
}

/// Reads bytes in memory.
pub fn parse_npy(bytes: &[u8]) -> Result<Tensor, Diagnostic> {
    read(Input { from: Cursor::new(bytes), len: bytes.len() as u64, name: "the .npy data".into() })
}

fn read<R: Read + Seek>(mut input: Input<R>) -> Result<Tensor, Diagnostic> {
    let mut start = [0u8; 8];
    if input.len < 10 {
        return Err(input.fault("T0831", "too short for a .npy file", "write it with numpy.save"));
    }
    input.read_exact(&mut start)?;
    if &start[..6] != b"\x93NUMPY" {
        return Err(input.fault(
            "T0831",
            "this is no .npy file (wrong first bytes)",
            "write it with numpy.save",
        ));
    }
    let (header_len, head) = match start[6] {
        1 => (input.number::<2>()?, 10),
        2 | 3 if input.len >= 12 => (input.number::<4>()?, 12),
        v => {
            let what = format!("version {v} of the .npy format is unknown");
            return Err(input.fault("T0831", what, "write it with numpy.save"));
        }
    };
    if header_len > HEADER_LIMIT || head + header_len > input.len {
        let what = format!("the header claims {header_len} bytes, and the file has {}", input.len);
        return Err(input.fault("T0832", what, "the file is damaged: write it again"));
    }
    let mut text = vec![0u8; header_len as usize];
    input.read_exact(&mut text)?;
    let bad_header = |input: &Input<R>, what: String| {
        Err(input.fault("T0832", what, "the file is damaged: write it again"))
    };
    let header = match Header::parse(&text) {
        Ok(header) => header,
        Err(what) => return bad_header(&input, what),
    };
    let dtype = dtype_of(&header.descr).map_err(|(code, what, help)| input.fault(code, what, help))?;
    if header.shape.len() > RANK_LIMIT {
        return bad_header(&input, format!("the header claims {} axes", header.shape.len()));
    }
    let have = input.len - head - header_len;
    let Some(want) = tensor::element_count(&header.shape).and_then(|n| tensor::bytes_of(dtype, n)) else {
        let what = format!("the shape {:?} has more elements than 63 bits count", header.shape);
        return Err(input.fault("T0837", what, "the file is damaged: write it again"));
    };
    if have < want as u64 {
        let what =
            format!("truncated: shape {:?} of {dtype} needs {want} bytes, and {have} follow", header.shape);
        return Err(input.fault("T0835", what, "the file is incomplete: write or copy it again"));
    }
    if have > want as u64 {
        let what = format!("shape {:?} of {dtype} needs {want} bytes, and {have} follow", header.shape);
        return Err(input.fault("T0836", what, "keep one array in a file"));
    }
    let mut t = Tensor::try_zeros(dtype, &header.shape)
        .map_err(|e| input.fault("T0828", e, "the machine has too little memory for this file"))?;
    input.read_exact(t.bytes_mut())?;
    if dtype == DType::Bool {
        t.bytes_mut().iter_mut().for_each(|b| *b = (*b != 0) as u8);
    }
    if header.fortran {
        t.strides = column_major(&header.shape);
    }
    Ok(t)
}

fn column_major(shape: &[usize]) -> Vec<i64> {
    let mut stride = 1i64;
    shape
        .iter()
        .map(|&d| {
            let here = stride;
            stride = stride.saturating_mul(i64::try_from(d.max(1)).unwrap_or(i64::MAX));
            here
        })
        .collect()
}

/// `<f4` and its kind; a fault is code, what and help.
fn dtype_of(descr: &str) -> Result<DType, (&'static str, String, &'static str)> {
    let (order, kind) = match descr.as_bytes().first() {
        Some(b'<' | b'>' | b'|' | b'=') => descr.split_at(1),
        _ => ("=", descr),
    };
    let dtype = match kind {
        "f8" => DType::F64,
        "f4" => DType::F32,
        "f2" => DType::F16,
        "i8" => DType::I64,
        "i4" => DType::I32,
        "i2" => DType::I16,
        "i1" => DType::I8,
        "u1" => DType::U8,
        "b1" => DType::Bool,
        "O" => {
            let what = "the array holds Python objects (pickled), which are never unpickled".to_string();
            return Err(("T0833", what, "save an array of numbers"));
        }
        _ => {
            let help = match kind {
                "V2" | "bfloat16" => "bf16 has no place in .npy: use .safetensors",
                "u2" | "u4" | "u8" => {
                    "the language has no such integers: convert with .astype(numpy.int32) or int64"
                }
                _ => "use f64, f32, f16, i64, i32, i16, i8, u8 or bool",
            };
            return Err(("T0838", format!("elements of type {descr:?} are no dtype of the language"), help));
        }
    };
    let native_big = order == "=" && cfg!(target_endian = "big");
    if dtype.bits() > 8 && (order == ">" || native_big) {
        let what = format!("the elements are big-endian ({descr:?})");
        return Err(("T0834", what, "convert with a.astype(a.dtype.newbyteorder('<'))"));
    }
    Ok(dtype)
}

/// Writes a file of version 1, dense in C order.
pub fn write_npy(path: &str, tensor: &Tensor) -> Result<(), Diagnostic> {
    let descr = match tensor.dtype {
        DType::F64 => "<f8",
        DType::F32 | DType::Tf32 => "<f4",
        DType::F16 => "<f2",
        DType::I64 => "<i8",
        DType::I32 => "<i4",
        DType::I16 => "<i2",
        DType::I8 => "|i1",
        DType::U8 => "|u1",
        DType::Bool => "|b1",
        other => {
            return Err(Diagnostic::global("T0847", format!("`{path}`: .npy has no dtype {other}"))
                .help("write it to FILE.safetensors"));
        }
    };
    let shape: String = match &tensor.shape[..] {
        [one] => format!("({one},)"),
        many => format!("({})", many.iter().map(|d| d.to_string()).collect::<Vec<_>>().join(", ")),
    };
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut head = b"\x93NUMPY\x01\x00".to_vec();
    head.extend((header.len() as u16).to_le_bytes());
    head.extend(header.as_bytes());
    let dense = tensor.to_dense();
    write_file(path, &[&head, dense.bytes()])
}

struct Header {
    descr: String,
    fortran: bool,
    shape: Vec<usize>,
}

impl Header {
    /// The dict literal. A list as `descr` (a structured dtype) is kept as its text, which no dtype has.
    fn parse(text: &[u8]) -> Result<Header, String> {
        let text = std::str::from_utf8(text).map_err(|_| "the header is no text".to_string())?;
        let mut p = Literal { rest: text };
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        p.expect('{')?;
        while !p.take('}') {
            let key = p.string()?;
            p.expect(':')?;
            let twice = match key.as_str() {
                "descr" => descr.replace(if p.sees('[') { p.bracketed()? } else { p.string()? }).is_some(),
                "fortran_order" => fortran.replace(p.boolean()?).is_some(),
                "shape" => shape.replace(p.tuple()?).is_some(),
                _ => return Err(format!("the header has an unknown key {key:?}")),
            };
            if twice {
                return Err(format!("the header has {key:?} twice"));
            }
            if !p.take(',') {
                p.expect('}')?;
                break;
            }
        }
        if !p.rest.trim().is_empty() {
            return Err("the header goes on after its dict".into());
        }
        let missing = |key: &str| format!("the header has no {key:?}");
        Ok(Header {
            descr: descr.ok_or_else(|| missing("descr"))?,
            fortran: fortran.ok_or_else(|| missing("fortran_order"))?,
            shape: shape.ok_or_else(|| missing("shape"))?,
        })
    }
}

/// The few Python literals that a header consists of.
struct Literal<'a> {
    rest: &'a str,
}

impl Literal<'_> {
    fn sees(&mut self, c: char) -> bool {
        self.rest = self.rest.trim_start();
        self.rest.starts_with(c)
    }

    fn take(&mut self, c: char) -> bool {
        let there = self.sees(c);
        if there {
            self.rest = &self.rest[c.len_utf8()..];
        }
        there
    }

    fn expect(&mut self, c: char) -> Result<(), String> {
        if self.take(c) { Ok(()) } else { Err(format!("the header lacks {c:?} at {:?}", self.near())) }
    }

    fn near(&self) -> String {
        self.rest.chars().take(12).collect()
    }

    fn string(&mut self) -> Result<String, String> {
        let quote = if self.sees('"') { '"' } else { '\'' };
        self.expect(quote)?;
        let end = self.rest.find(quote).ok_or("a string of the header has no end")?;
        let (text, rest) = self.rest.split_at(end);
        self.rest = &rest[1..];
        Ok(text.to_string())
    }

    fn bracketed(&mut self) -> Result<String, String> {
        let mut depth = 0usize;
        for (at, c) in self.rest.char_indices() {
            match c {
                '[' | '(' => depth += 1,
                ']' | ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                let (text, rest) = self.rest.split_at(at + c.len_utf8());
                self.rest = rest;
                return Ok(text.to_string());
            }
        }
        Err("a list of the header has no end".into())
    }

    fn boolean(&mut self) -> Result<bool, String> {
        self.rest = self.rest.trim_start();
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.rest.strip_prefix(word) {
                self.rest = rest;
                return Ok(value);
            }
        }
        Err(format!("the header lacks True or False at {:?}", self.near()))
    }

    fn tuple(&mut self) -> Result<Vec<usize>, String> {
        self.expect('(')?;
        let mut out = vec![];
        while !self.take(')') {
            self.rest = self.rest.trim_start();
            let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
            let (digits, rest) = self.rest.split_at(end);
            let d = digits.parse().map_err(|_| format!("the header has no extent at {:?}", self.near()))?;
            out.push(d);
            self.rest = rest.strip_prefix('L').unwrap_or(rest);
            if !self.take(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(out)
    }
}
