//! Running one launch over threads.
//!
//! Instances are handed out by a shared counter in their order in the `par` nest. They are independent, so the
//! result does not depend on who runs which, but for `sum` tensors, where the order of additions shows in the last
//! bits. Those launches are cut into a fixed number of *lanes*: runs of neighbouring instances, each added up in a
//! buffer of its own by one thread, the buffers then added in order. The number of lanes depends on sizes only, so
//! the result is the same for any number of threads.

use crate::{
    jit::Code,
    runtime::{
        Env, Fault, ObjectRecord, Shared,
        convert::{Run, TileRun, accumulate, read},
        pack::Packing,
        rows::Scratch,
    },
};
use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
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

/// Most lanes of a launch with `sum` tensors, and the bytes that their buffers may take.
const LANES: u64 = 16;
const LANE_BYTES: u64 = 1 << 29;

/// Memory of a thread's tiles. Zeroed once; contents carry nothing from one use to the next.
struct Arena {
    ptr: *mut u8,
    layout: Layout,
}

impl Arena {
    fn new(bytes: u64) -> Option<Arena> {
        // A line more than tiles take: vector loads of the last row may look past it.
        let layout = Layout::from_size_align(usize::try_from(bytes).ok()?.checked_add(256)?, 4096).ok()?;
        // SAFETY: the size is not 0.
        let ptr = unsafe { alloc_zeroed(layout) };
        (!ptr.is_null()).then_some(Arena { ptr, layout })
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.ptr, self.layout) }
    }
}

/// Why a launch did not finish.
pub enum Failure {
    Fault(Fault),
    /// Bytes that the machine does not give.
    Memory(u64),
}

impl Launch<'_> {
    pub fn run(&self, threads: usize) -> Result<(), Failure> {
        if self.sums.is_empty() {
            let shared = Shared { next: AtomicU64::new(0), stop: AtomicBool::new(false) };
            return over(threads, &|_| self.worker(&shared, &self.objects, 0, -1));
        }
        self.run_lanes(threads)
    }

    /// One thread's walk over the nest. `last`: of a fixed range of instances, else -1.
    fn worker(
        &self,
        shared: &Shared,
        objects: &[ObjectRecord],
        first: i64,
        last: i64,
    ) -> Result<i64, Failure> {
        let bytes = self.code.support.arena_bytes;
        let arena = Arena::new(bytes).ok_or(Failure::Memory(bytes))?;
        let mut env = Env {
            arena: arena.ptr,
            objects: objects.as_ptr(),
            dims: self.dims.as_ptr(),
            scalars: self.scalars.as_ptr(),
            ticket: first,
            shared,
            last_of_range: last,
            fault: Fault::default(),
            labels: self.labels,
            packing: Packing::default(),
            rows: Scratch::new(),
        };
        if last < 0 && first == 0 {
            env.take_ticket();
        }
        // SAFETY: the code was made for objects of these ranks, and checks what it accesses.
        let count = unsafe { (self.code.run)(&mut env) };
        if count < 0 {
            shared.stop.store(true, Ordering::Relaxed);
            return Err(Failure::Fault(env.fault));
        }
        Ok(count)
    }

    fn run_lanes(&self, threads: usize) -> Result<(), Failure> {
        let shared = Shared { next: AtomicU64::new(0), stop: AtomicBool::new(false) };
        // A walk without a ticket only counts.
        let count = self.worker(&shared, &self.objects, -2, -2)?.max(0) as u64;
        let bytes: u64 = self.sums.iter().map(|&o| elements(&self.objects[o]) * 8).sum();
        let lanes = (LANE_BYTES / bytes.max(1)).clamp(1, LANES).min(count.max(1));
        let buffers: Vec<Mutex<Vec<Vec<u64>>>> = (0..lanes).map(|_| Mutex::new(vec![])).collect();
        let next = AtomicUsize::new(0);
        over(threads, &|_| {
            loop {
                let lane = next.fetch_add(1, Ordering::Relaxed) as u64;
                if lane >= lanes {
                    return Ok(0);
                }
                let (first, end) = (count * lane / lanes, count * (lane + 1) / lanes);
                if first == end {
                    continue;
                }
                let (objects, memory) = self.own_sums()?;
                self.worker(&shared, &objects, first as i64, end as i64 - 1)?;
                *buffers[lane as usize].lock().unwrap_or_else(PoisonError::into_inner) = memory;
            }
        })?;
        for buffer in buffers {
            let memory = buffer.into_inner().unwrap_or_else(PoisonError::into_inner);
            for (&object, lane) in self.sums.iter().zip(&memory) {
                // SAFETY: a dense buffer of the tensor's shape and dtype.
                unsafe { add_lane(&self.objects[object], lane) }
            }
        }
        Ok(())
    }

    /// The objects with dense zero buffers in place of the `sum` tensors.
    fn own_sums(&self) -> Result<(Vec<ObjectRecord>, Vec<Vec<u64>>), Failure> {
        let mut objects: Vec<ObjectRecord> = self.objects.iter().map(copy_record).collect();
        let mut memory = vec![];
        for &at in &self.sums {
            let count = elements(&self.objects[at]);
            let words = (count * self.objects[at].dtype.bits() as u64).div_ceil(64).max(1);
            let mut buffer: Vec<u64> = vec![];
            let room = usize::try_from(words).map_err(|_| Failure::Memory(words))?;
            buffer.try_reserve_exact(room).map_err(|_| Failure::Memory(words * 8))?;
            buffer.resize(room, 0);
            let object = &mut objects[at];
            object.ptr = buffer.as_mut_ptr() as *mut u8;
            object.offset = 0;
            let mut stride = 1;
            for d in (0..object.dims.len()).rev() {
                object.strides[d] = stride;
                stride *= object.dims[d].max(1);
            }
            memory.push(buffer);
        }
        Ok((objects, memory))
    }
}

fn elements(object: &ObjectRecord) -> u64 {
    object.dims.iter().map(|&d| d.max(0) as u64).product()
}

fn copy_record(o: &ObjectRecord) -> ObjectRecord {
    ObjectRecord { ..*o }
}

/// Adds a dense lane to the tensor.
unsafe fn add_lane(object: &ObjectRecord, lane: &[u64]) {
    let class = crate::runtime::Class::of(object.dtype);
    let last = object.dims.iter().rposition(|&d| d > 1).unwrap_or(0);
    let row = object.dims[last].max(0);
    let rows = elements(object).checked_div(row as u64).unwrap_or(0);
    let mut line = vec![0u64; row as usize];
    for r in 0..rows as i64 {
        let (mut rest, mut position) = (r, object.offset);
        for d in (0..last).rev() {
            position += rest % object.dims[d] * object.strides[d];
            rest /= object.dims[d];
        }
        // SAFETY: as the caller promised.
        unsafe {
            let from =
                Run { ptr: lane.as_ptr() as *mut u8, dtype: object.dtype, position: r * row, stride: 1 };
            let tile = TileRun { ptr: line.as_mut_ptr() as *mut u8, class, stride: 1 };
            read(from, tile, row as usize);
            let to = Run { ptr: object.ptr, dtype: object.dtype, position, stride: object.strides[last] };
            accumulate(tile, to, row as usize);
        }
    }
}

/// Runs the job on `threads` threads, this one among them when there is one only. Of several failures the one of
/// the earliest instance is kept.
fn over(threads: usize, job: &(dyn Fn(usize) -> Result<i64, Failure> + Sync)) -> Result<(), Failure> {
    let results = match threads {
        0 | 1 => vec![job(0)],
        n => match pool(n) {
            Some(pool) => pool.broadcast(|c| job(c.index())),
            None => vec![job(0)],
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
