//! Operations as values: run at once, or kept as the nodes of a graph and run when that is launched.

use crate::{
    clock,
    copy::Copy,
    errors::{
        Error, ILLEGAL_ADDRESS, INVALID_VALUE, LAUNCH_FAILED, LAUNCH_TIMEOUT, MISALIGNED_ADDRESS,
        NOT_SUPPORTED,
    },
    handles::Handle,
    launch::Launch,
    log,
    state::{Driver, callback},
};
use ptx_sim::{Fault, FaultKind, Geometry, GridLog, Summary, ir::Kernel, memory::Memory, time};
use std::{collections::HashMap, ffi::c_void, io::Write, sync::Arc};

#[derive(Clone)]
pub enum Work {
    Kernel(Launch),
    Copy(Copy),
    /// `count` elements of a value, each row `pitch` bytes after the one before.
    Set {
        address: u64,
        value: Vec<u8>,
        width: usize,
        height: usize,
        pitch: usize,
    },
    Host {
        function: unsafe extern "C" fn(*mut c_void),
        data: usize,
    },
    /// Joins what it depends on.
    Empty,
}

/// What became of an operation.
#[derive(Default)]
pub struct Done {
    /// How long it took on the simulated clock.
    pub nanoseconds: u64,
    /// Of a kernel, in check mode: what it did to memory, for a launch behind it that may begin before it ends.
    pub log: Option<Arc<GridLog>>,
}

impl From<u64> for Done {
    fn from(nanoseconds: u64) -> Done {
        Done { nanoseconds, log: None }
    }
}

/// Runs one. `ahead`: the kernels right ahead of it, which a launch with programmatic serialization may run beside.
pub fn run(
    driver: &mut Driver,
    context: Handle,
    work: &Work,
    ahead: Vec<Arc<GridLog>>,
) -> Result<Done, Error> {
    match work {
        Work::Empty => Ok(Done::default()),
        Work::Copy(copy) => copy.run(driver).map(Done::from),
        Work::Host { function, data } => {
            // SAFETY: the client's function with the client's argument.
            callback(|| unsafe { function(std::ptr::without_provenance_mut(*data)) });
            Ok(Done::default())
        }
        Work::Set { address, value, width, height, pitch } => {
            let (base, len) = driver.memory.range_of(*address).ok_or(INVALID_VALUE)?;
            let row = value.len().checked_mul(*width).filter(|&r| r <= len).ok_or(INVALID_VALUE)?;
            let last = height.saturating_sub(1).checked_mul(*pitch).ok_or(INVALID_VALUE)?;
            let end = (address - base) as usize + last.checked_add(row).ok_or(INVALID_VALUE)?;
            if end > len {
                return Err(INVALID_VALUE);
            }
            let bytes = value.repeat(*width);
            for n in 0..*height {
                driver.memory.write(address + (n * pitch) as u64, &bytes);
            }
            Ok(clock::copy((row * height) as u64, false).into())
        }
        Work::Kernel(launch) => {
            match execute(driver, launch, ahead) {
                Ok(done) => Ok(done),
                Err(error @ (INVALID_VALUE | NOT_SUPPORTED)) => Err(error),
                // As on a device: the launch was good, and later calls tell what it ended with.
                Err(error) => {
                    driver.context(context)?.fault = Some(error);
                    Ok(Done::default())
                }
            }
        }
    }
}

/// Whether findings of check mode count.
fn checks() -> bool {
    std::env::var_os("SIM_CUDA_CHECK").is_some_and(|v| !v.is_empty() && v != "0")
}

/// Runs a kernel and says how long that takes on the device: predicted, or roughly by the instructions.
fn timed(
    kernel: &Kernel,
    memory: &Memory,
    globals: &HashMap<String, u64>,
    geometry: &Geometry,
    params: &[u8],
) -> Result<(Summary, u64), Fault> {
    if clock::predicts()
        && let Some(target) = tile_target::find("sm_90")
    {
        let (summary, time) = time::launch(kernel, memory, globals, geometry, params, target, true)?;
        let nanoseconds = match time {
            Ok(time) => clock::predicted(&time),
            Err(why) => {
                log::line(&format!("sim-cuda: kernel `{}` has no predicted time: {why}", kernel.name));
                clock::kernel(&summary)
            }
        };
        return Ok((summary, nanoseconds));
    }
    let summary = ptx_sim::run_in_module(kernel, memory, globals.clone(), geometry, params)?;
    let nanoseconds = clock::kernel(&summary);
    Ok((summary, nanoseconds))
}

fn execute(driver: &mut Driver, launch: &Launch, ahead: Vec<Arc<GridLog>>) -> Result<Done, Error> {
    let (kernel, globals) = {
        let function = driver.functions.get(launch.function)?;
        (function.kernel.clone(), function.globals.clone())
    };
    let geometry = Geometry {
        grid: launch.grid,
        block: launch.block,
        cluster: launch.cluster,
        dynamic_shared: launch.shared,
        check: checks(),
        after: if launch.programmatic { ahead } else { vec![] },
        keep: checks(),
        ..Geometry::default()
    };
    let tell = |fault: &Fault| {
        for f in fault.before.iter().chain([fault]) {
            log::line(&format!("sim-cuda: kernel `{}`: {f}", kernel.name));
        }
    };
    match timed(&kernel, &driver.memory, &globals, &geometry, &launch.params) {
        Ok((summary, nanoseconds)) if summary.findings.is_empty() => {
            // What the kernel printed, as a driver shows it: on the client's own output.
            let _ = std::io::stdout().write_all(summary.printed.as_bytes());
            summary.notes.iter().for_each(tell);
            Ok(Done { nanoseconds, log: summary.log })
        }
        Ok((summary, _)) => {
            summary.findings.iter().for_each(tell);
            Err(LAUNCH_FAILED)
        }
        Err(fault) => {
            tell(&fault);
            Err(match fault.kind {
                FaultKind::OutOfBounds => ILLEGAL_ADDRESS,
                FaultKind::Misaligned => MISALIGNED_ADDRESS,
                FaultKind::StepLimit => LAUNCH_TIMEOUT,
                FaultKind::Launch => INVALID_VALUE,
                FaultKind::NotSupported => NOT_SUPPORTED,
                _ => LAUNCH_FAILED,
            })
        }
    }
}
