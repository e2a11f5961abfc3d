//! Device memory.

use super::{
    Device,
    error::{CudaError, check},
};
use cudarc::driver::sys;

/// Bytes on a device, freed with the value. The driver aligns them to 256.
#[derive(Debug)]
pub struct Buffer<'d> {
    device: &'d Device,
    address: u64,
    bytes: usize,
}

impl<'d> Buffer<'d> {
    /// A copy of host bytes.
    pub fn of(device: &'d Device, contents: &[u8]) -> Result<Buffer<'d>, CudaError> {
        device.bind()?;
        let mut address = 0;
        // SAFETY: the pointer is to a live local; the driver refuses what it cannot give.
        unsafe { check("cuMemAlloc", sys::cuMemAlloc_v2(&mut address, contents.len().max(1)))? };
        let mut buffer = Buffer { device, address, bytes: contents.len() };
        buffer.write(contents)?;
        Ok(buffer)
    }

    pub fn address(&self) -> u64 {
        self.address
    }

    /// Overwrites the buffer from its start.
    pub fn write(&mut self, contents: &[u8]) -> Result<(), CudaError> {
        self.device.bind()?;
        let bytes = contents.len().min(self.bytes);
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: both sides have that many bytes.
        let result = unsafe { sys::cuMemcpyHtoD_v2(self.address, contents.as_ptr().cast(), bytes) };
        check("cuMemcpyHtoD", result)
    }

    /// The contents. Waits for what was launched before.
    pub fn read(&self) -> Result<Vec<u8>, CudaError> {
        self.device.bind()?;
        let mut out = vec![0u8; self.bytes];
        if self.bytes > 0 {
            // SAFETY: both sides have that many bytes.
            let result = unsafe { sys::cuMemcpyDtoH_v2(out.as_mut_ptr().cast(), self.address, self.bytes) };
            check("cuMemcpyDtoH", result)?;
        }
        Ok(out)
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        if self.device.bind().is_ok() {
            // SAFETY: allocated in `of`, freed once.
            unsafe { sys::cuMemFree_v2(self.address) };
        }
    }
}
