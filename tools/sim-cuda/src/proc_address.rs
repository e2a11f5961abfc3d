//! Functions by name and version.
//!
//! One name may mean several signatures: `cuCtxCreate` at version 3020, 11040 and 12050 takes three, four and three other
//! arguments, and is exported as `cuCtxCreate_v2`, `_v3`, `_v4`. A client says for which version of CUDA it was built and
//! gets the newest form that is no newer. Forms for "per thread" default streams are the same functions here.

use crate::{
    entry::{Answer, give, offer},
    errors::{INVALID_VALUE, NOT_FOUND, NOT_SUPPORTED},
    log,
    stubs::FUNCTIONS,
};
use std::ffi::{CStr, c_char, c_void};

/// Results of a query: found, no such name, no form so old.
const FOUND: u32 = 0;
const UNKNOWN: u32 = 1;
const TOO_NEW: u32 = 2;

/// The function, or why there is none.
fn find(name: &str, version: i32) -> Result<*const (), u32> {
    let forms = || FUNCTIONS.iter().filter(|f| f.name == name);
    match forms().filter(|f| f.since <= version).max_by_key(|f| f.since) {
        Some(form) => Ok(form.entry.0),
        None if forms().next().is_some() => Err(TOO_NEW),
        None => Err(UNKNOWN),
    }
}

unsafe fn query(name: *const c_char, place: *mut *const (), version: i32, status: *mut u32) -> Answer {
    if name.is_null() || place.is_null() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: a C string, as the client promises.
    let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
    let found = find(&name, version);
    unsafe {
        offer(status, found.err().unwrap_or(FOUND));
        give(place, found.unwrap_or(std::ptr::null()))?;
    }
    match found {
        Ok(_) => Ok(()),
        Err(_) => {
            log::unsupported(&format!("{name} for CUDA {version}"));
            // The newer form tells by its status, and succeeds.
            if status.is_null() { Err(NOT_FOUND) } else { Ok(()) }
        }
    }
}

entries! {
    fn cuGetProcAddress(name: *const c_char, place: *mut *const (), version: i32, _flags: u64) {
        unsafe { query(name, place, version, std::ptr::null_mut()) }
    }

    fn cuGetProcAddress_v2(
        name: *const c_char,
        place: *mut *const (),
        version: i32,
        _flags: u64,
        status: *mut u32,
    ) {
        unsafe { query(name, place, version, status) }
    }

    fn cuGetExportTable(table: *mut *const c_void, _id: *const [u8; 16]) {
        log::unsupported("a private table of functions (cuGetExportTable)");
        unsafe { offer(table, std::ptr::null()) };
        Err(NOT_SUPPORTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{context, device::VERSION};

    #[test]
    fn a_version_gets_the_form_of_its_time() {
        let v2 = context::cuCtxCreate_v2 as *const ();
        assert_eq!(find("cuCtxCreate", 3020), Ok(v2));
        assert_eq!(find("cuCtxCreate", 11030), Ok(v2));
        assert_eq!(find("cuCtxCreate", VERSION), Ok(context::cuCtxCreate_v4 as *const ()));
        assert_eq!(find("cuTensorMapEncodeTiled", 11000), Err(TOO_NEW));
        assert_eq!(find("cuFrobnicate", VERSION), Err(UNKNOWN));
    }
}
