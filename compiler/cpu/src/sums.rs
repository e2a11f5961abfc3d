//! Launches that add to `sum` tensors.
//!
//! The order of real additions shows in the last bits, and two threads may not add to one element at once. So the
//! instances are cut into *lanes*: runs of neighbouring instances that one thread runs in their order. Where the lanes
//! are cut depends on sizes only, which makes the result the same for any number of threads.
//!
//! Instances that never meet (see `tile_graph::facts::apart`) form *groups*: `flash_bwd_atomic` adds to `dq[b, i, h, :]`,
//! so the blocks of keys of one (b, g) meet and those of two do not. Lanes of different groups add to the tensor itself,
//! side by side. Only where groups are too few to feed the threads is each of them cut into several lanes; the first lane
//! adds to the tensor, the others each to a buffer that starts at 0, and in the end the buffers are added to the
//! tensor in the order of the lanes. Since groups do not meet, their n-th lanes share a buffer:
//!
//! ```text
//! par b, g, j    8 groups of 5    8 lanes         tensor
//!                3 groups of 5    3 x 5 lanes     tensor + buffer 1 + buffer 2 + buffer 3 + buffer 4
//! par j          1 group of 40    1 x 16 lanes    tensor + buffer 1 + … + buffer 15
//! ```

use crate::{
    grid::{Failure, Launch, Share, Zeroed, over},
    runtime::{
        Class, ObjectRecord, Shared,
        convert::{Run, TileRun, accumulate, read},
    },
};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use tile_graph::{Graph, Op, ROOT, facts::apart::apart};

/// Groups that feed the threads of a machine as they are.
const ENOUGH: usize = 8;
/// Lanes that fewer groups are cut into.
const LANES: usize = 16;
/// Most bytes of buffers.
const BUFFER_BYTES: u64 = 1 << 29;
/// Rows of a buffer that a thread adds at a time.
const ROWS: usize = 64;

/// How many of the outermost `par` axes keep all additions apart: their steps are the groups.
pub fn group_axes(graph: &Graph) -> usize {
    let nest = graph.par_nest();
    let adds = |n: &tile_graph::NodeId| match &graph.node(*n).op {
        Op::Accumulate(access) => Some(access.object),
        _ => None,
    };
    let leading = |object| {
        let apart = apart(graph, object);
        nest.iter().take_while(|par| apart.contains(par)).count()
    };
    graph.nodes_under(ROOT).iter().filter_map(adds).map(leading).min().unwrap_or(0)
}

/// A tensor-shaped buffer of each `sum` tensor, in the place of the tensors.
struct Buffer {
    objects: Vec<ObjectRecord>,
    _memory: Vec<Zeroed>,
}

impl Launch<'_> {
    pub fn run_sums(&self, threads: usize) -> Result<(), Failure> {
        let shared = Shared { next: AtomicU64::new(0), stop: AtomicBool::new(false) };
        let mut starts = vec![];
        let count = self.worker(&shared, &self.objects, Share::Count(&mut starts))?;
        if starts.is_empty() {
            starts.push(0);
        }
        let ends = starts.iter().skip(1).copied().chain([count]);
        let groups: Vec<(i64, i64)> = starts.iter().copied().zip(ends).collect();
        let lanes = self.lanes(&groups);
        let buffers = (1..lanes).map(|_| self.buffer()).collect::<Result<Vec<_>, _>>()?;
        let next = AtomicUsize::new(0);
        over(threads, &|| {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(&(first, end)) = groups.get(at / lanes) else { return Ok(()) };
                let cut = |n: usize| first + (end - first) * n as i64 / lanes as i64;
                let lane = at % lanes;
                let objects = lane.checked_sub(1).map_or(&self.objects, |n| &buffers[n].objects);
                if cut(lane) < cut(lane + 1) {
                    self.worker(&shared, objects, Share::Range(cut(lane), cut(lane + 1) - 1))?;
                }
            }
        })?;
        self.add_up(threads, &buffers)
    }

    /// How many lanes each group is cut into.
    fn lanes(&self, groups: &[(i64, i64)]) -> usize {
        if groups.len() >= ENOUGH {
            return 1;
        }
        let bytes: u64 = self.sums.iter().map(|&o| bytes(&self.objects[o])).sum();
        let fit = 1 + (BUFFER_BYTES / bytes.max(1)) as usize;
        let longest = groups.iter().map(|g| g.1 - g.0).max().unwrap_or(0).max(1) as usize;
        LANES.div_ceil(groups.len().max(1)).min(fit).min(longest)
    }

    fn buffer(&self) -> Result<Buffer, Failure> {
        let mut objects: Vec<ObjectRecord> = self.objects.iter().map(|o| ObjectRecord { ..*o }).collect();
        let mut memory = vec![];
        for &at in &self.sums {
            let object = &mut objects[at];
            let bytes = bytes(object);
            let buffer = Zeroed::new(bytes).ok_or(Failure::Memory(bytes))?;
            (object.ptr, object.offset) = (buffer.ptr, 0);
            let mut stride = 1;
            for d in (0..object.dims.len()).rev() {
                object.strides[d] = stride;
                stride *= object.dims[d].max(1);
            }
            memory.push(buffer);
        }
        Ok(Buffer { objects, _memory: memory })
    }

    /// Adds the buffers to the tensors, in their order.
    fn add_up(&self, threads: usize, buffers: &[Buffer]) -> Result<(), Failure> {
        if buffers.is_empty() {
            return Ok(());
        }
        for &at in &self.sums {
            let tensor = &self.objects[at];
            let rows = rows(tensor);
            let next = AtomicUsize::new(0);
            over(threads, &|| {
                loop {
                    let first = next.fetch_add(ROWS, Ordering::Relaxed);
                    if first >= rows {
                        return Ok(());
                    }
                    for buffer in buffers {
                        for row in first..rows.min(first + ROWS) {
                            // SAFETY: a row of the tensor and of a buffer of its shape; no other thread has it.
                            unsafe { add_row(tensor, &buffer.objects[at], row) }
                        }
                    }
                }
            })?;
        }
        Ok(())
    }
}

fn elements(object: &ObjectRecord) -> u64 {
    object.dims.iter().map(|&d| d.max(0) as u64).product()
}

fn bytes(object: &ObjectRecord) -> u64 {
    (elements(object) * object.dtype.bits() as u64).div_ceil(8)
}

/// The last axis that has room: rows run along it.
fn row_axis(object: &ObjectRecord) -> usize {
    object.dims.iter().rposition(|&d| d > 1).unwrap_or(0)
}

fn rows(object: &ObjectRecord) -> usize {
    let length = object.dims[row_axis(object)].max(0) as u64;
    elements(object).checked_div(length).unwrap_or(0) as usize
}

/// Adds a row of a buffer to the tensor.
unsafe fn add_row(tensor: &ObjectRecord, buffer: &ObjectRecord, row: usize) {
    let axis = row_axis(tensor);
    let length = tensor.dims[axis];
    let mut rest = row as i64;
    let (mut to, mut from) = (tensor.offset, buffer.offset);
    for d in (0..axis).rev() {
        let at = rest % tensor.dims[d];
        rest /= tensor.dims[d];
        to += at * tensor.strides[d];
        from += at * buffer.strides[d];
    }
    let class = Class::of(tensor.dtype);
    let part = |object: &ObjectRecord, position, done: i64| Run {
        ptr: object.ptr,
        dtype: object.dtype,
        position: position + done * object.strides[axis],
        stride: object.strides[axis],
    };
    // A piece at a time, as the runtime holds elements.
    let mut piece = [0u64; 128];
    for done in (0..length).step_by(piece.len()) {
        let n = (length - done).min(piece.len() as i64) as usize;
        let tile = TileRun { ptr: piece.as_mut_ptr() as *mut u8, class, stride: 1 };
        // SAFETY: as the caller promised; a piece has room for `n` elements of any class.
        unsafe {
            read(part(buffer, from, done), tile, n);
            accumulate(tile, part(tensor, to, done), n);
        }
    }
}
