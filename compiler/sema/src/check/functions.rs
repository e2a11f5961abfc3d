//! Functions that nothing calls are looked into as well: each is elaborated once, for scalars of its declared types and
//! tiles whose generic axes are distinct compile-time sizes.

use crate::{
    elab::{Elab, Frame, ident_of},
    module::Module,
    typed::*,
    value::*,
};
use std::collections::BTreeSet;
use tile_base::{DType, Diagnostic, Size};
use tile_syntax::ast::{Expr, ExprKind, Fn, Param, TypeKind};

/// What depends on the dtype that a caller chooses.
const OF_DTYPES: &[&str] = &["T0205", "T0206", "T0207", "T0208", "T0232"];

/// `called`: functions that some kernel has inlined already.
pub fn check(m: &Module, f: &Fn, called: bool, out: &mut Vec<Diagnostic>) {
    let Some(item) = m.resolve(m.main(), &f.name.name) else { return };
    if !f.generics.is_empty() || (called && f.asm.is_none()) {
        return;
    }
    let mut e = Elab::new(m);
    let frame = Frame {
        file: m.main(),
        scopes: vec![Scope::new()],
        prefix: String::new(),
        item: (usize::MAX, usize::MAX),
        name: String::new(),
    };
    e.frames.push(frame);
    let (mut vals, mut axes, mut generic) = (vec![], BTreeSet::new(), false);
    for p in &f.params {
        let Some(ty) = sample(p, &mut axes, &mut generic) else { return };
        let local = e.local(&p.name.name, ty, false, p.name.span);
        vals.push((None, Val::Expr(e.read(local, p.name.span)), p.name.span));
    }
    e.inline(&FnVal { item, alias: f.name.name.clone() }, vals, f.name.span);
    e.diags.retain(|d| !generic || !OF_DTYPES.contains(&d.code));
    out.append(&mut e.diags);
    out.append(&mut e.notes);
}

/// A type that the parameter takes; its generic dtype is f32.
fn sample(p: &Param, axes: &mut BTreeSet<String>, generic: &mut bool) -> Option<Type> {
    let mut elem = |kind: &TypeKind| match kind {
        TypeKind::Scalar(t) if t.name == "index" => Some(Elem::Index),
        TypeKind::Scalar(t) => Some(Elem::Of(DType::from_name(&t.name).unwrap_or_else(|| {
            *generic = true;
            DType::F32
        }))),
        TypeKind::Index { .. } => Some(Elem::Index),
        _ => None,
    };
    match &p.ty.kind {
        TypeKind::Tile { element, axes: list } => {
            let elem = elem(&element.kind)?;
            Some(Type::tile(elem, list.iter().map(|a| axis(a, axes)).collect::<Option<_>>()?))
        }
        kind => elem(kind).map(Type::scalar),
    }
}

fn axis(e: &Expr, seen: &mut BTreeSet<String>) -> Option<Axis> {
    if let ExprKind::Int(1) = e.kind {
        return Some(Axis::One);
    }
    let name = ident_of(e)?.to_string();
    seen.insert(name.clone());
    let nth = seen.iter().position(|n| *n == name)? as u64;
    Some(Axis::Fixed { size: Size::name(name), value: 16 * (nth + 1) })
}
