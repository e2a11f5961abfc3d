//! What can be wrong with the head of a `grad`, each fault with the name that it is about.
//!
//! | fault | code |
//! | --- | --- |
//! | `for` names no output (of a seed) or no input (of a result), or the same one twice | T0285 |
//! | a seed or result that the body never names: its gradient would be zero, or never written | T0285 |
//! | a mode that makes no sense: a seed is `in` or `in?`, a result `out` or `sum`, each maybe `?` | T0285 |
//! | a gradient of integers, indices, bools, scalars, or of a tensor that the forward changes in place | T0286 |
//! | a name that the forward has already | T0201 |

use super::{Forward, access, is_output, mentions::mentioned};
use crate::kernel::generic_name;
use std::collections::BTreeMap;
use tile_base::{DType, Diagnostic, Span};
use tile_syntax::ast::{Access, Generic, Grad, Gradient, Ident, Param, TypeKind};

pub(super) struct Faults<'a> {
    g: &'a Grad,
    forward: &'a Forward<'a>,
    out: Vec<Diagnostic>,
}

/// Which list of a `grad` a gradient stands in.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Seed,
    Result,
}

impl<'a> Faults<'a> {
    pub fn new(g: &'a Grad, forward: &'a Forward<'a>) -> Self {
        Faults { g, forward, out: vec![] }
    }

    pub fn find(mut self) -> Vec<Diagnostic> {
        let g = self.g;
        if let Some(p) = self.forward.params.iter().find(|p| access(p) == Access::InOut) {
            let message = format!(
                "`{}` changes `{}` in place: what it was is lost to the backward",
                g.name.name, p.name.name
            );
            let d = Diagnostic::error("T0286", g.name.span, message).also(p.span, "`inout` here");
            self.out.push(d.help("give the forward an `in` and an `out` tensor"));
        }
        for (list, what) in [(&g.seeds, "an output"), (&g.results, "an input")] {
            if list.is_empty() {
                let message = format!("this grad of `{}` names no gradient of {what}", g.name.name);
                let d = Diagnostic::error("T0285", g.name.span, message);
                self.out.push(d.help("`grad f(go for o) -> (dx for x) { … }`"));
            }
        }
        self.names();
        g.seeds.iter().for_each(|s| self.gradient(s, Side::Seed));
        g.results.iter().for_each(|r| self.gradient(r, Side::Result));
        self.out
    }

    /// Every name is new, and every gradient is of another tensor.
    fn names(&mut self) {
        let own = self.g.seeds.iter().chain(&self.g.results);
        let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
        let forward = self.forward.params.iter().map(|p| &p.name);
        for known in forward.chain(self.forward.generics.iter().map(generic_name)) {
            seen.insert(&known.name, known.span);
        }
        for name in self.g.generics.iter().map(generic_name).chain(own.clone().map(|g| &g.name)) {
            match seen.get(name.name.as_str()) {
                Some(&first) => {
                    let message = format!("`{}` is a name of `{}` already", name.name, self.g.name.name);
                    let d = Diagnostic::error("T0201", name.span, message).also(first, "here");
                    self.out.push(d.help("rename the gradient"));
                }
                None => drop(seen.insert(&name.name, name.span)),
            }
        }
        let mut of: BTreeMap<&str, Span> = BTreeMap::new();
        for g in own {
            if let Some(first) = of.insert(&g.of.name, g.of.span) {
                let message = format!("a second gradient of `{}`", g.of.name);
                self.out.push(Diagnostic::error("T0285", g.of.span, message).also(first, "first here"));
            }
        }
    }

    fn gradient(&mut self, g: &Gradient, side: Side) {
        let name = &self.g.name.name;
        let found = self.forward.param(&g.of.name);
        let fits = |p: &&Param| is_output(p) == (side == Side::Seed) && access(p) != Access::InOut;
        let Some(p) = found.filter(fits) else {
            if found.is_some_and(|p| access(p) == Access::InOut) {
                return; // said once for the forward
            }
            let (what, help) = match side {
                Side::Seed => ("output", "`grad f(go for o) -> …`: `go` is the gradient of the output `o`"),
                Side::Result => {
                    ("input", "`grad f(…) -> (dq for q)`: `dq` is the gradient with respect to the input `q`")
                }
            };
            let d = Diagnostic::error(
                "T0285",
                g.of.span,
                format!("`{}` is not an {what} of `{name}`", g.of.name),
            );
            return self.out.push(d.help(help));
        };
        if let Some(why) = self.not_real(p) {
            let message = format!("`{}` has no gradient: {why}", p.name.name);
            let d = Diagnostic::error("T0286", g.of.span, message).also(p.span, "declared here");
            self.out.push(d.help(match side {
                Side::Seed => "leave it out: nothing flows back through it",
                Side::Result => "leave it out: what has no result is a constant",
            }));
        }
        self.mode(g, side);
        if !mentioned(&self.g.body).contains(g.name.name.as_str()) {
            let message = match side {
                Side::Seed => format!("the body never uses `{}`: nothing would flow back", g.name.name),
                Side::Result => format!("the body never writes `{}`", g.name.name),
            };
            let d = Diagnostic::error("T0285", g.name.span, message);
            self.out.push(d.help("pass it to a `run`"));
        }
    }

    fn mode(&mut self, g: &Gradient, side: Side) {
        let Some(mode) = g.mode else { return };
        let (fits, help) = match side {
            Side::Seed => (mode.access == Access::In, "a seed is `in`, or `in?`: absent, it is zero"),
            Side::Result => (
                matches!(mode.access, Access::Out | Access::Sum),
                "a result is `out` or `sum`; with `?` it is computed if it is asked for",
            ),
        };
        if !fits {
            let message = format!("`{}` cannot have this mode", g.name.name);
            self.out.push(Diagnostic::error("T0285", g.span, message).help(help));
        }
    }

    /// Why the elements of a tensor are no real numbers.
    fn not_real(&self, p: &Param) -> Option<String> {
        let TypeKind::Tile { element, .. } = &p.ty.kind else {
            return Some("it is a scalar; make it a tensor of one element".into());
        };
        let TypeKind::Scalar(name) = &element.kind else { return Some("it holds indices".into()) };
        let not_float = |n: &Ident| !DType::from_name(&n.name).is_some_and(DType::is_float);
        let generic = self.forward.generics.iter().find_map(|g| match g {
            Generic::Dtype { name: n, choices, .. } if n.name == name.name => Some(choices),
            _ => None,
        });
        match generic {
            Some(choices) => {
                let other = choices.iter().find(|c| not_float(c))?;
                Some(format!("its elements may be {}", other.name))
            }
            None => not_float(name).then(|| format!("its elements are {}", name.name)),
        }
    }
}
