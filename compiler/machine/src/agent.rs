//! Who performs accesses (docs/machine.md §1).
//!
//! An asynchronous operation is an agent of its own: it begins with the knowledge of the lane that issued it, and from
//! there on nothing orders it against that lane until somebody learns of its end.
//!
//! ```text
//! st.shared [s], r          lane        generic proxy
//! fence.proxy.async
//! cp.async.bulk [g], [s]    bulk copy   async proxy     begins after the store (same lane, fence between)
//! st.shared [s], q          lane        generic proxy   RACE: the copy may not have read s yet
//! ```

use crate::proxy::Proxy;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Agent {
    /// One thread, by plain accesses; or a warp by collective ones.
    Lane,
    /// One `cp.async`.
    Copy,
    /// One `cp.async.bulk`, tensor or not.
    BulkCopy,
    /// One quarter of a `wgmma`: 16 rows of A and D, all of B.
    TensorOperation,
}

/// How others learn that an asynchronous agent has ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum End {
    /// It is not asynchronous: program order.
    ProgramOrder,
    /// `cp.async.wait_group`, or an mbarrier by `cp.async.mbarrier.arrive`; for the issuing lane.
    CopyGroup,
    /// Bytes counted by an mbarrier (loads), for whoever waits for that phase.
    Transaction,
    /// `cp.async.bulk.wait_group` (stores), for the issuing lane; `.read` frees only the source.
    BulkGroup,
    /// `wgmma.wait_group`, for the issuing warp.
    TensorGroup,
}

impl Agent {
    /// The way by which it reaches memory.
    pub fn proxy(self) -> Proxy {
        match self {
            Agent::Lane | Agent::Copy => Proxy::Generic,
            Agent::BulkCopy | Agent::TensorOperation => Proxy::Async,
        }
    }

    /// The ways its end can be learned.
    pub fn ends(self) -> &'static [End] {
        match self {
            Agent::Lane => &[End::ProgramOrder],
            Agent::Copy => &[End::CopyGroup],
            Agent::BulkCopy => &[End::Transaction, End::BulkGroup],
            Agent::TensorOperation => &[End::TensorGroup],
        }
    }

    pub fn asynchronous(self) -> bool {
        self.ends() != [End::ProgramOrder]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cp_async_is_asynchronous_through_the_generic_proxy() {
        assert!(Agent::Copy.asynchronous() && Agent::Copy.proxy() == Proxy::Generic);
        assert!(!Agent::Lane.asynchronous());
        assert_eq!(Agent::TensorOperation.proxy(), Proxy::Async);
    }
}
