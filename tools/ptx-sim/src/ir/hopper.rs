//! The asynchronous machine of compute capability 9.0: barriers in memory, bulk copies and TMA, warpgroup matrix
//! products, clusters.
//!
//! These are operations of their own kind, because they start an *agent* that goes on beside the warp
//! (docs/machine.md §1), or wait for one. The decoder fills them in; `exec` runs them.
//!
//! ```text
//! cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [dst], [map, {x, y}], [bar];
//!     Bulk(Bulk { from: Global, to: SharedCluster, tensor: Some(Tensor { map, at: [x, y], .. }), done: Mbarrier(bar), .. })
//! wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {d…}, a, b, p, 1, 1, 0, 0;
//!     Wgmma(Wgmma { n: 128, k: 16, a: Descriptor(a), b, .. })
//! ```

pub use tile_machine::tensor_map::Field as TensorMapField;

use super::{Addr, AtomOp, Order, Pred, Role, Scalar, Slot};

#[derive(Clone, Debug)]
pub enum HopperOp {
    Mbarrier(Mbarrier),
    Bulk(Bulk),
    /// `cp.async.bulk.commit_group`.
    BulkCommit,
    /// `cp.async.bulk.wait_group{.read} N`.
    BulkWait {
        pending: u32,
        read_only: bool,
    },
    /// `st.async` and `red.async`: to another CTA's shared memory, counted in bytes by an mbarrier there.
    StoreAsync {
        reduce: Option<AtomOp>,
        ty: Scalar,
        a: Vec<Slot>,
        to: Addr,
        bar: Addr,
    },
    Wgmma(Wgmma),
    WgmmaFence,
    WgmmaCommit,
    WgmmaWait {
        pending: u32,
    },
    /// `barrier.cluster.arrive{.release|.relaxed}{.aligned}` / `.wait{.acquire}{.aligned}`.
    ClusterArrive {
        order: Order,
        aligned: bool,
    },
    ClusterWait {
        order: Order,
        aligned: bool,
    },
    /// `mapa{.shared::cluster}.u32/u64 d, a, rank`; `generic`: both addresses are generic.
    Mapa {
        d: Slot,
        a: Slot,
        rank: Slot,
        wide: bool,
        generic: bool,
    },
    /// `getctarank`.
    CtaRank {
        d: Slot,
        a: Slot,
        wide: bool,
        generic: bool,
    },
    /// `setmaxnreg.{inc,dec}.sync.aligned.u32 N`.
    SetMaxRegisters {
        increase: bool,
        count: u32,
    },
    /// `griddepcontrol.wait` (else `.launch_dependents`).
    GridDependency {
        wait: bool,
    },
    /// `tensormap.replace.tile.FIELD…  [map], {ordinal,} value`.
    TensorMapReplace {
        map: Addr,
        shared: bool,
        field: TensorMapField,
        ordinal: u32,
        value: Slot,
    },
    /// `tensormap.cp_fenceproxy…[dst], [src], 128`: copies 128 bytes from shared to global, then fences.
    TensorMapCopyFence {
        to: Addr,
        from: Addr,
        order: Order,
    },
    /// `prefetch.tensormap [map]`.
    PrefetchTensorMap {
        map: Addr,
    },
}

#[derive(Clone, Debug)]
pub enum Mbarrier {
    Init {
        bar: Addr,
        count: Slot,
    },
    Invalidate {
        bar: Addr,
    },
    /// `expect_tx` alone, and `complete_tx` (which only simulates a copy).
    ExpectTx {
        bar: Addr,
        cluster: bool,
        bytes: Slot,
    },
    CompleteTx {
        bar: Addr,
        cluster: bool,
        bytes: Slot,
    },
    /// `arrive`, `arrive_drop`, `.expect_tx`, `.noComplete`. `state`: where the phase before the arrival is kept.
    Arrive {
        bar: Addr,
        /// The address is in the cluster's window (another CTA's barrier, perhaps).
        cluster: bool,
        state: Option<Slot>,
        count: Option<Slot>,
        expect_tx: Option<Slot>,
        drop: bool,
        no_complete: bool,
        order: Order,
    },
    /// `test_wait`, `try_wait`, with a state token or a parity.
    Test {
        bar: Addr,
        d: Pred,
        token: Token,
        may_suspend: bool,
        order: Order,
    },
    /// `pending_count`.
    PendingCount {
        d: Slot,
        state: Slot,
    },
    /// `cp.async.mbarrier.arrive{.noinc}`: arrives when the lane's earlier `cp.async` have landed.
    CopyAsyncArrive {
        bar: Addr,
        noinc: bool,
    },
}

#[derive(Clone, Copy, Debug)]
pub enum Token {
    /// 64 bits that an arrive gave.
    State(Slot),
    Parity(Slot),
}

/// Ends of a bulk copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BulkSpace {
    Global,
    SharedCta,
    SharedCluster,
    /// Prefetch: the data go nowhere that can be seen.
    L2,
}

/// How the end of a bulk copy is learned.
#[derive(Clone, Copy, Debug)]
pub enum Completion {
    /// Bytes on an mbarrier.
    Mbarrier(Addr),
    /// The bulk group of the issuing lane.
    Group,
    /// A prefetch: never.
    None,
}

/// `cp.async.bulk…`, `cp.reduce.async.bulk…`, with or without a tensor map.
#[derive(Clone, Debug)]
pub struct Bulk {
    pub from: BulkSpace,
    pub to: BulkSpace,
    /// The end in memory that a plain address names: shared memory for tensor copies; both ends otherwise.
    pub source: Option<Addr>,
    pub destination: Option<Addr>,
    /// Bytes of a copy without tensor map.
    pub bytes: Option<Slot>,
    pub tensor: Option<Tensor>,
    pub reduce: Option<(AtomOp, Option<Scalar>)>,
    pub done: Completion,
    /// `.multicast::cluster`: bit r for the CTA of rank r.
    pub multicast: Option<Slot>,
    /// `.cp_mask`: 16 bits, one for each byte of 16.
    pub byte_mask: Option<Slot>,
}

#[derive(Clone, Debug)]
pub struct Tensor {
    pub map: Addr,
    /// Coordinates, innermost first; 1 to 5.
    pub at: Vec<Slot>,
    pub mode: TensorMode,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TensorMode {
    Tile,
    /// Offsets of the filter (16 bits each).
    Im2col {
        offsets: Vec<Slot>,
    },
}

/// Elements of a wgmma operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WgmmaType {
    F16,
    Bf16,
    Tf32,
    E4m3,
    E5m2,
    S8,
    U8,
    B1,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WgmmaAcc {
    F16,
    F32,
    S32,
}

#[derive(Clone, Debug)]
pub enum WgmmaA {
    Registers(Vec<Slot>),
    Descriptor(Slot),
}

/// `wgmma.mma_async{.sp}`, m = 64.
#[derive(Clone, Debug)]
pub struct Wgmma {
    pub n: u16,
    pub k: u16,
    pub d_type: WgmmaAcc,
    pub a_type: WgmmaType,
    pub b_type: WgmmaType,
    pub d: Vec<Slot>,
    pub a: WgmmaA,
    /// Descriptor, 64 bits.
    pub b: Slot,
    /// Whether D is an input; a predicate that is the same in the whole group.
    pub scale_d: Pred,
    pub scale_d_negated: bool,
    pub negate_a: bool,
    pub negate_b: bool,
    /// MN-major operands.
    pub transpose_a: bool,
    pub transpose_b: bool,
    /// Integer results saturate.
    pub saturate: bool,
    /// `.sp`: metadata and selector.
    pub sparse: Option<(Slot, u32)>,
    /// `.and.popc` of b1.
    pub and_popc: bool,
}

fn rows(f: &mut dyn FnMut(Role), slot: Slot, count: u32, def: bool) {
    (slot..slot + count).for_each(|s| f(if def { Role::Def(s) } else { Role::Use(s) }));
}

fn address(f: &mut dyn FnMut(Role), a: &Addr) {
    f(Role::Address(a.base));
    if a.wide {
        f(Role::Address(a.base + 1));
    }
}

fn steers(f: &mut dyn FnMut(Role), slots: impl IntoIterator<Item = Slot>) {
    slots.into_iter().for_each(|s| f(Role::Address(s)));
}

impl HopperOp {
    /// See [`super::Op::visit`].
    pub fn visit(&self, f: &mut dyn FnMut(Role)) {
        match self {
            HopperOp::Mbarrier(m) => m.visit(f),
            HopperOp::Bulk(b) => b.visit(f),
            HopperOp::Wgmma(w) => w.visit(f),
            HopperOp::StoreAsync { ty, a, to, bar, .. } => {
                address(f, to);
                address(f, bar);
                let n = if matches!(ty, Scalar::F64 | Scalar::Int { bits: 64, .. }) { 2 } else { 1 };
                a.iter().for_each(|&s| rows(f, s, n, false));
            }
            HopperOp::Mapa { d, a, rank, wide, .. } => {
                let n = if *wide { 2 } else { 1 };
                rows(f, *a, n, false);
                steers(f, [*rank]);
                rows(f, *d, n, true);
            }
            HopperOp::CtaRank { d, a, wide, .. } => {
                rows(f, *a, if *wide { 2 } else { 1 }, false);
                rows(f, *d, 1, true);
            }
            HopperOp::TensorMapReplace { map, value, field, .. } => {
                address(f, map);
                let wide = matches!(field, TensorMapField::GlobalAddress | TensorMapField::GlobalStride);
                steers(f, *value..*value + if wide { 2 } else { 1 });
            }
            HopperOp::TensorMapCopyFence { to, from, .. } => {
                address(f, to);
                address(f, from);
            }
            HopperOp::PrefetchTensorMap { map } => address(f, map),
            HopperOp::BulkCommit
            | HopperOp::BulkWait { .. }
            | HopperOp::WgmmaFence
            | HopperOp::WgmmaCommit
            | HopperOp::WgmmaWait { .. }
            | HopperOp::ClusterArrive { .. }
            | HopperOp::ClusterWait { .. }
            | HopperOp::SetMaxRegisters { .. }
            | HopperOp::GridDependency { .. } => {}
        }
    }
}

impl Mbarrier {
    fn visit(&self, f: &mut dyn FnMut(Role)) {
        match self {
            Mbarrier::Init { bar, count } => {
                address(f, bar);
                steers(f, [*count]);
            }
            Mbarrier::Invalidate { bar } | Mbarrier::CopyAsyncArrive { bar, .. } => address(f, bar),
            Mbarrier::ExpectTx { bar, bytes, .. } | Mbarrier::CompleteTx { bar, bytes, .. } => {
                address(f, bar);
                steers(f, [*bytes]);
            }
            Mbarrier::Arrive { bar, state, count, expect_tx, .. } => {
                address(f, bar);
                steers(f, count.iter().chain(expect_tx).copied());
                state.iter().for_each(|&s| rows(f, s, 2, true));
            }
            Mbarrier::Test { bar, d, token, .. } => {
                address(f, bar);
                match *token {
                    Token::State(s) => steers(f, [s, s + 1]),
                    Token::Parity(s) => steers(f, [s]),
                }
                f(Role::DefPred(*d));
            }
            Mbarrier::PendingCount { d, state } => {
                rows(f, *state, 2, false);
                rows(f, *d, 1, true);
            }
        }
    }
}

impl Bulk {
    fn visit(&self, f: &mut dyn FnMut(Role)) {
        self.source.iter().chain(&self.destination).for_each(|a| address(f, a));
        if let Completion::Mbarrier(bar) = &self.done {
            address(f, bar);
        }
        steers(f, self.bytes.iter().chain(&self.multicast).chain(&self.byte_mask).copied());
        if let Some(t) = &self.tensor {
            address(f, &t.map);
            steers(f, t.at.iter().copied());
            if let TensorMode::Im2col { offsets } = &t.mode {
                steers(f, offsets.iter().copied());
            }
        }
    }
}

impl Wgmma {
    /// The registers of D are defined by the operation, and used too where scale-d says so.
    fn visit(&self, f: &mut dyn FnMut(Role)) {
        match &self.a {
            WgmmaA::Registers(a) => a.iter().for_each(|&s| f(Role::Use(s))),
            WgmmaA::Descriptor(s) => steers(f, [*s, *s + 1]),
        }
        steers(f, [self.b, self.b + 1]);
        f(Role::UsePred(self.scale_d));
        if let Some((metadata, _)) = self.sparse {
            f(Role::Use(metadata));
        }
        self.d.iter().for_each(|&s| f(Role::Def(s)));
    }
}
