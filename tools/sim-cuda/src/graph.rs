//! Graphs: operations with an order, recorded from streams or built node by node, launched as one.
//!
//! A capture adds each operation of a stream as a node after the node before; events that are recorded and waited for
//! carry the point from one stream to another:
//!
//! ```text
//! begin(a)  kernel k1 on a ─ n0        record e on a: e is "after n0"
//!           b waits for e              b joins the recording, its last node is n0
//!           kernel k2 on b ─ n1 (n0)   record f on b
//!           a waits for f              last nodes of a: n0, n1
//! end(a)    every node of b is reached from a's last ones: joined
//! ```
//!
//! An instantiated graph is a copy in an order that its edges allow; the time of a launch is that of its longest path.

use crate::{
    entry::{Answer, give, offer},
    errors::{Error, INVALID_VALUE, STREAM_CAPTURE_UNSUPPORTED},
    handles::Handle,
    state::{current, ready},
    work::{self, Work},
};
use std::ffi::c_void;

#[derive(Clone)]
pub struct Node {
    pub work: Work,
    pub after: Vec<usize>,
}

#[derive(Clone, Default)]
pub struct Graph {
    pub nodes: Vec<Node>,
}

/// A stream's part in a recording.
#[derive(Clone)]
pub struct Capture {
    pub graph: Handle,
    /// Nodes that the stream's next operation comes after.
    pub last: Vec<usize>,
    /// The stream in which the recording began.
    pub origin: Handle,
}

/// A graph in an order of execution.
pub struct GraphExec {
    pub nodes: Vec<Node>,
    order: Vec<usize>,
}

impl Graph {
    pub fn add(&mut self, work: Work, after: &[usize]) -> Result<usize, Error> {
        if after.iter().any(|&n| n >= self.nodes.len()) {
            return Err(INVALID_VALUE);
        }
        self.nodes.push(Node { work, after: after.to_vec() });
        Ok(self.nodes.len() - 1)
    }

    /// Whether a node is one of `from` or comes before one of them.
    pub fn reaches(&self, from: &[usize], node: usize) -> bool {
        let mut seen = vec![false; self.nodes.len()];
        let mut open = from.to_vec();
        while let Some(n) = open.pop() {
            if n == node {
                return true;
            }
            if !std::mem::replace(&mut seen[n], true) {
                open.extend(&self.nodes[n].after);
            }
        }
        false
    }

    /// An order that the edges allow; INVALID_VALUE when they go round in a circle.
    fn instantiate(&self) -> Result<GraphExec, Error> {
        let mut order: Vec<usize> = vec![];
        let mut done = vec![false; self.nodes.len()];
        while order.len() < self.nodes.len() {
            let next =
                (0..self.nodes.len()).find(|&n| !done[n] && self.nodes[n].after.iter().all(|&a| done[a]));
            let next = next.ok_or(INVALID_VALUE)?;
            done[next] = true;
            order.push(next);
        }
        Ok(GraphExec { nodes: self.nodes.clone(), order })
    }
}

/// `CUDA_GRAPH_INSTANTIATE_PARAMS`
#[repr(C)]
pub struct InstantiateParams {
    flags: u64,
    stream: Handle,
    node: Handle,
    result: u32,
}

fn instantiate(place: *mut Handle, graph: Handle) -> Answer {
    current(|driver, _| {
        let exec = driver.graphs.get(graph)?.instantiate()?;
        let made = driver.execs.insert(exec);
        unsafe { give(place, made) }
    })
}

fn launch(exec: Handle, stream: Handle) -> Answer {
    current(|driver, context| {
        if driver.stream(context, stream)?.capture.is_some() {
            return Err(STREAM_CAPTURE_UNSUPPORTED);
        }
        let (nodes, order) = {
            let exec = driver.execs.get(exec)?;
            (exec.nodes.clone(), exec.order.clone())
        };
        let (mut ends, mut logs) = (vec![0; nodes.len()], vec![None; nodes.len()]);
        for at in order {
            let after = &nodes[at].after;
            let start = after.iter().map(|&n| ends[n]).max().unwrap_or(0);
            let ahead = after.iter().filter_map(|&n| logs[n].clone()).collect();
            let done = work::run(driver, context, &nodes[at].work, ahead)?;
            (ends[at], logs[at]) = (start + done.nanoseconds, done.log);
        }
        driver.stream(context, stream)?.ahead = None;
        driver.advance(context, stream, ends.into_iter().max().unwrap_or(0))
    })
}

entries! {
    fn cuGraphCreate(graph: *mut Handle, _flags: u32) {
        ready(|driver| {
            let made = driver.graphs.insert(Graph::default());
            unsafe { give(graph, made) }
        })
    }

    fn cuGraphDestroy(graph: Handle) {
        ready(|driver| driver.graphs.remove(graph).map(drop))
    }

    fn cuGraphClone(place: *mut Handle, graph: Handle) {
        ready(|driver| {
            let copy = driver.graphs.get(graph)?.clone();
            let made = driver.graphs.insert(copy);
            unsafe { give(place, made) }
        })
    }

    fn cuGraphInstantiateWithFlags(exec: *mut Handle, graph: Handle, _flags: u64) {
        instantiate(exec, graph)
    }

    fn cuGraphInstantiate_v2(
        exec: *mut Handle,
        graph: Handle,
        node: *mut Handle,
        _log: *mut c_void,
        _bytes: usize,
    ) {
        unsafe { offer(node, 0) };
        instantiate(exec, graph)
    }

    fn cuGraphInstantiateWithParams(exec: *mut Handle, graph: Handle, params: *mut InstantiateParams) {
        instantiate(exec, graph)?;
        if !params.is_null() {
            // SAFETY: not null, and the client's promise. 0 is success.
            unsafe { ((*params).node, (*params).result) = (0, 0) };
        }
        Ok(())
    }

    fn cuGraphUpload(exec: Handle, _stream: Handle) {
        ready(|driver| driver.execs.get(exec).map(drop))
    }

    fn cuGraphLaunch(exec: Handle, stream: Handle) {
        launch(exec, stream)
    }

    fn cuGraphExecDestroy(exec: Handle) {
        ready(|driver| driver.execs.remove(exec).map(drop))
    }
}
