//! A [`Sequence`] on a device: buffers placed, launched as often as wanted, outputs fetched.

use super::{
    Buffer, Device, Event, Module,
    error::{CudaError, check, describe},
};
use crate::{Geometry, LaunchImage, Sequence};
use cudarc::driver::sys::{self, CUresult};
use std::ffi::c_void;
use tile_tensor::Arguments;

/// Launches whose buffers are on the device. All go to the default stream, in order.
pub struct Prepared<'d> {
    device: &'d Device,
    sequence: &'d Sequence,
    functions: Vec<sys::CUfunction>,
    buffers: Vec<Buffer<'d>>,
    addresses: Vec<u64>,
}

impl<'d> Prepared<'d> {
    /// Copies the arguments to the device. `modules` are those that the launches name.
    pub fn new(
        device: &'d Device,
        modules: &'d [Module<'d>],
        sequence: &'d Sequence,
        arguments: &Arguments,
    ) -> Result<Prepared<'d>, CudaError> {
        let function =
            |l: &crate::Launch| modules[l.module].function(&l.image.entry, l.image.geometry.shared);
        let functions = sequence.launches.iter().map(function).collect::<Result<_, _>>()?;
        let place = |s: &crate::Storage| Buffer::of(device, &s.contents(arguments));
        let buffers = sequence.storages.iter().map(place).collect::<Result<Vec<_>, _>>()?;
        let addresses = buffers.iter().map(Buffer::address).collect();
        Ok(Prepared { device, sequence, functions, buffers, addresses })
    }

    /// Launches all and waits; seconds by the device's own clock. A grid of 0 blocks is not launched.
    pub fn launch(&mut self) -> Result<f64, CudaError> {
        if self.sequence.launches.iter().all(|l| l.image.geometry.grid.contains(&0)) {
            return Ok(0.0);
        }
        let before = Event::record(self.device)?;
        self.enqueue()?;
        let after = Event::record(self.device).map_err(|e| self.failed(e))?;
        before.seconds_until(&after).map_err(|e| self.failed(e))
    }

    /// Copies what was written into the arguments.
    pub fn fetch(&self, arguments: &mut Arguments) -> Result<(), CudaError> {
        for (buffer, storage) in self.buffers.iter().zip(&self.sequence.storages) {
            if storage.fetched {
                let bytes = buffer.read().map_err(|e| self.failed(e))?;
                self.sequence.store(storage, &bytes, arguments);
            }
        }
        Ok(())
    }

    /// A fault in a kernel is told by the next call that waits for it.
    fn failed(&self, error: CudaError) -> CudaError {
        match error {
            CudaError::Call { error, .. } => CudaError::Launch { kernel: self.sequence.name.clone(), error },
            other => other,
        }
    }

    fn enqueue(&self) -> Result<(), CudaError> {
        self.device.bind()?;
        for (launch, &function) in self.sequence.launches.iter().zip(&self.functions) {
            for (address, bytes) in launch.cleared(&self.addresses) {
                // SAFETY: the range lies inside of a live buffer.
                let result = unsafe { sys::cuMemsetD8Async(address, 0, bytes, std::ptr::null_mut()) };
                check("cuMemsetD8Async", result).map_err(|e| self.failed(e))?;
            }
            if !launch.image.geometry.grid.contains(&0) {
                let encode = |map: &_| super::encode(self.device, map);
                enqueue(function, &launch.image, launch.parameters(&self.addresses, encode)?)?;
            }
        }
        Ok(())
    }
}

fn enqueue(function: sys::CUfunction, image: &LaunchImage, mut parameters: Vec<u8>) -> Result<(), CudaError> {
    let base = parameters.as_mut_ptr();
    // SAFETY: every start lies inside the parameter bytes.
    let mut pointers: Vec<*mut c_void> =
        image.starts().iter().map(|&at| unsafe { base.add(at) }.cast()).collect();
    // SAFETY: the function is of a live module; there is a pointer for each of its parameters, as docs/abi.md has them;
    // the driver copies the bytes before it returns.
    let result = unsafe { call(function, &image.geometry, pointers.as_mut_ptr()) };
    match result {
        CUresult::CUDA_SUCCESS => Ok(()),
        other => Err(CudaError::Launch { kernel: image.entry.clone(), error: describe(other) }),
    }
}

/// Launches a kernel, given the bytes of each of its parameters, and waits for it.
pub fn run(module: &Module, entry: &str, geometry: &Geometry, parameters: &[&[u8]]) -> Result<(), CudaError> {
    let function = module.function(entry, geometry.shared)?;
    module.device().bind()?;
    let mut pointers: Vec<*mut c_void> =
        parameters.iter().map(|p| p.as_ptr().cast_mut().cast::<c_void>()).collect();
    // SAFETY: the function is of a live module and takes these parameters; the driver copies them before it returns, and
    // writes none.
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
