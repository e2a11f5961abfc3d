//! The typed kernel: what the checker makes of a kernel and one choice of its dtypes, consts, functions and optional
//! tensors. Plain data; [`crate::print`] gives it as text.
//!
//! # What is settled here, so that no later stage asks again
//!
//! * Generics are gone: dtypes and consts have values, functions are inlined, absent tensors and their branches are
//!   dropped, `unroll` is unrolled, arrays of tiles are separate locals, tuples and `view`s have dissolved.
//! * Every expression has a type. Literals are of their operand's type. Elementwise operands are of one rank (or
//!   scalars); axes of extent 1 stretch. What is stored, assigned or initialised has exactly the type of its place:
//!   stretching there is a [`TExprKind::Broadcast`].
//! * An access says per dimension of the object which coordinate it takes; see [`Access`].
//! * `@` over a run-time axis is [`TExprKind::StreamDot`]: the checker has made a span for the hidden loop and both
//!   operands are loads over it.
//!
//! # Example
//!
//! ```text
//! c[i, j] = epi(a[i, :] @ b[:, j]).to(T);          with T = f16, epi = relu
//!
//! let s: f32[i, j] = stream s in 0..K { load a[i, s] @ load b[s, j] }
//! store c[i, j] = cast f16 (max(s, 0))
//! ```
//!
//! Invariants: a [`LocalId`] is bound by exactly one `Let`, `LetMany`, `Var`, loop variable, `If` result or combiner
//! parameter and used only below it; a span's fields are used only inside its loop (or after its `MakeSpan`).

use tile_base::{
    DType, IndexKind, Mode, Signature, Size, Span, index_type,
    op::{DotAxes, ElemOp, Literal, ReduceKind},
};

index_type! {
    /// A `let`, `var`, loop index or combiner parameter.
    pub struct LocalId = "v";
    /// A span of positions: of a loop or `par` over `tiles(..)`, of `span(..)`, or of a streamed dot.
    pub struct SpanId = "s";
    /// A `tile` size.
    pub struct TileId = "t";
    /// A tensor of the signature that is present.
    pub struct ObjectId = "m";
}

// ---------------------------------------------------------------- types

/// The element type of a value. Index arithmetic is exact and apart from the stored integer types.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Elem {
    /// Dimensions, positions, loop variables, elements of `id`, `count` and `offsets` tensors.
    Index,
    Of(DType),
}

impl Elem {
    pub const BOOL: Elem = Elem::Of(DType::Bool);

    /// The dtype in the graph: an index is `i64`.
    pub fn dtype(self) -> DType {
        match self {
            Elem::Index => DType::I64,
            Elem::Of(d) => d,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Elem::Index => "index",
            Elem::Of(d) => d.name(),
        }
    }

    pub fn is_float(self) -> bool {
        matches!(self, Elem::Of(d) if d.is_float())
    }

    /// An index or a stored integer.
    pub fn is_int(self) -> bool {
        matches!(self, Elem::Index) || matches!(self, Elem::Of(d) if d.is_int())
    }
}

/// An axis of a tile. Two axes agree by identity ([`Axis::agrees`]), never by equal length alone.
#[derive(Clone, PartialEq, Debug)]
pub enum Axis {
    /// Extent 1; stretches.
    One,
    /// A compile-time extent: as written (`D`, `2 * D`), and its value in this instance.
    Fixed { size: Size, value: u64 },
    /// `times` elements for each position of a span; 1 but for merged axes.
    Span { span: SpanId, times: u64 },
}

impl Axis {
    pub fn span(span: SpanId) -> Axis {
        Axis::Span { span, times: 1 }
    }

    pub fn agrees(&self, other: &Axis) -> bool {
        match (self, other) {
            (Axis::One, Axis::One) => true,
            // `D / 2` and `D - D / 2` agree where they are equal; `D` and `DV` never do.
            (Axis::Fixed { size: a, value: m }, Axis::Fixed { size: b, value: n }) => {
                a.same(b) || (m == n && !a.names().is_empty() && same_names(a, b))
            }
            (Axis::Span { span: a, times: m }, Axis::Span { span: b, times: n }) => a == b && m == n,
            _ => false,
        }
    }
}

fn same_names(a: &Size, b: &Size) -> bool {
    let (mut a, mut b) = (a.names(), b.names());
    a.sort_unstable();
    b.sort_unstable();
    a == b
}

/// The type of a value; no axes: a scalar.
#[derive(Clone, PartialEq, Debug)]
pub struct Type {
    pub elem: Elem,
    pub axes: Vec<Axis>,
}

impl Type {
    pub fn scalar(elem: Elem) -> Type {
        Type { elem, axes: vec![] }
    }

    pub fn tile(elem: Elem, axes: Vec<Axis>) -> Type {
        Type { elem, axes }
    }

    pub fn is_scalar(&self) -> bool {
        self.axes.is_empty()
    }
}

// ---------------------------------------------------------------- the kernel

#[derive(Clone, Debug)]
pub struct TypedKernel {
    pub name: String,
    pub span: Span,
    pub signature: Signature,
    pub objects: Vec<Object>,
    pub tiles: Vec<TileSize>,
    pub spans: Vec<SpanInfo>,
    pub locals: Vec<Local>,
    /// Statements before the `par`: scalars for its bounds.
    pub before: Vec<TStmt>,
    /// Outermost first. Empty: one instance.
    pub par: Vec<ParAxis>,
    /// What one instance does.
    pub body: Vec<TStmt>,
    /// What the author promised (`skip`, `merge`, `affine`, `unique`), for `check --claims`.
    pub claims: Vec<ClaimInfo>,
    /// Names of the functions of the kernel's own file that were inlined.
    pub inlined: Vec<String>,
    /// Notes and warnings; errors never reach here.
    pub notes: Vec<tile_base::Diagnostic>,
}

/// A tensor of the signature.
#[derive(Clone, Debug)]
pub struct Object {
    pub name: String,
    /// Position among the signature's `params`.
    pub param: usize,
    pub dtype: DType,
    pub mode: Mode,
    pub index: Option<IndexKind>,
    /// Over `signature.dims`, const parameters replaced by their values.
    pub shape: Vec<Size>,
    pub span: Span,
}

impl Object {
    /// What an element is once loaded.
    pub fn elem(&self) -> Elem {
        if self.index.is_some() { Elem::Index } else { Elem::Of(self.dtype) }
    }
}

/// `tile BM in {64, 128};`
#[derive(Clone, Debug)]
pub struct TileSize {
    pub name: String,
    /// Empty: any.
    pub allowed: Vec<u64>,
    pub span: Span,
}

/// How far one step of `tiles(r, B)` reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    Tile(TileId),
    Fixed(u64),
    /// The hidden step of a streamed dot, named after the dot's path.
    Hidden,
}

#[derive(Clone, Debug)]
pub struct SpanInfo {
    /// The path by which schedules name its loop: `j`, `st.t`, or a streamed dot's `let`.
    pub path: String,
    /// The name in types: `j` in `f32[i, j]`.
    pub name: String,
    pub step: Step,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub struct Local {
    /// The path by which schedules name it: `acc`, `st.p`.
    pub path: String,
    pub ty: Type,
    pub mutable: bool,
    pub span: Span,
}

/// What a loop or a `par` axis runs over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Iter {
    /// Each index of `lo..hi`; the local is the index.
    Each { index: LocalId },
    /// Steps of `lo..hi`; the span's fields are the loop's variables.
    Tiles { span: SpanId, step: Step },
}

#[derive(Clone, Debug)]
pub struct ParAxis {
    pub name: String,
    pub iter: Iter,
    /// Statements that the bounds need, run inside the axes before this one; mostly empty.
    pub setup: Vec<TStmt>,
    pub lo: TExpr,
    pub hi: TExpr,
    pub span: Span,
}

/// A claim of the author and what is known of it.
#[derive(Clone, Debug)]
pub struct ClaimInfo {
    /// `skip`, `merge`, `affine`, `unique`.
    pub kind: &'static str,
    /// Path of the loop or of the store.
    pub path: String,
    pub span: Span,
    /// Proven here; else it is tested on the oracle.
    pub proven: bool,
    pub reason: String,
}

// ---------------------------------------------------------------- statements

#[derive(Clone, Debug)]
pub struct TStmt {
    pub kind: TStmtKind,
    pub span: Span,
}

/// Statements and the values they end with.
#[derive(Clone, Debug, Default)]
pub struct TBlock {
    pub stmts: Vec<TStmt>,
    pub values: Vec<TExpr>,
}

#[derive(Clone, Debug)]
pub enum TStmtKind {
    Let {
        local: LocalId,
        value: TExpr,
    },
    /// An operation with several results.
    LetMany {
        locals: Vec<LocalId>,
        op: ManyOp,
    },
    Var {
        local: LocalId,
        value: TExpr,
    },
    Assign {
        local: LocalId,
        value: TExpr,
    },
    /// `let s = span(lo, B, hi);` start = lo, end = min(lo + step, hi).
    MakeSpan {
        span: SpanId,
        lo: TExpr,
        hi: TExpr,
    },
    Store {
        access: Access,
        value: TExpr,
        /// Claimed not to repeat a position.
        unique: bool,
    },
    /// `t[…] += e` on a `sum` tensor.
    Accumulate {
        access: Access,
        value: TExpr,
    },
    For(Box<TFor>),
    While {
        condition: TBlock,
        body: Vec<TStmt>,
        carried: Vec<LocalId>,
    },
    /// Scalar condition. The values of the arm taken are bound to `results`.
    If {
        condition: TExpr,
        then: TBlock,
        otherwise: TBlock,
        results: Vec<LocalId>,
        /// Variables from outside that an arm assigns.
        carried: Vec<LocalId>,
    },
    /// Leaves the innermost loop. The last statement of its block.
    Break,
    Assert {
        condition: TExpr,
        message: String,
    },
}

#[derive(Clone, Debug)]
pub struct TFor {
    /// Path of the loop.
    pub path: String,
    pub iter: Iter,
    pub lo: TExpr,
    pub hi: TExpr,
    pub reverse: bool,
    pub origin: ForOrigin,
    /// Where it holds the body changes nothing. Uses the loop's variables and what is outside, no carried value.
    pub skip: Option<TBlock>,
    pub combine: LoopCombine,
    /// Variables from outside that the body assigns, in order of declaration.
    pub carried: Vec<LocalId>,
    pub body: Vec<TStmt>,
    /// Holds a `break` of this loop.
    pub has_break: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ForOrigin {
    Written,
    /// `for n in ids[..]`: over the positions of a list; the body begins with the load of `n` and, for `id?`, is
    /// guarded by `n >= 0`.
    List,
}

#[derive(Clone, Debug)]
pub enum LoopCombine {
    /// In order.
    Ordered,
    /// Every carried variable is only `+=`-ed, and read nowhere else in the body.
    Sum,
    /// `merge f(vars)`; a carried variable not listed is only `+=`-ed.
    Merge {
        vars: Vec<LocalId>,
        combine: Combiner,
    },
    Affine {
        var: LocalId,
    },
}

/// Two groups of values in (the parameters: the a's, then the b's), one group out.
#[derive(Clone, Debug)]
pub struct Combiner {
    pub params: Vec<LocalId>,
    pub body: TBlock,
}

/// Operations with several results.
#[derive(Clone, Debug)]
pub enum ManyOp {
    /// The k greatest in falling order, and their positions.
    TopK { x: TExpr, axis: u32, k: u64 },
    /// Sorted values and their positions; stable.
    Sort { x: TExpr, axis: u32, descending: bool },
    /// `reduce((x, y), axis, f)`: one result for each operand; the axis becomes 1. The combiner is over scalars.
    Reduce { xs: Vec<TExpr>, axis: u32, combine: Combiner },
}

// ---------------------------------------------------------------- expressions

#[derive(Clone, PartialEq, Debug)]
pub struct TExpr {
    pub kind: TExprKind,
    pub ty: Type,
    pub span: Span,
}

#[derive(Clone, PartialEq, Debug)]
pub enum TExprKind {
    /// A scalar of the expression's type.
    Literal(Literal),
    Local(LocalId),
    /// `signature.dims[n]`.
    Dim(u32),
    /// Scalar parameter `signature.params[n]`.
    Param(u32),
    SpanField(SpanId, SpanField),
    /// `i.at`: start, start + 1, …: `index[i]`.
    Positions(SpanId),
    /// 0, 1, … along the one axis of the type.
    Iota,
    Elem {
        op: ElemOp,
        args: Vec<TExpr>,
    },
    /// To the expression's element type.
    Cast(Box<TExpr>),
    /// Stretched to the expression's type.
    Broadcast(Box<TExpr>),
    /// `axes[n]`: the operand's axis at output position n, or a new one of extent 1. A missing one (of extent 1, or
    /// taken by a constant subscript, see `Slice`) is dropped.
    Reshape {
        x: Box<TExpr>,
        axes: Vec<Option<u32>>,
    },
    Permute {
        x: Box<TExpr>,
        order: Vec<u32>,
    },
    /// Axes `axis` and `axis + 1` become one; the second is `Fixed`.
    Merge {
        x: Box<TExpr>,
        axis: u32,
    },
    /// Axis `axis` becomes two; the second is `Fixed(minor)`.
    Split {
        x: Box<TExpr>,
        axis: u32,
        minor: u64,
    },
    /// `lo .. lo + extent of the result` of a `Fixed` axis. Of extent 1 (`y[:, :, 0]`) the axis is `Fixed` 1 or `One`
    /// and dropped by the `Reshape` around it.
    Slice {
        x: Box<TExpr>,
        axis: u32,
        lo: u64,
    },
    Concat {
        parts: Vec<TExpr>,
        axis: u32,
    },
    /// `index` a scalar: the axis becomes One; an index tile of one axis: the axis becomes its axis.
    Take {
        x: Box<TExpr>,
        index: Box<TExpr>,
        axis: u32,
    },
    /// The element type is the accumulator. Batch axes, then the rest of lhs, then the rest of rhs.
    Dot {
        lhs: Box<TExpr>,
        rhs: Box<TExpr>,
        axes: DotAxes,
    },
    /// A dot over a run-time axis: the sum over the steps of `lo..hi` of `lhs @ rhs`, which are expressions over
    /// `span` (of step [`Step::Hidden`]).
    StreamDot {
        span: SpanId,
        lo: Box<TExpr>,
        hi: Box<TExpr>,
        lhs: Box<TExpr>,
        rhs: Box<TExpr>,
        axes: DotAxes,
    },
    /// The axis becomes `One`. `ArgMax`/`ArgMin`: first position along the axis (counted from 0), an index.
    Reduce {
        x: Box<TExpr>,
        axis: u32,
        kind: ReduceKind,
    },
    Scan {
        x: Box<TExpr>,
        axis: u32,
        kind: ReduceKind,
        reverse: bool,
        exclusive: bool,
    },
    /// How often each of 0..bins occurs; i32.
    Histogram {
        x: Box<TExpr>,
        bins: u64,
    },
    UnitLowerInv(Box<TExpr>),
    Load(Box<Access>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpanField {
    Start,
    End,
    Len,
    /// Number of the step, from 0.
    Id,
}

/// How a load or a store reaches memory: per dimension of the object, the coordinate as a function of the position
/// in the accessed tile, whose axes are `axes`.
///
/// `kb[b, j - 2, h, :]` over `k: [B, N, HK, D]` has axes `[j, D]` and coordinates `b`, `j.start - 2 + 1 × axis 0`,
/// `h`, `1 × axis 1`.
#[derive(Clone, PartialEq, Debug)]
pub struct Access {
    pub object: ObjectId,
    /// One for each dimension of the object.
    pub coords: Vec<Coord>,
    /// The axes of the tile; for a store, of its value. None: a scalar.
    pub axes: Vec<Axis>,
    /// A scalar read where some coordinate lies outside or the mask is false; a store with it stores nothing there.
    pub otherwise: Option<Box<TExpr>>,
    /// A bool scalar, or tile whose axes are those of the accessed tile or 1: false means as if outside.
    pub mask: Option<Box<TExpr>>,
    pub span: Span,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Coord {
    pub index: CoordIndex,
    /// Narrower limits than `0..dim`, from slices `x[lo..hi]`.
    pub lo: Option<TExpr>,
    pub hi: Option<TExpr>,
    /// Inside by construction: a span cut from this very dimension (or range), or a whole axis.
    pub inside: bool,
    /// An `else` stands: outside is meant.
    pub outside_meant: bool,
    /// The subscript it comes from.
    pub span: Span,
}

#[derive(Clone, PartialEq, Debug)]
pub enum CoordIndex {
    /// `base + Σ stride × (position along tile axis)`, positions counted from 0.
    Affine { base: Option<TExpr>, terms: Vec<(u32, i64)> },
    /// An index tile; its axis `n` runs along the accessed tile's axis `axes[n]` (axes of extent 1 stretch).
    Gather { index: TExpr, axes: Vec<u32> },
}

// ---------------------------------------------------------------- ops

/// A typed `op`: host code that launches kernels.
#[derive(Clone, Debug)]
pub struct TypedProgram {
    pub name: String,
    pub span: Span,
    pub signature: Signature,
    pub temps: Vec<Temp>,
    pub kernels: Vec<TypedKernel>,
    pub steps: Vec<HostStep>,
    pub notes: Vec<tile_base::Diagnostic>,
}

/// Lives from its first writer to its last reader.
#[derive(Clone, Debug)]
pub struct Temp {
    pub name: String,
    pub dtype: DType,
    pub index: Option<IndexKind>,
    pub shape: Vec<Size>,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum HostStep {
    Launch {
        kernel: usize,
        args: Vec<HostArg>,
        span: Span,
    },
    Let {
        name: String,
        value: Size,
    },
    For {
        name: String,
        lo: Size,
        hi: Size,
        body: Vec<HostStep>,
    },
    If {
        lhs: Size,
        op: tile_base::signature::Relation,
        rhs: Size,
        then: Vec<HostStep>,
        otherwise: Vec<HostStep>,
    },
}

/// One for each of the kernel's `signature.params`.
#[derive(Clone, Debug)]
pub enum HostArg {
    /// Parameter of the program, by position.
    Param(usize),
    /// A temporary, by position.
    Temp(usize),
    Part {
        of: Box<HostArg>,
        subscripts: Vec<HostPart>,
    },
    Size(Size),
    Float(f64),
    Absent,
}

#[derive(Clone, Debug)]
pub enum HostPart {
    At(Size),
    All,
    Range(Size, Size),
}
