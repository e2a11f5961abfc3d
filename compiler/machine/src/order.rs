//! What an access or a fence orders, and for whom (docs/machine.md §3).
//!
//! ```text
//! st.release.gpu [flag], 1         Order { Release, Gpu }      earlier writes are visible to whoever acquires the 1
//! ld.acquire.cta r, [flag]         Order { Acquire, Cta }      …but an acquire by another CTA needs a wider scope
//! st.volatile [x], r               Order { Relaxed, Sys }      strong, orders nothing by itself
//! st [x], r                        Order::WEAK                 may not even be seen before a barrier
//! ```

/// `.weak` and no word are the same; `.volatile` is `relaxed.sys`, `.mmio` too.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Semantics {
    #[default]
    Weak,
    Relaxed,
    Acquire,
    Release,
    AcqRel,
    /// Only of fences.
    SeqCst,
}

/// From narrow to wide.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Scope {
    #[default]
    Cta,
    Cluster,
    Gpu,
    Sys,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Order {
    pub semantics: Semantics,
    pub scope: Scope,
}

impl Order {
    pub const WEAK: Order = Order { semantics: Semantics::Weak, scope: Scope::Cta };

    pub fn acquires(self) -> bool {
        matches!(self.semantics, Semantics::Acquire | Semantics::AcqRel | Semantics::SeqCst)
    }

    pub fn releases(self) -> bool {
        matches!(self.semantics, Semantics::Release | Semantics::AcqRel | Semantics::SeqCst)
    }

    /// A *strong* access: one that may synchronise.
    pub fn strong(self) -> bool {
        self.semantics != Semantics::Weak
    }
}
