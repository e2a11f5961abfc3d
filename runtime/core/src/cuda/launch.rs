//! A [`LaunchImage`] on a device: buffers placed, launched as often as wanted, outputs fetched.

use super::{
    Buffer, Event, Module,
    error::{CudaError, describe},
};
use crate::{Geometry, LaunchImage};
use cudarc::driver::sys::{self, CUresult};
use std::ffi::c_void;
use tile_tensor::Arguments;

/// A launch whose buffers are on the device.
pub struct Prepared<'d> {
    module: &'d Module<'d>,
    function: sys::CUfunction,
    image: &'d LaunchImage,
    buffers: Vec<Buffer<'d>>,
    parameters: Vec<u8>,
}

impl<'d> Prepared<'d> {
    /// Copies the arguments to the device.
    pub fn new(
        module: &'d Module<'d>,
        image: &'d LaunchImage,
        arguments: &Arguments,
    ) -> Result<Prepared<'d>, CudaError> {
        let function = module.function(&image.entry, image.geometry.shared)?;
        let place = |b| Buffer::of(module.device(), &image.contents(b, arguments));
        let buffers = image.buffers.iter().map(place).collect::<Result<Vec<_>, _>>()?;
        let addresses: Vec<u64> = buffers.iter().map(Buffer::address).collect();
        let parameters = image.parameters(&addresses);
        Ok(Prepared { module, function, image, buffers, parameters })
    }

    /// Launches and waits; seconds by the device's own clock. A grid of 0 blocks is not launched.
    pub fn launch(&mut self) -> Result<f64, CudaError> {
        if self.image.geometry.grid.contains(&0) {
            return Ok(0.0);
        }
        let device = self.module.device();
        let before = Event::record(device)?;
        self.enqueue()?;
        let after = Event::record(device).map_err(|e| self.failed(e))?;
        before.seconds_until(&after).map_err(|e| self.failed(e))
    }

    /// Copies what was written into the arguments.
    pub fn fetch(&self, arguments: &mut Arguments) -> Result<(), CudaError> {
        for (buffer, image) in self.buffers.iter().zip(&self.image.buffers) {
            if image.mode.writes() {
                let bytes = buffer.read().map_err(|e| self.failed(e))?;
                self.image.store(image, &bytes, arguments);
            }
        }
        Ok(())
    }

    /// A fault in a kernel is told by the next call that waits for it.
    fn failed(&self, error: CudaError) -> CudaError {
        match error {
            CudaError::Call { error, .. } => CudaError::Launch { kernel: self.image.entry.clone(), error },
            other => other,
        }
    }

    fn enqueue(&mut self) -> Result<(), CudaError> {
        self.module.device().bind()?;
        let base = self.parameters.as_mut_ptr();
        // SAFETY: every start lies inside the parameter bytes.
        let mut pointers: Vec<*mut c_void> =
            self.image.starts().iter().map(|&at| unsafe { base.add(at) }.cast()).collect();
        // SAFETY: the function is of a live module; there is a pointer for each of its parameters, as docs/abi.md has
        // them; the driver copies the bytes before it returns.
        let result = unsafe { call(self.function, &self.image.geometry, pointers.as_mut_ptr()) };
        match result {
            CUresult::CUDA_SUCCESS => Ok(()),
            other => Err(CudaError::Launch { kernel: self.image.entry.clone(), error: describe(other) }),
        }
    }
}

/// Launches a kernel whose parameters are addresses, and waits for it.
pub fn run(module: &Module, entry: &str, geometry: &Geometry, addresses: &[u64]) -> Result<(), CudaError> {
    let function = module.function(entry, geometry.shared)?;
    module.device().bind()?;
    let mut values = addresses.to_vec();
    let mut pointers: Vec<*mut c_void> = values.iter_mut().map(|v| std::ptr::from_mut(v).cast()).collect();
    // SAFETY: the function is of a live module and takes these addresses; the driver copies them before it returns.
    let result = unsafe { call(function, geometry, pointers.as_mut_ptr()) };
    let failed = |error| CudaError::Launch { kernel: entry.into(), error };
    if result != CUresult::CUDA_SUCCESS {
        return Err(failed(describe(result)));
    }
    // SAFETY: a context is current.
    match unsafe { sys::cuCtxSynchronize() } {
        CUresult::CUDA_SUCCESS => Ok(()),
        other => Err(failed(describe(other))),
    }
}

/// The plain launch, or the one that takes attributes where there are clusters.
unsafe fn call(function: sys::CUfunction, g: &Geometry, parameters: *mut *mut c_void) -> CUresult {
    let ([gx, gy, gz], [bx, by, bz]) = (g.grid, g.block);
    let (stream, extra) = (std::ptr::null_mut(), std::ptr::null_mut());
    if g.cluster == [1; 3] {
        // SAFETY: as the caller promises.
        return unsafe {
            sys::cuLaunchKernel(function, gx, gy, gz, bx, by, bz, g.shared, stream, parameters, extra)
        };
    }
    let [x, y, z] = g.cluster;
    let mut cluster = sys::CUlaunchAttribute {
        id: sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION,
        pad: [0; 4],
        value: sys::CUlaunchAttributeValue {
            clusterDim: sys::CUlaunchAttributeValue_union__bindgen_ty_1 { x, y, z },
        },
    };
    let config = sys::CUlaunchConfig {
        gridDimX: gx,
        gridDimY: gy,
        gridDimZ: gz,
        blockDimX: bx,
        blockDimY: by,
        blockDimZ: bz,
        sharedMemBytes: g.shared,
        hStream: stream,
        attrs: &mut cluster,
        numAttrs: 1,
    };
    // SAFETY: as the caller promises; the attribute lives until the call returns.
    unsafe { sys::cuLaunchKernelEx(&config, function, parameters, extra) }
}
