//! What the authors of a file's kernels claim, and how each claim is known (`tilec check --claims`).

use crate::session::Loaded;
use tile_base::Span;
use tile_syntax::ast::ItemKind;

/// One claim of one kernel.
#[derive(Clone, Debug)]
pub struct Claim {
    pub kernel: String,
    /// `skip`, `merge`, `affine`, `unique`.
    pub kind: &'static str,
    /// Path of the loop or of the store.
    pub path: String,
    pub span: Span,
    /// Proven by the checker; else every test case puts it to the test on the oracle.
    pub proven: bool,
    /// Why it holds, or what the oracle does to test it.
    pub reason: String,
}

/// The claims of every kernel of the file, in the order of the file.
pub fn of(loaded: &Loaded) -> Vec<Claim> {
    let mut out = vec![];
    for item in &loaded.ast().items {
        let ItemKind::Kernel(kernel) = &item.kind else { continue };
        let name = &kernel.name.name;
        out.extend(tile_sema::claims(&loaded.module, name).into_iter().map(|c| Claim {
            kernel: name.clone(),
            kind: c.kind,
            path: c.path,
            span: c.span,
            proven: c.proven,
            reason: c.reason,
        }));
    }
    out
}
