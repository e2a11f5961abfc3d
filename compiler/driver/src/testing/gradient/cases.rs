//! What a `grad` is tested with: its own tests, `test f.vjp { … }`, else some cases of the forward's that are small enough for
//! every check to take no time.

use crate::{
    choose::{self, Callable},
    testing::{Case, cases::cases},
};
use tile_base::Diagnostic;
use tile_sema::{ConstValue, Module, grad::Form};
use tile_syntax::ast::{Access, Grad, Ident, ItemKind, Param, Test, TestItem, TypeKind};

/// Elements of all tensors of a case that is taken over.
const SMALL: i64 = 1 << 13;
/// Cases that are taken over.
const TAKEN: usize = 4;

/// The cases of a test, or why there are none.
type Cases = Result<Vec<Case>, Vec<Diagnostic>>;

/// The programs `f.vjp` that no test block names, with the cases that they are tested with.
pub fn untold(module: &Module) -> Vec<(String, Cases)> {
    let grads = module.items().filter_map(|(_, item)| match &item.kind {
        ItemKind::Op(o) => module.grad(&o.name.name).filter(|(_, form)| *form == Form::Vjp),
        _ => None,
    });
    let mut out = vec![];
    for (grad, form) in grads {
        let name = format!("{}.{}", grad.name.name, form.suffix());
        let tests = module.tests_of(&name);
        if tests.iter().all(|t| t.name.name != name) {
            let taken = taken(module, grad, &name, &tests);
            out.push((name, taken));
        }
    }
    out
}

fn taken(module: &Module, grad: &Grad, name: &str, tests: &[&Test]) -> Cases {
    let Some(callable) = choose::callables(module).find(|c| c.name.name == name) else { return Ok(vec![]) };
    let smooth = |t: &&&Test| !t.items.iter().any(|i| matches!(i, TestItem::Rounded(_)));
    let mut small: Vec<Case> = vec![];
    for test in tests.iter().filter(smooth) {
        let found = cases(module, &retarget(test, callable))?.cases;
        small.extend(found.into_iter().filter(|c| elements(callable, c) <= SMALL));
    }
    if small.is_empty() {
        let message = format!("no case of the tests of `{}` can check its grad", grad.name.name);
        let d = Diagnostic::error("T0485", grad.name.span, message);
        return Err(vec![d.help(format!("add `test {name} {{ … }}` with small shapes"))]);
    }
    let count = small.len().min(TAKEN);
    Ok((0..count).map(|n| small[n * small.len() / count].clone()).collect())
}

/// A test of `f` or `f.vjp` as one of a program of the `grad`.
pub fn retargeted(module: &Module, name: &str, test: &Test) -> Option<Test> {
    Some(retarget(test, choose::callables(module).find(|c| c.name.name == name)?))
}

/// What the program does not have is left out.
fn retarget(test: &Test, callable: Callable) -> Test {
    let param = |n: &Ident| callable.params.iter().find(|p| p.name.name == n.name);
    let writes = |p: &Param| p.mode.is_some_and(|m| m.access != Access::In);
    let items = test.items.iter().filter_map(|item| match item {
        TestItem::Tolerance { name, .. } => param(name).is_some_and(writes).then(|| item.clone()),
        TestItem::Absent { names, span } => {
            let optional = |n: &&Ident| param(n).is_some_and(|p| p.mode.is_some_and(|m| m.optional));
            let names: Vec<Ident> = names.iter().filter(optional).cloned().collect();
            (!names.is_empty()).then_some(TestItem::Absent { names, span: *span })
        }
        TestItem::Rounded(_) => None,
        _ => Some(item.clone()),
    });
    let name = Ident { name: callable.name.name.clone(), span: test.name.span };
    Test { name, items: items.collect() }
}

/// Of all tensors, as far as the case says what their dimensions are.
fn elements(callable: Callable, case: &Case) -> i64 {
    let value = |n: &str| match case.consts.get(n) {
        Some(ConstValue::Int(v)) => Some(*v),
        _ => case.dims.get(n).copied(),
    };
    let of = |p: &Param| match &p.ty.kind {
        TypeKind::Tile { axes, .. } => axes
            .iter()
            .map(|a| choose::size_of(a).and_then(|s| s.eval(&value).ok()).unwrap_or(1))
            .fold(1i64, i64::saturating_mul),
        _ => 0,
    };
    callable.params.iter().map(of).fold(0, i64::saturating_add)
}
