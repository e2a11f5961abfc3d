//! Memory: allocations on the device and pinned ones on the host, sets, and what the client may ask about a pointer.

use crate::{
    device::MEMORY,
    entry::{Answer, give, offer},
    errors::{Error, INVALID_VALUE, NOT_SUPPORTED, OUT_OF_MEMORY},
    handles::Handle,
    state::{Block, Driver, current},
    work::Work,
};
use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    ffi::c_void,
};

impl Driver {
    pub fn allocate(&mut self, context: Handle, bytes: usize, pool: Option<Handle>) -> Result<u64, Error> {
        let used: usize = self.blocks.values().map(|b| b.bytes).sum();
        if bytes == 0 {
            return Err(INVALID_VALUE);
        }
        if bytes > MEMORY.saturating_sub(used) {
            return Err(OUT_OF_MEMORY);
        }
        self.allocations += 1;
        let name = format!("buffer {}", self.allocations);
        let address = self.memory.reserve(&name, bytes).ok_or(OUT_OF_MEMORY)?;
        self.blocks.insert(address, Block { bytes, context, pool });
        Ok(address)
    }

    pub fn free(&mut self, address: u64) -> Answer {
        self.blocks.remove(&address).ok_or(INVALID_VALUE)?;
        self.memory.release(address);
        Ok(())
    }
}

fn set<const N: usize>(address: u64, value: [u8; N], count: usize, stream: Handle) -> Answer {
    set_2d(address, 0, value, count, 1, stream)
}

fn set_2d<const N: usize>(
    address: u64,
    pitch: usize,
    value: [u8; N],
    width: usize,
    height: usize,
    stream: Handle,
) -> Answer {
    if !address.is_multiple_of(N as u64) || width.checked_mul(N).is_none() {
        return Err(INVALID_VALUE);
    }
    let work = Work::Set { address, value: value.to_vec(), width, height, pitch };
    current(|driver, context| driver.submit(context, stream, work))
}

/// Host memory, page-aligned and zero.
fn allocate_host(place: *mut *mut c_void, bytes: usize) -> Answer {
    current(|driver, _| {
        let layout = Layout::from_size_align(bytes.max(1), 4096).map_err(|_| INVALID_VALUE)?;
        // SAFETY: the layout is not empty.
        let memory = unsafe { alloc_zeroed(layout) };
        if memory.is_null() {
            return Err(OUT_OF_MEMORY);
        }
        driver.host.insert(memory.expose_provenance(), layout.size());
        unsafe { give(place, memory.cast()) }
    })
}

/// One of the numbers about a pointer; the place takes 4 or 8 bytes, as the attribute has it.
unsafe fn pointer_attribute(driver: &Driver, place: *mut c_void, attribute: u32, address: u64) -> Answer {
    let block = driver.memory.range_of(address);
    let pinned = driver.host.range(..=address as usize).next_back();
    let pinned = pinned.filter(|(base, len)| address as usize - **base < **len);
    if block.is_none() && pinned.is_none() {
        return Err(INVALID_VALUE);
    }
    let context = block.and_then(|(base, _)| driver.blocks.get(&base)).map_or(0, |b| b.context);
    // SAFETY: as the client promises for this attribute.
    unsafe {
        match (attribute, block) {
            (1, _) => give(place.cast(), context),
            (2, block) => give(place.cast(), if block.is_some() { 2u32 } else { 1 }),
            (3, Some(_)) => give(place.cast(), address),
            (4, None) => give(place.cast(), address),
            (3 | 4, _) => Err(INVALID_VALUE),
            (6, _) => give(place.cast(), 1u32),
            (7, block) => give(place.cast(), block.map_or(address, |(base, _)| base)),
            (8 | 10 | 14, _) => give(place.cast(), 0u32),
            (9, _) => give(place.cast(), 0i32),
            (11, Some((base, _))) => give(place.cast(), base),
            (12, Some((_, bytes))) => give(place.cast(), bytes),
            (13, _) => give(place.cast(), 1u32),
            _ => Err(NOT_SUPPORTED),
        }
    }
}

entries! {
    fn cuMemAlloc_v2(address: *mut u64, bytes: usize) {
        current(|driver, context| {
            let made = driver.allocate(context, bytes, None)?;
            unsafe { give(address, made) }
        })
    }

    fn cuMemAllocPitch_v2(address: *mut u64, pitch: *mut usize, width: usize, height: usize, _element: u32) {
        current(|driver, context| {
            let row = width.checked_next_multiple_of(512).ok_or(INVALID_VALUE)?;
            let bytes = row.checked_mul(height).ok_or(INVALID_VALUE)?;
            let made = driver.allocate(context, bytes, None)?;
            unsafe { give(pitch, row).and(give(address, made)) }
        })
    }

    fn cuMemFree_v2(address: u64) {
        current(|driver, _| driver.free(address))
    }

    fn cuMemGetAddressRange_v2(base: *mut u64, bytes: *mut usize, address: u64) {
        current(|driver, _| {
            let (start, len) = driver.memory.range_of(address).ok_or(crate::errors::NOT_FOUND)?;
            unsafe {
                offer(base, start);
                offer(bytes, len);
            }
            Ok(())
        })
    }

    fn cuMemAllocHost_v2(place: *mut *mut c_void, bytes: usize) {
        allocate_host(place, bytes)
    }

    fn cuMemHostAlloc(place: *mut *mut c_void, bytes: usize, _flags: u32) {
        allocate_host(place, bytes)
    }

    fn cuMemFreeHost(place: *mut c_void) {
        current(|driver, _| {
            let bytes = driver.host.remove(&place.addr()).ok_or(INVALID_VALUE)?;
            if let Ok(layout) = Layout::from_size_align(bytes, 4096) {
                // SAFETY: given out by `allocate_host` with this layout, and taken from the list.
                unsafe { dealloc(place.cast(), layout) };
            }
            Ok(())
        })
    }

    fn cuMemHostGetFlags(flags: *mut u32, place: *mut c_void) {
        current(|driver, _| {
            driver.host.get(&place.addr()).ok_or(INVALID_VALUE)?;
            unsafe { give(flags, 0) }
        })
    }

    fn cuMemHostRegister_v2(_place: *mut c_void, _bytes: usize, _flags: u32) {
        current(|_, _| Ok(()))
    }

    fn cuMemHostUnregister(_place: *mut c_void) {
        current(|_, _| Ok(()))
    }

    fn cuMemsetD8_v2(address: u64, value: u8, count: usize) {
        set(address, value.to_le_bytes(), count, 0)
    }

    fn cuMemsetD16_v2(address: u64, value: u16, count: usize) {
        set(address, value.to_le_bytes(), count, 0)
    }

    fn cuMemsetD32_v2(address: u64, value: u32, count: usize) {
        set(address, value.to_le_bytes(), count, 0)
    }

    fn cuMemsetD8Async(address: u64, value: u8, count: usize, stream: Handle) {
        set(address, value.to_le_bytes(), count, stream)
    }

    fn cuMemsetD16Async(address: u64, value: u16, count: usize, stream: Handle) {
        set(address, value.to_le_bytes(), count, stream)
    }

    fn cuMemsetD32Async(address: u64, value: u32, count: usize, stream: Handle) {
        set(address, value.to_le_bytes(), count, stream)
    }

    fn cuMemsetD2D8_v2(address: u64, pitch: usize, value: u8, width: usize, height: usize) {
        set_2d(address, pitch, value.to_le_bytes(), width, height, 0)
    }

    fn cuMemsetD2D32_v2(address: u64, pitch: usize, value: u32, width: usize, height: usize) {
        set_2d(address, pitch, value.to_le_bytes(), width, height, 0)
    }

    fn cuPointerGetAttribute(place: *mut c_void, attribute: u32, address: u64) {
        current(|driver, _| unsafe { pointer_attribute(driver, place, attribute, address) })
    }

    fn cuPointerGetAttributes(count: u32, attributes: *const u32, places: *const *mut c_void, address: u64) {
        if attributes.is_null() || places.is_null() {
            return Err(INVALID_VALUE);
        }
        current(|driver, _| {
            for n in 0..count as usize {
                // SAFETY: the client says that both arrays have so many.
                let (attribute, place) = unsafe { (*attributes.add(n), *places.add(n)) };
                // What an address does not have stays as the client set it.
                let _ = unsafe { pointer_attribute(driver, place, attribute, address) };
            }
            Ok(())
        })
    }
}
