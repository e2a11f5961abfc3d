//! Checking a file: every kernel and op at enough instances that each branch is looked into, specs, tests, schedules.
//!
//! A kernel's faults can depend on its parameters (`if bias { … }`, a literal that does not fit f16), so it is
//! elaborated at several instances: each dtype, both values of each bool const, each optional tensor there and not,
//! and pairs of these as far as the limit goes. Integer consts take the values of the file's tests, else distinct
//! multiples of 16, so that two different sizes are never equal by accident. Equal messages are said once.

mod functions;
mod instances;
mod names;
mod schedules;
mod spec;
mod tests;

use crate::grad::Form;
use crate::{elab::Instance, grad, host, kernel, module::Module, typed::TypedKernel};
use names::Names;
use std::collections::{HashMap, HashSet};
use tile_base::Diagnostic;
use tile_syntax::ast::{self, ItemKind};

/// All that is wrong with the main file, in order of position.
pub fn check(m: &Module) -> Vec<Diagnostic> {
    let mut out = vec![];
    m.check_names(&mut out);
    let Some(file) = m.main_file() else { return out };
    // What each kernel and op was found to be, for the names that schedules use.
    let mut made: HashMap<&str, Vec<TypedKernel>> = HashMap::new();
    for (at, item) in m.items() {
        match &item.kind {
            ItemKind::Kernel(k) => {
                let instances = instances::of(m, &k.name.name, &k.generics, &k.params, &k.facts);
                let found = made.entry(&k.name.name).or_default();
                for instance in instances {
                    match kernel::instantiate_item(m, k, at, &instance) {
                        Ok(kernel) => {
                            out.extend(kernel.notes.iter().cloned());
                            found.push(kernel);
                        }
                        Err(faults) => out.extend(faults),
                    }
                }
            }
            ItemKind::Op(op) => {
                let mut instances = instances::of(m, &op.name.name, &op.generics, &op.params, &op.facts);
                // What a grad makes: one body twice, of which the second time only the head is new.
                match m.derived(at).map(|d| d.form) {
                    Some(Form::Vjp) => instances.truncate(12),
                    Some(Form::Bwd) => instances.truncate(2),
                    None => {}
                }
                let found = made.entry(&op.name.name).or_default();
                for instance in instances {
                    match host::instantiate_op_item(m, op, at, &instance) {
                        Ok(program) => found.extend(program.kernels),
                        Err(faults) => out.extend(faults),
                    }
                }
            }
            _ => {}
        }
    }
    beside(m, file, &made, &mut out);
    kernel::dedupe(&mut out);
    out.sort_by_key(|d| d.primary.map(|s| (s.file.0, s.start, s.end)));
    out
}

/// Functions, specs, tests and schedules.
fn beside(m: &Module, file: &ast::File, made: &HashMap<&str, Vec<TypedKernel>>, out: &mut Vec<Diagnostic>) {
    let names = |name: &ast::Ident, code, what: &str, out: &mut Vec<Diagnostic>| {
        let kernels = made.get(name.name.as_str()).map_or(&[][..], |k| &k[..]);
        let found = Names::of(m, &name.name, kernels);
        // An item that could not be read may be the one that is meant.
        let unread = file.items.iter().any(|i| matches!(i.kind, ItemKind::Broken));
        if found.is_none() && !unread {
            let all = file.items.iter().filter_map(|i| match &i.kind {
                ItemKind::Kernel(k) => Some(k.name.name.as_str()),
                ItemKind::Op(o) => Some(o.name.name.as_str()),
                _ => None,
            });
            let d = Diagnostic::error(
                code,
                name.span,
                format!("there is no kernel or op `{}` for this {what}", name.name),
            );
            out.push(match crate::module::nearest(&name.name, all) {
                Some(near) => d.help(format!("did you mean `{near}`?")),
                None => d.help(format!("a {what} has the name of the kernel that it belongs to")),
            });
        }
        found
    };
    let called: HashSet<&str> =
        made.values().flatten().flat_map(|k| &k.inlined).map(String::as_str).collect();
    let mut all_schedules = vec![];
    for (at, item) in file.items.iter().enumerate() {
        match &item.kind {
            ItemKind::Spec(s) => {
                if let Some(n) = names(&s.name, "T0272", "spec", out) {
                    spec::check(m, s, &n, out);
                }
            }
            ItemKind::Test(t) if m.grad(&t.name.name).is_some_and(|(_, form)| form == Form::Bwd) => {
                let (f, _) = t.name.name.split_once('.').unwrap_or_default();
                let d = Diagnostic::error(
                    "T0280",
                    t.name.span,
                    format!("`{}` has no tests of its own", t.name.name),
                );
                out.push(d.help(format!("`test {f}.vjp` checks both programs of the grad")));
            }
            ItemKind::Test(t) => {
                if let Some(n) = names(&t.name, "T0280", "test", out) {
                    tests::check(m, t, n, out);
                }
            }
            ItemKind::Schedule(s) => {
                all_schedules.push(s);
                if let Some(n) = names(&s.name, "T0290", "schedule", out) {
                    let broken = made.get(s.name.name.as_str()).is_some_and(Vec::is_empty);
                    if !broken {
                        schedules::check(s, &n, out);
                    }
                }
            }
            ItemKind::Fn(f) => functions::check(m, f, called.contains(f.name.name.as_str()), out),
            ItemKind::Grad(g) => out.extend(grad::faults(file, at, g)),
            _ => {}
        }
    }
    schedules::unreachable(&all_schedules, out);
}

/// The instances at which a kernel of the main file is checked, most telling first.
pub fn instances_of(m: &Module, kernel: &str) -> Vec<Instance> {
    let file = m.main();
    match (m.kernel(file, kernel), m.op(file, kernel)) {
        (Some((k, _)), _) => instances::of(m, kernel, &k.generics, &k.params, &k.facts),
        (_, Some((o, _))) => instances::of(m, kernel, &o.generics, &o.params, &o.facts),
        _ => vec![],
    }
}

/// What the author of a kernel claims, and what is known of it.
pub fn claims(m: &Module, kernel: &str) -> Vec<crate::typed::ClaimInfo> {
    let mut out: Vec<crate::typed::ClaimInfo> = vec![];
    for instance in instances_of(m, kernel) {
        if let Ok(k) = kernel::instantiate(m, kernel, &instance) {
            for c in k.claims {
                if !out.iter().any(|o| o.kind == c.kind && o.span == c.span && o.path == c.path) {
                    out.push(c);
                }
            }
        }
    }
    out
}
