//! Kernel arguments on the command line: `in:FILE.npy`, `out:f32:1024:FILE.npy`, `i32:7`, `ptr:0+64`, …
//!
//! Arguments stand in parameter order. A buffer is an allocation of its own; `ptr:N+OFF` is an address inside the
//! buffer of argument N. bf16 and unsigned 16- and 32-bit buffers are written as the signed integers of their width,
//! which is what `.npy` can hold.

use ptx_sim::{ir::Kernel, memory::Memory};
use tile_base::DType;
use tile_tensor::{Tensor, convert, read_npy, write_npy};

/// One argument, its files read and its buffer placed.
pub struct Placed {
    /// Bytes as passed.
    pub value: Vec<u8>,
    buffer: Option<u64>,
    result: Option<Output>,
}

struct Output {
    path: String,
    dtype: DType,
    shape: Vec<usize>,
}

/// Reads the specifications and places their buffers.
pub fn place(specs: &[String], memory: &mut Memory) -> Result<Vec<Placed>, String> {
    let mut placed: Vec<Placed> = vec![];
    for (at, spec) in specs.iter().enumerate() {
        let one = place_one(spec, at, &placed, memory).map_err(|e| format!("argument {at} `{spec}`: {e}"))?;
        placed.push(one);
    }
    Ok(placed)
}

fn place_one(spec: &str, at: usize, before: &[Placed], memory: &mut Memory) -> Result<Placed, String> {
    let (kind, rest) = spec.split_once(':').unwrap_or((spec, ""));
    let scalar = |value: Vec<u8>| Ok(Placed { value, buffer: None, result: None });
    match kind {
        "in" => buffer(&read(rest)?, None, at, memory),
        "inout" => {
            let (from, to) = rest.split_once(':').ok_or("expected inout:FROM.npy:TO.npy")?;
            let tensor = read(from)?;
            let output = Output { path: to.into(), dtype: tensor.dtype, shape: tensor.shape.clone() };
            buffer(&tensor, Some(output), at, memory)
        }
        "out" => {
            let parts: Vec<&str> = rest.splitn(3, ':').collect();
            let [dtype, count, path] = parts[..] else { return Err("expected out:DTYPE:N:FILE.npy".into()) };
            let dtype = storage(dtype)?;
            let count: usize = count.parse().map_err(|_| format!("`{count}` is not a count"))?;
            let tensor = Tensor::try_zeros(dtype, &[count]).map_err(|e| e.to_string())?;
            buffer(&tensor, Some(Output { path: path.into(), dtype, shape: vec![count] }), at, memory)
        }
        "null" => scalar(vec![0; 8]),
        "ptr" => {
            let (index, offset) = rest.split_once('+').unwrap_or((rest, "0"));
            let base = index.parse().ok().and_then(|i: usize| before.get(i)).and_then(|p| p.buffer);
            let base = base.ok_or_else(|| format!("`{index}` is no earlier buffer"))?;
            let offset: u64 = offset.parse().map_err(|_| format!("`{offset}` is not an offset"))?;
            scalar((base + offset).to_le_bytes().to_vec())
        }
        "bytes" => scalar(hex(rest)?),
        _ => scalar(number(kind, rest)?),
    }
}

fn buffer(tensor: &Tensor, result: Option<Output>, at: usize, memory: &mut Memory) -> Result<Placed, String> {
    let base = memory.allocate(&format!("argument {at}"), tensor.bytes());
    Ok(Placed { value: base.to_le_bytes().to_vec(), buffer: Some(base), result })
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

fn hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|d| d as u8).collect();
    if digits.len() != text.len() || digits.len() % 2 == 1 {
        return Err("expected pairs of hexadecimal digits".into());
    }
    Ok(digits.chunks(2).map(|d| d[0] << 4 | d[1]).collect())
}

fn number(kind: &str, text: &str) -> Result<Vec<u8>, String> {
    let bad = || format!("`{text}` is not a {kind}");
    let int = |bytes: usize| -> Result<Vec<u8>, String> {
        let value: i128 = text.parse().map_err(|_| bad())?;
        let bits = 8 * bytes as u32;
        if value < -(1i128 << (bits - 1)) || value >= 1i128 << bits {
            return Err(bad());
        }
        Ok(value.to_le_bytes()[..bytes].to_vec())
    };
    let float = || text.parse::<f64>().map_err(|_| bad());
    Ok(match kind {
        "i8" | "u8" => int(1)?,
        "i16" | "u16" => int(2)?,
        "i32" | "u32" => int(4)?,
        "i64" | "u64" => int(8)?,
        "f32" => (float()? as f32).to_le_bytes().to_vec(),
        "f64" => float()?.to_le_bytes().to_vec(),
        "f16" => (convert::encode(DType::F16, float()?) as u16).to_le_bytes().to_vec(),
        "bf16" => (convert::encode(DType::Bf16, float()?) as u16).to_le_bytes().to_vec(),
        _ => return Err(format!("unknown kind `{kind}`")),
    })
}

/// The parameter block of a kernel from its arguments.
pub fn parameters(kernel: &Kernel, placed: &[Placed]) -> Result<Vec<u8>, String> {
    if placed.len() != kernel.params.len() {
        return Err(format!(
            "`{}` takes {} arguments, {} are given",
            kernel.name,
            kernel.params.len(),
            placed.len()
        ));
    }
    let mut block = vec![0; kernel.param_bytes];
    for (param, arg) in kernel.params.iter().zip(placed) {
        if arg.value.len() != param.bytes {
            return Err(format!("`{}` has {} bytes, {} are given", param.name, param.bytes, arg.value.len()));
        }
        block[param.offset..param.offset + param.bytes].copy_from_slice(&arg.value);
    }
    Ok(block)
}

/// Writes the output buffers to their files.
pub fn write_back(placed: &[Placed], memory: &Memory) -> Result<(), String> {
    for arg in placed {
        let (Some(base), Some(output)) = (arg.buffer, &arg.result) else { continue };
        let bytes = memory.contents(base).unwrap_or_default();
        let tensor = Tensor::from_bytes(output.dtype, &output.shape, &bytes).map_err(|e| e.to_string())?;
        write_npy(&output.path, &tensor).map_err(|d| d.message)?;
    }
    Ok(())
}
