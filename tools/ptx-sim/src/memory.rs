//! Global memory: allocations with guard gaps between them, shared by all CTAs of a grid.
//!
//! Accesses are naturally aligned and at most 8 bytes wide, and go through relaxed atomics, so that CTAs on several
//! threads may touch one allocation without undefined behaviour on the host; what such a race *means* on the device
//! is not decided here.

mod host;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed},
};

/// Address of the first allocation.
const FIRST: u64 = 0x7000_0000_0000;
/// Allocations begin at multiples of this and are kept as far apart, so that a stray access hits none.
const GAP: u64 = 4096;

pub struct Allocation {
    pub name: String,
    pub base: u64,
    pub len: usize,
    words: Box<[AtomicU64]>,
}

#[derive(Default)]
pub struct Memory {
    by_base: BTreeMap<u64, Allocation>,
    next: u64,
}

impl Memory {
    pub fn new() -> Memory {
        Memory { by_base: BTreeMap::new(), next: FIRST }
    }

    /// A new allocation with the given contents; its address.
    pub fn allocate(&mut self, name: &str, bytes: &[u8]) -> u64 {
        let base = self.next;
        let words = bytes
            .chunks(8)
            .map(|chunk| {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                AtomicU64::new(u64::from_le_bytes(word))
            })
            .collect();
        self.by_base.insert(base, Allocation { name: name.into(), base, len: bytes.len(), words });
        self.next = (base + bytes.len() as u64).next_multiple_of(GAP) + GAP;
        base
    }

    /// The contents of the allocation at an address.
    pub fn contents(&self, base: u64) -> Option<Vec<u8>> {
        let a = self.by_base.get(&base)?;
        let mut out: Vec<u8> = a.words.iter().flat_map(|w| w.load(Relaxed).to_le_bytes()).collect();
        out.truncate(a.len);
        Some(out)
    }

    /// The allocation that an access of `bytes` bytes lies in.
    pub fn find(&self, addr: u64, bytes: u64) -> Option<&Allocation> {
        let (_, a) = self.by_base.range(..=addr).next_back()?;
        a.holds(addr, bytes).then_some(a)
    }

    /// What lies nearest to an address, for a message.
    pub fn describe(&self, addr: u64) -> String {
        match self.by_base.range(..=addr).next_back() {
            Some((_, a)) => {
                format!("{} bytes past the start of `{}` ({} bytes)", addr - a.base, a.name, a.len)
            }
            None => "before every allocation".into(),
        }
    }
}

impl Allocation {
    /// Whether an access lies inside.
    #[inline]
    pub fn holds(&self, addr: u64, bytes: u64) -> bool {
        addr.checked_sub(self.base).is_some_and(|offset| offset + bytes <= self.len as u64)
    }

    /// Reads any range inside.
    pub fn read_bytes(&self, addr: u64, out: &mut [u8]) {
        let mut at = 0;
        while at < out.len() {
            let here = addr + at as u64;
            if here.is_multiple_of(8) && out.len() - at >= 8 {
                out[at..at + 8].copy_from_slice(&self.load(here, 8).to_le_bytes());
                at += 8;
            } else {
                out[at] = self.load(here, 1) as u8;
                at += 1;
            }
        }
    }

    /// Writes any range inside.
    pub fn write_bytes(&self, addr: u64, from: &[u8]) {
        let mut at = 0;
        while at < from.len() {
            let here = addr + at as u64;
            match from.get(at..at + 8) {
                Some(word) if here.is_multiple_of(8) => {
                    self.store(here, 8, word.iter().rev().fold(0, |v, b| v << 8 | *b as u64));
                    at += 8;
                }
                _ => {
                    self.store(here, 1, from[at] as u64);
                    at += 1;
                }
            }
        }
    }

    fn pointer(&self, addr: u64) -> *mut u8 {
        let offset = (addr - self.base) as usize;
        debug_assert!(offset < self.len);
        // In bounds: `Memory::find` has checked the whole access.
        unsafe { (self.words.as_ptr() as *mut u8).add(offset) }
    }

    /// Reads 1, 2, 4 or 8 bytes at an aligned address inside.
    #[inline]
    pub fn load(&self, addr: u64, bytes: u8) -> u64 {
        let p = self.pointer(addr);
        // Safety: in bounds and aligned (checked by the caller), and every access to this memory is atomic.
        unsafe {
            match bytes {
                1 => AtomicU8::from_ptr(p).load(Relaxed) as u64,
                2 => AtomicU16::from_ptr(p.cast()).load(Relaxed) as u64,
                4 => AtomicU32::from_ptr(p.cast()).load(Relaxed) as u64,
                _ => AtomicU64::from_ptr(p.cast()).load(Relaxed),
            }
        }
    }

    #[inline]
    pub fn store(&self, addr: u64, bytes: u8, value: u64) {
        let p = self.pointer(addr);
        // Safety: as for `load`.
        unsafe {
            match bytes {
                1 => AtomicU8::from_ptr(p).store(value as u8, Relaxed),
                2 => AtomicU16::from_ptr(p.cast()).store(value as u16, Relaxed),
                4 => AtomicU32::from_ptr(p.cast()).store(value as u32, Relaxed),
                _ => AtomicU64::from_ptr(p.cast()).store(value, Relaxed),
            }
        }
    }

    /// Replaces the value by `f(value)` in one step; the old value.
    pub fn update(&self, addr: u64, bytes: u8, f: impl Fn(u64) -> u64) -> u64 {
        let p = self.pointer(addr);
        // Safety: as for `load`.
        unsafe {
            match bytes {
                8 => AtomicU64::from_ptr(p.cast())
                    .fetch_update(Relaxed, Relaxed, |v| Some(f(v)))
                    .unwrap_or_default(),
                2 => AtomicU16::from_ptr(p.cast())
                    .fetch_update(Relaxed, Relaxed, |v| Some(f(v as u64) as u16))
                    .unwrap_or_default() as u64,
                _ => AtomicU32::from_ptr(p.cast())
                    .fetch_update(Relaxed, Relaxed, |v| Some(f(v as u64) as u32))
                    .unwrap_or_default() as u64,
            }
        }
    }
}
