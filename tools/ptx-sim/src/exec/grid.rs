//! A launch: geometry and limits checked, module variables placed, machines run.
//!
//! Most grids are sets of clusters that cannot see each other: each cluster is a machine of its own, and machines run in
//! parallel. A kernel *communicates* when a CTA could see what another does while both run, or when the order of CTAs
//! could show in the result. Then all clusters that fit the device are one machine on one host thread, begun in the
//! order of their numbers or of [`Geometry::cta_order`], so that every run gives the same bytes. The rule looks at the code only:
//!
//! - a strong load (`ld.acquire`, `ld.relaxed`, `ld.volatile`) from global or generic memory, or
//! - an atomic there that returns a value, or a reduction in floating point (whose sum depends on the order), or
//! - a fence of scope gpu or sys.
//!
//! It is sound: weak loads may not be relied on to see another CTA's writes, integer reductions commute.

use super::{
    check::{
        ShadowUse,
        earlier::GridLog,
        intervals::{self, GlobalLog, GlobalRace, SWEEP_BYTES},
    },
    count::Counters,
    cta_order::Order,
    launch::{Launch, Uses},
    machine, registers,
};
use crate::{
    decode::masked,
    fault::{Fault, FaultKind, Other, Severity},
    flow,
    ir::{Fence, HopperOp, Kernel, MemSpace, Op, Scalar, Scope},
    memory::Memory,
    read::{Init, Variable},
    time::trace::Sample,
};
use rayon::prelude::*;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

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
    /// Launches ahead of this one that may still run, as under programmatic serialization; only with `check`.
    pub after: Vec<Arc<GridLog>>,
    /// Keep what the grid does to global memory, as [`Summary::log`]; only with `check`.
    pub keep: bool,
    /// Count what is executed, for [`Summary::counters`].
    pub count: bool,
    /// Clusters whose steps are recorded, for [`crate::time`]; only with `count`.
    pub sample: Option<Sample>,
    /// Decides when asynchronous effects land, between their issue and the wait for them.
    pub seed: u64,
    /// Clusters begin in an order made from this, instead of that of their numbers.
    pub cta_order: Option<u64>,
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
            after: vec![],
            keep: false,
            count: false,
            sample: None,
            seed: 0,
            cta_order: None,
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Summary {
    pub ctas: u64,
    pub thread_instructions: u64,
    /// What `vprintf` wrote, CTA after CTA.
    pub printed: String,
    /// What check mode found, in the order of CTA, warp, line; empty means clean.
    pub findings: Vec<Fault>,
    /// Suspicious but tolerated, or left open by NVIDIA's texts.
    pub notes: Vec<Fault>,
    /// What check mode kept of memory; 0 without it.
    pub shadow: ShadowUse,
    /// For launches behind this one that may begin before it ends; present when [`Geometry::keep`] asks for it.
    pub log: Option<Arc<GridLog>>,
    /// Present when [`Geometry::count`] asks for them.
    pub counters: Option<Counters>,
}

/// Findings beyond this many are dropped: they repeat from CTA to CTA.
const MOST_FINDINGS: usize = 64;
/// Greatest shared memory of a CTA, by target, in KiB.
const SHARED_LIMITS: [(&str, usize); 8] = [
    ("sm_70", 96),
    ("sm_75", 64),
    ("sm_80", 163),
    ("sm_86", 99),
    ("sm_87", 163),
    ("sm_89", 99),
    ("sm_120", 99),
    ("sm_121", 99),
];
/// Of every other target.
const SHARED_LIMIT: usize = 227;

fn shared_limit(target: &str) -> usize {
    let plain = target.trim_end_matches(['a', 'f']);
    1024 * SHARED_LIMITS.iter().find(|(name, _)| *name == plain).map_or(SHARED_LIMIT, |(_, kib)| *kib)
}

/// What the registers and local memory of the CTAs that run together may take.
const MOST_HOST_BYTES: usize = 4 << 30;
/// Machines that run before their results are added up; bounds what a grid of very many CTAs keeps.
const BATCH: usize = 4096;
/// Ranges of global memory that all CTAs together may touch in check mode.
const MOST_INTERVALS: usize = 1 << 25;
/// Multiprocessors of the device that the simulator stands for.
pub const MULTIPROCESSORS: u32 = 132;
/// Shared memory of one, and what each CTA takes of it besides its own.
const SHARED_OF_MULTIPROCESSOR: usize = 228 * 1024;
const RESERVED_SHARED: usize = 1024;
/// Threads and CTAs that one multiprocessor holds.
const THREADS_OF_MULTIPROCESSOR: usize = 2048;
const CTAS_OF_MULTIPROCESSOR: usize = 32;
/// Warps of one machine beyond which no more than one CTA per multiprocessor is resident, to bound memory.
const MOST_WARPS: usize = 4096;

/// Runs every CTA of a grid. The first fault in CTA order is the answer, whatever the order of execution.
pub fn run(
    kernel: &Kernel,
    memory: &mut Memory,
    geometry: &Geometry,
    params: &[u8],
) -> Result<Summary, Fault> {
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
    let cluster = cluster_of(kernel, geometry);
    check(kernel, geometry, cluster, params)?;
    let meets = flow::reconvergence(&kernel.code);
    let launch = Launch {
        kernel,
        meets: &meets,
        grid: geometry.grid,
        block: geometry.block,
        cluster,
        dynamic_shared: geometry.dynamic_shared,
        params,
        globals,
        step_limit: geometry.step_limit,
        check: geometry.check,
        after: &geometry.after,
        keep: geometry.keep,
        count: geometry.count,
        sample: geometry.sample.as_ref().filter(|_| geometry.count),
        seed: geometry.seed,
        cta_order: geometry.cta_order,
        registers: registers::at_entry(kernel, geometry.block.iter().product()),
        uses: uses(kernel),
    };
    let clusters = launch.clusters();
    let mut tally = Tally::default();
    let only = launch.sample.filter(|s| s.only).map(|s| &s.clusters);
    if only.is_some() && launch.uses.communicates {
        let message = "the CTAs of this grid may see each other's effects, so no few of them stand for all; run it whole";
        return Err(Fault::launch(message.into()));
    }
    if let Some(far) = only.and_then(|few| few.iter().find(|n| **n >= clusters)) {
        return Err(Fault::launch(format!("cluster {far} of {clusters}")));
    }
    if launch.uses.communicates && clusters > 1 {
        tally.add(machine::run(&launch, memory, 0, clusters, resident(&launch), true)?, launch.check)?;
        return Ok(tally.summary(&launch, memory));
    }
    let count = only.map_or(clusters, |few| few.len() as u64);
    for first in (0..count).step_by(BATCH) {
        let batch = BATCH.min((count - first) as usize) as u64;
        let order = Order::new(launch.cta_order, batch);
        let number = |at: u64| only.map_or(at, |few| few[at as usize]);
        let run = |place| {
            let at = first + order.at(place);
            (at, machine::run(&launch, memory, number(at), number(at) + 1, 1, clusters == 1))
        };
        let mut outcomes: Vec<_> = (0..batch).into_par_iter().map(run).collect();
        outcomes.sort_unstable_by_key(|(at, _)| *at);
        for (_, outcome) in outcomes {
            tally.add(outcome?, launch.check)?;
        }
    }
    Ok(tally.summary(&launch, memory))
}

/// What machines did, added up in the order of their numbers.
#[derive(Default)]
struct Tally {
    thread_instructions: u64,
    printed: String,
    logs: Vec<GlobalLog>,
    intervals: usize,
    found: Vec<Fault>,
    /// Of all machines together, as if they ran at once.
    shadow: ShadowUse,
    counters: Option<Counters>,
}

impl Tally {
    fn add(&mut self, outcome: machine::Outcome, check: bool) -> Result<(), Fault> {
        self.thread_instructions += outcome.thread_instructions;
        self.printed.push_str(&String::from_utf8_lossy(&outcome.printed));
        self.found.extend(outcome.findings);
        if let Some(c) = outcome.counters {
            self.counters.get_or_insert_default().merge(*c);
        }
        self.intervals += outcome.log.intervals();
        self.shadow.bytes += outcome.shadow.bytes;
        self.shadow.touched += outcome.shadow.touched;
        if self.intervals > MOST_INTERVALS {
            let message = format!(
                "the CTAs touch more than {MOST_INTERVALS} separate ranges of global memory; check a smaller grid"
            );
            return Err(Fault::launch(message));
        }
        if check {
            self.logs.push(outcome.log);
        }
        Ok(())
    }

    fn summary(mut self, launch: &Launch, memory: &Memory) -> Summary {
        let last: usize = self.logs.iter().map(|log| log.bytes() + log.kinds() * SWEEP_BYTES).sum();
        let shadow = ShadowUse { bytes: self.shadow.bytes.max(last as u64), ..self.shadow };
        let kept = (launch.check && launch.keep).then(|| {
            let each = self.logs.iter().cloned().zip(0..);
            let each = each.map(|(log, machine)| (launch.seat(machine, 0).ctaid, log)).collect();
            Arc::new(GridLog::new(launch.kernel, each))
        });
        let races = if launch.check { intervals::global_races(self.logs) } else { vec![] };
        let races: Vec<Fault> = races.iter().map(|r| global_race(launch, memory, r)).collect();
        // Where CTAs race for the same bytes, what one CTA saw there (were two of its stores of equal values?) hangs
        // on the order in which the host ran them. The race between CTAs is the finding, and is the same each time.
        let shaken: HashSet<u32> =
            races.iter().flat_map(|r| [Some(r.line), r.other.as_ref().map(|o| o.line)]).flatten().collect();
        let memory_of_a_cta = |f: &Fault| {
            matches!(f.kind, FaultKind::GlobalRace | FaultKind::LaneOrder | FaultKind::LaneConflict)
        };
        self.found.retain(|f| !(memory_of_a_cta(f) && shaken.contains(&f.line)));
        self.found.extend(races);
        let (mut notes, mut findings): (Vec<_>, Vec<_>) =
            self.found.into_iter().partition(|f| f.severity == Severity::Note);
        findings.truncate(MOST_FINDINGS);
        notes.truncate(MOST_FINDINGS);
        let ctas = launch.grid.iter().map(|&n| n as u64).product();
        let (thread_instructions, printed, counters) =
            (self.thread_instructions, self.printed, self.counters);
        Summary { ctas, thread_instructions, findings, notes, printed, shadow, log: kept, counters }
    }
}

fn global_race(launch: &Launch, memory: &Memory, r: &GlobalRace) -> Fault {
    let [first, second] = [r.at.0, r.at.1].map(|at| &launch.kernel.code[at as usize]);
    let cta = |machine: usize| launch.seat(machine as u64, 0).ctaid;
    let message =
        format!("two CTAs touch {:#x} ({}), one of them writes", r.address, memory.describe(r.address));
    let other = Other { line: first.line, loc: first.loc, cta: cta(r.ctas.0), warp: 0 };
    Fault {
        kind: FaultKind::GlobalRace,
        severity: Severity::Refuted,
        message,
        line: second.line,
        loc: second.loc,
        cta: cta(r.ctas.1),
        warp: 0,
        lane: None,
        other: Some(Box::new(other)),
        missing: Some("CTAs of a grid are concurrent; nothing here orders them"),
        before: vec![],
    }
}

/// Whether the CTAs of a kernel may see each other's effects while they run.
pub fn communicates(kernel: &Kernel) -> bool {
    uses(kernel).communicates
}

/// What the code asks of the machine.
fn uses(kernel: &Kernel) -> Uses {
    let outside = |space: &MemSpace| matches!(space, MemSpace::Global | MemSpace::Generic);
    let mut uses = Uses::default();
    for inst in &kernel.code {
        uses.communicates |= match &inst.op {
            Op::Load { space, order, .. } => outside(space) && order.strong(),
            Op::Atomic { space, d, ty, .. } => {
                let commutes = matches!(ty, Scalar::Int { bits: ..=64, .. });
                outside(space) && (d.is_some() || !commutes)
            }
            Op::Fence(Fence::Thread(order)) => order.scope >= Scope::Gpu,
            Op::Hopper(op) => match &**op {
                HopperOp::Bulk(b) => {
                    matches!(b.reduce, Some((_, ty)) if !matches!(ty, Some(Scalar::Int { .. })))
                }
                _ => false,
            },
            _ => false,
        };
        uses.wgmma |= matches!(&inst.op, Op::Hopper(op) if matches!(**op, HopperOp::Wgmma(_)));
    }
    uses
}

/// Clusters that are on the device at once.
fn resident(launch: &Launch) -> usize {
    let by_shared = SHARED_OF_MULTIPROCESSOR / (launch.shared_bytes() + RESERVED_SHARED);
    let by_threads = THREADS_OF_MULTIPROCESSOR / launch.threads().next_multiple_of(32) as usize;
    let each = by_shared.min(by_threads).clamp(1, CTAS_OF_MULTIPROCESSOR);
    let within = (MOST_WARPS / launch.warps()).max(MULTIPROCESSORS as usize);
    let cluster_bytes = launch.cluster_size()
        * (launch.shared_bytes()
            + launch.warps() * (128 * launch.kernel.rows as usize + 32 * launch.kernel.local_bytes));
    let by_host = MOST_HOST_BYTES / cluster_bytes.max(1);
    ((each * MULTIPROCESSORS as usize).min(within) / launch.cluster_size()).min(by_host).max(1)
}

/// The cluster of the launch, which the kernel may prescribe.
fn cluster_of(kernel: &Kernel, geometry: &Geometry) -> [u32; 3] {
    let required = kernel.limits.required_cluster;
    if geometry.cluster == [1; 3] && required != [0; 3] {
        required.map(|n| n.max(1))
    } else {
        geometry.cluster
    }
}

fn check(kernel: &Kernel, geometry: &Geometry, cluster: [u32; 3], params: &[u8]) -> Result<(), Fault> {
    let refuse = |message: String| Err(Fault::launch(message));
    let threads: u128 = geometry.block.iter().map(|&n| n as u128).product();
    let ctas: u128 = geometry.grid.iter().map(|&n| n as u128).product();
    if threads == 0 || threads > 1024 {
        return refuse(format!("a block of {threads} threads; 1 to 1024 are possible"));
    }
    if ctas == 0 || ctas > 1 << 32 {
        return refuse(format!("a grid of {ctas} CTAs"));
    }
    let size: u128 = cluster.iter().map(|&n| n as u128).product();
    if size == 0 || size > 16 {
        return refuse(format!("a cluster of {size} CTAs; 1 to 16 are possible"));
    }
    if (0..3).any(|n| !geometry.grid[n].is_multiple_of(cluster[n])) {
        return refuse(format!("a grid of {:?} CTAs in clusters of {cluster:?}", geometry.grid));
    }
    let asked = kernel.limits.required_cluster;
    if asked != [0; 3] && asked.map(|n| n.max(1)) != cluster {
        return refuse(format!("the kernel requires clusters of {asked:?} CTAs, not {cluster:?}"));
    }
    let required = kernel.limits.required_threads;
    if required != [0; 3] && required != geometry.block {
        return refuse(format!(
            "the kernel requires blocks of {required:?} threads, not {:?}",
            geometry.block
        ));
    }
    let most: u128 = kernel.limits.max_threads.iter().map(|&n| n as u128).product();
    if most != 0 && threads > most {
        return refuse(format!("the kernel allows {most} threads, the block has {threads}"));
    }
    let shared = kernel.static_shared.saturating_add(geometry.dynamic_shared);
    let limit = shared_limit(&kernel.target);
    if shared > limit {
        return refuse(format!(
            "{shared} bytes of shared memory, static and dynamic; a CTA of {} has at most {limit}",
            kernel.target
        ));
    }
    let warps = threads.div_ceil(32) as usize * size as usize;
    let bytes = warps * (128 * (kernel.rows as usize + 1) + 32 * kernel.local_bytes);
    if bytes > MOST_HOST_BYTES {
        return refuse(format!(
            "the registers and local memory of one cluster take {bytes} bytes of the host"
        ));
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
