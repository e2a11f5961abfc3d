//! Memory: allocations, copies, sets, and what the client may ask about a pointer.
//!
//! Both kinds of address come as plain numbers; an address belongs to the device when one of its allocations holds it.
//! Host addresses are used as the client gives them, as any driver does.

use crate::{
    clock,
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

/// One side of a copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    Host(usize),
    Device(u64),
}

/// `height` rows of `width` bytes; the rows of each side `pitch` bytes apart.
#[derive(Clone, Copy, Debug)]
pub struct Copy {
    pub to: Side,
    pub from: Side,
    pub width: usize,
    pub height: usize,
    pub to_pitch: usize,
    pub from_pitch: usize,
}

impl Copy {
    pub fn plain(to: Side, from: Side, bytes: usize) -> Copy {
        Copy { to, from, width: bytes, height: 1, to_pitch: 0, from_pitch: 0 }
    }

    /// Copies; how long it took on the simulated clock.
    pub fn run(&self, driver: &Driver) -> Result<u64, Error> {
        let span = |pitch: usize| pitch.checked_mul(self.height.saturating_sub(1));
        span(self.to_pitch).and(span(self.from_pitch)).ok_or(INVALID_VALUE)?;
        let mut row = vec![];
        row.try_reserve_exact(self.width).map_err(|_| OUT_OF_MEMORY)?;
        row.resize(self.width, 0u8);
        for n in 0..self.height {
            read(driver, self.from, n * self.from_pitch, &mut row)?;
            write(driver, self.to, n * self.to_pitch, &row)?;
        }
        let over_pcie = matches!((self.to, self.from), (Side::Host(_), _) | (_, Side::Host(_)));
        Ok(clock::copy(self.width as u64 * self.height as u64, over_pcie))
    }
}

fn read(driver: &Driver, side: Side, offset: usize, out: &mut [u8]) -> Answer {
    match side {
        _ if out.is_empty() => Ok(()),
        Side::Device(address) => match driver.memory.read(address.wrapping_add(offset as u64), out) {
            true => Ok(()),
            false => Err(INVALID_VALUE),
        },
        Side::Host(0) => Err(INVALID_VALUE),
        Side::Host(address) => {
            let at = std::ptr::with_exposed_provenance::<u8>(address.wrapping_add(offset));
            // SAFETY: the client says that so many bytes are there.
            unsafe { std::ptr::copy_nonoverlapping(at, out.as_mut_ptr(), out.len()) };
            Ok(())
        }
    }
}

fn write(driver: &Driver, side: Side, offset: usize, bytes: &[u8]) -> Answer {
    match side {
        _ if bytes.is_empty() => Ok(()),
        Side::Device(address) => match driver.memory.write(address.wrapping_add(offset as u64), bytes) {
            true => Ok(()),
            false => Err(INVALID_VALUE),
        },
        Side::Host(0) => Err(INVALID_VALUE),
        Side::Host(address) => {
            let at = std::ptr::with_exposed_provenance_mut::<u8>(address.wrapping_add(offset));
            // SAFETY: the client says that there is room for so many bytes.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len()) };
            Ok(())
        }
    }
}

impl Driver {
    pub fn allocate(&mut self, context: Handle, bytes: usize, pool: Option<Handle>) -> Result<u64, Error> {
        let used: usize = self.blocks.values().map(|b| b.bytes).sum();
        if bytes == 0 {
            return Err(INVALID_VALUE);
        }
        if bytes > MEMORY.saturating_sub(used) {
            return Err(OUT_OF_MEMORY);
        }
        let name = format!("buffer {}", self.blocks.len());
        let address = self.memory.reserve(&name, bytes).ok_or(OUT_OF_MEMORY)?;
        self.blocks.insert(address, Block { bytes, context, pool });
        Ok(address)
    }

    pub fn free(&mut self, address: u64) -> Answer {
        self.blocks.remove(&address).ok_or(INVALID_VALUE)?;
        self.memory.release(address);
        Ok(())
    }

    /// Which side an address of unified addressing is on.
    fn side(&self, address: u64) -> Side {
        match self.memory.range_of(address) {
            Some(_) => Side::Device(address),
            None => Side::Host(address as usize),
        }
    }
}

/// Copies in the order of a stream.
fn copy(to: Side, from: Side, bytes: usize, stream: Handle) -> Answer {
    current(|driver, context| driver.submit(context, stream, Work::Copy(Copy::plain(to, from, bytes))))
}

fn unified(to: u64, from: u64, bytes: usize, stream: Handle) -> Answer {
    current(|driver, context| {
        let copy = Copy::plain(driver.side(to), driver.side(from), bytes);
        driver.submit(context, stream, Work::Copy(copy))
    })
}

fn host<T>(address: *const T) -> Side {
    Side::Host(address.expose_provenance())
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

/// `CUDA_MEMCPY2D`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Memcpy2d {
    from: Pitched,
    to: Pitched,
    width: usize,
    height: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Pitched {
    x: usize,
    y: usize,
    kind: u32,
    host: usize,
    device: u64,
    array: usize,
    pitch: usize,
}

impl Pitched {
    fn side(&self, driver: &Driver, width: usize) -> Result<(Side, usize), Error> {
        let pitch = if self.pitch == 0 { width } else { self.pitch };
        let start = self.y.wrapping_mul(pitch).wrapping_add(self.x);
        let side = match self.kind {
            1 => Side::Host(self.host.wrapping_add(start)),
            2 => Side::Device(self.device.wrapping_add(start as u64)),
            4 => driver.side(self.device.wrapping_add(start as u64)),
            // Arrays are for textures.
            _ => return Err(NOT_SUPPORTED),
        };
        Ok((side, pitch))
    }
}

unsafe fn copy_2d(what: *const Memcpy2d, stream: Handle) -> Answer {
    if what.is_null() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: not null, and the client's promise.
    let m = unsafe { what.read_unaligned() };
    current(|driver, context| {
        let (from, from_pitch) = m.from.side(driver, m.width)?;
        let (to, to_pitch) = m.to.side(driver, m.width)?;
        let copy = Copy { to, from, width: m.width, height: m.height, to_pitch, from_pitch };
        driver.submit(context, stream, Work::Copy(copy))
    })
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

    fn cuMemcpyHtoD_v2(to: u64, from: *const c_void, bytes: usize) {
        copy(Side::Device(to), host(from), bytes, 0)
    }

    fn cuMemcpyHtoDAsync_v2(to: u64, from: *const c_void, bytes: usize, stream: Handle) {
        copy(Side::Device(to), host(from), bytes, stream)
    }

    fn cuMemcpyDtoH_v2(to: *mut c_void, from: u64, bytes: usize) {
        copy(host(to), Side::Device(from), bytes, 0)
    }

    fn cuMemcpyDtoHAsync_v2(to: *mut c_void, from: u64, bytes: usize, stream: Handle) {
        copy(host(to), Side::Device(from), bytes, stream)
    }

    fn cuMemcpyDtoD_v2(to: u64, from: u64, bytes: usize) {
        copy(Side::Device(to), Side::Device(from), bytes, 0)
    }

    fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: Handle) {
        copy(Side::Device(to), Side::Device(from), bytes, stream)
    }

    fn cuMemcpy(to: u64, from: u64, bytes: usize) {
        unified(to, from, bytes, 0)
    }

    fn cuMemcpyAsync(to: u64, from: u64, bytes: usize, stream: Handle) {
        unified(to, from, bytes, stream)
    }

    fn cuMemcpyPeer(to: u64, _to_context: Handle, from: u64, _from_context: Handle, bytes: usize) {
        copy(Side::Device(to), Side::Device(from), bytes, 0)
    }

    fn cuMemcpyPeerAsync(
        to: u64,
        _to_context: Handle,
        from: u64,
        _from_context: Handle,
        bytes: usize,
        stream: Handle,
    ) {
        copy(Side::Device(to), Side::Device(from), bytes, stream)
    }

    fn cuMemcpy2D_v2(what: *const Memcpy2d) {
        unsafe { copy_2d(what, 0) }
    }

    fn cuMemcpy2DUnaligned_v2(what: *const Memcpy2d) {
        unsafe { copy_2d(what, 0) }
    }

    fn cuMemcpy2DAsync_v2(what: *const Memcpy2d, stream: Handle) {
        unsafe { copy_2d(what, stream) }
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
