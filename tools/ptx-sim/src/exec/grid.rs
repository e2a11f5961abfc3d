//! A launch: geometry and limits checked, module variables placed, CTAs run in parallel.

use super::{check, cta, rows::Rows};
use crate::{
    decode::masked,
    fault::{Fault, FaultKind},
    flow,
    ir::Kernel,
    memory::Memory,
    read::{Init, Variable},
};
use rayon::prelude::*;
use std::collections::HashMap;

/// What the launcher says.
#[derive(Clone, Debug)]
pub struct Geometry {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    /// CTAs of a cluster; the grid is a multiple of it.
    pub cluster: [u32; 3],
    pub dynamic_shared: usize,
    /// Instructions one warp may execute before the run is given up.
    pub step_limit: u64,
    /// Look for races and undefined values too.
    pub check: bool,
    /// Decides when asynchronous effects land, between their issue and the wait for them.
    pub seed: u64,
}

impl Default for Geometry {
    /// One thread.
    fn default() -> Self {
        Geometry {
            grid: [1; 3],
            block: [1; 3],
            cluster: [1; 3],
            dynamic_shared: 0,
            step_limit: 1 << 32,
            check: false,
            seed: 0,
        }
    }
}

pub struct Launch<'a> {
    pub kernel: &'a Kernel,
    pub meets: &'a [u32],
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub dynamic_shared: usize,
    pub params: &'a [u8],
    pub globals: HashMap<String, u64>,
    pub step_limit: u64,
    pub check: bool,
}

impl Launch<'_> {
    pub fn shared_bytes(&self) -> usize {
        self.kernel.dynamic_base.max(self.kernel.static_shared) + self.dynamic_shared
    }

    pub fn initial_rows(&self, ctaid: [u32; 3], warp: u32) -> Rows {
        cta::fill_rows(self, ctaid, warp)
    }
}

#[derive(Clone, Debug, Default)]
pub struct Summary {
    pub ctas: u64,
    pub thread_instructions: u64,
    /// What `vprintf` wrote, CTA after CTA.
    pub printed: String,
    /// What check mode found, in the order of CTA, then of first occurrence; empty means clean.
    pub findings: Vec<Fault>,
}

/// Findings beyond this many are dropped: they repeat from CTA to CTA.
const MOST_FINDINGS: usize = 64;

/// Greatest shared memory of a CTA that any target allows.
const MAX_SHARED: usize = 227 * 1024;

/// Runs every CTA of a grid. The first fault in CTA order is the answer, whatever the order of execution.
pub fn run(
    kernel: &Kernel,
    memory: &mut Memory,
    geometry: &Geometry,
    params: &[u8],
) -> Result<Summary, Fault> {
    check(kernel, geometry, params)?;
    let globals = place_variables(&kernel.globals, memory);
    run_in_module(kernel, memory, globals, geometry, params)
}

/// As [`run`], with module variables that have their memory already and keep it from launch to launch.
pub fn run_in_module(
    kernel: &Kernel,
    memory: &Memory,
    globals: HashMap<String, u64>,
    geometry: &Geometry,
    params: &[u8],
) -> Result<Summary, Fault> {
    check(kernel, geometry, params)?;
    let meets = flow::reconvergence(&kernel.code);
    let launch = Launch {
        kernel,
        meets: &meets,
        grid: geometry.grid,
        block: geometry.block,
        dynamic_shared: geometry.dynamic_shared,
        params,
        globals,
        step_limit: geometry.step_limit,
        check: geometry.check,
    };
    let [gx, gy, gz] = geometry.grid.map(u64::from);
    let count = gx * gy * gz;
    let place = |n: u64| [(n % gx) as u32, (n / gx % gy) as u32, (n / gx / gy) as u32];
    let results: Vec<Result<cta::Outcome, Fault>> =
        (0..count).into_par_iter().map(|n| cta::run(&launch, memory, place(n))).collect();
    let mut summary = Summary { ctas: count, ..Summary::default() };
    let mut logs = vec![];
    for result in results {
        let outcome = result?;
        summary.thread_instructions += outcome.thread_instructions;
        summary.printed.push_str(&String::from_utf8_lossy(&outcome.printed));
        summary.findings.extend(outcome.findings);
        logs.push(outcome.log);
    }
    if geometry.check {
        let races = check::global_races(&logs);
        summary.findings.extend(races.iter().map(|r| global_race(kernel, memory, r, &place)));
        summary.findings.truncate(MOST_FINDINGS);
    }
    Ok(summary)
}

fn global_race(
    kernel: &Kernel,
    memory: &Memory,
    r: &check::GlobalRace,
    place: &dyn Fn(u64) -> [u32; 3],
) -> Fault {
    let (first, second) = (&kernel.code[r.at.0 as usize], &kernel.code[r.at.1 as usize]);
    let message = format!(
        "CTAs {:?} (PTX line {}) and {:?} (line {}) touch the same global memory, {}, and nothing orders them",
        place(r.ctas.0 as u64),
        first.line,
        place(r.ctas.1 as u64),
        second.line,
        memory.describe(r.address)
    );
    let cta = place(r.ctas.1 as u64);
    Fault {
        kind: FaultKind::GlobalRace,
        message,
        line: second.line,
        loc: second.loc,
        cta,
        warp: 0,
        lane: None,
    }
}

fn check(kernel: &Kernel, geometry: &Geometry, params: &[u8]) -> Result<(), Fault> {
    let refuse = |message: String| {
        Err(Fault {
            kind: FaultKind::Launch,
            message,
            line: 0,
            loc: (0, 0),
            cta: [0; 3],
            warp: 0,
            lane: None,
        })
    };
    let threads: u64 = geometry.block.iter().map(|&n| n as u64).product();
    let ctas: u128 = geometry.grid.iter().map(|&n| n as u128).product();
    if threads == 0 || threads > 1024 {
        return refuse(format!("a block of {threads} threads; 1 to 1024 are possible"));
    }
    if ctas == 0 || ctas > 1 << 32 {
        return refuse(format!("a grid of {ctas} CTAs"));
    }
    if geometry.cluster != [1; 3] {
        return refuse(format!("clusters of {:?} CTAs are not run yet", geometry.cluster));
    }
    let required = kernel.limits.required_threads;
    if required != [0; 3] && required != geometry.block {
        return refuse(format!(
            "the kernel requires blocks of {required:?} threads, not {:?}",
            geometry.block
        ));
    }
    let most: u64 = kernel.limits.max_threads.iter().map(|&n| n as u64).product();
    if most != 0 && threads > most {
        return refuse(format!("the kernel allows {most} threads, the block has {threads}"));
    }
    if kernel.static_shared + geometry.dynamic_shared > MAX_SHARED {
        return refuse(format!("{} bytes of shared memory", kernel.static_shared + geometry.dynamic_shared));
    }
    if params.len() != kernel.param_bytes {
        return refuse(format!(
            "{} bytes of parameters; the kernel takes {}",
            params.len(),
            kernel.param_bytes
        ));
    }
    Ok(())
}

/// Allocates module variables and fills them: an initialiser may hold the address of a later one. Addresses by name.
pub fn place_variables(variables: &[Variable], memory: &mut Memory) -> HashMap<String, u64> {
    let allocate = |memory: &mut Memory, v: &Variable| memory.allocate(&v.name, &vec![0; v.bytes().max(1)]);
    let globals: HashMap<String, u64> =
        variables.iter().map(|v| (v.name.clone(), allocate(memory, v))).collect();
    for v in variables {
        let (base, size) = (globals[&v.name], v.ty.bytes().min(8));
        let Some(allocation) = memory.find(base, 1) else { continue };
        for (n, init) in v.init.iter().enumerate().take(v.count.unwrap_or(0)) {
            let at = base + (n * v.ty.bytes()) as u64;
            allocation.store(at, size as u8, initial(init, size, &globals));
        }
    }
    globals
}

/// The bits of one initial value.
fn initial(init: &Init, size: usize, globals: &HashMap<String, u64>) -> u64 {
    match init {
        Init::Int(x) => *x as u64,
        Init::F32(b) if size == 8 => (f32::from_bits(*b) as f64).to_bits(),
        Init::F32(b) => *b as u64,
        Init::F64(b) if size == 4 => (f64::from_bits(*b) as f32).to_bits() as u64,
        Init::F64(b) => *b,
        Init::Symbol { name, offset, mask, .. } => {
            let address = globals.get(name).copied().unwrap_or(0).wrapping_add_signed(*offset);
            masked(address, *mask)
        }
    }
}
