//! The compiled form of one equation of a spec: a tree of scalar operations over resolved slots.
//!
//! Names are gone: an index is a *slot* of a small integer environment, an array is a position in a table, dimensions,
//! `const` parameters and scalar arguments are constants, and calls of `fn`s are inlined. The evaluator walks the tree
//! once per *block of lanes*: one index of the equation (or of a reducer) is chosen as the lane index, and every node
//! that depends on it computes up to [`BLOCK`] values at a time into a register. So `sum(j: p[b, h, i, j] *
//! v[b, j, h, d])` with lanes along `d` costs one walk for each `j` and 256 elements, not one for each element.
//!
//! Invariants, established by [`Code::finish`]:
//! 1. `deps[n]` is the set of slots whose value the node `n` depends on; slots bound inside `n` are not in it.
//! 2. A node has one position in the tree, but the value of a `Let` may be read by many `Var`s.
//! 3. `cached[n]` holds where it pays to keep a value while the slots in `deps[n]` stand still.

use tile_base::Span;

/// Lanes computed by one visit of a node.
pub(super) const BLOCK: usize = 256;

pub(super) type Slot = usize;
pub(super) type NodeId = usize;
pub(super) type ArrayId = usize;
pub(super) type LetId = usize;

/// What kind of number a value is. All are held in f64 (integers exactly, up to 2^53).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ty {
    Bool,
    /// An integer literal, which takes the type of what it meets.
    Literal,
    Int,
    Real,
}

impl Ty {
    /// The type of an elementwise result of two operands.
    pub fn join(self, other: Ty) -> Ty {
        match (self, other) {
            (Ty::Real, _) | (_, Ty::Real) => Ty::Real,
            (Ty::Bool, Ty::Bool) => Ty::Bool,
            (Ty::Literal, Ty::Literal) => Ty::Literal,
            _ => Ty::Int,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum UnaryFn {
    Neg,
    Not,
    Abs,
    Exp,
    Exp2,
    Log,
    Log2,
    Sqrt,
    Rsqrt,
    Sin,
    Cos,
    Tanh,
    Erf,
    Floor,
    Ceil,
    Round,
    IsNan,
    Popcount,
    /// Bitwise complement of an integer.
    Complement,
    /// Towards zero, then saturated into the range of an integer type.
    Truncate(i64, i64),
    /// Any value but 0 becomes 1.
    ToBool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BinaryFn {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    CeilDiv,
    /// The remainder with the divisor's sign, of integers or reals.
    Rem,
    Max,
    Min,
    Pow,
    And,
    Or,
    Xor,
    Shl,
    Shr,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fold {
    Sum,
    Prod,
    Max,
    Min,
    Any,
    All,
    ArgMax,
    ArgMin,
    LogSumExp,
}

/// Functions from vectors to a vector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum VectorFn {
    Softmax,
    LogSoftmax,
    CumSum {
        reverse: bool,
        exclusive: bool,
    },
    CumProd {
        reverse: bool,
        exclusive: bool,
    },
    CumMax {
        reverse: bool,
    },
    Sort {
        descending: bool,
    },
    ArgSort {
        descending: bool,
    },
    /// The greatest `k` in descending order; equal ones keep their order. The parameter is `k`.
    TopK,
    ArgTopK,
    /// Counts of 0, 1, … `bins - 1`. The parameter is `bins`.
    Histogram,
}

#[derive(Clone, Debug)]
pub(super) struct Binder {
    pub slot: Slot,
    pub lo: NodeId,
    pub hi: NodeId,
}

#[derive(Clone, Debug)]
pub(super) enum Op {
    Const(f64),
    Index(Slot),
    /// Least position of an axis of an array, known when it has been defined.
    AxisLo(ArrayId, usize),
    /// One past the greatest.
    AxisHi(ArrayId, usize),
    Load {
        array: ArrayId,
        subscripts: Vec<NodeId>,
        otherwise: Option<NodeId>,
    },
    Unary(UnaryFn, NodeId),
    Binary(BinaryFn, NodeId, NodeId),
    /// The right side is evaluated only where the left one holds.
    AndAlso(NodeId, NodeId),
    OrElse(NodeId, NodeId),
    /// The arms are evaluated only where they are taken.
    Select(NodeId, NodeId, NodeId),
    Let {
        id: LetId,
        value: NodeId,
        body: NodeId,
    },
    Var(LetId),
    Reduce {
        kind: Fold,
        binders: Vec<Binder>,
        body: NodeId,
    },
    /// A whole vector, kept in a buffer of its own; read by `VectorAt`.
    Vector {
        function: VectorFn,
        slot: Slot,
        len: NodeId,
        body: NodeId,
        parameter: Option<NodeId>,
    },
    VectorAt {
        vector: NodeId,
        slot: Slot,
    },
    /// Length of the vector that a `Vector` node gives.
    VectorLen(NodeId),
    /// The operand, whose value must be this other one too: two extents that have to agree.
    Same {
        value: NodeId,
        other: NodeId,
    },
}

/// `constant + sum(coefficient * slot)`
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Affine {
    pub constant: i64,
    pub terms: Vec<(Slot, i64)>,
}

/// The slots a node depends on, as a bit set.
pub(super) type Deps = u128;

/// How many slots one equation may have.
pub(super) const MAX_SLOTS: usize = 128;

#[derive(Clone, Debug, Default)]
pub(super) struct Code {
    pub ops: Vec<Op>,
    pub types: Vec<Ty>,
    pub spans: Vec<Span>,
    pub slots: usize,
    pub slot_names: Vec<String>,
    pub lets: usize,
    // Filled in by `finish`:
    pub deps: Vec<Deps>,
    pub affine: Vec<Option<Affine>>,
    pub cached: Vec<bool>,
    /// `deps` as a list.
    pub dep_slots: Vec<Vec<Slot>>,
    /// For each `Let` id, the node of its value.
    pub let_values: Vec<Option<NodeId>>,
}

impl Code {
    pub fn push(&mut self, op: Op, ty: Ty, span: Span) -> NodeId {
        self.ops.push(op);
        self.types.push(ty);
        self.spans.push(span);
        self.ops.len() - 1
    }

    pub fn constant(&self, node: NodeId) -> Option<f64> {
        match self.ops[node] {
            Op::Const(v) => Some(v),
            _ => None,
        }
    }

    /// The nodes directly under a node.
    pub fn children(&self, node: NodeId) -> Vec<NodeId> {
        match &self.ops[node] {
            Op::Const(_) | Op::Index(_) | Op::AxisLo(..) | Op::AxisHi(..) | Op::Var(_) => vec![],
            Op::Load { subscripts, otherwise, .. } => subscripts.iter().copied().chain(*otherwise).collect(),
            Op::Unary(_, a) => vec![*a],
            Op::Binary(_, a, b) | Op::AndAlso(a, b) | Op::OrElse(a, b) => vec![*a, *b],
            Op::Select(c, a, b) => vec![*c, *a, *b],
            Op::Let { value, body, .. } => vec![*value, *body],
            Op::Reduce { binders, body, .. } => {
                binders.iter().flat_map(|b| [b.lo, b.hi]).chain([*body]).collect()
            }
            Op::Vector { len, body, parameter, .. } => [*len, *body].into_iter().chain(*parameter).collect(),
            Op::VectorAt { vector, .. } | Op::VectorLen(vector) => vec![*vector],
            Op::Same { value, other } => vec![*value, *other],
        }
    }

    /// Computes dependences, affine forms and what to cache, for everything that the roots reach. `scope` is the
    /// set of slots that move between two evaluations of a root.
    pub fn finish(&mut self, roots: &[NodeId], scope: Deps) {
        let n = self.ops.len();
        self.deps = vec![0; n];
        self.affine = vec![None; n];
        self.cached = vec![false; n];
        self.let_values = vec![None; self.lets];
        let mut done = vec![false; n];
        for &root in roots {
            self.visit(root, &mut done);
        }
        for &root in roots {
            self.mark_cached(root, scope);
        }
        let slots_of = |d: &Deps| (0..self.slots).filter(|s| d >> s & 1 == 1).collect();
        self.dep_slots = self.deps.iter().map(slots_of).collect();
    }

    fn visit(&mut self, node: NodeId, done: &mut [bool]) {
        if std::mem::replace(&mut done[node], true) {
            return;
        }
        if let Op::Let { id, value, .. } = self.ops[node] {
            self.let_values[id] = Some(value);
        }
        let mut deps = 0;
        for child in self.children(node) {
            self.visit(child, done);
            deps |= self.deps[child];
        }
        match &self.ops[node] {
            Op::Index(slot) | Op::VectorAt { slot, .. } => deps |= 1 << slot,
            Op::Var(id) => deps |= self.let_values[*id].map_or(0, |v| self.deps[v]),
            Op::Reduce { binders, .. } => binders.iter().for_each(|b| deps &= !(1 << b.slot)),
            Op::Vector { slot, .. } => deps &= !(1 << slot),
            _ => {}
        }
        self.deps[node] = deps;
        self.affine[node] = self.affine_of(node);
    }

    fn affine_of(&self, node: NodeId) -> Option<Affine> {
        let combine = |a: NodeId, b: NodeId, sign: i64| -> Option<Affine> {
            let (a, b) = (self.affine[a].as_ref()?, self.affine[b].as_ref()?);
            let mut out = a.clone();
            out.constant = out.constant.checked_add(b.constant.checked_mul(sign)?)?;
            for &(slot, c) in &b.terms {
                match out.terms.iter_mut().find(|(s, _)| *s == slot) {
                    Some((_, old)) => *old = old.checked_add(c.checked_mul(sign)?)?,
                    None => out.terms.push((slot, c.checked_mul(sign)?)),
                }
            }
            Some(out)
        };
        let scaled = |a: NodeId, by: NodeId| -> Option<Affine> {
            let by = self.affine[by].as_ref().filter(|f| f.terms.is_empty())?.constant;
            let a = self.affine[a].as_ref()?;
            let terms = a.terms.iter().map(|&(s, c)| Some((s, c.checked_mul(by)?))).collect::<Option<_>>()?;
            Some(Affine { constant: a.constant.checked_mul(by)?, terms })
        };
        match self.ops[node] {
            Op::Const(v) if v.fract() == 0.0 && v.abs() < (1i64 << 52) as f64 => {
                Some(Affine { constant: v as i64, terms: vec![] })
            }
            Op::Index(slot) => Some(Affine { constant: 0, terms: vec![(slot, 1)] }),
            Op::Binary(BinaryFn::Add, a, b) => combine(a, b, 1),
            Op::Binary(BinaryFn::Sub, a, b) => combine(a, b, -1),
            Op::Binary(BinaryFn::Mul, a, b) => scaled(a, b).or_else(|| scaled(b, a)),
            Op::Var(id) => self.let_values[id].and_then(|v| self.affine[v].clone()),
            _ => None,
        }
    }

    /// Keeps the value of the largest subtrees that stand still while some slot in scope moves.
    fn mark_cached(&mut self, node: NodeId, scope: Deps) {
        let deps = self.deps[node];
        let trivial = matches!(self.ops[node], Op::Const(_) | Op::Index(_) | Op::Var(_) | Op::Let { .. })
            || matches!(self.ops[node], Op::AxisLo(..) | Op::AxisHi(..) | Op::VectorAt { .. });
        if !trivial && deps != scope {
            self.cached[node] = true;
        }
        // What stands under a node that is not kept is visited as often as the node.
        let mut inner = if trivial { scope } else { deps };
        match &self.ops[node] {
            Op::Reduce { binders, .. } => binders.iter().for_each(|b| inner |= 1 << b.slot),
            Op::Vector { slot, .. } => inner |= 1 << slot,
            _ => {}
        }
        for child in self.children(node) {
            self.mark_cached(child, inner);
        }
    }

    /// Lets that a subtree reads and does not bind itself.
    pub fn outer_lets(&self, node: NodeId) -> Vec<LetId> {
        fn walk(code: &Code, node: NodeId, bound: &mut Vec<LetId>, out: &mut Vec<LetId>) {
            match code.ops[node] {
                Op::Var(id) if !bound.contains(&id) && !out.contains(&id) => out.push(id),
                Op::Let { id, value, body } => {
                    walk(code, value, bound, out);
                    bound.push(id);
                    walk(code, body, bound, out);
                    bound.pop();
                }
                _ => code.children(node).into_iter().for_each(|c| walk(code, c, bound, out)),
            }
        }
        let mut out = vec![];
        walk(self, node, &mut vec![], &mut out);
        out
    }
}
