//! Nodes of graphs that a client builds: their handles, their parameters, the edges between them.

use crate::{
    copy::{Copy, Side},
    entry::{Answer, give},
    errors::{Error, INVALID_HANDLE, INVALID_VALUE, NOT_SUPPORTED},
    handles::Handle,
    launch::Asked,
    state::{Driver, current, ready},
    work::Work,
};
use std::ffi::c_void;

/// A kind of handle beside those of [`crate::handles::Kind`]: nodes live in their graph, not in a table.
const NODE: u64 = 1 << 59 | 9 << 48;
/// Bits of the position.
const BITS: u32 = 24;
const LOW: u64 = (1 << BITS) - 1;

/// A node's handle holds the serial number of its graph and its position there.
fn node_handle(graph: Handle, at: usize) -> Handle {
    NODE | (graph & LOW) << BITS | at as u64
}

/// The position of a node in a graph.
fn node_of(driver: &Driver, graph: Handle, node: Handle) -> Result<usize, Error> {
    let at = (node & LOW) as usize;
    let known = driver.graphs.get(graph)?.nodes.len();
    match node == node_handle(graph, at) && at < known {
        true => Ok(at),
        false => Err(INVALID_VALUE),
    }
}

/// The graph and position of a node.
fn find(driver: &Driver, node: Handle) -> Result<(Handle, usize), Error> {
    let graph = driver.graphs.iter().map(|(h, _)| h).find(|h| h & LOW == node >> BITS & LOW);
    let graph = graph.ok_or(INVALID_HANDLE)?;
    node_of(driver, graph, node).map(|at| (graph, at)).map_err(|_| INVALID_HANDLE)
}

unsafe fn handles<'a>(list: *const Handle, count: usize) -> Result<&'a [Handle], Error> {
    match (list.is_null(), count) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(INVALID_VALUE),
        // SAFETY: the client says that so many are there.
        (false, n) => Ok(unsafe { std::slice::from_raw_parts(list, n) }),
    }
}

/// Adds a node that the client built.
unsafe fn add(
    place: *mut Handle,
    graph: Handle,
    after: *const Handle,
    count: usize,
    make: impl FnOnce(&mut Driver) -> Result<Work, Error>,
) -> Answer {
    current(|driver, _| {
        driver.graphs.get(graph)?;
        // SAFETY: as the client promises.
        let after = unsafe { handles(after, count)? };
        let after = after.iter().map(|&n| node_of(driver, graph, n)).collect::<Result<Vec<_>, _>>()?;
        let work = make(driver)?;
        let at = driver.graphs.get_mut(graph)?.add(work, &after)?;
        unsafe { give(place, node_handle(graph, at)) }
    })
}

/// `CUDA_KERNEL_NODE_PARAMS`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct KernelParams {
    function: Handle,
    grid: [u32; 3],
    block: [u32; 3],
    shared: u32,
    params: *const *const c_void,
    extra: *const *const c_void,
    kernel: Handle,
    context: Handle,
}

/// # Safety
/// As the client promises.
unsafe fn kernel_work(driver: &Driver, params: *const KernelParams) -> Result<Work, Error> {
    if params.is_null() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: not null.
    let p = unsafe { params.read_unaligned() };
    let function = if p.function != 0 { p.function } else { p.kernel };
    let KernelParams { grid, block, shared, params, extra, .. } = p;
    let (cluster, cooperative, programmatic) = (None, false, false);
    let asked = Asked { function, grid, block, cluster, cooperative, programmatic, shared, params, extra };
    // SAFETY: as the caller promises.
    unsafe { driver.launch(&asked) }.map(Work::Kernel)
}

/// `CUDA_MEMSET_NODE_PARAMS`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct MemsetParams {
    address: u64,
    pitch: usize,
    value: u32,
    element: u32,
    width: usize,
    height: usize,
}

#[cfg(test)]
impl MemsetParams {
    /// One word.
    pub fn of(address: u64, value: u32) -> MemsetParams {
        MemsetParams { address, pitch: 0, value, element: 4, width: 1, height: 1 }
    }
}

/// `CUDA_MEMCPY3D`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Memcpy3d {
    from: Volume,
    to: Volume,
    width: usize,
    height: usize,
    depth: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Volume {
    x: usize,
    y: usize,
    z: usize,
    level: usize,
    kind: u32,
    host: usize,
    device: u64,
    array: usize,
    reserved: usize,
    pitch: usize,
    height: usize,
}

impl Volume {
    fn side(&self, width: usize) -> Result<(Side, usize), Error> {
        let pitch = if self.pitch == 0 { width } else { self.pitch };
        let row = self.z.wrapping_mul(self.height).wrapping_add(self.y);
        let start = row.wrapping_mul(pitch).wrapping_add(self.x);
        match self.kind {
            1 => Ok((Side::Host(self.host.wrapping_add(start)), pitch)),
            2 => Ok((Side::Device(self.device.wrapping_add(start as u64)), pitch)),
            _ => Err(NOT_SUPPORTED),
        }
    }
}

/// `CUDA_HOST_NODE_PARAMS`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct HostParams {
    function: Option<unsafe extern "C" fn(*mut c_void)>,
    data: usize,
}

/// Writes up to the client's count of handles, or tells how many there are.
unsafe fn list(places: *mut Handle, count: *mut usize, all: &[Handle]) -> Answer {
    if count.is_null() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: as the client promises.
    unsafe {
        if !places.is_null() {
            let room = count.read_unaligned();
            for (n, handle) in all.iter().take(room).enumerate() {
                places.add(n).write_unaligned(*handle);
            }
        }
        give(count, all.len())
    }
}

/// Adds edges between nodes that are there.
unsafe fn connect(graph: Handle, from: *const Handle, to: *const Handle, count: usize) -> Answer {
    ready(|driver| {
        // SAFETY: as the client promises.
        let (from, to) = unsafe { (handles(from, count)?, handles(to, count)?) };
        for (&a, &b) in from.iter().zip(to) {
            let (a, b) = (node_of(driver, graph, a)?, node_of(driver, graph, b)?);
            driver.graphs.get_mut(graph)?.nodes[b].after.push(a);
        }
        Ok(())
    })
}

entries! {
    fn cuGraphAddEmptyNode(node: *mut Handle, graph: Handle, after: *const Handle, count: usize) {
        unsafe { add(node, graph, after, count, |_| Ok(Work::Empty)) }
    }

    fn cuGraphAddKernelNode_v2(
        node: *mut Handle,
        graph: Handle,
        after: *const Handle,
        count: usize,
        params: *const KernelParams,
    ) {
        unsafe { add(node, graph, after, count, |driver| kernel_work(driver, params)) }
    }

    fn cuGraphAddMemsetNode(
        node: *mut Handle,
        graph: Handle,
        after: *const Handle,
        count: usize,
        params: *const MemsetParams,
        _context: Handle,
    ) {
        if params.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: not null, and the client's promise.
        let p = unsafe { params.read_unaligned() };
        if !matches!(p.element, 1 | 2 | 4) {
            return Err(INVALID_VALUE);
        }
        let value = p.value.to_le_bytes()[..p.element as usize].to_vec();
        let work = Work::Set { address: p.address, value, width: p.width, height: p.height, pitch: p.pitch };
        unsafe { add(node, graph, after, count, |_| Ok(work)) }
    }

    fn cuGraphAddMemcpyNode(
        node: *mut Handle,
        graph: Handle,
        after: *const Handle,
        count: usize,
        params: *const Memcpy3d,
        _context: Handle,
    ) {
        if params.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: not null, and the client's promise.
        let m = unsafe { params.read_unaligned() };
        if m.depth != 1 {
            return Err(NOT_SUPPORTED);
        }
        let ((from, from_pitch), (to, to_pitch)) = (m.from.side(m.width)?, m.to.side(m.width)?);
        let copy = Copy { to, from, width: m.width, height: m.height, to_pitch, from_pitch };
        unsafe { add(node, graph, after, count, |_| Ok(Work::Copy(copy))) }
    }

    fn cuGraphAddHostNode(
        node: *mut Handle,
        graph: Handle,
        after: *const Handle,
        count: usize,
        params: *const HostParams,
    ) {
        if params.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: not null, and the client's promise.
        let HostParams { function, data } = unsafe { params.read_unaligned() };
        let function = function.ok_or(INVALID_VALUE)?;
        unsafe { add(node, graph, after, count, |_| Ok(Work::Host { function, data })) }
    }

    fn cuGraphAddDependencies(graph: Handle, from: *const Handle, to: *const Handle, count: usize) {
        unsafe { connect(graph, from, to, count) }
    }

    fn cuGraphAddDependencies_v2(
        graph: Handle,
        from: *const Handle,
        to: *const Handle,
        _edges: *const c_void,
        count: usize,
    ) {
        unsafe { connect(graph, from, to, count) }
    }

    fn cuGraphGetNodes(graph: Handle, nodes: *mut Handle, count: *mut usize) {
        ready(|driver| {
            let n = driver.graphs.get(graph)?.nodes.len();
            let all: Vec<Handle> = (0..n).map(|at| node_handle(graph, at)).collect();
            unsafe { list(nodes, count, &all) }
        })
    }

    fn cuGraphGetRootNodes(graph: Handle, nodes: *mut Handle, count: *mut usize) {
        ready(|driver| {
            let all = &driver.graphs.get(graph)?.nodes;
            let roots = all.iter().enumerate().filter(|(_, n)| n.after.is_empty());
            let roots: Vec<Handle> = roots.map(|(at, _)| node_handle(graph, at)).collect();
            unsafe { list(nodes, count, &roots) }
        })
    }

    fn cuGraphNodeGetType(node: Handle, kind: *mut u32) {
        ready(|driver| {
            let (graph, at) = find(driver, node)?;
            let number = match driver.graphs.get(graph)?.nodes[at].work {
                Work::Kernel(_) => 0,
                Work::Copy(_) => 1,
                Work::Set { .. } => 2,
                Work::Host { .. } => 3,
                Work::Empty => 5,
            };
            unsafe { give(kind, number) }
        })
    }

    fn cuGraphExecKernelNodeSetParams_v2(exec: Handle, node: Handle, params: *const KernelParams) {
        ready(|driver| {
            let (_, at) = find(driver, node)?;
            // SAFETY: as the client promises.
            let work = unsafe { kernel_work(driver, params)? };
            driver.execs.get_mut(exec)?.nodes.get_mut(at).ok_or(INVALID_VALUE)?.work = work;
            Ok(())
        })
    }
}
