//! Global memory as a host sees it: ranges of bytes, and allocations that come and go.
//!
//! Example: a driver allocates 64 bytes, copies 8 of them to offset 16, and frees:
//!
//! ```
//! let mut memory = ptx_sim::memory::Memory::new();
//! let base = memory.reserve("a", 64).unwrap();
//! assert!(memory.write(base + 16, &[1, 2, 3]));
//! let mut back = [0; 4];
//! assert!(memory.read(base + 15, &mut back) && back == [0, 1, 2, 3]);
//! assert!(!memory.read(base + 62, &mut back), "the last bytes would lie outside");
//! assert!(memory.release(base) && !memory.release(base));
//! ```

use super::{Allocation, GAP, Memory};
use std::{
    alloc::{Layout, alloc_zeroed},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

impl Memory {
    /// A new allocation of zeros, of which the system gives no more than is touched. `None` when it gives none.
    pub fn reserve(&mut self, name: &str, len: usize) -> Option<u64> {
        let words = len.div_ceil(8).max(1);
        let layout = Layout::array::<AtomicU64>(words).ok()?;
        // SAFETY: the layout is not empty; zeros are atomics; the box owns the memory with the layout it was made by.
        let words: Box<[AtomicU64]> = unsafe {
            let first = alloc_zeroed(layout).cast::<AtomicU64>();
            if first.is_null() {
                return None;
            }
            Box::from_raw(std::ptr::slice_from_raw_parts_mut(first, words))
        };
        let base = self.next;
        self.by_base.insert(base, Allocation { name: name.into(), base, len, words });
        self.next = (base + len as u64).next_multiple_of(GAP) + GAP;
        Some(base)
    }

    /// Ends an allocation; false when none begins there. Its addresses are not given out again.
    pub fn release(&mut self, base: u64) -> bool {
        self.by_base.remove(&base).is_some()
    }

    /// Copies bytes out; false, and nothing is copied, unless all of them lie in one allocation.
    pub fn read(&self, addr: u64, out: &mut [u8]) -> bool {
        let Some(a) = self.find(addr, out.len() as u64) else { return false };
        let mut at = (addr - a.base) as usize;
        let mut rest = out;
        while !rest.is_empty() {
            let word = a.words[at / 8].load(Relaxed).to_le_bytes();
            let part = (8 - at % 8).min(rest.len());
            let (now, later) = rest.split_at_mut(part);
            now.copy_from_slice(&word[at % 8..at % 8 + part]);
            (rest, at) = (later, at + part);
        }
        true
    }

    /// Copies bytes in; false, and nothing is copied, unless all of them lie in one allocation.
    pub fn write(&self, addr: u64, bytes: &[u8]) -> bool {
        let Some(a) = self.find(addr, bytes.len() as u64) else { return false };
        let mut at = (addr - a.base) as usize;
        let mut rest = bytes;
        while !rest.is_empty() {
            let part = (8 - at % 8).min(rest.len());
            let (now, later) = rest.split_at(part);
            let slot = &a.words[at / 8];
            let mut word = slot.load(Relaxed).to_le_bytes();
            word[at % 8..at % 8 + part].copy_from_slice(now);
            slot.store(u64::from_le_bytes(word), Relaxed);
            (rest, at) = (later, at + part);
        }
        true
    }

    /// Base and length of the allocation that an address lies in.
    pub fn range_of(&self, addr: u64) -> Option<(u64, usize)> {
        self.find(addr, 1).map(|a| (a.base, a.len))
    }
}
