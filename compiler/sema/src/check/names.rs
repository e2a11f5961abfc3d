//! What a kernel or op calls things: for checking its specs, tests and schedules.

use crate::{
    elab::ident_of,
    module::Module,
    typed::{Step, TypedKernel},
};
use std::collections::{BTreeMap, BTreeSet};
use tile_base::Span;
use tile_syntax::ast::{self, Access, Expr, ExprKind, Generic, ItemKind, Param, TypeKind};

pub struct Tensor {
    pub rank: usize,
    pub access: Access,
    pub optional: bool,
    /// Names in its shape and in the bound of its elements.
    pub names: BTreeSet<String>,
}

/// The names of one kernel or op.
#[derive(Default)]
pub struct Names<'m> {
    pub dims: Vec<String>,
    pub generics: Vec<&'m Generic>,
    pub tensors: BTreeMap<String, Tensor>,
    pub scalars: Vec<String>,
    pub tiles: BTreeMap<String, Vec<u64>>,
    /// Paths of loops, locals, streams and tensors; more than one span: ambiguous.
    pub paths: BTreeMap<String, BTreeSet<(u32, u32)>>,
    pub is_op: bool,
}

impl<'m> Names<'m> {
    pub fn of(m: &'m Module, name: &str, kernels: &[TypedKernel]) -> Option<Names<'m>> {
        let at = m.resolve(m.main(), name)?;
        let mut out = Names::default();
        let (generics, params, tiles) = match &m.item(at).kind {
            ItemKind::Kernel(k) => (&k.generics, &k.params, &k.body),
            ItemKind::Op(o) => {
                out.is_op = true;
                (&o.generics, &o.params, &o.body)
            }
            _ => return None,
        };
        out.generics = generics.iter().collect();
        for p in params {
            out.param(p, p.name.name.clone());
        }
        for s in &tiles.stmts {
            if let ast::StmtKind::Tile(decls) = &s.kind {
                for d in decls {
                    let allowed = d.choices.iter().filter_map(|c| match c.kind {
                        ExprKind::Int(v) => u64::try_from(v).ok(),
                        _ => None,
                    });
                    out.tiles.insert(d.name.name.clone(), allowed.collect());
                }
            }
        }
        for k in kernels {
            out.paths_of(k);
        }
        Some(out)
    }

    /// Also the captures of a function given for a parameter.
    pub fn captures(&mut self, m: &'m Module, parameter: &str, function: &str) {
        let Some(at) = m.resolve(m.main(), function) else { return };
        if let ItemKind::Fn(f) = &m.item(at).kind {
            for p in &f.using {
                self.param(p, format!("{parameter}.{}", p.name.name));
            }
        }
    }

    fn param(&mut self, p: &'m Param, name: String) {
        let TypeKind::Tile { element, axes } = &p.ty.kind else {
            self.scalars.push(name);
            return;
        };
        let mut names = BTreeSet::new();
        for a in axes {
            collect(a, &mut names);
            self.declare(a);
        }
        if let TypeKind::Index { bound, .. } = &element.kind {
            collect(bound, &mut names);
        }
        let (access, optional) = p.mode.map_or((Access::In, false), |m| (m.access, m.optional));
        self.tensors.insert(name, Tensor { rank: axes.len(), access, optional, names });
    }

    fn declare(&mut self, e: &Expr) {
        let mut names = BTreeSet::new();
        collect(e, &mut names);
        for n in names {
            if self.generic(&n).is_none() && !self.dims.contains(&n) {
                self.dims.push(n);
            }
        }
    }

    pub fn generic(&self, name: &str) -> Option<&'m Generic> {
        self.generics.iter().copied().find(|g| crate::kernel::generic_name(g).name == name)
    }

    fn paths_of(&mut self, k: &TypedKernel) {
        let mut add = |path: &str, span: Span| {
            if !path.is_empty() {
                self.paths.entry(path.to_string()).or_default().insert((span.start, span.end));
            }
        };
        k.spans.iter().for_each(|s| add(&s.path, s.span));
        // A streamed dot and the `let` that holds it are one thing to a schedule.
        let streams: BTreeSet<&str> =
            k.spans.iter().filter(|s| s.step == Step::Hidden).map(|s| &s.path[..]).collect();
        k.locals.iter().filter(|l| !streams.contains(&l.path[..])).for_each(|l| add(&l.path, l.span));
        k.objects.iter().for_each(|o| add(&o.name, o.span));
    }

    /// Every name that a test may bind.
    pub fn bindable(&self) -> Vec<String> {
        let generics = self.generics.iter().map(|g| crate::kernel::generic_name(g).name.clone());
        let mut all: Vec<String> = self.dims.iter().cloned().chain(generics).collect();
        all.extend(self.tensors.keys().cloned());
        all.extend(self.scalars.iter().cloned());
        if self.is_op {
            all.extend(self.tiles.keys().cloned());
        }
        all
    }
}

/// Names in a size expression, but for the functions.
pub fn collect(e: &Expr, out: &mut BTreeSet<String>) {
    match &e.kind {
        ExprKind::Name(n) => {
            out.insert(n.clone());
        }
        ExprKind::Paren(e) | ExprKind::Unary { operand: e, .. } => collect(e, out),
        ExprKind::Binary { lhs, rhs, .. } => {
            collect(lhs, out);
            collect(rhs, out);
        }
        ExprKind::Call { args, .. } => args.iter().for_each(|a| collect(&a.value, out)),
        _ => {}
    }
}

/// A plain name.
pub fn plain(e: &Expr) -> Option<&str> {
    ident_of(e)
}
