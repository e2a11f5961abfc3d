//! Running one launch over threads.
//!
//! Instances are handed out by a shared counter in their order in the `par` nest. They are independent, so the
//! result does not depend on who runs which, but for `sum` tensors: see [`crate::sums`].

use crate::{
    jit::Code,
    runtime::{Env, Fault, ObjectRecord, Shared, pack::Packing, rows::Scratch},
};
use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    cell::RefCell,
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use tile_base::DType;

/// What one launch is run with.
pub struct Launch<'a> {
    pub code: &'a Code,
    pub objects: Vec<ObjectRecord>,
    /// Objects that are only added to.
    pub sums: Vec<usize>,
    pub dims: Vec<i64>,
    pub scalars: Vec<u64>,
    pub labels: &'a Vec<String>,
}

/// Zeroed memory.
pub struct Zeroed {
    pub ptr: *mut u8,
    layout: Layout,
}

impl Zeroed {
    pub fn new(bytes: u64) -> Option<Zeroed> {
        let layout = Layout::from_size_align(usize::try_from(bytes).ok()?.max(1), 4096).ok()?;
        // SAFETY: the size is not 0.
        let ptr = unsafe { alloc_zeroed(layout) };
        (!ptr.is_null()).then_some(Zeroed { ptr, layout })
    }
}

impl Drop for Zeroed {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.ptr, self.layout) }
    }
}

// SAFETY: memory of its own, tied to no thread.
unsafe impl Send for Zeroed {}
unsafe impl Sync for Zeroed {}

/// What a thread works with: memory for tiles, packed operands, chunks of rows. Contents carry nothing from one use to
/// the next, and a thread keeps it between launches, since fresh memory costs a page fault every 4 KiB.
struct Tools {
    arena: Option<Zeroed>,
    packing: Packing,
    rows: Box<Scratch>,
}

/// Larger arenas are given back after the launch.
const KEPT_BYTES: usize = 64 << 20;

thread_local! {
    static TOOLS: RefCell<Option<Tools>> = const { RefCell::new(None) };
}

impl Tools {
    /// The thread's own, with an arena of at least so many bytes.
    fn take(bytes: u64) -> Result<Tools, Failure> {
        // A line more than tiles take: vector loads of the last row may look past it.
        let wanted = bytes.saturating_add(256);
        let kept = TOOLS.with_borrow_mut(Option::take);
        let mut tools =
            kept.unwrap_or_else(|| Tools { arena: None, packing: Packing::default(), rows: Scratch::new() });
        if tools.arena.as_ref().is_none_or(|a| (a.layout.size() as u64) < wanted) {
            tools.arena = None;
            tools.arena = Some(Zeroed::new(wanted).ok_or(Failure::Memory(bytes))?);
        }
        tools.packing.forget();
        Ok(tools)
    }

    fn keep(mut self) {
        self.arena = self.arena.filter(|a| a.layout.size() <= KEPT_BYTES);
        TOOLS.set(Some(self));
    }
}

/// Why a launch did not finish.
pub enum Failure {
    Fault(Fault),
    /// Bytes that the machine does not give.
    Memory(u64),
}

/// Which instances a worker runs.
pub enum Share<'a> {
    /// Whatever the shared counter gives.
    Tickets,
    /// `first..=last`, in order.
    Range(i64, i64),
    /// None: it counts, and notes where the groups of [`crate::sums`] begin.
    Count(&'a mut Vec<i64>),
}

impl Launch<'_> {
    pub fn run(&self, threads: usize) -> Result<(), Failure> {
        if !self.sums.is_empty() {
            return self.run_sums(threads);
        }
        let shared = Shared { next: AtomicU64::new(0), stop: AtomicBool::new(false) };
        over(threads, &|| self.worker(&shared, &self.objects, Share::Tickets).map(|_| ()))
    }

    /// One thread's walk over the nest; how many instances it has.
    pub fn worker(&self, shared: &Shared, objects: &[ObjectRecord], share: Share) -> Result<i64, Failure> {
        let mut tools = Tools::take(self.code.support.arena_bytes)?;
        let mut env = Env {
            arena: tools.arena.as_ref().map_or(std::ptr::null_mut(), |a| a.ptr),
            objects: objects.as_ptr(),
            dims: self.dims.as_ptr(),
            scalars: self.scalars.as_ptr(),
            ticket: 0,
            shared,
            last_of_range: -1,
            fault: Fault::default(),
            labels: self.labels,
            packing: &mut tools.packing,
            rows: &mut *tools.rows,
            groups: std::ptr::null_mut(),
        };
        match share {
            Share::Tickets => {
                env.take_ticket();
            }
            Share::Range(first, last) => (env.ticket, env.last_of_range) = (first, last),
            Share::Count(groups) => (env.ticket, env.groups) = (Env::COUNTS, groups),
        }
        // SAFETY: the code was made for objects of these ranks, and checks what it accesses.
        let count = unsafe { (self.code.run)(&mut env) };
        let fault = env.fault;
        tools.keep();
        if count < 0 {
            shared.stop.store(true, Ordering::Relaxed);
            return Err(Failure::Fault(fault));
        }
        Ok(count)
    }
}

/// Runs the job on `threads` threads, this one among them when there is one only. Of several failures the one of
/// the earliest instance is kept.
pub fn over(threads: usize, job: &(dyn Fn() -> Result<(), Failure> + Sync)) -> Result<(), Failure> {
    let results = match threads {
        0 | 1 => vec![job()],
        n => match pool(n) {
            Some(pool) => pool.broadcast(|_| job()),
            None => vec![job()],
        },
    };
    let rank = |f: &Failure| match f {
        Failure::Memory(_) => -1,
        Failure::Fault(f) => f.ticket,
    };
    match results.into_iter().filter_map(Result::err).min_by_key(rank) {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

/// Pools are kept: starting threads takes longer than small launches. `None` when the system gives no threads; the
/// launch then runs on one.
fn pool(threads: usize) -> Option<Arc<rayon::ThreadPool>> {
    static POOLS: OnceLock<Mutex<HashMap<usize, Arc<rayon::ThreadPool>>>> = OnceLock::new();
    let mut pools = POOLS.get_or_init(Default::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pool) = pools.get(&threads) {
        return Some(pool.clone());
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|n| format!("tile-cpu-{n}"))
        .build()
        .ok()?;
    let pool = Arc::new(pool);
    pools.insert(threads, pool.clone());
    Some(pool)
}

/// The record of a tensor that is left out: no element.
pub fn absent(dtype: DType) -> ObjectRecord {
    ObjectRecord {
        ptr: std::ptr::NonNull::<u64>::dangling().as_ptr() as *mut u8,
        offset: 0,
        dims: [0; crate::runtime::MAX_RANK],
        strides: [0; crate::runtime::MAX_RANK],
        dtype,
        least: i64::MIN,
        greatest: i64::MAX,
    }
}
