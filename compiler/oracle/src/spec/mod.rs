//! Specs: what a kernel computes, in index notation, evaluated in f64.
//!
//! A spec is the judge of its kernel, so it shares as little as can be with it: it is evaluated from the syntax tree,
//! without the checker's types, the graph or the tile functions, by a small machine of its own. What it means is said
//! in `docs/language.md` §8; how it is made quick is told in `code.rs` and `eval/mod.rs`. In short:
//!
//! ```text
//! o[b, i, h, d] = sum(j: p[b, h, i, j] * v[b, j, h / G, d]);
//!
//! names to slots, ranges found:   b h i d from o's shape; j from axis 3 of p and axis 1 of v, which must agree
//! lane index chosen by cost:      d (rows of v are runs)
//! for each b, h, i in parallel:   for each j: acc[0..D] += p * v[.., 0..D]
//! ```
//!
//! | file | does |
//! | --- | --- |
//! | `compile/` | syntax tree to statements over slots ([`equation::Plan`]) |
//! | `code.rs` | the tree of an equation, what depends on what |
//! | `cost.rs` | which index runs in lanes |
//! | `eval/` | walks the tree, a block of lanes at a time |
//! | `run.rs` | statements in order, rows in parallel, results into arrays |
//!
//! Invariants: nothing here panics on any spec and any arguments; an element that is read before it is defined, a
//! subscript outside its array and an integer divided by zero are diagnostics (T0475 to T0481), never numbers; memory
//! is bounded by [`array::MAX_ELEMENTS`].

mod array;
mod code;
mod compile;
mod cost;
mod equation;
mod eval;
mod faults;
mod run;
#[cfg(test)]
mod tests;

use crate::Array as Output;
use array::{Array, ArrayInfo, Role, is_undefined, undefined};
use code::Ty;
use compile::{Arrays, World};
use equation::Plan;
use std::collections::BTreeMap;
use tile_base::{
    DType, Diagnostic, Mode, Signature, Span,
    signature::{ParamKind, TensorParam},
};
use tile_sema::{ConstValue, Instance, Module};
use tile_syntax::ast::{Generic, Ident, ItemKind, Spec};
use tile_tensor::{Argument, Arguments, launch};

type Diagnostics = Vec<Diagnostic>;

/// Evaluates the spec of `kernel` (or of an `op` of that name) for one call.
///
/// `arguments` are those of the kernel: inputs are read as stored, `inout` tensors give the values from before,
/// outputs only their shapes. The result holds every tensor that the kernel writes, by name.
pub fn evaluate(
    module: &Module,
    kernel: &str,
    instance: &Instance,
    signature: &Signature,
    arguments: &Arguments,
) -> Result<BTreeMap<String, Output>, Diagnostics> {
    prepare(module, kernel, instance, signature, arguments)?.evaluate(&[])
}

/// A spec with everything found out that does not hang on the values of tensors, to be evaluated at many points.
pub struct Prepared {
    plan: Plan,
    data: Vec<Array>,
    /// Tensors that the kernel writes.
    written: Vec<String>,
    span: Span,
}

impl Prepared {
    /// The outputs, where these inputs have other values than they were prepared with.
    pub fn evaluate(&self, inputs: &[(&str, &[f64])]) -> Result<BTreeMap<String, Output>, Diagnostics> {
        let mut data = self.data.clone();
        for (info, array) in self.plan.arrays.iter().zip(&mut data) {
            let given = inputs.iter().find(|(name, v)| *name == info.name && v.len() == array.data.len());
            if let (Role::Input, Some((_, values))) = (info.role, given) {
                array.data.copy_from_slice(values);
            }
        }
        let mut runner = run::Runner::new(&self.plan, data);
        runner.run()?;
        outputs(&self.written, self.span, &self.plan.arrays, runner.arrays)
    }
}

/// What [`evaluate`] does before it computes.
pub fn prepare(
    module: &Module,
    kernel: &str,
    instance: &Instance,
    signature: &Signature,
    arguments: &Arguments,
) -> Result<Prepared, Diagnostics> {
    let (spec, file) = find(module, kernel).ok_or_else(|| vec![missing(module, kernel)])?;
    let dims = launch::bind(signature, arguments)?;
    let mut world = World {
        module,
        file,
        numbers: BTreeMap::new(),
        optional: BTreeMap::new(),
        functions: functions(module, kernel, instance)?,
    };
    for (name, value) in constants(module, kernel, instance) {
        world.numbers.insert(name, value);
    }
    for (name, &value) in signature.dims.iter().zip(&dims) {
        world.numbers.insert(name.clone(), (value as f64, Ty::Int));
    }
    let (arrays, mut data) = parameters(signature, arguments, &mut world)?;
    let plan = compile::compile(&world, arrays, spec)?;
    data.resize_with(plan.arrays.len(), Array::default);
    let written = signature.tensors().filter(|p| p.mode.writes()).map(|p| p.name.clone()).collect();
    Ok(Prepared { plan, data, written, span: spec.name.span })
}

/// Whether a kernel or op has a spec.
pub fn has_spec(module: &Module, kernel: &str) -> bool {
    find(module, kernel).is_some()
}

/// The spec of a kernel: in the main file, else beside the kernel. With its file.
fn find<'a>(module: &'a Module, kernel: &str) -> Option<(&'a Spec, usize)> {
    let main = module.main();
    let in_file = |file: usize| {
        module.file(file)?.items.iter().find_map(|item| match &item.kind {
            ItemKind::Spec(s) if s.name.name == kernel => Some((s, file)),
            _ => None,
        })
    };
    in_file(main).or_else(|| in_file(module.resolve(main, kernel)?.0))
}

fn missing(module: &Module, kernel: &str) -> Diagnostic {
    let named = module.resolve(module.main(), kernel).map(|at| module.item(at));
    let span = named.and_then(|item| match &item.kind {
        ItemKind::Kernel(k) => Some(k.name.span),
        ItemKind::Op(o) => Some(o.name.span),
        _ => None,
    });
    let message = format!("`{kernel}` has no spec");
    match span {
        Some(span) => Diagnostic::error("T0483", span, message).label("nothing to judge it by"),
        None => Diagnostic::global("T0483", message),
    }
    .help(format!("add `spec {kernel} {{ … }}` in index notation"))
}

/// The generic parameters of a kernel or op, and the file it is in.
fn generics<'a>(module: &'a Module, kernel: &str) -> Option<(&'a [Generic], usize)> {
    let at = module.resolve(module.main(), kernel)?;
    match &module.item(at).kind {
        ItemKind::Kernel(k) => Some((&k.generics, at.0)),
        ItemKind::Op(o) => Some((&o.generics, at.0)),
        _ => None,
    }
}

fn functions(
    module: &Module,
    kernel: &str,
    instance: &Instance,
) -> Result<BTreeMap<String, (usize, usize)>, Diagnostics> {
    let mut out = BTreeMap::new();
    let Some((list, file)) = generics(module, kernel) else { return Ok(out) };
    for g in list {
        let Generic::Function { name, default, .. } = g else { continue };
        let chosen = instance.functions.get(&name.name).or(default.as_ref().map(|d| &d.name));
        let Some(chosen) = chosen else { continue };
        let path: Vec<Ident> =
            chosen.split("::").map(|part| Ident { name: part.to_string(), span: name.span }).collect();
        let found = module.resolve_path(module.main(), &path).or_else(|| module.resolve_path(file, &path));
        match found {
            Some(item) => drop(out.insert(name.name.clone(), item)),
            None => {
                return Err(vec![
                    Diagnostic::error("T0475", name.span, format!("there is no function `{chosen}`"))
                        .label("given for this parameter"),
                ]);
            }
        }
    }
    Ok(out)
}

/// `const` parameters: given, else by default where that is a literal.
fn constants(module: &Module, kernel: &str, instance: &Instance) -> Vec<(String, (f64, Ty))> {
    let mut out = vec![];
    if let Some((list, _)) = generics(module, kernel) {
        for g in list {
            if let Generic::Const { name, default: Some(e), .. } = g {
                let value = match e.kind {
                    tile_syntax::ast::ExprKind::Int(v) => (v as f64, Ty::Int),
                    tile_syntax::ast::ExprKind::Bool(v) => (v as u8 as f64, Ty::Bool),
                    _ => continue,
                };
                out.push((name.name.clone(), value));
            }
        }
    }
    out.extend(instance.consts.iter().map(|(name, value)| {
        let value = match value {
            ConstValue::Int(v) => (*v as f64, Ty::Int),
            ConstValue::Bool(v) => (*v as u8 as f64, Ty::Bool),
            ConstValue::Float(v) => (*v, Ty::Real),
        };
        (name.clone(), value)
    }));
    out
}

fn element_type(p: &TensorParam) -> Ty {
    match p.dtype {
        DType::Bool => Ty::Bool,
        d if d.is_int() => Ty::Int,
        _ => Ty::Real,
    }
}

/// Parameters as arrays; scalars go into `world`.
fn parameters(
    signature: &Signature,
    arguments: &Arguments,
    world: &mut World,
) -> Result<(Arrays, Vec<Array>), Diagnostics> {
    let (mut arrays, mut data) = (Arrays::default(), vec![]);
    let mut elements = 0usize;
    for (param, argument) in signature.params.iter().zip(arguments.iter()) {
        let p = match (param, argument) {
            (ParamKind::Scalar(s), Argument::Scalar(v)) => {
                let stored = v.of_dtype(s.dtype).unwrap_or(*v).to_f64();
                let ty = match s.dtype {
                    DType::Bool => Ty::Bool,
                    d if d.is_int() => Ty::Int,
                    _ => Ty::Real,
                };
                world.numbers.insert(s.name.clone(), (stored, ty));
                continue;
            }
            (ParamKind::Scalar(_), _) => continue,
            (ParamKind::Tensor(p), _) => p,
        };
        let given = argument.tensor();
        if p.optional {
            world.optional.insert(p.name.clone(), given.is_some());
        }
        let role = if p.mode == Mode::In { Role::Input } else { Role::Output };
        let axes = match given {
            Some(t) => t.shape.iter().map(|&n| Some((0, n as i64))).collect(),
            None => vec![None; p.shape.len()],
        };
        let (ty, starts) = (element_type(p), vec![Some(0); p.shape.len()]);
        arrays.add(ArrayInfo { name: p.name.clone(), ty, axes, starts, absent: given.is_none(), role });
        let Some(t) = given else {
            data.push(Array::default());
            continue;
        };
        elements = elements.saturating_add(t.len());
        if elements > array::MAX_ELEMENTS {
            return Err(vec![Diagnostic::global(
                "T0480",
                format!("the arguments have more than the {} elements a spec may hold", array::MAX_ELEMENTS),
            )]);
        }
        let values = match p.mode {
            Mode::In | Mode::InOut => t.to_f64_vec(),
            Mode::Sum => vec![0.0; t.len()],
            Mode::Out => vec![undefined(); t.len()],
        };
        data.push(Array::new(vec![0; t.shape.len()], t.shape.clone(), values, p.mode == Mode::Out));
    }
    Ok((arrays, data))
}

/// The written tensors; every element must have been defined.
fn outputs(
    written: &[String],
    span: Span,
    infos: &[ArrayInfo],
    arrays: Vec<Array>,
) -> Result<BTreeMap<String, Output>, Diagnostics> {
    let (mut out, mut found) = (BTreeMap::new(), vec![]);
    for (info, a) in infos.iter().zip(arrays) {
        if info.role != Role::Output || info.absent || !written.contains(&info.name) {
            continue;
        }
        if a.gaps
            && let Some(at) = a.data.iter().position(|&v| is_undefined(v))
        {
            found.push(undefined_output(span, &info.name, &a, at));
        }
        out.insert(info.name.clone(), Output { shape: a.shape, values: a.data });
    }
    if found.is_empty() { Ok(out) } else { Err(found) }
}

fn undefined_output(span: Span, name: &str, a: &Array, mut offset: usize) -> Diagnostic {
    let mut at = vec![];
    for &stride in &a.strides {
        at.push(offset / stride);
        offset %= stride;
    }
    let missing = a.data.iter().filter(|&&v| is_undefined(v)).count();
    Diagnostic::error("T0479", span, format!("the spec does not define every element of `{name}`"))
        .label(format!("{missing} of {} are missing, the first is {name}{at:?}", a.data.len()))
}
