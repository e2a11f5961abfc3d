//! Timing of compiled kernels: what `./x bench` and the budgets call.
//!
//! Runs are repeated until `seconds` have passed (and at least three times after one to warm up); the least time is
//! the one to compare, since noise on a shared machine only adds.

use crate::CpuKernel;
use std::time::{Duration, Instant};
use tile_base::Diagnostic;
use tile_tensor::Arguments;

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Timing {
    pub least: Duration,
    pub median: Duration,
    pub runs: usize,
}

impl Timing {
    /// 10^9 operations per second at the least time.
    pub fn giga_per_second(&self, operations: f64) -> f64 {
        operations / self.least.as_secs_f64() / 1e9
    }
}

/// Times whole runs: checks of the arguments, launches, threads.
pub fn time(
    kernel: &CpuKernel,
    arguments: &mut Arguments,
    threads: usize,
    seconds: f64,
) -> Result<Timing, Vec<Diagnostic>> {
    kernel.run(arguments, threads)?;
    let begin = Instant::now();
    let mut times = vec![];
    while times.len() < 3 || begin.elapsed().as_secs_f64() < seconds {
        let start = Instant::now();
        kernel.run(arguments, threads)?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(Timing { least: times[0], median: times[times.len() / 2], runs: times.len() })
}
