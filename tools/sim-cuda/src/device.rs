//! Initialisation and the one device: its name, its attributes, its memory.
//!
//! It is shown as a chip of the Hopper generation with an H200's figures, because that is what the project's code for
//! sm_90a is made for. What the simulator does not have (textures, peers, managed memory) is shown as not there.

use crate::{
    entry::{Answer, give, offer},
    errors::{INVALID_DEVICE, INVALID_VALUE},
    log,
    state::{any, ready},
};
use std::ffi::{CStr, c_char};

/// The version of the API, as CUDA counts.
pub const VERSION: i32 = 13_000;
pub const NAME: &str = "ptx-sim (sm_90)";
pub const CAPABILITY: u32 = 90;
/// Bytes that a client may believe to have.
pub const MEMORY: usize = 141 << 30;
pub const MULTIPROCESSORS: i32 = 132;
/// Shared memory: of a CTA unasked and after opting in, of a multiprocessor, and what each CTA takes beside its own.
pub const SHARED: usize = 48 << 10;
pub const SHARED_OPT_IN: usize = 227 << 10;
pub const SHARED_SM: usize = 228 << 10;
pub const SHARED_RESERVED: usize = 1 << 10;
pub const THREADS_SM: usize = 2048;
pub const CTAS_SM: usize = 32;

/// Dynamic shared memory that is left for a CTA with so much of fixed size; `None` when even that does not fit.
pub fn shared_room(fixed: usize) -> Option<usize> {
    SHARED_OPT_IN.checked_sub(fixed)
}

/// Where the simulator's addresses lie, and how much of it is kept from the host.
const ADDRESSES: usize = 0x7000_0000_0000;
const RESERVED: usize = 1 << 40;

/// Keeps the device's addresses from ever being memory of the host, so that a host access to one faults.
fn keep_addresses() {
    // SAFETY: maps nothing over what is there, without rights and without memory behind it.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE;
        let place = std::ptr::without_provenance_mut(ADDRESSES);
        if libc::mmap(place, RESERVED, libc::PROT_NONE, flags, -1, 0) == libc::MAP_FAILED {
            log::line("sim-cuda: the device's addresses could not be reserved; a host access may not fault");
        }
    }
}

pub fn check_device(device: i32) -> Answer {
    if device == 0 { Ok(()) } else { Err(INVALID_DEVICE) }
}

/// Value of an attribute; most that are not named are "no" or "none".
fn attribute(number: u32) -> Option<i32> {
    const KIB: i32 = 1 << 10;
    Some(match number {
        1..=3 => 1024,
        4 => 64,
        5 => i32::MAX,
        6 | 7 => 65_535,
        8 => SHARED as i32,
        9 => 64 * KIB,
        10 => 32,
        11 => i32::MAX,
        12 | 82 => 65_536,
        13 => 1_755_000,
        14 => 512,
        15 | 31 => 1,
        16 => MULTIPROCESSORS,
        30 => 512,
        // Copy engines, bus: PCIe device 1 of domain 0.
        33 => 1,
        36 => 2_619_000,
        37 => 5120,
        38 => 50 << 20,
        39 => THREADS_SM as i32,
        40 => 1,
        41 => 1,
        51 => 32,
        75 => CAPABILITY as i32 / 10,
        76 => CAPABILITY as i32 % 10,
        78..=80 => 1,
        81 => SHARED_SM as i32,
        87 => 2,
        90 => 1,
        95 => 1,
        97 => SHARED_OPT_IN as i32,
        106 => CTAS_SM as i32,
        111 => SHARED_RESERVED as i32,
        115 => 1,
        120 => 1,
        126 => 4,
        127 => 1,
        129 => 1,
        130 | 131 | 134 => -1,
        0 | 162.. => return None,
        _ => 0,
    })
}

entries! {
    fn cuInit(flags: u32) {
        if flags != 0 {
            return Err(INVALID_VALUE);
        }
        any(|driver| {
            if !driver.initialised {
                keep_addresses();
                driver.initialised = true;
            }
            Ok(())
        })
    }

    fn cuDriverGetVersion(version: *mut i32) {
        unsafe { give(version, VERSION) }
    }

    fn cuDeviceGetCount(count: *mut i32) {
        ready(|_| unsafe { give(count, 1) })
    }

    fn cuDeviceGet(device: *mut i32, ordinal: i32) {
        ready(|_| {
            check_device(ordinal)?;
            unsafe { give(device, ordinal) }
        })
    }

    fn cuDeviceGetName(name: *mut c_char, length: i32, device: i32) {
        ready(|_| {
            check_device(device)?;
            let room = usize::try_from(length).map_err(|_| INVALID_VALUE)?;
            if name.is_null() || room == 0 {
                return Err(INVALID_VALUE);
            }
            let text = &NAME.as_bytes()[..NAME.len().min(room - 1)];
            // SAFETY: the client has `length` bytes there, and the text with its zero is no longer.
            unsafe {
                std::ptr::copy_nonoverlapping(text.as_ptr().cast(), name, text.len());
                name.add(text.len()).write(0);
            }
            Ok(())
        })
    }

    fn cuDeviceGetUuid(uuid: *mut [u8; 16], device: i32) {
        ready(|_| {
            check_device(device)?;
            unsafe { give(uuid, *b"ptx-sim device 0") }
        })
    }

    fn cuDeviceGetUuid_v2(uuid: *mut [u8; 16], device: i32) {
        ready(|_| {
            check_device(device)?;
            unsafe { give(uuid, *b"ptx-sim device 0") }
        })
    }

    fn cuDeviceTotalMem_v2(bytes: *mut usize, device: i32) {
        ready(|_| {
            check_device(device)?;
            unsafe { give(bytes, MEMORY) }
        })
    }

    fn cuDeviceGetAttribute(value: *mut i32, number: u32, device: i32) {
        ready(|_| {
            check_device(device)?;
            unsafe { give(value, attribute(number).ok_or(INVALID_VALUE)?) }
        })
    }

    fn cuDeviceComputeCapability(major: *mut i32, minor: *mut i32, device: i32) {
        ready(|_| {
            check_device(device)?;
            unsafe { give(major, CAPABILITY as i32 / 10).and(give(minor, CAPABILITY as i32 % 10)) }
        })
    }

    fn cuDeviceGetPCIBusId(text: *mut c_char, length: i32, device: i32) {
        const ID: &CStr = c"0000:01:00.0";
        ready(|_| {
            check_device(device)?;
            let bytes = ID.to_bytes_with_nul();
            if text.is_null() || usize::try_from(length).is_ok_and(|n| n < bytes.len()) || length < 0 {
                return Err(INVALID_VALUE);
            }
            // SAFETY: the client has `length` bytes there.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), text, bytes.len()) };
            Ok(())
        })
    }

    fn cuDeviceCanAccessPeer(can: *mut i32, device: i32, peer: i32) {
        ready(|_| {
            check_device(device).and(check_device(peer))?;
            unsafe { give(can, 0) }
        })
    }

    fn cuDeviceGetExecAffinitySupport(supported: *mut i32, _kind: u32, device: i32) {
        ready(|_| {
            check_device(device)?;
            unsafe { give(supported, 0) }
        })
    }

    fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) {
        crate::state::current(|driver, _| {
            let used: usize = driver.blocks.values().map(|b| b.bytes).sum();
            unsafe {
                offer(free, MEMORY.saturating_sub(used));
                offer(total, MEMORY);
            }
            Ok(())
        })
    }
}
