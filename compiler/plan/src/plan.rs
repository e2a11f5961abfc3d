//! [`Plan`]: every decision of one launch on one target, as data.
//!
//! What a plan must hold so that a back end only writes instructions:
//! 1. every tile value has one [`Layout`]; where a consumer needs another, a [`Conversion`] stands at its port;
//! 2. every dot names its instruction and where each operand comes from;
//! 3. every access knows its vector width;
//! 4. every shared buffer has an offset, and two buffers overlap only if their lifetimes do not;
//! 5. every block-wide barrier that shared memory needs is listed ([`Slot`] says where);
//! 6. the grid is a list of sizes over the kernel's dimensions, and what the launcher must check is listed.

use crate::exchange::Exchange;
use std::collections::{BTreeMap, BTreeSet};
use tile_base::{Diagnostic, Size};
use tile_graph::{Graph, NodeId, RegionId, TileBinding, Value};
use tile_layout::{Layout, SharedLayout};
use tile_machine::tensor_map::Template;
use tile_target::{MmaShape, Target};

#[derive(Clone, Debug)]
pub struct Plan {
    pub kernel: String,
    pub target: &'static Target,
    pub binding: TileBinding,
    /// Which tile sizes the recommender chose (the others came with the request).
    pub recommended: BTreeSet<String>,
    pub warps: u32,
    pub layouts: BTreeMap<Value, Layout>,
    pub dots: BTreeMap<NodeId, Dot>,
    /// Conversions at input ports, and at [`RESULT`] for a node's own result.
    pub conversions: BTreeMap<(NodeId, u32), Conversion>,
    /// Reductions whose axis is spread over warps, and inverses, with the buffer through which warps talk.
    pub cross_warp: BTreeMap<NodeId, BufferId>,
    /// Operations that work on arrays in shared memory.
    pub exchanges: BTreeMap<NodeId, Exchange>,
    /// How wide each load and store is, but for the loads in [`Plan::bulk`].
    pub accesses: BTreeMap<NodeId, AccessPlan>,
    /// Loads that the copy engine does, each with its tensor map. They have no registers: a tile goes to where it is staged.
    pub bulk: BTreeMap<NodeId, usize>,
    pub maps: Vec<MapPlan>,
    /// The mbarriers on which bulk loads arrive, one for each buffer that they fill.
    pub mbarriers: Option<Mbarriers>,
    pub buffers: Vec<Buffer>,
    pub barriers: BTreeSet<(NodeId, Slot)>,
    pub grid: Vec<GridAxis>,
    /// One for each object of the graph.
    pub classes: Vec<TensorClass>,
    pub requirements: Vec<Requirement>,
    /// Registers per thread that the values alive at the fullest point take; an estimate.
    pub registers: u32,
    /// What a user should know of the choice.
    pub notes: Vec<Diagnostic>,
}

/// The "port" of a conversion that applies to a node's first result; later results count down from it.
pub const RESULT: u32 = u32::MAX;

/// The "port" of a conversion of result `port`.
pub fn result_port(port: u32) -> u32 {
    RESULT - port
}

pub type BufferId = usize;

/// One dot.
#[derive(Clone, Debug)]
pub struct Dot {
    pub instruction: Instruction,
    /// Where it is emitted: the dot itself, or the addition of its result to an accumulator.
    pub at: NodeId,
    /// The addend when it is fused: the other operand of that addition.
    pub addend: Option<Value>,
    /// Layout of the result.
    pub layout: Layout,
    /// Warps along rows and along columns of the result.
    pub warps: (u32, u32),
    pub lhs: Operand,
    pub rhs: Operand,
    /// Covered extents (rows, columns, depth), padded to the instruction.
    pub size: [u32; 3],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Instruction {
    /// A warp-wide `mma.sync`.
    Mma(MmaShape),
    /// One multiply-add for each product.
    MultiplyAdd,
}

/// Where a dot reads an operand.
#[derive(Clone, Debug)]
pub enum Operand {
    /// In the registers of the value, renamed: entry `n` is the value's register that is register `n` of `layout`.
    Registers { value: Value, layout: Layout, map: Vec<usize>, clear: Option<usize> },
    /// From shared memory.
    Shared(Staging),
}

/// A value copied to shared memory for dots.
#[derive(Clone, Debug)]
pub struct Staging {
    /// What is written: the operand itself, or what it is a permutation of.
    pub source: Value,
    /// Dimension `n` of the operand is dimension `order[n]` of the source.
    pub order: [usize; 2],
    /// Where each element of the source lies.
    pub place: SharedLayout,
    pub buffer: BufferId,
    /// The node after which it is written (an operand that outlives a loop), or the dot before which it is.
    pub written: Written,
    /// Positions past the end along this dimension of the source are written as 0.
    pub clear: Option<usize>,
    /// The copy engine writes it and arrives on the mbarrier of this number; otherwise the threads do.
    pub mbarrier: Option<usize>,
    /// The loop of which every step fetches the tile of the next one: the buffer has room for [`STAGES`] tiles, and there
    /// is an mbarrier for each.
    pub ahead: Option<NodeId>,
}

/// Tiles in a buffer that is filled one step ahead.
pub const STAGES: u32 = 2;

/// A tensor map that the kernel takes as a parameter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MapPlan {
    /// Position among the signature's parameters.
    pub param: usize,
    pub name: String,
    pub template: Template,
}

/// Words of 64 bits in a buffer that lives as long as the kernel: [`STAGES`] for each number, of which one without a
/// step ahead uses the first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mbarriers {
    pub buffer: BufferId,
    /// By number, the node before whose code a phase of it ends, and how many words it uses.
    pub all: Vec<(NodeId, u32)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Written {
    After(NodeId),
    Before(NodeId),
}

#[derive(Clone, Debug)]
pub struct Conversion {
    pub to: Layout,
    pub how: How,
}

#[derive(Clone, Debug)]
pub enum How {
    /// Register `n` of the target layout is register `map[n]` of the source, in the same thread.
    Registers(Vec<usize>),
    /// Written in one layout, read in the other; dense, in row-major order of `extents`.
    Shared { buffer: BufferId, extents: Vec<u32> },
}

#[derive(Clone, Debug)]
pub struct AccessPlan {
    /// Elements moved by one instruction.
    pub vector: u32,
    /// The tile axis they lie along.
    pub axis: Option<usize>,
}

/// Shared memory, with its life in positions of the program order.
#[derive(Clone, Debug)]
pub struct Buffer {
    pub name: String,
    pub bytes: u32,
    /// The offset is a multiple of it.
    pub align: u32,
    pub offset: u32,
    pub life: (usize, usize),
}

impl Default for Buffer {
    /// Nothing, where all banks line up.
    fn default() -> Buffer {
        Buffer { name: String::new(), bytes: 0, align: 128, offset: 0, life: (0, 0) }
    }
}

/// A point within the code of a node where a barrier may stand.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Slot {
    /// Before anything of the node.
    Start,
    /// Before a conversion at a port writes, and before it reads.
    Convert(u32),
    Converted(u32),
    /// Before an operand (0 or 1) is written for a dot.
    Stage(u32),
    /// Before an operand that outlives a loop is written, after the node that makes it.
    Keep(BufferId),
    /// Before a dot reads its operands.
    Dot,
    /// Before warps write their partial results of a reduction, and before they read those of others.
    Partial,
    Combine,
    /// Before a step of an exchange.
    Step(u32),
    /// Before a loop fetches its first tiles, and at the head of a step, before those of the next.
    Fill,
    Ahead,
}

/// What a tensor's strides are taken to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TensorClass {
    /// Any stride in any dimension: elements are loaded one by one.
    Strided,
    /// Stride 1 in dimension `unit`, anything else: elements one by one.
    Unit { unit: usize },
    /// Stride 1 in dimension `unit`; the pointer and all other strides are multiples of `bytes`, and so is the
    /// extent along `unit`: vectors up to `bytes`.
    Vector { unit: usize, bytes: u32 },
}

impl TensorClass {
    pub fn unit(self) -> Option<usize> {
        match self {
            TensorClass::Strided => None,
            TensorClass::Unit { unit } | TensorClass::Vector { unit, .. } => Some(unit),
        }
    }
}

/// What the launcher has to check of one tensor before it may use this code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Requirement {
    /// Position among the signature's parameters.
    pub param: usize,
    pub name: String,
    /// Dimension of stride 1.
    pub unit: usize,
    /// Pointer, and strides in bytes of all other dimensions.
    pub bytes: u32,
    /// The extent along `unit` is a multiple of this many elements.
    pub multiple: u32,
}

/// One axis of the parallel domain, outermost first. Block number = ((a0 * n1 + a1) * n2 + a2) …
#[derive(Clone, PartialEq, Debug)]
pub struct GridAxis {
    pub name: String,
    pub par: NodeId,
    /// Number of instances along it; at most so many where the bounds depend on the device.
    pub count: Size,
    /// The bounds depend on device data or on an outer axis: blocks past the end have nothing to do.
    pub ragged: bool,
}

impl Plan {
    pub fn threads(&self) -> u32 {
        self.warps * 32
    }

    /// Registers that a thread of this block can have.
    pub fn registers_of_a_thread(&self) -> u32 {
        registers_of_a_thread(self.target, self.warps)
    }

    /// The part of a thread's registers that tiles take.
    pub fn pressure(&self) -> f64 {
        f64::from(self.registers) / f64::from(self.registers_of_a_thread())
    }

    /// What the base of dynamic shared memory has to be a multiple of.
    pub fn shared_align(&self) -> u32 {
        self.buffers.iter().map(|b| b.align).max().unwrap_or(1)
    }

    /// The numbers of the mbarriers whose phases the code of a region may end.
    pub fn mbarriers_under(&self, graph: &Graph, regions: &[RegionId]) -> Vec<usize> {
        let Some(all) = &self.mbarriers else { return vec![] };
        let inside: BTreeSet<NodeId> = regions.iter().flat_map(|&r| graph.nodes_under(r)).collect();
        (0..all.all.len()).filter(|&n| inside.contains(&all.all[n].0)).collect()
    }

    /// Operands of which every step of a loop fetches the next one's.
    pub fn fetched_ahead(&self, node: NodeId) -> Vec<&Staging> {
        crate::memory::fetched_ahead(&self.dots, node)
    }

    /// Bytes of dynamic shared memory.
    pub fn shared_bytes(&self) -> u32 {
        self.buffers.iter().map(|b| b.offset + b.bytes).max().unwrap_or(0)
    }
}

/// Registers that a thread can have when all of a block's have to fit a multiprocessor. They are given out by eight.
pub fn registers_of_a_thread(target: &Target, warps: u32) -> u32 {
    let share = target.registers_per_sm / (warps * 32).max(1);
    (share - share % 8).min(target.registers_per_thread)
}
