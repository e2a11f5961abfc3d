//! Points in time on the device.

use super::{
    Device,
    error::{CudaError, check},
};
use cudarc::driver::sys;

/// A point in the order of the default stream.
#[derive(Debug)]
pub struct Event<'d> {
    device: &'d Device,
    handle: sys::CUevent,
}

impl<'d> Event<'d> {
    /// Records the point that the stream has come to with what was enqueued so far.
    pub fn record(device: &'d Device) -> Result<Event<'d>, CudaError> {
        device.bind()?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the pointer is to a live local; the null stream always is there.
        unsafe {
            check("cuEventCreate", sys::cuEventCreate(&mut handle, 0))?;
            let event = Event { device, handle };
            check("cuEventRecord", sys::cuEventRecord(handle, std::ptr::null_mut()))?;
            Ok(event)
        }
    }

    /// Waits for the later one; seconds between the two.
    pub fn seconds_until(&self, later: &Event) -> Result<f64, CudaError> {
        self.device.bind()?;
        let mut milliseconds = 0.0;
        // SAFETY: both events are live.
        unsafe {
            check("cuEventSynchronize", sys::cuEventSynchronize(later.handle))?;
            let result = sys::cuEventElapsedTime(&mut milliseconds, self.handle, later.handle);
            check("cuEventElapsedTime", result)?;
        }
        Ok(f64::from(milliseconds) / 1e3)
    }
}

impl Drop for Event<'_> {
    fn drop(&mut self) {
        if self.device.bind().is_ok() {
            // SAFETY: created in `record`, destroyed once.
            unsafe { sys::cuEventDestroy_v2(self.handle) };
        }
    }
}
