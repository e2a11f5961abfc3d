//! What the functions of a launch capture, and where the op has it.
//!
//! ```text
//! op k<mask: fn(…) -> bool>(q: …, doc: in i32[S]) {      called with `mask = window`: `mask.width` is a parameter of k
//!     run f<mask = mask>(q, …);                          f's mask.width is k's mask.width
//!     run f<mask = document>(q, …);                      f's mask.doc is k's own `doc`
//! }
//! ```

use crate::{
    elab::ident_of,
    host::{Host, Passed, PassedKind},
    typed::*,
    value::{Binding, Val},
};
use tile_base::{Diagnostic, Span};
use tile_syntax::ast::{self, Expr, Generic, Ident};

/// A tensor that a function of a launch captures.
pub(crate) struct Captured<'m> {
    pub param: &'m ast::Param,
    /// `mask.doc`, as the kernel calls it.
    pub name: String,
    pub passed: Passed,
    pub at: Span,
}

impl<'m> Host<'m> {
    /// What the functions of a launch capture. A function that the op itself was given has brought its tensors along
    /// as parameters, `mask.doc`; one that is named in the op finds them there: `doc` is the op's own.
    pub(crate) fn captured(
        &mut self,
        k: &'m ast::Kernel,
        file: usize,
        generics: &'m [(Ident, Expr)],
        span: Span,
    ) -> Option<Vec<Captured<'m>>> {
        let mut out = vec![];
        for g in &k.generics {
            let Generic::Function { name: of, default, .. } = g else { continue };
            let named = generics.iter().find(|(n, _)| n.name == of.name).map(|(_, value)| value);
            let at = named.map_or(span, |value| value.span);
            let (item, alias) = match (named.and_then(ident_of), default) {
                (Some(n), _) => match self.e.lookup(n) {
                    Some(Binding::Val(Val::Fn(f))) => (Some(f.item), Some(f.alias.clone())),
                    _ => (self.e.m.resolve(self.e.frame().file, n), None),
                },
                (None, Some(d)) => (self.e.m.resolve(file, &d.name), None),
                (None, None) => continue,
            };
            let Some(ast::ItemKind::Fn(f)) = item.map(|i| &self.e.m.item(i).kind) else { continue };
            for param in &f.using {
                let what = &param.name.name;
                let object = match &alias {
                    Some(alias) => self.e.captured.get(&format!("{alias}.{what}")).copied(),
                    None => match self.e.lookup(what) {
                        Some(Binding::Val(Val::Tensor(o))) => Some(Some(*o)),
                        Some(Binding::Val(Val::Absent(_))) => Some(None),
                        _ => None,
                    },
                };
                let passed = match object {
                    Some(Some(o)) => self.whole(o),
                    Some(None) => Passed { arg: HostArg::Absent, kind: PassedKind::Absent },
                    None => {
                        let message =
                            format!("`{}` captures `{what}`, and the op has no such tensor", f.name.name);
                        let d = Diagnostic::error("T0258", at, message).also(param.span, "captured here");
                        self.e.report(d.help(format!(
                            "give the op a parameter or a `temp` named `{what}`, or take the function as a parameter of the op"
                        )));
                        return None;
                    }
                };
                out.push(Captured { param, name: format!("{}.{what}", of.name), passed, at });
            }
        }
        Some(out)
    }
}
