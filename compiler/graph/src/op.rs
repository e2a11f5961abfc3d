//! The operations, each with what its input ports take and its output ports give.
//!
//! Elementwise operations take operands of equal rank (axes equal or `One`) or scalars; `One` and scalars stretch.

use crate::{
    access::Access,
    ir::{RegionId, SpanId, StepSize},
};

pub use tile_base::op::{DotAxes, ElemOp, Literal, ReduceKind};

#[derive(Clone, PartialEq, Debug)]
pub enum Op {
    // ---- scalars
    /// A literal; dtype in the output type.
    Const(Literal),
    /// Run-time dimension `signature.dims[n]`, an index.
    Dim(u32),
    /// Scalar parameter `signature.params[n]`.
    Param(u32),

    // ---- spans and positions
    /// `span(lo, B, hi)`. In: lo, hi. Out: start, end = min(lo + step, hi) (not below start).
    MakeSpan { span: SpanId },
    /// Positions 0.. along the one axis of the output type, an index tile. (`i.at` is start + iota.)
    Iota,

    // ---- data
    /// A scalar function of the operands, elementwise.
    Elem(ElemOp),
    /// In: x. To the output's dtype: nearest even; saturating into 8 bits and integers; float to int truncates.
    Cast,
    /// In: a scalar or a tile with axes equal or `One`. Out: stretched to the output's axes.
    Broadcast,
    /// In: x. New axes of extent 1, or dropped ones: `axes[n]` is the input axis at output position n, or new.
    Reshape { axes: Vec<Option<u32>> },
    /// In: x. Output axis n is input axis `order[n]`.
    Permute { order: Vec<u32> },
    /// In: x. Input axes `axis` and `axis + 1` become one; the second is `Fixed`.
    Merge { axis: u32 },
    /// In: x. Input axis `axis` becomes two; the second is `Fixed(minor)`.
    Split { axis: u32, minor: u64 },
    /// In: x. Elements `lo .. lo + (output extent)` of a `Fixed` axis.
    Slice { axis: u32, lo: u64 },
    /// In: a, b, … along one `Fixed` axis.
    Concat { axis: u32 },
    /// In: x, index (scalar: the axis is dropped to One; or 1-axis index tile: the axis becomes its axis). At -1: 0.
    Take { axis: u32 },

    // ---- contraction
    /// In: lhs, rhs. Out: batch axes, the rest of lhs, the rest of rhs; sums over the k axes.
    /// The output dtype is the accumulator. Operand dtype `tf32` asks for tf32 products; f32 means true f32.
    Dot(DotAxes),

    // ---- collectives along one axis
    /// In: x. The axis becomes `One`. ArgMax/ArgMin give the first position, as an index.
    Reduce { axis: u32, kind: ReduceKind },
    /// In: x1 … xn (equal axes). Combiner region: 2n scalars in, n out. The axis becomes `One`.
    ReduceWith { axis: u32, combine: RegionId },
    /// In: x. Running sum (or max …) along the axis.
    Scan { axis: u32, kind: ReduceKind, reverse: bool, exclusive: bool },
    /// In: x. Out: the k greatest in falling order and their positions (index); ties: lower position first.
    TopK { axis: u32, k: u64 },
    /// In: x. Out: sorted values and positions; stable.
    Sort { axis: u32, descending: bool },
    /// In: index tile of one axis. Out: how often each of 0..bins occurs (index, or i32); others are not counted.
    Histogram { bins: u64 },
    /// In: A [.., t, t], strictly lower (others are read as 0). Out: (I + A)^-1.
    UnitLowerInv,

    // ---- memory
    /// In: the access's ports. Out: the tile.
    Load(Access),
    /// In: the value at port 0, then the access's ports. `unique`: claimed not to repeat a position.
    Store { access: Access, unique: bool },
    /// `t[…] += e` on a `sum` tensor. Ports as `Store`.
    Accumulate(Access),

    // ---- control
    /// First node of a region. Out: Par and For over indices: index; over tiles: start, end, tile number;
    /// then the carried values. Combine: the a's, then the b's.
    RegionArgs,
    /// Last node of a region. In: the region's results. A `For` with `early_exit` has "stop" (bool) first.
    Yield,
    /// In: lo, hi. One per region of the `par` nest.
    Par(ParOp),
    /// In: lo, hi, initial carried values. Out: final carried values.
    For(ForOp),
    /// In: initial carried values. `condition` region: carried in, one bool out; `body`: carried in and out.
    While { condition: RegionId, body: RegionId },
    /// In: condition. Out: the yields of the region taken.
    If { then: RegionId, otherwise: RegionId },

    // ---- other
    /// In: condition (scalar or tile).
    Assert { message: String },
    /// In: a value. Printed on the oracle and the CPU.
    Print { label: String },
}

/// What a loop or a `par` axis runs over. Input ports 0 and 1 are lo and hi.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Iter {
    /// Each index of `lo..hi`. Region args: index.
    Each { reverse: bool },
    /// Spans of `lo..hi`. Region args: start, end, tile number.
    Tiles { step: StepSize, span: SpanId, reverse: bool },
}

impl Iter {
    /// How many region args come before the carried values.
    pub fn variables(self) -> usize {
        match self {
            Iter::Each { .. } => 1,
            Iter::Tiles { .. } => 3,
        }
    }
}

#[derive(Clone, PartialEq, Debug)]
pub struct ParOp {
    pub iter: Iter,
    pub body: RegionId,
    /// The loop variable's name.
    pub name: String,
}

#[derive(Clone, PartialEq, Debug)]
pub struct ForOp {
    pub iter: Iter,
    pub body: RegionId,
    pub name: String,
    pub origin: LoopOrigin,
    /// Has a `break`: the first yield says "stop" (the other yields of that trip count).
    pub early_exit: bool,
    /// `skip c`: a region that takes the loop's variables (not the carried values) and yields one bool.
    pub skip: Option<RegionId>,
    pub combine: LoopCombine,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LoopOrigin {
    Written,
    /// The hidden loop of a streamed dot; named after its `let`.
    Stream,
    /// `for n in ids[..]`: over positions of an id list, the body guarded by `id >= 0`.
    List,
}

/// What the loop says of its carried values.
#[derive(Clone, PartialEq, Debug)]
pub enum LoopCombine {
    /// Nothing: runs in order.
    Ordered,
    /// Every carried value is only `+=`-ed.
    Sum,
    /// `merge f(vars)`: carried values `vars`, combined by a region of 2n values in and n out.
    Merge { vars: Vec<u32>, combine: RegionId },
    /// `affine S`: carried value `var` is an affine function of itself.
    Affine { var: u32 },
}

impl Op {
    /// The word that text forms and messages use.
    pub fn name(&self) -> String {
        let word = match self {
            Op::Elem(e) => return e.name(),
            Op::Reduce { kind, .. } => return format!("reduce.{}", kind.name()),
            Op::Scan { kind, .. } => return format!("scan.{}", kind.name()),
            Op::Const(_) => "const",
            Op::Dim(_) => "dim",
            Op::Param(_) => "param",
            Op::MakeSpan { .. } => "span",
            Op::Iota => "iota",
            Op::Cast => "cast",
            Op::Broadcast => "broadcast",
            Op::Reshape { .. } => "reshape",
            Op::Permute { .. } => "permute",
            Op::Merge { .. } => "merge",
            Op::Split { .. } => "split",
            Op::Slice { .. } => "slice",
            Op::Concat { .. } => "concat",
            Op::Take { .. } => "take",
            Op::Dot(_) => "dot",
            Op::ReduceWith { .. } => "reduce.with",
            Op::TopK { .. } => "topk",
            Op::Sort { .. } => "sort",
            Op::Histogram { .. } => "histogram",
            Op::UnitLowerInv => "unit_lower_inv",
            Op::Load(_) => "load",
            Op::Store { .. } => "store",
            Op::Accumulate(_) => "accumulate",
            Op::RegionArgs => "args",
            Op::Yield => "yield",
            Op::Par(_) => "par",
            Op::For(_) => "for",
            Op::While { .. } => "while",
            Op::If { .. } => "if",
            Op::Assert { .. } => "assert",
            Op::Print { .. } => "print",
        };
        word.to_string()
    }
}
