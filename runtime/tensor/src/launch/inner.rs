//! The dimensions of a launch inside of an op, whichever backend runs it.
//!
//! A kernel that an op runs is given parts of tensors and of temporaries that the op's own dimensions describe. Its
//! dimensions follow from their shapes, as those of the op follow from its arguments: `run up(z[0..n], y)` with
//! `kernel up(x: in f32[M, K], ..)` binds `M = n`. Two things differ from [`super::bind`]: an extent may be 0 (`n = 0` is a
//! launch that does nothing), and contents are not looked at, for the data is on a device.

use std::collections::BTreeMap;
use tile_base::{
    Diagnostic, Signature, Size,
    signature::{ParamKind, TensorParam},
};

/// The dimensions of a launch from the shapes it is given: bare names first, then linear sizes, then every shape is
/// checked. `shape_of` is asked for each parameter by position, and knows no shape of a scalar or an absent tensor.
pub fn bind_inner<'a>(
    signature: &Signature,
    shape_of: &dyn Fn(usize) -> Option<&'a [usize]>,
) -> Result<Vec<i64>, Vec<Diagnostic>> {
    let shapes: Vec<(&TensorParam, &[usize])> = signature
        .params
        .iter()
        .enumerate()
        .filter_map(|(at, param)| match param {
            ParamKind::Tensor(p) => Some((p, shape_of(at)?)),
            ParamKind::Scalar(_) => None,
        })
        .collect();
    let mut values: BTreeMap<String, i64> = BTreeMap::new();
    let wrong = |message: String| {
        let text = format!("the launch of `{}`: {message}", signature.kernel);
        vec![Diagnostic::global("T0708", text).help("the shapes of the arguments have to agree")]
    };
    for (p, v) in &shapes {
        if p.shape.len() != v.len() {
            let message = format!("`{}` has rank {}, and is given {}", p.name, p.shape.len(), v.len());
            return Err(wrong(message));
        }
        for (size, &extent) in p.shape.iter().zip(*v) {
            if let Size::Name(name) = size {
                values.entry(name.clone()).or_insert(extent as i64);
            }
        }
    }
    loop {
        let before = values.len();
        for (size, &extent) in shapes.iter().flat_map(|(p, v)| p.shape.iter().zip(*v)) {
            if let Ok(Some((name, value))) = size.solve(extent as i64, &|n| values.get(n).copied()) {
                values.insert(name, value);
            }
        }
        if values.len() == before {
            break;
        }
    }
    for (p, v) in &shapes {
        for (size, &extent) in p.shape.iter().zip(*v) {
            match size.eval(&|n| values.get(n).copied()) {
                Ok(expected) if expected == extent as i64 => {}
                Ok(expected) => {
                    let name = &p.name;
                    return Err(wrong(format!("`{name}` has an extent {size} = {expected}, given {extent}")));
                }
                Err(e) => return Err(wrong(format!("`{}`: {e}", p.name))),
            }
        }
    }
    for fact in &signature.facts {
        let side = |s: &Size| s.eval(&|n| values.get(n).copied());
        if !matches!((side(&fact.lhs), side(&fact.rhs)), (Ok(a), Ok(b)) if fact.op.holds(a, b)) {
            return Err(wrong(format!("`{}` does not hold", fact.text)));
        }
    }
    let dim = |d: &String| values.get(d).copied().ok_or_else(|| wrong(format!("nothing shows `{d}`")));
    signature.dims.iter().map(dim).collect()
}
