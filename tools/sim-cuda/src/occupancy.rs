//! How many CTAs a multiprocessor holds: by threads, by shared memory, by its limit. Registers are not allocated by
//! the simulator; the most that the kernel may use (`.maxnreg`, or what its threads leave room for) counts.

use crate::{
    device::{CTAS_SM, MULTIPROCESSORS, SHARED_OPT_IN, SHARED_RESERVED, SHARED_SM, THREADS_SM},
    entry::{Answer, give},
    errors::INVALID_VALUE,
    function::Function,
    handles::Handle,
    launch::Config,
    state::ready,
};

pub fn ctas(function: &Function, threads: usize, dynamic: usize) -> usize {
    let threads = threads.next_multiple_of(32).max(32);
    let shared = function.kernel.static_shared + dynamic + SHARED_RESERVED;
    if shared > SHARED_OPT_IN + SHARED_RESERVED {
        return 0;
    }
    let by_registers = 65_536 / (function.registers().max(1) as usize * threads);
    (THREADS_SM / threads).min(SHARED_SM / shared).min(by_registers.max(1)).min(CTAS_SM)
}

unsafe fn active(count: *mut i32, function: Handle, block: i32, dynamic: usize) -> Answer {
    ready(|driver| {
        let function = driver.functions.get(function)?;
        let threads = usize::try_from(block).ok().filter(|&t| t > 0).ok_or(INVALID_VALUE)?;
        unsafe { give(count, ctas(function, threads, dynamic) as i32) }
    })
}

/// The block size with most threads at once, and the grid that fills the device.
unsafe fn potential(
    grid: *mut i32,
    block: *mut i32,
    function: Handle,
    dynamic_of: Option<unsafe extern "C" fn(i32) -> usize>,
    dynamic: usize,
    limit: i32,
) -> Answer {
    ready(|driver| {
        let function = driver.functions.get(function)?;
        let most = match limit {
            0 => function.max_threads(),
            n => u32::try_from(n).map_err(|_| INVALID_VALUE)?.min(function.max_threads()),
        };
        let mut best = (0, 0, 0);
        for threads in (32..=most as usize).rev().filter(|t| t % 32 == 0) {
            // SAFETY: the client's own function of a block size.
            let shared = dynamic_of.map_or(dynamic, |f| unsafe { f(threads as i32) });
            let n = ctas(function, threads, shared);
            if n * threads > best.0 {
                best = (n * threads, threads, n);
            }
        }
        unsafe { give(block, best.1 as i32).and(give(grid, best.2 as i32 * MULTIPROCESSORS)) }
    })
}

entries! {
    fn cuOccupancyMaxActiveBlocksPerMultiprocessor(count: *mut i32, function: Handle, block: i32, dynamic: usize) {
        unsafe { active(count, function, block, dynamic) }
    }

    fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        count: *mut i32,
        function: Handle,
        block: i32,
        dynamic: usize,
        _flags: u32,
    ) {
        unsafe { active(count, function, block, dynamic) }
    }

    fn cuOccupancyMaxPotentialBlockSize(
        grid: *mut i32,
        block: *mut i32,
        function: Handle,
        dynamic_of: Option<unsafe extern "C" fn(i32) -> usize>,
        dynamic: usize,
        limit: i32,
    ) {
        unsafe { potential(grid, block, function, dynamic_of, dynamic, limit) }
    }

    fn cuOccupancyMaxPotentialBlockSizeWithFlags(
        grid: *mut i32,
        block: *mut i32,
        function: Handle,
        dynamic_of: Option<unsafe extern "C" fn(i32) -> usize>,
        dynamic: usize,
        limit: i32,
        _flags: u32,
    ) {
        unsafe { potential(grid, block, function, dynamic_of, dynamic, limit) }
    }

    fn cuOccupancyAvailableDynamicSMemPerBlock(bytes: *mut usize, function: Handle, ctas: i32, _block: i32) {
        ready(|driver| {
            let function = driver.functions.get(function)?;
            let n = usize::try_from(ctas).ok().filter(|&n| n > 0).ok_or(INVALID_VALUE)?;
            let each = (SHARED_SM / n).saturating_sub(SHARED_RESERVED).min(SHARED_OPT_IN);
            unsafe { give(bytes, each.saturating_sub(function.kernel.static_shared)) }
        })
    }

    fn cuOccupancyMaxPotentialClusterSize(size: *mut i32, function: Handle, _config: *const Config) {
        ready(|driver| {
            let most = if driver.functions.get(function)?.non_portable { 16 } else { 8 };
            unsafe { give(size, most) }
        })
    }

    fn cuOccupancyMaxActiveClusters(count: *mut i32, function: Handle, config: *const Config) {
        if config.is_null() {
            return Err(INVALID_VALUE);
        }
        ready(|driver| {
            let function = driver.functions.get(function)?;
            // SAFETY: not null, and the client's promise.
            let (threads, shared, cluster) = unsafe { crate::launch::shape(config) };
            let at_once = ctas(function, threads, shared) * MULTIPROCESSORS as usize;
            unsafe { give(count, (at_once / cluster.max(1)) as i32) }
        })
    }
}
