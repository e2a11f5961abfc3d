//! Whole processes as a user starts them: from source to PTX, and checking. Wall-clock time with the start of the process,
//! and its peak memory.

use std::{
    process::{Command, Stdio},
    time::Instant,
};

/// Median of some runs.
#[derive(Clone, Debug)]
pub struct Whole {
    pub what: &'static str,
    pub file: String,
    pub ms: f64,
    /// `None` where the system does not tell.
    pub peak_mib: Option<f64>,
}

const RUNS: usize = 7;

/// `tilec check FILE`, and with the PTX backend `tilec build FILE`.
pub fn measure(file: &str) -> Vec<Whole> {
    let mut out = vec![];
    out.extend(median("check", file, &["check", file]));
    if cfg!(feature = "ptx") {
        let args = ["build", file, "--target", "sm_90", "--emit", "ptx", "-o", "/dev/null", "--time"];
        out.extend(median("source to PTX", file, &args));
    }
    out
}

/// `None` when the command cannot be started or fails.
fn median(what: &'static str, file: &str, args: &[&str]) -> Option<Whole> {
    let tilec = std::env::current_exe().ok()?;
    let mut samples = vec![];
    let mut peak_mib = None;
    for _ in 0..RUNS {
        let start = Instant::now();
        let done = Command::new(&tilec).args(args).stdin(Stdio::null()).output().ok()?;
        let ms = start.elapsed().as_secs_f64() * 1e3;
        if !done.status.success() {
            return None;
        }
        samples.push(ms);
        let text = String::from_utf8_lossy(&done.stderr);
        peak_mib = text.lines().find_map(|l| l.strip_prefix(PEAK)?.trim().split(' ').next()?.parse().ok());
    }
    samples.sort_by(f64::total_cmp);
    Some(Whole { what, file: file.to_string(), ms: samples[RUNS / 2], peak_mib })
}

const PEAK: &str = "peak memory:";

/// The line that `--time` ends with; empty where the system does not tell.
pub fn peak_line() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(format!("{PEAK} {:.1} MiB", kib / 1024.0))
}
