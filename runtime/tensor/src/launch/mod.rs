//! Binding a launch: from arguments to the values of the dimensions, with everything that a host can check.
//!
//! [`bind`] works in steps, and each step reports all it finds:
//! 1. every parameter has an argument of the right kind, rank and dtype, no argument is left over, and scalars of type
//!    `index` are in -2^31..2^31;
//! 2. dimensions: a bare occurrence (`M` in `q: in T[B, M, HQ, D]`) binds, then sizes that are linear in one unbound
//!    name are solved (`NS + 1` against 5 gives `NS = 4`), until nothing changes. Example: `cu: offsets<L>[NS + 1]`
//!    and `q: T[L, H, K]` with shapes [5] and [100, 8, 64] bind `L = 100, H = 8, K = 64, NS = 4`;
//! 3. every other occurrence has the value that the bound ones give it, and every dimension is in 1..2^31;
//! 4. the `where` facts hold;
//! 5. elements of index tensors lie in their ranges (rule 12), offsets do not decrease and run from 0 to N, and
//!    positions that a store claims to be `unique` do not repeat;
//! 6. no tensor that is written shares elements with another argument or with itself (rule 16).
//!
//! A dimension of zero is refused (T0818): a kernel over nothing is nearly always a mistake of the caller, and
//! "every element of `out` is written" would hold of an output that nobody looks at. *Segments* may be empty, since
//! they are data: `cu = [0, 7, 7, 12]` has an empty middle sequence.

mod contents;
mod dims;
mod inner;

pub use inner::bind_inner;

use crate::{Argument, Arguments, Scalar, Tensor, TensorError, tensor};
use dims::Binding;
use std::collections::BTreeMap;
use tile_base::{
    DType, Diagnostic, Mode, Signature,
    diagnostic::any_error,
    signature::{ParamKind, ScalarParam, TensorParam},
};

/// Values of the dimensions, in the order of `Signature::dims`.
pub type Dims = Vec<i64>;

/// Checks a complete list of arguments and gives the dimensions. See the module's text for what is checked.
pub fn bind(signature: &Signature, arguments: &Arguments) -> Result<Dims, Vec<Diagnostic>> {
    let mut found = vec![];
    check_kinds(signature, arguments, Missing::None, &mut found);
    if any_error(&found) {
        return Err(found);
    }
    let mut binding = Binding::new(signature);
    binding.bind(arguments, &mut found);
    binding.require_all(&mut found);
    if any_error(&found) {
        return Err(found);
    }
    binding.check_shapes(arguments, &mut found);
    binding.check_facts(&mut found);
    check_overlap(signature, arguments, &mut found);
    if any_error(&found) {
        return Err(found);
    }
    for (param, argument) in signature.params.iter().zip(arguments.iter()) {
        if let (ParamKind::Tensor(p), Argument::Tensor(t)) = (param, argument) {
            // What a kernel only writes has no contents yet.
            if p.mode.reads() {
                contents::check(p, t, &|name| binding.get(name), &mut found);
            }
        }
    }
    if any_error(&found) { Err(found) } else { Ok(binding.into_dims()) }
}

/// Makes every output that is still [`Argument::Absent`] (zeros, dense) and then binds.
///
/// `given` are dimensions that no input shows (`--dim N=4`); they are checked against those that inputs do show.
/// An optional output is made when this instance of the kernel has it.
pub fn allocate_outputs(
    signature: &Signature,
    arguments: &mut Arguments,
    given: &BTreeMap<String, i64>,
) -> Result<Dims, Vec<Diagnostic>> {
    let mut found = vec![];
    check_kinds(signature, arguments, Missing::Outputs, &mut found);
    if any_error(&found) {
        return Err(found);
    }
    let mut binding = Binding::new(signature);
    binding.give(given, &mut found);
    binding.bind(arguments, &mut found);
    binding.require_all(&mut found);
    if any_error(&found) {
        return Err(found);
    }
    let mut made = vec![];
    let mut total = 0u64;
    for (at, param) in signature.params.iter().enumerate() {
        let ParamKind::Tensor(p) = param else { continue };
        if !is_made_here(p) || !matches!(arguments[at], Argument::Absent) {
            continue;
        }
        if let Some(shape) = binding.shape_of(p, &mut found) {
            let bytes = tensor::element_count(&shape).and_then(|n| tensor::bytes_of(p.dtype, n));
            total = total.saturating_add(bytes.map_or(u64::MAX, |b| b as u64));
            made.push((at, p, shape));
        }
    }
    check_memory(total, &mut found);
    if any_error(&found) {
        return Err(found);
    }
    for (at, p, shape) in made {
        match Tensor::try_zeros(p.dtype, &shape) {
            Ok(t) => arguments[at] = Argument::Tensor(t),
            Err(e) => found.push(no_memory(&p.name, &e)),
        }
    }
    if any_error(&found) { Err(found) } else { bind(signature, arguments) }
}

/// The shape a parameter has under known dimensions: for whoever makes inputs (random data, tests).
pub fn shape_of(
    signature: &Signature,
    param: &TensorParam,
    dims: &BTreeMap<String, i64>,
) -> Result<Vec<usize>, Vec<Diagnostic>> {
    let mut found = vec![];
    let mut binding = Binding::new(signature);
    binding.give(dims, &mut found);
    match binding.shape_of(param, &mut found) {
        Some(shape) if !any_error(&found) => Ok(shape),
        _ => Err(found),
    }
}

/// The dimensions that the given arguments show; arguments may be missing.
pub fn known_dims(
    signature: &Signature,
    arguments: &Arguments,
    given: &BTreeMap<String, i64>,
) -> Result<BTreeMap<String, i64>, Vec<Diagnostic>> {
    let mut found = vec![];
    check_kinds(signature, arguments, Missing::Anything, &mut found);
    if any_error(&found) {
        return Err(found);
    }
    let mut binding = Binding::new(signature);
    binding.give(given, &mut found);
    binding.bind(arguments, &mut found);
    if any_error(&found) { Err(found) } else { Ok(binding.known()) }
}

/// Refuses (T0828) to ask for more bytes than the machine has free, where the machine says so.
pub fn check_memory(bytes: u64, found: &mut Vec<Diagnostic>) {
    let Some(free) = free_memory() else { return };
    if bytes > free {
        found.push(
            Diagnostic::global("T0828", format!("the tensors need {bytes} bytes, and {free} are free"))
                .help("use smaller dimensions"),
        );
    }
}

fn no_memory(name: &str, error: &TensorError) -> Diagnostic {
    Diagnostic::global("T0828", format!("`{name}` cannot be made: {error}")).help("use smaller dimensions")
}

/// What the system says is available; `None` where it does not say.
fn free_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|l| l.starts_with("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

fn is_made_here(p: &TensorParam) -> bool {
    p.present && matches!(p.mode, Mode::Out | Mode::Sum)
}

/// Which arguments may still be [`Argument::Absent`] beside the optional ones.
#[derive(Clone, Copy, PartialEq)]
enum Missing {
    None,
    Outputs,
    Anything,
}

/// Step 1.
fn check_kinds(signature: &Signature, arguments: &Arguments, may_miss: Missing, found: &mut Vec<Diagnostic>) {
    let (want, have) = (signature.params.len(), arguments.len());
    if have > want {
        let message = format!("`{}` has {want} parameters, and {have} arguments are given", signature.kernel);
        found.push(Diagnostic::global("T0811", message).help("leave the last ones out"));
    }
    for (at, param) in signature.params.iter().enumerate() {
        let argument = arguments.0.get(at).unwrap_or(&Argument::Absent);
        match (param, argument) {
            (ParamKind::Tensor(p), Argument::Tensor(t)) => check_tensor(p, t, found),
            (ParamKind::Tensor(p), Argument::Absent) => {
                let made = may_miss == Missing::Outputs && is_made_here(p);
                if p.present && !made && may_miss != Missing::Anything {
                    found.push(missing(
                        &format!("--in {}=FILE", p.name),
                        &p.name,
                        &format!("a tensor {}", describe(p)),
                    ));
                }
            }
            (ParamKind::Scalar(p), Argument::Scalar(s)) => {
                found.extend(unfit(p, *s));
            }
            (ParamKind::Scalar(p), Argument::Absent) if may_miss != Missing::Anything => {
                found.push(missing(
                    &format!("--arg {}=VALUE", p.name),
                    &p.name,
                    &format!("a scalar of {}", type_of(p)),
                ));
            }
            (ParamKind::Scalar(_), Argument::Absent) => {}
            (ParamKind::Tensor(p), Argument::Scalar(_)) => {
                let message = format!("`{}` is a tensor {}, and a scalar is given", p.name, describe(p));
                found.push(Diagnostic::global("T0827", message).help("pass a tensor"));
            }
            (ParamKind::Scalar(p), Argument::Tensor(_)) => {
                let message = format!("`{}` is a scalar of {}, and a tensor is given", p.name, type_of(p));
                found.push(Diagnostic::global("T0827", message).help("pass a number"));
            }
        }
    }
}

/// What is wrong with a scalar. Positions and sizes lie where every dimension does: sums of a few of them then fit the
/// 64 bits that each backend reckons positions in.
fn unfit(p: &ScalarParam, s: Scalar) -> Option<Diagnostic> {
    let message = match s.of_dtype(p.dtype) {
        None => format!("`{}` is of type {}, and {s} is no value of it", p.name, type_of(p)),
        Some(Scalar::Int(v)) if p.index && !(-dims::LIMIT..dims::LIMIT).contains(&v) => {
            format!("`{}` is of type index, and {v} is not in -2^31 to 2^31 - 1", p.name)
        }
        Some(_) => return None,
    };
    Some(Diagnostic::global("T0827", message).help("pass a value of that type"))
}

/// The type as it is declared.
fn type_of(p: &ScalarParam) -> &'static str {
    if p.index { "index" } else { p.dtype.name() }
}

fn missing(flag: &str, name: &str, what: &str) -> Diagnostic {
    Diagnostic::global("T0810", format!("the argument `{name}` is missing: {what}"))
        .help(format!("give it, on the command line with `{flag}`"))
}

fn describe(p: &TensorParam) -> String {
    let shape: Vec<String> = p.shape.iter().map(|s| s.to_string()).collect();
    format!("{}[{}]", p.dtype, shape.join(", "))
}

/// Index tensors may be stored as i32 or as i64.
fn dtype_fits(p: &TensorParam, dtype: DType) -> bool {
    dtype == p.dtype || p.index.is_some() && matches!(dtype, DType::I32 | DType::I64)
}

fn check_tensor(p: &TensorParam, t: &Tensor, found: &mut Vec<Diagnostic>) {
    if !p.present {
        let message = format!("`{}` is given, and this instance of the kernel was made without it", p.name);
        found.push(Diagnostic::global("T0826", message).help("specialise the kernel with it"));
        return;
    }
    if !dtype_fits(p, t.dtype) {
        let message = format!("`{}` has elements of {}, and the kernel takes {}", p.name, t.dtype, p.dtype);
        let help =
            format!("convert the tensor to {} before the call; nothing is converted silently", p.dtype);
        found.push(Diagnostic::global("T0813", message).help(help));
    }
    if t.rank() != p.shape.len() {
        let message = format!(
            "`{}` has rank {} (shape {:?}), and the kernel takes {}",
            p.name,
            t.rank(),
            t.shape,
            describe(p)
        );
        found
            .push(Diagnostic::global("T0812", message).help(format!("reshape it to rank {}", p.shape.len())));
    }
}

/// Step 6.
fn check_overlap(signature: &Signature, arguments: &Arguments, found: &mut Vec<Diagnostic>) {
    let tensors: Vec<(&TensorParam, &Tensor)> = signature
        .params
        .iter()
        .zip(arguments.iter())
        .filter_map(|pair| match pair {
            (ParamKind::Tensor(p), Argument::Tensor(t)) => Some((p, t)),
            _ => None,
        })
        .collect();
    for (at, (p, t)) in tensors.iter().enumerate() {
        if p.mode.writes() && t.overlaps_itself() {
            let message = format!(
                "`{}` is written, and its strides {:?} put several indices of shape {:?} on one element",
                p.name, t.strides, t.shape
            );
            found.push(Diagnostic::global("T0822", message).help("pass a tensor without repeated elements"));
        }
        for (q, u) in &tensors[at + 1..] {
            if (p.mode.writes() || q.mode.writes()) && t.overlaps(u) {
                let written = if p.mode.writes() { &p.name } else { &q.name };
                let message =
                    format!("`{}` and `{}` share memory, and `{written}` is written", p.name, q.name);
                found.push(Diagnostic::global("T0821", message).help("pass a copy of one of them"));
            }
        }
    }
}
