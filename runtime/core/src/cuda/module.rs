//! PTX through the driver's own compiler.

use super::{
    Device,
    error::{CudaError, check, describe},
};
use cudarc::driver::sys::{self, CUjit_option, CUresult};
use std::ffi::{CString, c_void};

/// Bytes that the driver's compiler may write about what it does not like.
const LOG: usize = 16 << 10;

/// Code on a device.
#[derive(Debug)]
pub struct Module<'d> {
    device: &'d Device,
    name: String,
    handle: sys::CUmodule,
}

impl<'d> Module<'d> {
    /// Compiles PTX for the device. `name` is for messages.
    pub fn load(device: &'d Device, name: &str, ptx: &str) -> Result<Module<'d>, CudaError> {
        device.bind()?;
        let refused = |error: String, log: String| CudaError::Refused { module: name.into(), error, log };
        let text = CString::new(ptx)
            .map_err(|_| refused("there is a zero byte in the text".into(), String::new()))?;
        let mut log = vec![0u8; LOG];
        let mut options =
            [CUjit_option::CU_JIT_ERROR_LOG_BUFFER, CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
        // Values of an option are pointers or, as here the size, numbers in a pointer's place.
        let mut values = [log.as_mut_ptr().cast::<c_void>(), std::ptr::without_provenance_mut(LOG)];
        let mut handle = std::ptr::null_mut();
        // SAFETY: the text ends with a zero; the log has the size that is said; arrays have two entries each.
        let result = unsafe {
            sys::cuModuleLoadDataEx(
                &mut handle,
                text.as_ptr().cast(),
                options.len() as u32,
                options.as_mut_ptr(),
                values.as_mut_ptr(),
            )
        };
        match result {
            CUresult::CUDA_SUCCESS => Ok(Module { device, name: name.into(), handle }),
            other => {
                let end = log.iter().position(|&b| b == 0).unwrap_or(LOG);
                let log = String::from_utf8_lossy(&log[..end]).trim().to_string();
                Err(refused(describe(other), log))
            }
        }
    }

    /// A kernel of the module, allowed to use so much dynamic shared memory, or what an earlier call allowed.
    pub(super) fn function(&self, entry: &str, shared: u32) -> Result<sys::CUfunction, CudaError> {
        /// What every kernel may use unasked.
        const UNASKED: u32 = 48 << 10;
        self.device.bind()?;
        let missing = |error| CudaError::Refused { module: self.name.clone(), error, log: String::new() };
        let name = CString::new(entry).map_err(|_| missing(format!("no kernel is called {entry:?}")))?;
        let mut function = std::ptr::null_mut();
        // SAFETY: the module is live, the name ends with a zero.
        unsafe {
            match sys::cuModuleGetFunction(&mut function, self.handle, name.as_ptr()) {
                CUresult::CUDA_SUCCESS => {}
                other => return Err(missing(format!("kernel `{entry}`: {}", describe(other)))),
            }
            use sys::CUfunction_attribute as Attribute;
            let limit = Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            let known = |attribute| {
                let mut value = 0;
                let result = sys::cuFuncGetAttribute(&mut value, attribute, function);
                check("cuFuncGetAttribute", result).map(|()| value as u32)
            };
            // What the kernel declares itself counts towards what it may use unasked.
            let own = known(Attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES)?;
            if shared > 0 && shared + own > UNASKED {
                let allowed = shared.max(known(limit)?);
                check("cuFuncSetAttribute", sys::cuFuncSetAttribute(function, limit, allowed as i32))?;
            }
        }
        Ok(function)
    }

    pub(super) fn device(&self) -> &'d Device {
        self.device
    }
}

impl Drop for Module<'_> {
    fn drop(&mut self) {
        if self.device.bind().is_ok() {
            // SAFETY: loaded in `load`, unloaded once.
            unsafe { sys::cuModuleUnload(self.handle) };
        }
    }
}
