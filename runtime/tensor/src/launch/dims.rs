//! Dimensions: bound by their bare occurrences, by solving linear sizes, and checked everywhere else.

use crate::{Argument, Arguments, tensor};
use std::collections::BTreeMap;
use tile_base::{
    Diagnostic, Signature, Size, SizeError,
    signature::{ParamKind, Relation, TensorParam},
};

/// A dimension is an `i32` in every backend.
pub const LIMIT: i64 = 1 << 31;

/// Values found so far, and which argument showed each.
pub struct Binding<'a> {
    signature: &'a Signature,
    values: BTreeMap<&'a str, (i64, String)>,
}

impl<'a> Binding<'a> {
    pub fn new(signature: &'a Signature) -> Self {
        Binding { signature, values: BTreeMap::new() }
    }

    pub fn get(&self, name: &str) -> Option<i64> {
        self.values.get(name).map(|(v, _)| *v)
    }

    fn lookup(&self) -> impl Fn(&str) -> Option<i64> + '_ {
        |name| self.get(name)
    }

    /// Dimensions that a person named. A name that is none of the kernel's is left alone: it may be a `const`.
    pub fn give(&mut self, given: &BTreeMap<String, i64>, found: &mut Vec<Diagnostic>) {
        for name in &self.signature.dims {
            if let Some(&v) = given.get(name) {
                self.set(name, v, "given".into(), found);
            }
        }
    }

    /// Steps 2 and 3 for what the arguments show.
    pub fn bind(&mut self, arguments: &Arguments, found: &mut Vec<Diagnostic>) {
        let signature = self.signature;
        let mut axes: Vec<(&'a TensorParam, usize, &'a Size, i64)> = vec![];
        for (param, argument) in signature.params.iter().zip(arguments.iter()) {
            if let (ParamKind::Tensor(p), Argument::Tensor(t)) = (param, argument) {
                for (axis, (size, &extent)) in p.shape.iter().zip(&t.shape).enumerate() {
                    axes.push((p, axis, size, extent as i64));
                }
            }
        }
        for &(p, axis, size, extent) in &axes {
            if let Size::Name(name) = size
                && signature.dims.contains(name)
                && self.get(name).is_none()
            {
                self.set(name, extent, format!("axis {axis} of `{}`", p.name), found);
            }
        }
        loop {
            let before = self.values.len();
            for &(p, axis, size, extent) in &axes {
                let solved = size.solve(extent, &self.lookup());
                match solved {
                    Ok(Some((name, v))) => {
                        if let Some(name) = signature.dims.iter().find(|d| **d == name) {
                            self.set(
                                name,
                                v,
                                format!("axis {axis} of `{}` ({size} = {extent})", p.name),
                                found,
                            );
                        }
                    }
                    Ok(None) => {}
                    Err(_) => {
                        let message = format!(
                            "axis {axis} of `{}` has extent {extent}, and no integer makes {size} that",
                            p.name
                        );
                        let help = format!("the extent has to be {size}");
                        found.push(Diagnostic::global("T0814", message).help(help));
                        return;
                    }
                }
            }
            if self.values.len() == before {
                return;
            }
        }
    }

    fn set(&mut self, name: &'a str, value: i64, from: String, found: &mut Vec<Diagnostic>) {
        if value <= 0 {
            let message = format!("the dimension `{name}` is {value} ({from})");
            found.push(Diagnostic::global("T0818", message).help("dimensions start at 1"));
        } else if value >= LIMIT {
            let message = format!("the dimension `{name}` is {value} ({from}), and the limit is 2^31 - 1");
            found.push(Diagnostic::global("T0819", message).help("split the work into several launches"));
        }
        self.values.insert(name, (value, from));
    }

    pub fn require_all(&self, found: &mut Vec<Diagnostic>) {
        for name in &self.signature.dims {
            if self.get(name).is_none() {
                let message = format!("nothing shows the dimension `{name}` of `{}`", self.signature.kernel);
                let help = format!("give a tensor that has it, or `--dim {name}=VALUE`");
                found.push(Diagnostic::global("T0816", message).help(help));
            }
        }
    }

    /// Every occurrence that did not bind.
    pub fn check_shapes(&self, arguments: &Arguments, found: &mut Vec<Diagnostic>) {
        for (param, argument) in self.signature.params.iter().zip(arguments.iter()) {
            let (ParamKind::Tensor(p), Argument::Tensor(t)) = (param, argument) else { continue };
            let Some(expected) = self.shape_of(p, found) else { continue };
            for (axis, (&want, &have)) in expected.iter().zip(&t.shape).enumerate() {
                if want != have {
                    found.push(self.mismatch(p, axis, want, have));
                }
            }
        }
    }

    fn mismatch(&self, p: &TensorParam, axis: usize, want: usize, have: usize) -> Diagnostic {
        let size = &p.shape[axis];
        if size.names().is_empty() {
            let message =
                format!("axis {axis} of `{}` has extent {have}, and the kernel takes {want}", p.name);
            return Diagnostic::global("T0815", message)
                .help("pass a tensor of that shape, or specialise the kernel for this one");
        }
        let message =
            format!("axis {axis} of `{}` has extent {have}, and {size} is {want} in this call", p.name);
        let mut d = Diagnostic::global("T0814", message).help("the shapes of the arguments have to agree");
        for name in size.names() {
            if let Some((v, from)) = self.values.get(name) {
                d = d.note(format!("{name} = {v}, from {from}"));
            }
        }
        d
    }

    pub fn check_facts(&self, found: &mut Vec<Diagnostic>) {
        for fact in &self.signature.facts {
            let sides =
                fact.lhs.eval(&self.lookup()).and_then(|a| fact.rhs.eval(&self.lookup()).map(|b| (a, b)));
            match sides {
                Ok((a, b)) if fact.op.holds(a, b) => {}
                Ok((a, b)) => {
                    let message = format!(
                        "the kernel asks for `{}`, and here it is {a} {} {b}",
                        fact.text,
                        symbol(fact.op)
                    );
                    let mut d =
                        Diagnostic::global("T0817", message).help("choose dimensions for which it holds");
                    for name in fact.lhs.names().into_iter().chain(fact.rhs.names()) {
                        if let Some((v, from)) = self.values.get(name) {
                            d = d.note(format!("{name} = {v}, from {from}"));
                        }
                    }
                    found.push(d);
                }
                Err(e) => found.push(size_error(&format!("`{}`", fact.text), &e)),
            }
        }
    }

    /// The shape of a parameter, with the byte count known to fit.
    pub fn shape_of(&self, p: &TensorParam, found: &mut Vec<Diagnostic>) -> Option<Vec<usize>> {
        let mut shape = vec![];
        for size in &p.shape {
            match size.eval(&self.lookup()) {
                Ok(v) if v >= 0 => shape.push(v as usize),
                Ok(v) => {
                    let message = format!("the extent {size} of `{}` is {v}", p.name);
                    found.push(
                        Diagnostic::global("T0818", message).help("choose dimensions that make it positive"),
                    );
                    return None;
                }
                Err(e) => {
                    found.push(size_error(&format!("`{}`", p.name), &e));
                    return None;
                }
            }
        }
        if tensor::element_count(&shape).and_then(|n| tensor::bytes_of(p.dtype, n)).is_none() {
            let message = format!("`{}` of shape {shape:?} has more elements than 63 bits count", p.name);
            found.push(Diagnostic::global("T0820", message).help("use smaller dimensions"));
            return None;
        }
        Some(shape)
    }

    pub fn known(&self) -> BTreeMap<String, i64> {
        self.values.iter().map(|(k, (v, _))| (k.to_string(), *v)).collect()
    }

    /// All of them, in the signature's order. Call after [`Binding::require_all`] has found nothing.
    pub fn into_dims(self) -> Vec<i64> {
        self.signature.dims.iter().filter_map(|d| self.get(d)).collect()
    }
}

fn symbol(op: Relation) -> &'static str {
    match op {
        Relation::Eq => "==",
        Relation::Ne => "!=",
        Relation::Lt => "<",
        Relation::Le => "<=",
        Relation::Gt => ">",
        Relation::Ge => ">=",
    }
}

fn size_error(what: &str, e: &SizeError) -> Diagnostic {
    match e {
        SizeError::Unbound(name) => {
            Diagnostic::global("T0816", format!("{what}: nothing shows the dimension `{name}`"))
                .help(format!("give a tensor that has it, or `--dim {name}=VALUE`"))
        }
        _ => Diagnostic::global("T0820", format!("{what}: {e}")).help("use smaller dimensions"),
    }
}
