//! One kernel under one choice of its parameters: signature, `par`, body.

use crate::{
    elab::{Elab, Frame, Instance},
    loops::Over,
    module::{ItemRef, Module},
    typed::*,
    value::{Binding, Scope, Val},
};
use std::collections::BTreeSet;
use tile_base::{Diagnostic, signature::Relation};
use tile_syntax::ast::{self, BinaryOp, Expr, ExprKind, Generic, StmtKind};

/// A kernel specialised, or all that is wrong with it.
pub fn instantiate(m: &Module, kernel: &str, instance: &Instance) -> Result<TypedKernel, Vec<Diagnostic>> {
    match m.kernel(m.main(), kernel) {
        Some((k, item)) => instantiate_item(m, k, item, instance),
        None => Err(vec![Diagnostic::global("T0200", format!("there is no kernel `{kernel}`"))]),
    }
}

pub(crate) fn instantiate_item(
    m: &Module,
    k: &ast::Kernel,
    item: ItemRef,
    instance: &Instance,
) -> Result<TypedKernel, Vec<Diagnostic>> {
    let mut e = Elab::new(m);
    let kernel = e.kernel(k, item, instance);
    let mut diags = std::mem::take(&mut e.diags);
    dedupe(&mut diags);
    match kernel {
        Some(mut kernel) if !tile_base::diagnostic::any_error(&diags) => {
            kernel.notes.extend(diags);
            Ok(kernel)
        }
        _ => {
            if diags.is_empty() {
                diags.push(Diagnostic::error("T0200", k.name.span, "this kernel could not be read"));
            }
            Err(diags)
        }
    }
}

/// One message for each code and place.
pub(crate) fn dedupe(diags: &mut Vec<Diagnostic>) {
    let mut seen = BTreeSet::new();
    diags.retain(|d| {
        let place = d.primary.map(|s| (s.file.0, s.start, s.end));
        seen.insert((d.code, place, d.primary.is_none().then(|| d.message.clone())))
    });
}

impl<'m> Elab<'m> {
    pub(crate) fn kernel(
        &mut self,
        k: &'m ast::Kernel,
        item: ItemRef,
        instance: &Instance,
    ) -> Option<TypedKernel> {
        self.frames.push(Frame {
            file: item.0,
            scopes: vec![Scope::new()],
            prefix: String::new(),
            item,
            name: k.name.name.clone(),
        });
        self.signature.kernel = k.name.name.clone();
        self.absent = instance.absent.clone();
        self.generics(&k.generics, instance, k.name.span)?;
        self.params(&k.params);
        self.captures_of(&k.generics);
        if self.diags.is_empty() {
            self.bindable();
        }
        for f in &k.facts {
            self.fact(f);
        }
        let (before, par, body) = self.body(&k.body);
        let notes = std::mem::take(&mut self.notes);
        Some(TypedKernel {
            name: k.name.name.clone(),
            span: k.name.span,
            signature: std::mem::take(&mut self.signature),
            objects: std::mem::take(&mut self.objects),
            tiles: std::mem::take(&mut self.tiles),
            spans: std::mem::take(&mut self.spans),
            locals: std::mem::take(&mut self.locals),
            before,
            par,
            body,
            claims: std::mem::take(&mut self.claims),
            inlined: std::mem::take(&mut self.inlined).into_iter().collect(),
            notes,
        })
    }

    // ------------------------------------------------------------ the body

    pub(crate) fn body(&mut self, body: &'m ast::Block) -> (Vec<TStmt>, Vec<ParAxis>, Vec<TStmt>) {
        self.frame_mut().scopes.push(Scope::new());
        let mut par = None;
        let mut rest = vec![];
        let (before, ()) = self.block(|this| {
            for s in &body.stmts {
                match (&s.kind, &par) {
                    (StmtKind::Par { axes, body }, None) => par = Some(this.par(axes, body)),
                    (_, Some(_)) => rest.push(s.span),
                    _ => this.statements_of(std::slice::from_ref(s)),
                }
            }
            if let Some(v) = &body.value {
                match par {
                    Some(_) => rest.push(v.span),
                    None => {
                        if this.eval_unused(v) {
                            rest.push(v.span);
                        }
                    }
                }
            }
        });
        if let Some(&span) = rest.first() {
            let d = Diagnostic::error("T0246", span, "nothing follows the `par` of a kernel");
            self.report(d.help("put it inside: `par` is the whole of the work, or make a second kernel"));
        }
        match par {
            Some((axes, stmts)) => (before, axes, stmts),
            None => (vec![], vec![], before),
        }
    }

    /// An `if` at the end of a body without `;`. True: a value that goes nowhere.
    pub(crate) fn eval_unused(&mut self, v: &'m Expr) -> bool {
        match &v.kind {
            ExprKind::If(i) => {
                self.if_value(i, v.span, false);
                false
            }
            _ => {
                let v = self.eval(v);
                !matches!(v, Val::Unit | Val::Error)
            }
        }
    }

    pub(crate) fn par(
        &mut self,
        axes: &'m [ast::ParAxis],
        body: &'m ast::Block,
    ) -> (Vec<ParAxis>, Vec<TStmt>) {
        let mut out = vec![];
        self.frame_mut().scopes.push(Scope::new());
        for a in axes {
            let (setup, over) = self.block(|this| {
                let v = this.eval(&a.range);
                this.over(v, a.range.span, false)
            });
            if out.iter().any(|p: &ParAxis| p.name == a.name.name) {
                let d = Diagnostic::error(
                    "T0201",
                    a.name.span,
                    format!("the axis `{}` occurs twice", a.name.name),
                );
                self.report(d);
            }
            match over {
                None => self.bind(&a.name.name, Binding::Val(Val::Error)),
                Some(Over::List { .. }) => {
                    let d = Diagnostic::error(
                        "T0252",
                        a.range.span,
                        "`par` runs over a dimension, a range or tiles of one",
                    );
                    self.report(d.help("run over the positions of the list and load the element inside"));
                    self.bind(&a.name.name, Binding::Val(Val::Error));
                }
                Some(over) => {
                    if let Over::Each { reverse: true, .. } | Over::Tiles { reverse: true, .. } = over {
                        let d = Diagnostic::error(
                            "T0246",
                            a.range.span,
                            "`par` has no order, so none to reverse",
                        );
                        self.report(d.help("drop `.rev()`; the order of launch is the schedule's"));
                    }
                    let (iter, lo, hi) = self.bind_iter(&a.name.name, &a.name.name, &over, a.name.span);
                    out.push(ParAxis { name: a.name.name.clone(), iter, setup, lo, hi, span: a.name.span });
                }
            }
        }
        let (stmts, ()) = self.block(|this| {
            this.scoped(|this| {
                this.statements_of(&body.stmts);
                if let Some(v) = &body.value
                    && this.eval_unused(v)
                {
                    let d = Diagnostic::error("T0247", v.span, "this value is not used");
                    this.report(d.help("store it: `o[i] = ...;`"));
                }
            })
        });
        self.frame_mut().scopes.pop();
        (out, stmts)
    }
}

pub(crate) fn generic_name(g: &Generic) -> &ast::Ident {
    match g {
        Generic::Dtype { name, .. } | Generic::Const { name, .. } | Generic::Function { name, .. } => name,
    }
}

pub(crate) fn relation(op: BinaryOp) -> Option<Relation> {
    Some(match op {
        BinaryOp::Eq => Relation::Eq,
        BinaryOp::Ne => Relation::Ne,
        BinaryOp::Lt => Relation::Lt,
        BinaryOp::Le => Relation::Le,
        BinaryOp::Gt => Relation::Gt,
        BinaryOp::Ge => Relation::Ge,
        _ => return None,
    })
}

pub(crate) fn relation_text(r: Relation) -> &'static str {
    match r {
        Relation::Eq => "==",
        Relation::Ne => "!=",
        Relation::Lt => "<",
        Relation::Le => "<=",
        Relation::Gt => ">",
        Relation::Ge => ">=",
    }
}
