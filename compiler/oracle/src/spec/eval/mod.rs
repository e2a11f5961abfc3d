//! Walks the compiled tree of an equation, a block of lanes at a time.
//!
//! Two mutually recursive evaluators share a [`Frame`]: [`Evaluator::scalar`] for what does not depend on the lane
//! index, [`Evaluator::lanes`] for what does. A reduction that does not depend on the lane index takes its own
//! innermost binder as lane index; one that does loops over its binders with the lanes kept. So
//! `sum(d: q[i, d] * k[j, d])` runs along `d` under a scalar equation, and along `j` under an equation whose lane is
//! `j`; which one is cheaper is decided by `cost.rs`.
//!
//! Conditions are lazy by *masks*: the arm of an `if` is evaluated for the block with the lanes that take it
//! marked, and only loads, reductions and integer divisions look at the mask, since only they can fail. A fault is
//! noted in the frame and evaluation goes on with NaN; the caller looks for it after each row.
//!
//! Values are kept (`Code::cached`) while the slots they depend on stand still: every write of a slot takes a new
//! tick of a clock, and a kept value is good when it is younger than all of its slots.

mod lanes;
mod load;
mod math;
mod reduce;
mod vector;

use super::{
    array::Array,
    code::{BLOCK, BinaryFn, Code, NodeId, Op, Slot},
};
use lanes::Source;
pub(super) use math::{binary as constant_binary, unary as constant_unary};

/// Where the lanes of a value lie.
#[derive(Clone, Copy, Debug)]
pub(super) enum Val {
    One(f64),
    /// In the register of this node.
    Reg(NodeId),
    /// In an array, from this element on.
    Mem(usize, usize),
}

/// Why an element has no value.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Fault {
    /// A subscript outside the array: axis, position, least, one past the greatest.
    Outside {
        axis: usize,
        at: i64,
        lo: i64,
        hi: i64,
    },
    NotInteger {
        value: f64,
    },
    Undefined {
        at: Vec<i64>,
    },
    DivisionByZero,
    EmptyArg,
    Extents {
        a: f64,
        b: f64,
    },
    VectorSize {
        asked: f64,
        len: usize,
    },
    TooLong {
        len: f64,
    },
    Internal(&'static str),
}

/// The state of one worker: values of slots, registers, kept values.
#[derive(Debug, Default)]
pub(super) struct Frame {
    env: Vec<i64>,
    tick: Vec<u64>,
    clock: u64,
    regs: Vec<Vec<f64>>,
    kept: Vec<Val>,
    kept_at: Vec<u64>,
    lets: Vec<Val>,
    vectors: Vec<Vec<f64>>,
    vector_at: Vec<u64>,
    lane: Option<Slot>,
    n: usize,
    masks: Vec<Vec<bool>>,
    depth: usize,
    masked: bool,
    pub fault: Option<(NodeId, Fault)>,
}

impl Frame {
    pub fn new(code: &Code) -> Frame {
        let nodes = code.ops.len();
        Frame {
            env: vec![0; code.slots],
            tick: vec![1; code.slots],
            clock: 1,
            regs: vec![vec![]; nodes],
            kept: vec![Val::One(0.0); nodes],
            kept_at: vec![0; nodes],
            lets: vec![Val::One(0.0); code.lets],
            vectors: vec![vec![]; nodes],
            vector_at: vec![0; nodes],
            n: 1,
            ..Frame::default()
        }
    }

    /// Forgets kept values: arrays have changed.
    pub fn refresh(&mut self) {
        self.clock += 1;
        self.kept_at.fill(0);
        self.vector_at.fill(0);
        self.fault = None;
    }
}

pub(super) struct Evaluator<'a> {
    pub code: &'a Code,
    pub arrays: &'a [Array],
    pub f: &'a mut Frame,
}

fn is_true(v: f64) -> bool {
    v != 0.0
}

impl Evaluator<'_> {
    pub fn set(&mut self, slot: Slot, value: i64) {
        self.f.clock += 1;
        self.f.env[slot] = value;
        self.f.tick[slot] = self.f.clock;
    }

    pub fn index(&self, slot: Slot) -> i64 {
        self.f.env[slot]
    }

    /// The value of a node as an exact integer.
    pub fn integer(&mut self, node: NodeId) -> i64 {
        let v = self.scalar(node);
        if v.fract() != 0.0 {
            self.fail(node, Fault::NotInteger { value: v });
            return 0;
        }
        v as i64
    }

    /// Evaluates a node for the block of lanes that starts at `base` of `slot`, and gives its lanes to `take`.
    pub fn block(&mut self, node: NodeId, slot: Slot, base: i64, n: usize, out: &mut [f64]) {
        self.set(slot, base);
        (self.f.lane, self.f.n) = (Some(slot), n);
        let v = self.lanes(node);
        match self.source(v) {
            Source::One(v) => out.fill(v),
            Source::Run(run) => out.copy_from_slice(&run[..n]),
        }
        (self.f.lane, self.f.n) = (None, 1);
    }

    fn fail(&mut self, node: NodeId, fault: Fault) {
        self.f.fault.get_or_insert((node, fault));
    }

    fn failed(&self) -> bool {
        self.f.fault.is_some()
    }

    fn varies(&self, node: NodeId) -> bool {
        self.f.lane.is_some_and(|slot| self.code.deps[node] >> slot & 1 == 1)
    }

    fn is_fresh(&self, node: NodeId, stamp: u64) -> bool {
        stamp > 0 && self.code.dep_slots[node].iter().all(|&s| self.f.tick[s] <= stamp)
    }

    fn source(&self, v: Val) -> Source<'_> {
        match v {
            Val::One(v) => Source::One(v),
            Val::Reg(node) => Source::Run(&self.f.regs[node]),
            Val::Mem(array, at) => Source::Run(&self.arrays[array].data[at..]),
        }
    }

    /// The register of a node, taken out to be written; goes back with `give`.
    fn take(&mut self, node: NodeId) -> Vec<f64> {
        let mut reg = std::mem::take(&mut self.f.regs[node]);
        if reg.len() < self.f.n {
            reg.resize(if self.f.n == 1 { 1 } else { BLOCK }, 0.0);
        }
        reg
    }

    fn give(&mut self, node: NodeId, reg: Vec<f64>) -> Val {
        self.f.regs[node] = reg;
        Val::Reg(node)
    }

    /// Whether a lane is to be computed.
    fn active(&self, lane: usize) -> bool {
        !self.f.masked || self.f.masks[self.f.depth - 1][lane]
    }

    /// Runs `body` with only those lanes active that are active now and that `keep` picks. `None` when there are none.
    fn under_mask<R>(
        &mut self,
        keep: impl Fn(usize) -> bool,
        body: impl FnOnce(&mut Self) -> R,
    ) -> Option<R> {
        let n = self.f.n;
        let mut mask = match self.f.masks.get_mut(self.f.depth) {
            Some(old) => std::mem::take(old),
            None => {
                self.f.masks.push(vec![]);
                vec![]
            }
        };
        mask.clear();
        mask.extend((0..n).map(|l| keep(l) && self.active(l)));
        let any = mask.contains(&true);
        let depth = self.f.depth;
        self.f.masks[depth] = mask;
        if !any {
            return None;
        }
        let outer = std::mem::replace(&mut self.f.masked, true);
        self.f.depth += 1;
        let result = body(self);
        self.f.depth = depth;
        self.f.masked = outer;
        Some(result)
    }

    /// Runs `body` with `slot` as the lane index (or none), whatever it is outside; nothing is masked inside.
    fn with_lane<R>(&mut self, slot: Option<Slot>, body: impl FnOnce(&mut Self) -> R) -> R {
        let outer = (self.f.lane, self.f.n, self.f.masked);
        (self.f.lane, self.f.n, self.f.masked) = (slot, 1, false);
        let result = body(self);
        (self.f.lane, self.f.n, self.f.masked) = outer;
        result
    }

    // ------------------------------------------------------------ one value

    /// The value of a node that does not depend on the lane index.
    pub fn scalar(&mut self, node: NodeId) -> f64 {
        if self.code.cached[node] {
            if let Val::One(v) = self.f.kept[node]
                && self.is_fresh(node, self.f.kept_at[node])
            {
                return v;
            }
            let v = self.scalar_now(node);
            self.f.kept[node] = Val::One(v);
            self.f.kept_at[node] = self.f.clock;
            return v;
        }
        self.scalar_now(node)
    }

    fn scalar_now(&mut self, node: NodeId) -> f64 {
        let code = self.code;
        match &code.ops[node] {
            Op::Const(v) => *v,
            Op::Index(slot) => self.f.env[*slot] as f64,
            Op::AxisLo(array, axis) => self.axis(node, *array, |a| a.lo[*axis] as f64),
            Op::AxisHi(array, axis) => self.axis(node, *array, |a| a.hi(*axis) as f64),
            Op::Load { array, subscripts, otherwise } => {
                self.load_scalar(node, *array, subscripts, *otherwise)
            }
            Op::Unary(f, a) => math::unary(*f, self.scalar(*a)),
            Op::Binary(f, a, b) => {
                let (a, b) = (self.scalar(*a), self.scalar(*b));
                if b == 0.0 && divides(*f) {
                    self.fail(node, Fault::DivisionByZero);
                }
                math::binary(*f, a, b)
            }
            Op::AndAlso(a, b) => (is_true(self.scalar(*a)) && is_true(self.scalar(*b))) as u8 as f64,
            Op::OrElse(a, b) => (is_true(self.scalar(*a)) || is_true(self.scalar(*b))) as u8 as f64,
            Op::Select(c, a, b) => {
                if is_true(self.scalar(*c)) {
                    self.scalar(*a)
                } else {
                    self.scalar(*b)
                }
            }
            Op::Let { id, value, body } => {
                let v = self.scalar(*value);
                self.f.lets[*id] = Val::One(v);
                self.scalar(*body)
            }
            Op::Var(id) => match self.f.lets[*id] {
                Val::One(v) => v,
                _ => {
                    self.fail(node, Fault::Internal("lanes of a let in a scalar context"));
                    f64::NAN
                }
            },
            Op::Reduce { kind, binders, body } => self.reduce_scalar(node, *kind, binders, *body),
            Op::Vector { .. } => {
                self.fail(node, Fault::Internal("a vector in a scalar context"));
                f64::NAN
            }
            Op::VectorAt { vector, slot } => {
                self.vector(*vector);
                let at = self.f.env[*slot];
                let found = usize::try_from(at).ok().and_then(|i| self.f.vectors[*vector].get(i).copied());
                found.unwrap_or_else(|| {
                    let hi = self.f.vectors[*vector].len() as i64;
                    self.fail(node, Fault::Outside { axis: 0, at, lo: 0, hi });
                    f64::NAN
                })
            }
            Op::VectorLen(vector) => {
                self.vector(*vector);
                self.f.vectors[*vector].len() as f64
            }
            Op::Same { value, other } => {
                let (a, b) = (self.scalar(*value), self.scalar(*other));
                if a != b {
                    self.fail(node, Fault::Extents { a, b });
                }
                a
            }
        }
    }

    fn axis(&mut self, node: NodeId, array: usize, get: impl Fn(&Array) -> f64) -> f64 {
        if !self.arrays[array].defined {
            self.fail(node, Fault::Undefined { at: vec![] });
            return 0.0;
        }
        get(&self.arrays[array])
    }

    // ------------------------------------------------------------ a block of lanes

    fn lanes(&mut self, node: NodeId) -> Val {
        if !self.varies(node) {
            return Val::One(self.scalar(node));
        }
        let keep = self.code.cached[node];
        if keep && self.is_fresh(node, self.f.kept_at[node]) {
            return self.f.kept[node];
        }
        let v = self.lanes_now(node);
        if keep {
            self.f.kept[node] = v;
            // Under a mask some lanes were not computed, and the next visit may have another mask.
            self.f.kept_at[node] = if self.f.masked { 0 } else { self.f.clock };
        }
        v
    }

    fn lanes_now(&mut self, node: NodeId) -> Val {
        let code = self.code;
        let n = self.f.n;
        match &code.ops[node] {
            Op::Index(slot) => {
                let mut reg = self.take(node);
                let base = self.f.env[*slot];
                reg[..n].iter_mut().enumerate().for_each(|(l, r)| *r = (base + l as i64) as f64);
                self.give(node, reg)
            }
            Op::Load { array, subscripts, otherwise } => {
                self.load_lanes(node, *array, subscripts, *otherwise)
            }
            Op::Unary(f, a) => {
                let a = self.lanes(*a);
                let mut reg = self.take(node);
                lanes::unary(*f, &mut reg[..n], self.source(a));
                self.give(node, reg)
            }
            Op::Binary(f, a, b) => {
                let (a, b) = (self.lanes(*a), self.lanes(*b));
                if divides(*f) && (0..n).any(|l| self.active(l) && self.source(b).at(l) == 0.0) {
                    self.fail(node, Fault::DivisionByZero);
                }
                let mut reg = self.take(node);
                lanes::binary(*f, &mut reg[..n], self.source(a), self.source(b));
                self.give(node, reg)
            }
            Op::AndAlso(a, b) => self.lazy(node, *a, Some(*b), None, |_, b| b),
            Op::OrElse(a, b) => self.lazy(node, *a, None, Some(*b), |_, b| b),
            Op::Select(c, a, b) => self.lazy(node, *c, Some(*a), Some(*b), |_, v| v),
            Op::Let { id, value, body } => {
                let v = self.lanes(*value);
                self.f.lets[*id] = v;
                self.lanes(*body)
            }
            Op::Var(id) => self.f.lets[*id],
            Op::Reduce { kind, binders, body } => self.reduce_lanes(node, *kind, binders, *body),
            Op::VectorAt { vector, slot } => self.vector_at_lanes(node, *vector, *slot),
            Op::Same { .. } | Op::VectorLen(_) => self.lane_by_lane(node),
            Op::Const(_) | Op::AxisLo(..) | Op::AxisHi(..) | Op::Vector { .. } => {
                self.fail(node, Fault::Internal("this node has no lanes"));
                Val::One(f64::NAN)
            }
        }
    }

    /// `if c { then } else { otherwise }` by lanes; a missing arm stands for the condition itself.
    fn lazy(
        &mut self,
        node: NodeId,
        condition: NodeId,
        then: Option<NodeId>,
        otherwise: Option<NodeId>,
        value: impl Fn(f64, f64) -> f64,
    ) -> Val {
        let n = self.f.n;
        let c = self.lanes(condition);
        if let Val::One(c) = c {
            let arm = if is_true(c) { then } else { otherwise };
            return arm.map_or(Val::One(is_true(c) as u8 as f64), |arm| self.lanes(arm));
        }
        let chosen: Vec<bool> = (0..n).map(|l| is_true(self.source(c).at(l))).collect();
        let mut out = self.take(node);
        for (side, arm) in [(true, then), (false, otherwise)] {
            let pick = |l: usize| chosen[l] == side;
            match arm {
                None => (0..n).filter(|&l| pick(l)).for_each(|l| out[l] = side as u8 as f64),
                Some(arm) => {
                    let Some(v) = self.under_mask(pick, |e| e.lanes(arm)) else { continue };
                    let v = self.source(v);
                    (0..n).filter(|&l| pick(l)).for_each(|l| out[l] = value(out[l], v.at(l)));
                }
            }
        }
        self.give(node, out)
    }

    /// The slow way that always works: each lane as a scalar, with the lets that the node reads cut to the lane.
    fn lane_by_lane(&mut self, node: NodeId) -> Val {
        let Some(slot) = self.f.lane else { return Val::One(self.scalar(node)) };
        let (n, base) = (self.f.n, self.f.env[slot]);
        let lets = self.code.outer_lets(node);
        let whole: Vec<Val> = lets.iter().map(|&id| self.f.lets[id]).collect();
        let mut out = self.take(node);
        for (l, result) in out.iter_mut().enumerate().take(n) {
            if !self.active(l) {
                *result = 0.0;
                continue;
            }
            for (&id, &v) in lets.iter().zip(&whole) {
                self.f.lets[id] = Val::One(self.source(v).at(l));
            }
            self.set(slot, base + l as i64);
            *result = self.with_lane(None, |e| e.scalar_now(node));
        }
        for (&id, &v) in lets.iter().zip(&whole) {
            self.f.lets[id] = v;
        }
        self.set(slot, base);
        self.give(node, out)
    }
}

fn divides(f: BinaryFn) -> bool {
    matches!(f, BinaryFn::FloorDiv | BinaryFn::CeilDiv)
}
