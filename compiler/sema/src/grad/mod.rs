//! Backward rules: the two ops that the compiler makes of a `grad`.
//!
//! ```text
//! grad flash_fwd(go for o) -> (dq: sum f32 for q, dk for k, dv for v) {
//!     temp delta: f32[B, HQ, M];
//!     run flash_bwd_delta(o, go, delta);
//!     run flash_bwd_atomic<CAUSAL = CAUSAL>(q, k, v, go, lse, delta, dq, dk, dv, scale);
//! }
//! ```
//!
//! gives, with the generics and facts of `flash_fwd`,
//!
//! ```text
//! op flash_fwd.vjp(q, k, v: in …, o: out? …, lse: out? …, scale, go: in T[B, M, HQ, D], dq: sum f32[B, M, HQ, D], dk, dv: out …)
//!     temp o, lse                                 where they are not asked for
//!     run flash_fwd(q, k, v, o, lse, scale)
//!     … the body …
//! op flash_fwd.bwd(q, k, v, o, lse: in …, scale, go: in …, dq: sum …, dk, dv: out …)
//!     … the body …
//! ```
//!
//! so that everything that works for an op works for a gradient, and nothing downstream knows the word `grad`. The ops have no text
//! of their own: their spans are those of the declaration and of the forward. They are kept beside the file's tree
//! ([`crate::Module::item`] finds them by numbers past its last item), which stays what was written.
//!
//! Invariants: the name of a made op has a dot in it, so it is no name that a file can declare; a `grad` with a fault of its
//! own (`faults.rs`) makes no op.

mod faults;
mod mentions;

use crate::kernel::generic_name;
use faults::Faults;
use mentions::mentioned;
use std::collections::BTreeSet;
use tile_base::{Diagnostic, Span};
use tile_syntax::ast::{
    Access, Arg, Block, Expr, ExprKind, File, Generic, Grad, Gradient, HostOp, Ident, Item, ItemKind, Param,
    ParamMode, Stmt, StmtKind, Type, TypeKind,
};

/// Which of the two programs of a `grad`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// Forward and backward: the vector-Jacobian product.
    Vjp,
    /// The backward alone; what the forward computed is given.
    Bwd,
}

impl Form {
    /// What follows the dot of its name.
    pub fn suffix(self) -> &'static str {
        match self {
            Form::Vjp => "vjp",
            Form::Bwd => "bwd",
        }
    }
}

/// An op that a `grad` makes, beside the item itself.
pub struct Derived {
    pub form: Form,
    /// The declaration's position in its file.
    pub grad: usize,
    /// Runs the forward, for [`Form::Vjp`].
    pub(crate) forward: Block,
    /// Outputs of the forward that the body names, and those that the forward cannot do without.
    pub(crate) saved: BTreeSet<String>,
    pub(crate) required: BTreeSet<String>,
    /// Outputs of the forward.
    pub(crate) outputs: Vec<String>,
    /// A result and the optional input without which there is none.
    pub(crate) ties: Vec<(String, String)>,
    item: Item,
}

impl Derived {
    pub fn item(&self) -> &Item {
        &self.item
    }
}

/// The kernel or op that is differentiated.
pub(crate) struct Forward<'a> {
    pub name: &'a Ident,
    pub generics: &'a [Generic],
    pub params: &'a [Param],
    pub facts: &'a [Expr],
    /// Of an op.
    pub body: Option<&'a Block>,
}

impl<'a> Forward<'a> {
    fn of(file: &'a File, name: &str) -> Option<Forward<'a>> {
        file.items.iter().find_map(|item| match &item.kind {
            ItemKind::Kernel(k) if k.name.name == name => Some(Forward {
                name: &k.name,
                generics: &k.generics,
                params: &k.params,
                facts: &k.facts,
                body: None,
            }),
            ItemKind::Op(o) if o.name.name == name => Some(Forward {
                name: &o.name,
                generics: &o.generics,
                params: &o.params,
                facts: &o.facts,
                body: Some(&o.body),
            }),
            _ => None,
        })
    }

    pub fn param(&self, name: &str) -> Option<&'a Param> {
        self.params.iter().find(|p| p.name.name == name)
    }
}

pub(crate) fn access(p: &Param) -> Access {
    p.mode.map_or(Access::In, |m| m.access)
}

pub(crate) fn is_output(p: &Param) -> bool {
    matches!(access(p), Access::Out | Access::Sum)
}

fn is_optional(p: &Param) -> bool {
    p.mode.is_some_and(|m| m.optional)
}

/// The ops of every `grad` of a file that has no fault.
pub(crate) fn derive(file: &File) -> Vec<Derived> {
    let grads = file.items.iter().enumerate().filter_map(|(at, item)| match &item.kind {
        ItemKind::Grad(g) => Some((at, g, item)),
        _ => None,
    });
    let mut out = vec![];
    for (at, g, item) in grads {
        let Some(forward) = Forward::of(file, &g.name.name) else { continue };
        if faults(file, at, g).is_empty() {
            out.extend([Form::Vjp, Form::Bwd].map(|form| op(at, item, g, &forward, form)));
        }
    }
    out
}

/// What is wrong with a `grad` before its body is looked into.
pub(crate) fn faults(file: &File, at: usize, g: &Grad) -> Vec<Diagnostic> {
    let Some(forward) = Forward::of(file, &g.name.name) else {
        let message = format!("there is no kernel or op `{}` in this file for this grad", g.name.name);
        let d = Diagnostic::error("T0285", g.name.span, message);
        return vec![d.help("a grad stands in the file of the kernel or op that it is of")];
    };
    let earlier = file.items[..at].iter().find_map(|item| match &item.kind {
        ItemKind::Grad(other) if other.name.name == g.name.name => Some(other),
        _ => None,
    });
    if let Some(first) = earlier {
        let d = Diagnostic::error("T0285", g.name.span, format!("a second grad of `{}`", g.name.name));
        return vec![d.also(first.name.span, "first here")];
    }
    Faults::new(g, &forward).find()
}

fn op(at: usize, item: &Item, g: &Grad, forward: &Forward, form: Form) -> Derived {
    let mentioned = mentioned(&g.body);
    let outputs: Vec<&Param> = forward.params.iter().filter(|p| is_output(p)).collect();
    let named = |p: &&&Param| mentioned.contains(p.name.name.as_str());
    let saved: BTreeSet<String> = outputs.iter().filter(named).map(|p| p.name.name.clone()).collect();
    let mut params: Vec<Param> = forward.params.iter().filter_map(|p| carried(p, form, &saved)).collect();
    params.extend(g.seeds.iter().filter_map(|s| gradient(s, forward, Access::In)));
    params.extend(g.results.iter().filter_map(|r| gradient(r, forward, Access::Out)));
    let name = Ident { name: format!("{}.{}", g.name.name, form.suffix()), span: g.name.span };
    let ties = g.results.iter().filter(|r| forward.param(&r.of.name).is_some_and(is_optional));
    Derived {
        form,
        grad: at,
        forward: run_forward(forward, g.name.span),
        required: outputs.iter().filter(|p| !is_optional(p)).map(|p| p.name.name.clone()).collect(),
        outputs: outputs.iter().map(|p| p.name.name.clone()).collect(),
        saved,
        ties: ties.map(|r| (r.name.name.clone(), r.of.name.clone())).collect(),
        item: Item {
            docs: item.docs.clone(),
            kind: ItemKind::Op(HostOp {
                name,
                generics: forward.generics.iter().chain(&g.generics).cloned().collect(),
                params,
                facts: forward.facts.to_vec(),
                body: g.body.clone(),
            }),
            span: item.span,
        },
    }
}

/// A parameter of the forward as a parameter of the made op: outputs are there if asked for, or saved.
fn carried(p: &Param, form: Form, saved: &BTreeSet<String>) -> Option<Param> {
    let mode = match (is_output(p), form) {
        (false, _) => p.mode,
        (true, Form::Vjp) => Some(ParamMode { access: access(p), optional: true }),
        (true, Form::Bwd) if saved.contains(&p.name.name) => {
            Some(ParamMode { access: Access::In, optional: false })
        }
        (true, Form::Bwd) => return None,
    };
    Some(Param { mode, ..p.clone() })
}

/// A gradient has the type of what it is of, unless it names an element type.
fn gradient(g: &Gradient, forward: &Forward, access: Access) -> Option<Param> {
    let of = forward.param(&g.of.name)?;
    let TypeKind::Tile { element, axes } = &of.ty.kind else { return None };
    let element = match &g.element {
        Some(e) => Box::new(Type { kind: TypeKind::Scalar(e.clone()), span: e.span }),
        None => element.clone(),
    };
    let kind = TypeKind::Tile { element, axes: axes.clone() };
    let tied = access == Access::Out && is_optional(of);
    let mode = g.mode.unwrap_or(ParamMode { access, optional: false });
    Some(Param {
        name: g.name.clone(),
        mode: Some(ParamMode { optional: mode.optional || tied, ..mode }),
        ty: Type { kind, span: of.ty.span },
        span: g.span,
    })
}

/// `run f<T = T, CAUSAL = CAUSAL>(q, k, v, o, lse, scale);`, or the body of an op.
fn run_forward(forward: &Forward, span: Span) -> Block {
    if let Some(body) = forward.body {
        return body.clone();
    }
    let named = |name: &Ident| Expr { kind: ExprKind::Name(name.name.clone()), span };
    let generics = forward.generics.iter().map(|g| (generic_name(g).clone(), named(generic_name(g))));
    let args = forward.params.iter().map(|p| Arg { name: None, value: named(&p.name) });
    let name = Ident { name: forward.name.name.clone(), span };
    let kind = StmtKind::Run { name, generics: generics.collect(), args: args.collect() };
    Block { stmts: vec![Stmt { label: None, kind, span }], value: None, span }
}
