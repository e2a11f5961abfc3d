//! The decoded kernel: instructions over numbered rows of a warp's register file.
//!
//! A *row* is 32 words, one for each lane. A register of 32 bits or fewer is one row, a 64-bit register two (low
//! words, then high words), a 128-bit register four; so the low half of a wide register is simply its first row, and
//! packing two words into one register is a copy of rows. Immediates and special registers are rows too, filled
//! before a warp starts. Every source is thus a row number, and the inner loop of an instruction is a loop over
//! 32 words that the compiler vectorises. A predicate is one word: bit l belongs to lane l.
//!
//! ```text
//! add.s64 %rd3, %rd1, 16;     rd1 = rows 4,5   16 = rows 40,41 (constant)   rd3 = rows 8,9
//! ```

mod hopper;
mod matrix;
mod order;
mod routine;
mod visit;

pub use hopper::*;
pub use matrix::*;
pub use order::{Fence, Order, Scope, Semantics};
pub use routine::{Base, Block, Place, Routine};
pub use visit::Role;

use crate::read::{Limits, Variable};

/// First row of a register.
pub type Slot = u32;
/// Number of a predicate.
pub type Pred = u32;

#[derive(Clone, Debug)]
pub struct Kernel {
    pub name: String,
    /// `sm_90a`
    pub target: String,
    pub limits: Limits,
    pub params: Vec<Param>,
    pub param_bytes: usize,
    pub code: Vec<Inst>,
    pub rows: u32,
    pub preds: u32,
    pub constants: Vec<(Slot, Constant)>,
    pub specials: Vec<(Slot, Special)>,
    /// Bytes of shared variables of fixed size; dynamic shared memory begins at `dynamic_base`.
    pub static_shared: usize,
    pub dynamic_base: usize,
    /// Local memory of a thread, with the stack of recursive functions if there are any.
    pub local_bytes: usize,
    /// Where that stack begins.
    pub stack_start: usize,
    /// Functions that calls are made to; all others stand in their callers' places.
    pub routines: Vec<Routine>,
    /// Module-scope variables of the global and constant spaces that the kernel may name.
    pub globals: Vec<Variable>,
    /// Which rows belong to declared registers (constants lie between them).
    pub register_rows: Vec<bool>,
}

impl Kernel {
    pub fn is_register(&self, slot: Slot) -> bool {
        self.register_rows.get(slot as usize).copied().unwrap_or(false)
    }
}

#[derive(Clone, Debug)]
pub struct Param {
    pub name: String,
    pub offset: usize,
    pub bytes: usize,
}

/// The value of a constant row pair.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Constant {
    Bits(u64),
    /// The slot is a predicate, always this.
    Pred(bool),
    /// Address of a module variable, known at launch.
    Global {
        name: String,
        offset: i64,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Special {
    Tid(u8),
    Ntid(u8),
    Ctaid(u8),
    Nctaid(u8),
    LaneId,
    WarpId,
    NWarpId,
    LaneMaskEq,
    LaneMaskLt,
    LaneMaskLe,
    LaneMaskGt,
    LaneMaskGe,
    DynamicSmemSize,
    TotalSmemSize,
    GridId,
    SmId,
    NSmId,
    /// Position of the CTA in its cluster, and the cluster's extent.
    ClusterCtaId(u8),
    ClusterNCtaId(u8),
    /// Position of the cluster in the grid, and how many there are.
    ClusterId(u8),
    NClusterId(u8),
    ClusterCtaRank,
    ClusterNCtaRank,
    Zero,
}

#[derive(Clone, Debug)]
pub struct Inst {
    /// Predicate and whether it is negated.
    pub guard: Option<(Pred, bool)>,
    pub op: Op,
    /// Line in the PTX text.
    pub line: u32,
    /// `.loc` in force: file and line; (0, 0) where none.
    pub loc: (u32, u32),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    W16,
    W32,
    W64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IntOp {
    Add,
    Sub,
    MulLo,
    MulHi,
    MulWide,
    Div,
    Rem,
    Min,
    Max,
    Abs,
    Neg,
    MadLo,
    MadHi,
    MadWide,
    Sad,
    And,
    Or,
    Xor,
    Not,
    Cnot,
    Shl,
    Shr,
    Popc,
    Clz,
    Brev,
    Bfind,
    Bfe,
    Bfi,
    Lop3(u8),
    Prmt,
    ShfLeftWrap,
    ShfLeftClamp,
    ShfRightWrap,
    ShfRightClamp,
    /// Dot product of four bytes; the signs of both operands.
    Dp4a(bool, bool),
    /// Of two halfwords with the low or high two bytes.
    Dp2a {
        a_signed: bool,
        b_signed: bool,
        high: bool,
    },
    /// Products of 24-bit integers: the low 32 bits of 48, or bits 16 and up.
    Mul24Lo,
    Mul24Hi,
    Mad24Lo,
    Mad24Hi,
    /// `bfind.shiftamt`: by how much to shift the bit found to the top.
    BfindShift,
    /// `bmsk`: `b` ones from bit `a` up; amounts wrap or clamp.
    BitMaskWrap,
    BitMaskClamp,
    /// `szext`: sign- or zero-extension from `b` bits.
    ExtendWrap,
    ExtendClamp,
    /// `fns`: the position of the c-th set bit of `a` from bit `b` on.
    FindNthSet,
    /// Two 16-bit integers in a word.
    AddPacked,
    MinPacked,
    MaxPacked,
}

impl IntOp {
    /// Whether the third source is read.
    pub fn reads_c(self) -> bool {
        use IntOp::*;
        matches!(self, MadLo | MadHi | MadWide | Mad24Lo | Mad24Hi | Lop3(_) | Prmt | Sad | Bfe | Bfi)
            || matches!(self, ShfLeftWrap | ShfLeftClamp | ShfRightWrap | ShfRightClamp | FindNthSet)
            || matches!(self, Dp4a(..) | Dp2a { .. })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FloatType {
    F16,
    F16x2,
    Bf16,
    Bf16x2,
    F32,
    F64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FloatOp {
    Add,
    Sub,
    Mul,
    Fma,
    Div,
    Min,
    Max,
    Abs,
    Neg,
    Sqrt,
    Rsqrt,
    Rcp,
    Ex2,
    Lg2,
    Sin,
    Cos,
    Tanh,
    CopySign,
    /// `div.approx`: beyond 2^126 the divisor's reciprocal is 0.
    DivApprox,
    /// `rcp.approx.ftz.f64`, `rsqrt.approx.ftz.f64`: only the upper 32 bits carry a value.
    RcpCoarse,
    RsqrtCoarse,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Rounding {
    #[default]
    Nearest,
    Zero,
    Down,
    Up,
    /// To an integral value: `rni`, `rzi`, `rmi`, `rpi`.
    NearestInt,
    ZeroInt,
    DownInt,
    UpInt,
    /// Away from zero on ties (`rna`).
    Away,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FloatMods {
    pub rounding: Rounding,
    pub ftz: bool,
    pub sat: bool,
    /// Results beyond the greatest finite number become it; NaN stays (`cvt…satfinite`).
    pub satfinite: bool,
    pub relu: bool,
    pub nan: bool,
    /// `min`, `max` of magnitudes, with the product of the signs (`.xorsign.abs`).
    pub xorsign_abs: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compare {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    /// Unordered forms: also true when an operand is NaN.
    Equ,
    Neu,
    Ltu,
    Leu,
    Gtu,
    Geu,
    Num,
    Nan,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scalar {
    Int { signed: bool, bits: u8 },
    F16,
    Bf16,
    Tf32,
    F32,
    F64,
    E4m3x2,
    E5m2x2,
    E2m3x2,
    E3m2x2,
    E2m1x2,
    Ue8m0x2,
    F16x2,
    Bf16x2,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bool {
    And,
    Or,
    Xor,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemSpace {
    Global,
    Shared,
    /// `shared::cluster`: the shared memories of all CTAs of the cluster.
    SharedCluster,
    Local,
    Param,
    Generic,
}

/// Address: 64-bit or 32-bit base register and a byte offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addr {
    pub base: Slot,
    pub wide: bool,
    pub offset: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AtomOp {
    Add,
    Min,
    Max,
    And,
    Or,
    Xor,
    Exch,
    Cas,
    Inc,
    Dec,
}

#[derive(Clone, Debug)]
pub enum Op {
    Nop,
    /// Rows `from` to rows `to`, one by one.
    Copy {
        to: Vec<Slot>,
        from: Vec<Slot>,
    },
    /// Two 16-bit halves into one word, or back.
    Pack16 {
        d: Slot,
        lo: Slot,
        hi: Slot,
    },
    Unpack16 {
        lo: Option<Slot>,
        hi: Option<Slot>,
        a: Slot,
    },
    Int {
        op: IntOp,
        signed: bool,
        width: Width,
        sat: bool,
        d: Slot,
        a: Slot,
        b: Slot,
        c: Slot,
    },
    Float {
        op: FloatOp,
        ty: FloatType,
        mods: FloatMods,
        d: Slot,
        a: Slot,
        b: Slot,
        c: Slot,
    },
    Convert {
        to: Scalar,
        from: Scalar,
        mods: FloatMods,
        d: Slot,
        a: Slot,
        b: Slot,
    },
    Setp {
        cmp: Compare,
        ty: Scalar,
        ftz: bool,
        combine: Option<(Bool, Pred, bool)>,
        p: Option<Pred>,
        q: Option<Pred>,
        a: Slot,
        b: Slot,
    },
    /// `d = p ? a : b` on whole registers.
    Select {
        rows: u8,
        d: Slot,
        a: Slot,
        b: Slot,
        p: Pred,
    },
    /// Logic on predicates: bit (a | b << 1) of the table.
    PredLogic {
        d: Pred,
        a: Pred,
        b: Pred,
        table: u8,
    },
    TestClass {
        p: Pred,
        a: Slot,
        wide: bool,
        class: TestClass,
    },

    Load {
        space: MemSpace,
        bytes: u8,
        signed: bool,
        d: Vec<Option<Slot>>,
        wide: bool,
        addr: Addr,
        order: Order,
    },
    Store {
        space: MemSpace,
        bytes: u8,
        a: Vec<Slot>,
        wide: bool,
        addr: Addr,
        order: Order,
    },
    LoadParam {
        bytes: u8,
        signed: bool,
        d: Vec<Option<Slot>>,
        wide: bool,
        offset: usize,
    },
    Atomic {
        space: MemSpace,
        op: AtomOp,
        ty: Scalar,
        d: Option<Slot>,
        addr: Addr,
        a: Slot,
        b: Slot,
        order: Order,
    },
    /// Generic to a space or back.
    Cvta {
        space: MemSpace,
        to_space: bool,
        d: Slot,
        a: Slot,
        wide: bool,
    },
    LoadMatrix(Box<MatrixLoad>),
    StoreMatrix {
        count: u8,
        layout: MatrixLayout,
        a: Vec<Slot>,
        addr: Addr,
    },
    /// `cp.async`: `size` bytes to shared, of which the first `source` come from global (the rest is 0).
    CopyAsync {
        size: u8,
        source: Option<Slot>,
        to: Addr,
        from: Addr,
    },
    CopyAsyncCommit,
    /// `all`: the copies that are not committed yet, too (`wait_all`).
    CopyAsyncWait {
        pending: u32,
        all: bool,
    },

    Shuffle {
        kind: Shuffle,
        d: Slot,
        p: Option<Pred>,
        a: Slot,
        lane: Slot,
        clamp: Slot,
        members: Slot,
    },
    VotePred {
        kind: Vote,
        d: Pred,
        a: Pred,
        negate: bool,
        members: Slot,
    },
    VoteBallot {
        d: Slot,
        a: Pred,
        negate: bool,
        members: Slot,
    },
    MatchAny {
        wide: bool,
        d: Slot,
        a: Slot,
        members: Slot,
    },
    /// `match.all`: the members if all have one value, else none.
    MatchAll {
        wide: bool,
        d: Option<Slot>,
        p: Option<Pred>,
        a: Slot,
        members: Slot,
    },
    /// `movmatrix`: an 8×8 matrix of halfwords, transposed.
    TransposeMatrix {
        d: Slot,
        a: Slot,
    },
    Redux {
        op: AtomOp,
        /// How values compare: integers, or f32 with or without a NaN that wins, by magnitude or not.
        float: Option<FloatMods>,
        magnitude: bool,
        signed: bool,
        d: Slot,
        a: Slot,
        members: Slot,
    },
    Elect {
        d: Option<Slot>,
        p: Pred,
        members: Slot,
    },
    ActiveMask {
        d: Slot,
    },
    Mma {
        m: u8,
        n: u8,
        k: u16,
        a_type: MatrixType,
        b_type: MatrixType,
        half_acc: bool,
        /// Integer results saturate.
        saturate: bool,
        /// `a` holds half of its elements, or a quarter of pairs (`mma.sp`).
        sparse: Option<Sparsity>,
        d: Vec<Slot>,
        a: Vec<Slot>,
        b: Vec<Slot>,
        c: Vec<Slot>,
    },

    MmaQuads(Box<MmaQuads>),

    /// Sum or difference with a carry in and a carry out, each a bit of a predicate (`addc.cc`, `madc.hi.cc`).
    Carry {
        op: CarryOp,
        signed: bool,
        wide: bool,
        carry_in: Option<Pred>,
        carry_out: Option<Pred>,
        d: Slot,
        a: Slot,
        b: Slot,
        c: Slot,
    },
    /// `isspacep`: does a generic address lie in the space?
    IsSpace {
        p: Pred,
        space: MemSpace,
        a: Slot,
    },
    /// `vprintf`: generic addresses of the format and of the block of arguments.
    Print {
        d: Slot,
        format: Slot,
        arguments: Slot,
    },
    /// `__assertfail`: generic addresses of message, file and function, and the line.
    AssertFail {
        message: Slot,
        file: Slot,
        line: Slot,
        place: Slot,
    },
    /// What cannot go on if it is reached, with the reason.
    Refuse(Box<str>),

    Branch {
        target: u32,
    },
    /// A call of a recursive function; `formals`: addresses of the blocks of its parameters, then of its results.
    Call {
        routine: u32,
        formals: Vec<Slot>,
    },
    /// Back to behind the call.
    Return {
        routine: u32,
    },
    Exit,
    Trap,
    /// `bar.sync`, `bar.arrive` (`wait` false). `count`: threads that take part; all of the CTA without.
    Barrier {
        id: Slot,
        count: Option<Slot>,
        wait: bool,
        aligned: bool,
    },
    /// `barrier.red`: a barrier that also counts or joins a predicate of all threads.
    BarrierReduce {
        id: Slot,
        count: Option<Slot>,
        a: Pred,
        negate: bool,
        aligned: bool,
        result: BarrierResult,
    },
    WarpSync {
        members: Slot,
    },
    Fence(Fence),
    NanoSleep {
        time: Slot,
    },
    Clock {
        d: Slot,
        wide: bool,
    },
    Hopper(Box<HopperOp>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CarryOp {
    Add,
    Sub,
    MadLo,
    MadHi,
}

/// What `barrier.red` gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BarrierResult {
    /// Threads whose predicate holds.
    Count(Slot),
    All(Pred),
    Any(Pred),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TestClass {
    Finite,
    Infinite,
    Number,
    NotANumber,
    Normal,
    Subnormal,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shuffle {
    Up,
    Down,
    Xor,
    Idx,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vote {
    All,
    Any,
    Uni,
}
