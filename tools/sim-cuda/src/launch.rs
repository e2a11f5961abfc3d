//! Launches: parameters gathered, geometry checked against the device and the kernel, work submitted.
//!
//! Parameters come in one of two forms. `kernelParams` is an array of pointers, one for each parameter, whose sizes the
//! kernel knows; `extra` is a list of marks and pointers with all parameters in one block, laid out as the kernel wants:
//!
//! ```text
//! kernelParams: [&a, &n]                      a: u64, n: u32
//! extra: [1, &block, 2, &size, 0]             block: aaaaaaaannnn
//! ```

use crate::{
    device::MULTIPROCESSORS,
    entry::Answer,
    errors::{
        COOPERATIVE_LAUNCH_TOO_LARGE, Error, INVALID_CLUSTER_SIZE, INVALID_VALUE, LAUNCH_OUT_OF_RESOURCES,
        NOT_SUPPORTED,
    },
    function::Function,
    handles::Handle,
    log, occupancy,
    state::{Driver, current},
    work::Work,
};
use ptx_sim::ir::Kernel;
use std::ffi::c_void;

/// A launch that may run.
#[derive(Clone, Debug)]
pub struct Launch {
    pub function: Handle,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub cluster: [u32; 3],
    pub shared: usize,
    /// May begin before the launch ahead of it in its stream has ended.
    pub programmatic: bool,
    pub params: Vec<u8>,
}

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub function: Handle,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub cluster: Option<[u32; 3]>,
    pub cooperative: bool,
    pub programmatic: bool,
    pub shared: u32,
    pub params: *const *const c_void,
    pub extra: *const *const c_void,
}

/// `CUlaunchConfig`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Config {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub shared: u32,
    pub stream: Handle,
    pub attributes: *const Attribute,
    pub count: u32,
}

/// `CUlaunchAttribute`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Attribute {
    pub id: u32,
    pub pad: u32,
    pub value: [u32; 16],
}

impl Driver {
    /// Checks what is asked for.
    ///
    /// # Safety
    /// The parameters are as the client promises for this kernel.
    pub unsafe fn launch(&self, asked: &Asked) -> Result<Launch, Error> {
        let function = self.functions.get(asked.function)?;
        let kernel = &function.kernel;
        let threads = checked_product(asked.block)?;
        checked_product(asked.grid)?;
        let [_, gy, gz] = asked.grid;
        let [.., bz] = asked.block;
        if threads > 1024 || bz > 64 || gy > 65_535 || gz > 65_535 || asked.grid[0] > i32::MAX as u32 {
            return Err(INVALID_VALUE);
        }
        if threads > u64::from(function.max_threads()) {
            return Err(LAUNCH_OUT_OF_RESOURCES);
        }
        let required = kernel.limits.required_threads;
        let shared = asked.shared as usize;
        if required[0] != 0 && required.map(|n| n.max(1)) != asked.block || shared > function.dynamic_limit()
        {
            return Err(INVALID_VALUE);
        }
        let cluster = cluster(function, asked)?;
        if asked.cooperative {
            let at_once = occupancy::ctas(function, threads as usize, shared) * MULTIPROCESSORS as usize;
            if checked_product(asked.grid)? > at_once as u64 {
                return Err(COOPERATIVE_LAUNCH_TOO_LARGE);
            }
        }
        // SAFETY: as the caller promises.
        let params = unsafe { gather(kernel, asked.params, asked.extra)? };
        let Asked { function, grid, block, programmatic, .. } = *asked;
        Ok(Launch { function, grid, block, cluster, shared, programmatic, params })
    }
}

fn checked_product(extents: [u32; 3]) -> Result<u64, Error> {
    let product = extents.iter().try_fold(1u64, |n, &e| n.checked_mul(e.into()));
    product.filter(|&n| n > 0).ok_or(INVALID_VALUE)
}

/// The cluster's extent, from the launch or from the kernel.
fn cluster(function: &Function, asked: &Asked) -> Result<[u32; 3], Error> {
    let own = function.kernel.limits.required_cluster;
    let cluster = match (asked.cluster, own) {
        (Some(wanted), [0, ..]) => wanted,
        (Some(wanted), own) if wanted == own.map(|n| n.max(1)) => wanted,
        (Some(_), _) => return Err(INVALID_CLUSTER_SIZE),
        (None, [0, ..]) => [1; 3],
        (None, own) => own.map(|n| n.max(1)),
    };
    let ctas = checked_product(cluster)?;
    let most = if function.non_portable { 16 } else { 8 };
    if ctas > most || (0..3).any(|d| !asked.grid[d].is_multiple_of(cluster[d])) {
        return Err(INVALID_CLUSTER_SIZE);
    }
    Ok(cluster)
}

/// Marks of the `extra` form.
const END: usize = 0;
const BLOCK: usize = 1;
const SIZE: usize = 2;

/// The parameter bytes as the kernel lays them out.
///
/// # Safety
/// Either array is as the API describes it, for this kernel.
unsafe fn gather(
    kernel: &Kernel,
    params: *const *const c_void,
    extra: *const *const c_void,
) -> Result<Vec<u8>, Error> {
    let mut out = vec![0u8; kernel.param_bytes];
    if !extra.is_null() && params.is_null() {
        let (mut block, mut size) = (std::ptr::null::<u8>(), None);
        let mut at = extra;
        // SAFETY: the list ends with its mark.
        unsafe {
            loop {
                match (*at).addr() {
                    END => break,
                    BLOCK => block = (*at.add(1)).cast(),
                    SIZE => size = Some((*at.add(1)).cast::<usize>().read_unaligned()),
                    _ => return Err(INVALID_VALUE),
                }
                at = at.add(2);
            }
        }
        // Some clients round the size up.
        let size = size.filter(|&s| s >= kernel.param_bytes && !block.is_null()).ok_or(INVALID_VALUE)?;
        // SAFETY: the block has `size` bytes.
        unsafe { std::ptr::copy_nonoverlapping(block, out.as_mut_ptr(), size.min(out.len())) };
        return Ok(out);
    }
    if params.is_null() && !kernel.params.is_empty() || !extra.is_null() {
        return Err(INVALID_VALUE);
    }
    for (n, p) in kernel.params.iter().enumerate() {
        // SAFETY: an entry for each parameter, each to as many bytes as the parameter has.
        unsafe {
            let from = *params.add(n);
            if from.is_null() {
                return Err(INVALID_VALUE);
            }
            std::ptr::copy_nonoverlapping(
                from.cast(),
                out[p.offset..p.offset + p.bytes].as_mut_ptr(),
                p.bytes,
            );
        }
    }
    Ok(out)
}

unsafe fn submit(asked: Asked, stream: Handle) -> Answer {
    current(|driver, context| {
        // SAFETY: as the client promises.
        let launch = unsafe { driver.launch(&asked)? };
        driver.submit(context, stream, Work::Kernel(launch))
    })
}

/// What attributes say: those that change where or when code runs are accepted, others refused by name.
unsafe fn attributes(config: &Config, asked: &mut Asked) -> Answer {
    if config.attributes.is_null() && config.count > 0 {
        return Err(INVALID_VALUE);
    }
    for n in 0..config.count as usize {
        // SAFETY: the client says that there are so many.
        let attribute = unsafe { config.attributes.add(n).read_unaligned() };
        match attribute.id {
            2 => asked.cooperative = attribute.value[0] != 0,
            4 => asked.cluster = Some([attribute.value[0], attribute.value[1], attribute.value[2]]),
            6 => asked.programmatic = attribute.value[0] != 0,
            // Nothing, cache windows, scheduling, priority, domains, carveout: all of them leave the values of a correct
            // program as they are.
            0 | 1 | 3 | 5 | 8 | 9 | 10 | 11 | 14 => {}
            other => {
                log::unsupported(&format!("launch attribute {other}"));
                return Err(NOT_SUPPORTED);
            }
        }
    }
    Ok(())
}

/// Threads of a block, dynamic shared memory and CTAs of a cluster that a configuration asks for.
///
/// # Safety
/// As the client promises for a configuration.
pub unsafe fn shape(config: *const Config) -> (usize, usize, usize) {
    // SAFETY: as the caller promises.
    let config = unsafe { config.read_unaligned() };
    let none = std::ptr::null();
    let Config { grid, block, shared, .. } = config;
    let mut asked = Asked {
        function: 0,
        grid,
        block,
        cluster: None,
        cooperative: false,
        programmatic: false,
        shared,
        params: none,
        extra: none,
    };
    // SAFETY: as the caller promises. What is refused here, the launch refuses.
    let _ = unsafe { attributes(&config, &mut asked) };
    let product = |e: [u32; 3]| e.iter().map(|&n| n as usize).product();
    (product(block), shared as usize, asked.cluster.map_or(1, product))
}

entries! {
    fn cuLaunchKernel(
        function: Handle,
        gx: u32,
        gy: u32,
        gz: u32,
        bx: u32,
        by: u32,
        bz: u32,
        shared: u32,
        stream: Handle,
        params: *const *const c_void,
        extra: *const *const c_void,
    ) {
        let (grid, block) = ([gx, gy, gz], [bx, by, bz]);
        let asked = Asked { function, grid, block, cluster: None, cooperative: false, programmatic: false, shared, params, extra };
        unsafe { submit(asked, stream) }
    }

    fn cuLaunchCooperativeKernel(
        function: Handle,
        gx: u32,
        gy: u32,
        gz: u32,
        bx: u32,
        by: u32,
        bz: u32,
        shared: u32,
        stream: Handle,
        params: *const *const c_void,
    ) {
        let (grid, block, extra) = ([gx, gy, gz], [bx, by, bz], std::ptr::null());
        let asked = Asked { function, grid, block, cluster: None, cooperative: true, programmatic: false, shared, params, extra };
        unsafe { submit(asked, stream) }
    }

    fn cuLaunchKernelEx(
        config: *const Config,
        function: Handle,
        params: *const *const c_void,
        extra: *const *const c_void,
    ) {
        if config.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: not null, and the client's promise.
        let config = unsafe { config.read_unaligned() };
        let Config { grid, block, shared, stream, .. } = config;
        let mut asked = Asked { function, grid, block, cluster: None, cooperative: false, programmatic: false, shared, params, extra };
        unsafe {
            attributes(&config, &mut asked)?;
            submit(asked, stream)
        }
    }
}
