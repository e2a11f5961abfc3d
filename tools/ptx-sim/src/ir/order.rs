//! What a fence is for; what orders what is said by [`tile_machine::order`].

pub use tile_machine::order::{Order, Scope, Semantics};

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
