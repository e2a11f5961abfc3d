//! Checking a file: every kernel and op at enough instances that each branch is looked into, specs, tests, schedules.
//!
//! A kernel's faults can depend on its parameters (`if bias { … }`, a literal that does not fit f16), so it is
//! elaborated at several instances: each dtype, both values of each bool const, each optional tensor there and not,
//! and pairs of these as far as the limit goes. Integer consts take the values of the file's tests, else distinct
//! multiples of 16, so that two different sizes are never equal by accident. Equal messages are said once.

mod instances;

use crate::{elab::Instance, host, kernel, module::Module};
use tile_base::Diagnostic;
use tile_syntax::ast::{self, ItemKind};

/// All that is wrong with the main file, in order of position.
pub fn check(m: &Module) -> Vec<Diagnostic> {
    let mut out = vec![];
    m.check_names(&mut out);
    let Some(file) = m.main_file() else { return out };
    for (n, item) in file.items.iter().enumerate() {
        let at = (m.main(), n);
        match &item.kind {
            ItemKind::Kernel(k) => {
                for instance in instances::of(m, &k.name.name, &k.generics, &k.params) {
                    match kernel::instantiate_item(m, k, at, &instance) {
                        Ok(kernel) => out.extend(kernel.notes),
                        Err(faults) => out.extend(faults),
                    }
                }
            }
            ItemKind::Op(op) => {
                for instance in instances::of(m, &op.name.name, &op.generics, &op.params) {
                    match host::instantiate_op_item(m, op, at, &instance) {
                        Ok(_) => {}
                        Err(faults) => out.extend(faults),
                    }
                }
            }
            _ => {}
        }
    }
    kernel::dedupe(&mut out);
    out.sort_by_key(|d| d.primary.map(|s| (s.file.0, s.start, s.end)));
    out
}

/// The instances at which a kernel of the main file is checked, most telling first.
pub fn instances_of(m: &Module, kernel: &str) -> Vec<Instance> {
    let file = m.main();
    match (m.kernel(file, kernel), m.op(file, kernel)) {
        (Some((k, _)), _) => instances::of(m, kernel, &k.generics, &k.params),
        (_, Some((o, _))) => instances::of(m, kernel, &o.generics, &o.params),
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

/// The tests of a kernel or op.
pub(crate) fn tests_of<'m>(m: &'m Module, name: &'m str) -> impl Iterator<Item = &'m ast::Test> {
    m.main_file().into_iter().flat_map(|f| &f.items).filter_map(move |i| match &i.kind {
        ItemKind::Test(t) if t.name.name == name => Some(t),
        _ => None,
    })
}
