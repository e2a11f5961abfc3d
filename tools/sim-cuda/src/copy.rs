//! Copies between host and device, in every direction, in rows, in the order of streams.
//!
//! Both kinds of address come as plain numbers; an address belongs to the device when one of its allocations holds it.
//! Host addresses are used as the client gives them, as any driver does.

use crate::{
    clock,
    entry::Answer,
    errors::{Error, INVALID_VALUE, NOT_SUPPORTED, OUT_OF_MEMORY},
    handles::Handle,
    state::{Driver, current},
    work::Work,
};
use std::ffi::c_void;

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

entries! {
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
}
