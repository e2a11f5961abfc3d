//! Results of the API: numbers, names, sentences.

use crate::entry::{Answer, give};
use std::ffi::c_char;

include!(concat!(env!("OUT_DIR"), "/results.rs"));

/// A result other than success, by the driver's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Error(pub u32);

pub const INVALID_VALUE: Error = Error(1);
pub const OUT_OF_MEMORY: Error = Error(2);
pub const NOT_INITIALIZED: Error = Error(3);
pub const INVALID_DEVICE: Error = Error(101);
pub const INVALID_IMAGE: Error = Error(200);
pub const INVALID_CONTEXT: Error = Error(201);
pub const NO_BINARY_FOR_GPU: Error = Error(209);
pub const UNSUPPORTED_LIMIT: Error = Error(215);
pub const INVALID_PTX: Error = Error(218);
pub const FILE_NOT_FOUND: Error = Error(301);
pub const INVALID_HANDLE: Error = Error(400);
pub const ILLEGAL_STATE: Error = Error(401);
pub const NOT_FOUND: Error = Error(500);
pub const ILLEGAL_ADDRESS: Error = Error(700);
pub const LAUNCH_OUT_OF_RESOURCES: Error = Error(701);
pub const LAUNCH_TIMEOUT: Error = Error(702);
pub const PRIMARY_CONTEXT_ACTIVE: Error = Error(708);
pub const MISALIGNED_ADDRESS: Error = Error(716);
pub const LAUNCH_FAILED: Error = Error(719);
pub const COOPERATIVE_LAUNCH_TOO_LARGE: Error = Error(720);
pub const NOT_PERMITTED: Error = Error(800);
pub const NOT_SUPPORTED: Error = Error(801);
pub const STREAM_CAPTURE_UNSUPPORTED: Error = Error(900);
pub const STREAM_CAPTURE_UNMATCHED: Error = Error(903);
pub const STREAM_CAPTURE_UNJOINED: Error = Error(904);
pub const STREAM_CAPTURE_MERGE: Error = Error(902);
pub const CAPTURED_EVENT: Error = Error(907);
pub const INVALID_CLUSTER_SIZE: Error = Error(912);
pub const UNKNOWN: Error = Error(999);

/// Name and sentence, each ending with a zero.
fn find(code: u32) -> Option<(&'static str, &'static str)> {
    RESULTS.iter().find(|(n, ..)| *n == code).map(|&(_, name, words)| (name, words))
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(find(self.0).map_or("an unknown result", |(name, _)| name.trim_end_matches('\0')))
    }
}

/// # Safety
/// As for [`give`].
unsafe fn text(
    code: u32,
    place: *mut *const c_char,
    which: fn((&'static str, &'static str)) -> &'static str,
) -> Answer {
    let found = find(code).map(which);
    // SAFETY: as the caller promises.
    unsafe { give(place, found.map_or(std::ptr::null(), |t| t.as_ptr().cast()))? };
    found.map(drop).ok_or(INVALID_VALUE)
}

entries! {
    fn cuGetErrorName(code: u32, name: *mut *const c_char) {
        unsafe { text(code, name, |(name, _)| name) }
    }

    fn cuGetErrorString(code: u32, sentence: *mut *const c_char) {
        unsafe { text(code, sentence, |(_, words)| words) }
    }
}
