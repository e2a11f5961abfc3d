//! Packed integers (`i4 u4 i2`) in files of `u8` bytes.
//!
//! A file has bytes, so its last axis says only between which extents the real one lies: 2 bytes hold 3 or 4 elements of 4
//! bits. The real one is what the other arguments say it is:
//!
//! ```text
//! a: in T[M, K], zero: in u4[N, cdiv(K, GS)]      a.npy [3, 70], zero.npy [5, 2] bytes, GS = 32
//!                                                 cdiv(70, 32) = 3, so zero is u4[5, 3], the last half byte of a row unused
//! ```
//!
//! Where nothing else shows the extent, every element of the last byte counts.

use std::collections::BTreeMap;
use tile_base::{DType, Diagnostic, Signature, Size, TensorParam, signature::ParamKind};
use tile_tensor::{Argument, Arguments, Tensor, launch};

/// How many elements a byte of a packed dtype holds; `None` for others.
pub fn per_byte(dtype: DType) -> Option<usize> {
    (dtype.bits() < 8 && dtype != DType::Bool).then(|| 8 / dtype.bits())
}

/// Bytes that are given for packed parameters become their elements. `dims` are those that a person gave.
pub fn unpack(
    signature: &Signature,
    named: &mut BTreeMap<String, Argument>,
    dims: &BTreeMap<String, i64>,
) -> Result<(), Vec<Diagnostic>> {
    let bytes_for = |p: &TensorParam, argument: Option<&Argument>| {
        let tensor = argument.and_then(Argument::tensor)?;
        per_byte(p.dtype).filter(|_| tensor.dtype == DType::U8)
    };
    let packed: Vec<&TensorParam> =
        signature.tensors().filter(|p| bytes_for(p, named.get(&p.name)).is_some()).collect();
    if packed.is_empty() {
        return Ok(());
    }
    let known = shown_by_others(signature, named, &packed, dims);
    let mut found = vec![];
    for p in packed {
        let Some(Argument::Tensor(t)) = named.get_mut(&p.name) else { continue };
        match elements(t, p, &known) {
            Some(unpacked) => *t = unpacked,
            None => {
                let message = format!(
                    "`{}` is a scalar file, and {} elements are packed along an axis",
                    p.name, p.dtype
                );
                found.push(Diagnostic::global("T0812", message).help("give it at least one axis"));
            }
        }
    }
    if found.is_empty() { Ok(()) } else { Err(found) }
}

/// Dimensions that the arguments show which are not packed. What is wrong with them the launch says.
fn shown_by_others(
    signature: &Signature,
    named: &BTreeMap<String, Argument>,
    packed: &[&TensorParam],
    dims: &BTreeMap<String, i64>,
) -> BTreeMap<String, i64> {
    let others = signature.params.iter().map(|param| match (param, named.get(param.name())) {
        (ParamKind::Tensor(p), Some(Argument::Tensor(t))) if !packed.iter().any(|q| q.name == p.name) => {
            Argument::Tensor(t.share())
        }
        _ => Argument::Absent,
    });
    launch::known_dims(signature, &Arguments(others.collect()), dims).unwrap_or_else(|_| dims.clone())
}

/// The tensor with as many elements along the last axis as the dimensions say, if its bytes hold them.
fn elements(t: &Tensor, p: &TensorParam, dims: &BTreeMap<String, i64>) -> Option<Tensor> {
    let all = t.unpacked(p.dtype)?;
    let (last, &bytes) = (p.shape.last().unwrap_or(&Size::Const(0)), t.shape.last()?);
    let said = last.eval(&|n| dims.get(n).copied()).ok().and_then(|v| usize::try_from(v).ok());
    let fits = said.filter(|&n| n.div_ceil(per_byte(p.dtype).unwrap_or(1)) == bytes);
    let Some(extent) = fits.filter(|_| t.rank() == p.shape.len()) else { return Some(all) };
    let mut shape = all.shape.clone();
    *shape.last_mut()? = extent;
    all.view(&shape, &all.strides, 0).ok().map(|view| view.to_dense())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tile_base::Mode;

    /// `k(x: in f32[N], w: in u4[M, N])`
    fn signature() -> Signature {
        let tensor = |name: &str, dtype, shape: &[&str]| {
            ParamKind::Tensor(TensorParam {
                name: name.into(),
                mode: Mode::In,
                optional: false,
                present: true,
                dtype,
                index: None,
                distinct: false,
                shape: shape.iter().map(|n| Size::name(*n)).collect(),
            })
        };
        Signature {
            kernel: "k".into(),
            params: vec![tensor("x", DType::F32, &["N"]), tensor("w", DType::U4, &["M", "N"])],
            dims: vec!["N".into(), "M".into()],
            ..Signature::default()
        }
    }

    fn unpacked(more: Option<usize>, dims: &[(&str, i64)]) -> Tensor {
        let bytes = Tensor::try_from_f64(DType::U8, &[2, 2], &[33.0, 3.0, 101.0, 7.0]).unwrap();
        let mut named = BTreeMap::from([("w".to_string(), Argument::Tensor(bytes))]);
        if let Some(n) = more {
            named.insert("x".into(), Argument::Tensor(Tensor::zeros(DType::F32, &[n])));
        }
        let dims = dims.iter().map(|&(n, v)| (n.to_string(), v)).collect();
        unpack(&signature(), &mut named, &dims).unwrap();
        named["w"].tensor().unwrap().share()
    }

    #[test]
    fn another_argument_says_how_much_of_the_last_byte_counts() {
        let three = unpacked(Some(3), &[]);
        assert_eq!((three.dtype, &three.shape[..]), (DType::U4, &[2, 3][..]));
        assert_eq!(three.to_f64_vec(), [1.0, 2.0, 3.0, 5.0, 6.0, 7.0]);
        assert_eq!(unpacked(None, &[("N", 3)]).shape, [2, 3]);
    }

    #[test]
    fn else_all_of_it_does() {
        assert_eq!(unpacked(None, &[]).to_f64_vec(), [1.0, 2.0, 3.0, 0.0, 5.0, 6.0, 7.0, 0.0]);
        // Two bytes hold no 7 elements: the launch says so of the extent 4.
        assert_eq!(unpacked(Some(7), &[]).shape, [2, 4]);
    }
}
