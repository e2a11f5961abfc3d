//! What an access or a fence orders, and for whom (docs/machine.md §3).

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

/// What a fence is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fence {
    /// `fence.{sc,acq_rel,acquire,release}.SCOPE`, `membar`.
    Thread(Order),
    /// `fence.proxy.async{.global,.shared::cta,…}`: between the generic and the async proxy.
    ProxyAsync { global: bool, shared: bool },
    /// `fence.proxy.alias`.
    ProxyAlias,
    /// `fence.proxy.tensormap::generic.release.SCOPE`.
    TensorMapRelease { scope: Scope },
    /// `fence.proxy.tensormap::generic.acquire.SCOPE [addr], 128`.
    TensorMapAcquire { scope: Scope, at: super::Addr },
    /// `fence.mbarrier_init.release.cluster`.
    MbarrierInit,
}
