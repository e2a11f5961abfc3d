//! A device and its primary context.

use super::error::{CudaError, check, describe};
use cudarc::driver::sys::{self, CUdevice_attribute, CUresult};

/// The oldest driver that has everything that is called here (cuLaunchKernelEx, tensor maps).
const OLDEST: i32 = 12000;

/// A CUDA device with its primary context held.
#[derive(Debug)]
pub struct Device {
    pub ordinal: u32,
    pub name: String,
    /// Compute capability times ten: 90 for Hopper.
    pub capability: u32,
    /// Version of the driver as it counts: 12080 is 12.8.
    pub driver: i32,
    handle: sys::CUdevice,
    context: sys::CUcontext,
}

// SAFETY: the driver's handles may be used from any thread; each use makes the context current first.
unsafe impl Send for Device {}
unsafe impl Sync for Device {}

impl Device {
    /// Loads the driver and holds the primary context of a device.
    pub fn open(ordinal: u32) -> Result<Device, CudaError> {
        let driver = initialised()?;
        let no_device = |why: String| CudaError::NoDevice { wanted: ordinal, why };
        let mut count = 0;
        // SAFETY: the library is there, and every pointer is to a live local.
        unsafe {
            check("cuDeviceGetCount", sys::cuDeviceGetCount(&mut count))?;
            if i64::from(ordinal) >= i64::from(count) {
                return Err(no_device(format!("the driver has {count}")));
            }
            let mut handle = 0;
            check("cuDeviceGet", sys::cuDeviceGet(&mut handle, ordinal as i32))?;
            let mut name = [0; 256];
            check("cuDeviceGetName", sys::cuDeviceGetName(name.as_mut_ptr(), 255, handle))?;
            let mut context = std::ptr::null_mut();
            match sys::cuDevicePrimaryCtxRetain(&mut context, handle) {
                CUresult::CUDA_SUCCESS => {}
                other => return Err(no_device(describe(other))),
            }
            let name: Vec<u8> = name.iter().take_while(|&&c| c != 0).map(|&c| c as u8).collect();
            let name = String::from_utf8_lossy(&name).into_owned();
            let mut device = Device { ordinal, name, capability: 0, driver, handle, context };
            let major = device.attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
            let minor = device.attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
            device.capability = (major * 10 + minor) as u32;
            Ok(device)
        }
    }

    /// One of the numbers that the driver tells of a device.
    pub fn attribute(&self, attribute: CUdevice_attribute) -> Result<i32, CudaError> {
        let mut value = 0;
        // SAFETY: the pointer is to a live local, the handle is the driver's.
        let result = unsafe { sys::cuDeviceGetAttribute(&mut value, attribute, self.handle) };
        check("cuDeviceGetAttribute", result).map(|()| value)
    }

    /// Makes the context current on this thread.
    pub(super) fn bind(&self) -> Result<(), CudaError> {
        // SAFETY: the context is held by `self`.
        check("cuCtxSetCurrent", unsafe { sys::cuCtxSetCurrent(self.context) })
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: retained in `open`, released once.
        unsafe { sys::cuDevicePrimaryCtxRelease_v2(self.handle) };
    }
}

/// Initialises the driver; its version.
fn initialised() -> Result<i32, CudaError> {
    // SAFETY: only looks for the library, which has no requirements.
    if !unsafe { sys::is_culib_present() } {
        return Err(CudaError::NoDriver("the library `libcuda.so.1` is not found".into()));
    }
    // SAFETY: the library is there, and every driver has these two.
    unsafe {
        match sys::cuInit(0) {
            CUresult::CUDA_SUCCESS => {}
            other => return Err(CudaError::NoDriver(describe(other))),
        }
        let mut version = 0;
        check("cuDriverGetVersion", sys::cuDriverGetVersion(&mut version))?;
        match version >= OLDEST {
            true => Ok(version),
            false => {
                let (major, minor) = (version / 1000, version % 1000 / 10);
                Err(CudaError::NoDriver(format!(
                    "the driver is of CUDA {major}.{minor}; 12.0 is the oldest used"
                )))
            }
        }
    }
}
