//! Bytes in host memory, aligned to 64 (a cache line, and the widest vector load), zero at first.
//!
//! The only unsafe code of the crate: allocation that can fail without ending the process (a shape typed by a user
//! may ask for more than there is), and that leaves large zero buffers to the operating system's zero pages.

use std::alloc::{Layout, alloc_zeroed, dealloc};

/// Alignment of the first byte.
pub const ALIGN: usize = 64;

/// Owned bytes. The address is stable for the life of the buffer.
#[derive(Debug)]
pub struct Buffer {
    base: *mut u8,
    /// From `base` to the first aligned byte.
    skip: usize,
    len: usize,
}

// SAFETY: a buffer owns its allocation alone; shared access is by `&self`, which only reads.
unsafe impl Send for Buffer {}
unsafe impl Sync for Buffer {}

impl Buffer {
    /// `None` when the machine does not give that much.
    pub fn zeroed(len: usize) -> Option<Buffer> {
        let layout = Self::layout(len)?;
        // SAFETY: the layout is never of size 0.
        let base = unsafe { alloc_zeroed(layout) };
        if base.is_null() {
            return None;
        }
        let skip = base.align_offset(ALIGN);
        Some(Buffer { base, skip, len })
    }

    /// Room for the bytes, for alignment, and to the end of the last line.
    fn layout(len: usize) -> Option<Layout> {
        let size = len.checked_add(2 * ALIGN)?;
        Layout::from_size_align(size, 16).ok()
    }

    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: `skip < ALIGN`, so `skip + len` lies inside the allocation, which is initialised.
        unsafe { std::slice::from_raw_parts(self.base.add(self.skip), self.len) }
    }

    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `&mut self` is the only way to it.
        unsafe { std::slice::from_raw_parts_mut(self.base.add(self.skip), self.len) }
    }

    pub fn try_clone(&self) -> Option<Buffer> {
        let mut copy = Buffer::zeroed(self.len)?;
        copy.as_mut_slice().copy_from_slice(self.as_slice());
        Some(copy)
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        self.try_clone().unwrap_or_else(|| panic!("out of memory: a copy of {} bytes", self.len))
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(layout) = Self::layout(self.len) {
            // SAFETY: allocated in `zeroed` with this very layout.
            unsafe { dealloc(self.base, layout) }
        }
    }
}
