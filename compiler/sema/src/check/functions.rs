//! Functions that nothing in the file calls are looked into as well, as far as their types are known: a function whose
//! parameters are all scalars is elaborated once for scalars.

use crate::{
    elab::{Elab, Frame},
    module::Module,
    typed::*,
    value::*,
};
use tile_base::{DType, Diagnostic};
use tile_syntax::ast::{Fn, TypeKind};

pub fn check(m: &Module, f: &Fn, out: &mut Vec<Diagnostic>) {
    let Some(item) = m.resolve(m.main(), &f.name.name) else { return };
    let mut e = Elab::new(m);
    let frame = Frame {
        file: m.main(),
        scopes: vec![Scope::new()],
        prefix: String::new(),
        item: (usize::MAX, usize::MAX),
        name: String::new(),
    };
    e.frames.push(frame);
    let mut vals = vec![];
    for p in &f.params {
        let elem = match &p.ty.kind {
            TypeKind::Scalar(t) if t.name == "index" => Elem::Index,
            TypeKind::Scalar(t) => match DType::from_name(&t.name) {
                Some(d) => Elem::Of(d),
                None => return,
            },
            TypeKind::Index { .. } => Elem::Index,
            _ => return,
        };
        let local = e.local(&p.name.name, Type::scalar(elem), false, p.name.span);
        vals.push((None, Val::Expr(e.read(local, p.name.span)), p.name.span));
    }
    if f.generics.is_empty() {
        e.inline(&FnVal { item, alias: f.name.name.clone() }, vals, f.name.span);
        out.append(&mut e.diags);
        out.append(&mut e.notes);
    }
}
