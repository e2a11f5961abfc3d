//! The ways to memory, and when a fence has to stand between two of them (docs/machine.md §2).
//!
//! Order alone is not enough: what a thread wrote may sit where the copy engine does not look.
//!
//! ```text
//! warp 0: st.shared [s], r        generic write
//!         fence.proxy.async       ← without it: refuted, though the barrier orders the two
//!         bar.sync 0
//! warp 1: bar.sync 0
//!         wgmma … desc(s)         async read
//! ```

/// A way to memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Proxy {
    /// Plain accesses, atomics, `cp.async`.
    Generic,
    /// Bulk copies, and what `wgmma` reads from shared memory.
    Async,
    /// Reads of tensor maps.
    TensorMap,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Access {
    Read,
    Write,
}

/// What has to stand between two *ordered* accesses to one byte, of which at least one writes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Crossing {
    /// Order suffices.
    Free,
    /// `fence.proxy.async` on the path, before or after the synchronisation.
    AsyncFence,
    /// `fence.proxy.tensormap::generic`: release by the writer, acquire by the reader.
    TensorMapFence,
    /// The letter asks for a fence, and working code does without: to be noted, not refuted.
    Tolerated,
}

/// `first` happens before `then`. A completion that was waited for carries the fence back to the generic proxy.
pub fn crossing(first: (Proxy, Access), then: (Proxy, Access)) -> Crossing {
    use Access::*;
    use Proxy::*;
    match (first, then) {
        ((Generic, Write), (Async, _)) => Crossing::AsyncFence,
        ((Generic, Read), (Async, Write)) => Crossing::Tolerated,
        ((Generic | Async, Write), (TensorMap, Read)) => Crossing::TensorMapFence,
        _ => Crossing::Free,
    }
}

#[cfg(test)]
mod tests {
    use super::{Access::*, Crossing::*, Proxy::*, *};

    #[test]
    fn only_what_threads_wrote_needs_the_async_fence() {
        assert_eq!(crossing((Generic, Write), (Async, Read)), AsyncFence);
        assert_eq!(crossing((Generic, Write), (Async, Write)), AsyncFence);
        assert_eq!(crossing((Async, Write), (Generic, Read)), Free);
        assert_eq!(crossing((Async, Read), (Generic, Write)), Free);
        assert_eq!(crossing((Generic, Read), (Async, Write)), Tolerated);
        assert_eq!(crossing((Generic, Write), (TensorMap, Read)), TensorMapFence);
        assert_eq!(crossing((Async, Write), (Async, Read)), Free);
    }
}
