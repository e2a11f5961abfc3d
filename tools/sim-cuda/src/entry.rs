//! The border to C: how a function of the driver is written here.
//!
//! ```text
//! entries! {
//!     fn cuMemFree_v2(address: u64) {
//!         current(|driver, _| driver.free(address))
//!     }
//! }
//! ```
//!
//! makes the exported `extern "C" fn cuMemFree_v2(u64) -> u32`. The body gives an [`Answer`]; a panic in it ends there, is
//! logged, and becomes CUDA_ERROR_UNKNOWN: unwinding into C would be undefined.

use crate::{
    errors::{Error, UNKNOWN},
    log,
};
use std::panic::{AssertUnwindSafe, catch_unwind};

pub type Answer = Result<(), Error>;

/// Runs the body of an entry.
pub fn guard(name: &'static str, body: impl FnOnce() -> Answer) -> u32 {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => error.0,
        Err(_) => {
            log::line(&format!("sim-cuda: {name} panicked; this is a fault of the library"));
            UNKNOWN.0
        }
    }
}

/// Exported functions of the driver. Each stands at the beginning of a line, four columns in, as build.rs expects.
macro_rules! entries {
    ($($(#[$attr:meta])* fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $body:block)*) => { $(
        $(#[$attr])*
        #[unsafe(no_mangle)]
        #[allow(non_snake_case, clippy::too_many_arguments)]
        pub unsafe extern "C" fn $name($($arg: $ty),*) -> u32 {
            $crate::entry::guard(stringify!($name), || $body)
        }
    )* };
}

/// A function that is not written: it says so, and its name.
macro_rules! stub {
    ($name:ident) => {
        #[unsafe(no_mangle)]
        #[allow(non_snake_case)]
        pub unsafe extern "C" fn $name() -> u32 {
            $crate::entry::guard(stringify!($name), || {
                $crate::log::unsupported(stringify!($name));
                Err($crate::errors::NOT_SUPPORTED)
            })
        }
    };
}

/// Stores a result where the client asked for it; INVALID_VALUE when it gave no place.
///
/// # Safety
/// The pointer is null or good for a write, as the client promises.
pub unsafe fn give<T>(place: *mut T, value: T) -> Answer {
    match place.is_null() {
        true => Err(crate::errors::INVALID_VALUE),
        false => {
            // SAFETY: not null, and the client's promise. C does not promise alignment of what it casts.
            unsafe { place.write_unaligned(value) };
            Ok(())
        }
    }
}

/// The same for a result that the client may leave out.
///
/// # Safety
/// As for [`give`].
pub unsafe fn offer<T>(place: *mut T, value: T) {
    // SAFETY: as the caller promises.
    let _ = unsafe { give(place, value) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::INVALID_VALUE;

    #[test]
    fn a_panic_becomes_a_result() {
        assert_eq!(guard("cuTest", || panic!("within an entry")), UNKNOWN.0);
        assert_eq!(guard("cuTest", || Err(INVALID_VALUE)), 1);
        // SAFETY: null is one of the cases.
        assert_eq!(unsafe { give(std::ptr::null_mut::<u32>(), 1) }, Err(INVALID_VALUE));
    }
}
