//! Graphs built by hand, for tests of this crate and of the backends: what lowering the named kernel gives.
//!
//! | sample | kernel | exercises |
//! | --- | --- | --- |
//! | [`add`] | `c[i] = a[i] + b[i]` | tails of one axis |
//! | [`matmul`] | `c[i, j] = (a[i, :] @ b[:, j]).to(T)` | hidden stream loop over K, Sum |
//! | [`softmax`] | row softmax of a static row length | reductions, stretching `1` |
//! | [`flash`] | `flash_fwd` of language.md | carried tiles, skip, merge, transposed dot, rows of nothing |

use crate::{access::*, build::GraphBuilder, ir::*, op::*};
use std::f64::consts::{LN_2, LOG2_E};
use tile_base::{
    DType, Mode, ScalarParam, Signature, Size, Span, TensorParam,
    signature::{Fact, ParamKind, Relation},
};

/// A builder whose helper functions panic on ill-typed input; for samples and tests only.
pub struct Sketch {
    pub b: GraphBuilder,
    /// Open `par` axes with lo, hi, innermost last.
    pars: Vec<(ParOp, Value, Value)>,
}

/// A loop variable over tiles.
#[derive(Clone, Copy)]
pub struct Tiles {
    pub span: SpanId,
    pub start: Value,
    pub end: Value,
}

impl Tiles {
    pub fn axis(self) -> Axis {
        Axis::span(self.span)
    }
}

/// One subscript of a sample's access.
#[derive(Clone, Copy)]
pub enum Sub {
    At(Value),
    Along(Tiles),
    All,
}

pub fn tensor(name: &str, mode: Mode, dtype: DType, shape: &[&str]) -> ParamKind {
    let size = |s: &&str| s.parse().map_or_else(|_| Size::name(*s), Size::Const);
    ParamKind::Tensor(TensorParam {
        name: name.into(),
        mode,
        optional: false,
        present: true,
        dtype,
        index: None,
        distinct: false,
        shape: shape.iter().map(size).collect(),
    })
}

impl Sketch {
    /// `dims` in order; one object for each tensor parameter, in order.
    pub fn new(kernel: &str, params: Vec<ParamKind>, dims: &[&str]) -> Sketch {
        let signature = Signature {
            kernel: kernel.into(),
            params: params.clone(),
            dims: dims.iter().map(|d| d.to_string()).collect(),
            consts: vec![],
            facts: vec![],
        };
        let mut b = GraphBuilder::new(kernel, signature);
        for (at, param) in params.into_iter().enumerate() {
            if let ParamKind::Tensor(t) = param {
                b.object(Object {
                    name: t.name,
                    param: at,
                    dtype: t.dtype,
                    mode: t.mode,
                    index: t.index,
                    shape: t.shape,
                    span: Span::default(),
                });
            }
        }
        Sketch { b, pars: vec![] }
    }

    pub fn dim(&mut self, name: &str) -> Value {
        let at = self.b.graph().signature.dims.iter().position(|d| d == name).expect("a dim of the sample");
        self.b.dim(at as u32)
    }

    pub fn f32(&mut self, v: f64) -> Value {
        self.b.constant(Literal::Float(v), DType::F32)
    }

    pub fn op(&mut self, op: Op, inputs: &[Value]) -> Value {
        let text = format!("{op:?}");
        self.b.infer(op, inputs).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    pub fn elem(&mut self, op: ElemOp, inputs: &[Value]) -> Value {
        self.op(Op::Elem(op), inputs)
    }

    pub fn cast(&mut self, x: Value, dtype: DType) -> Value {
        let axes = self.b.type_of(x).axes.clone();
        self.b.one(Op::Cast, &[x], ValueType { dtype, axes })
    }

    pub fn broadcast(&mut self, x: Value, axes: &[Axis]) -> Value {
        let dtype = self.b.type_of(x).dtype;
        self.b.one(Op::Broadcast, &[x], ValueType::tile(dtype, axes))
    }

    /// `par name in 0..hi`; its index.
    pub fn par(&mut self, name: &str, hi: Value) -> Value {
        let lo = self.b.index(0);
        let (body, args) = self.b.open(RegionKind::Par, vec![ValueType::index()]);
        self.pars.push((ParOp { iter: Iter::Each { reverse: false }, body, name: name.into() }, lo, hi));
        args[0]
    }

    /// `par name in tiles(hi, tile)`.
    pub fn par_tiles(&mut self, name: &str, hi: Value, tile: TileId) -> Tiles {
        let lo = self.b.index(0);
        let (iter, body, tiles, _) = self.open_tiles(RegionKind::Par, name, tile, vec![]);
        self.pars.push((ParOp { iter, body, name: name.into() }, lo, hi));
        tiles
    }

    /// Opens the body of a loop over tiles; the carried values as the body sees them.
    pub fn open_tiles(
        &mut self,
        kind: RegionKind,
        name: &str,
        tile: TileId,
        carried: Vec<ValueType>,
    ) -> (Iter, RegionId, Tiles, Vec<Value>) {
        let span = self.b.declare_span(name, StepSize::Tile(tile));
        let types = vec![ValueType::index(); 3].into_iter().chain(carried).collect();
        let (body, args) = self.b.open(kind, types);
        self.b.set_span(span, args[0], args[1]);
        let iter = Iter::Tiles { step: StepSize::Tile(tile), span, reverse: false };
        (iter, body, Tiles { span, start: args[0], end: args[1] }, args[3..].to_vec())
    }

    /// Ends all open `par` axes; the graph.
    pub fn finish(mut self) -> Graph {
        while let Some((par, lo, hi)) = self.pars.pop() {
            self.b.close(&[]);
            self.b.add(Op::Par(par), &[lo, hi], vec![]);
        }
        self.b.finish()
    }

    /// The access, its ports from `first` on, and the axes of its tile.
    fn access(&mut self, object: u32, subs: &[Sub], first: u32) -> (Access, Vec<Value>, Vec<Axis>) {
        let (mut ports, mut axes, mut coords) = (vec![], vec![], vec![]);
        let shape = self.b.graph().objects[object as usize].shape.clone();
        for (sub, size) in subs.iter().zip(&shape) {
            let mut port = |v: Value| {
                ports.push(v);
                Some(first + ports.len() as u32 - 1)
            };
            let axis = axes.len() as u32;
            coords.push(match *sub {
                Sub::At(v) => Coord::new(CoordIndex::Affine { base: port(v), terms: vec![] }, Check::Proven),
                Sub::Along(t) => {
                    axes.push(t.axis());
                    Coord::along(axis, port(t.start), Check::Proven)
                }
                Sub::All => {
                    axes.push(crate::typing::fixed(size.as_const().expect("a static axis") as u64));
                    Coord::along(axis, None, Check::Proven)
                }
            });
        }
        (Access { object: ObjectId(object), coords, otherwise: None, mask: None }, ports, axes)
    }

    pub fn load(&mut self, object: u32, subs: &[Sub]) -> Value {
        let (access, ports, axes) = self.access(object, subs, 0);
        let dtype = self.b.graph().objects[object as usize].dtype;
        self.b.one(Op::Load(access), &ports, ValueType::tile(dtype, axes))
    }

    pub fn store(&mut self, object: u32, subs: &[Sub], value: Value) {
        let (access, ports, _) = self.access(object, subs, 1);
        self.b.add(Op::Store { access, unique: false }, &[&[value][..], &ports].concat(), vec![]);
    }
}

/// `par i in tiles(N, B) { c[i] = a[i] + b[i]; }`
pub fn add(dtype: DType) -> Graph {
    let p = |n: &str, m| tensor(n, m, dtype, &["N"]);
    let mut s = Sketch::new("add", vec![p("a", Mode::In), p("b", Mode::In), p("c", Mode::Out)], &["N"]);
    let tile = s.b.tile_size("B", vec![], false, Span::default());
    let n = s.dim("N");
    let i = s.par_tiles("i", n, tile);
    let a = s.load(0, &[Sub::Along(i)]);
    let b = s.load(1, &[Sub::Along(i)]);
    let c = s.elem(ElemOp::Add, &[a, b]);
    s.store(2, &[Sub::Along(i)], c);
    s.finish()
}

/// `par i in tiles(M, BM), j in tiles(N, BN) { let s = a[i, :] @ b[:, j];  c[i, j] = s.to(T); }`
pub fn matmul(dtype: DType) -> Graph {
    let params = vec![
        tensor("a", Mode::In, dtype, &["M", "K"]),
        tensor("b", Mode::In, dtype, &["K", "N"]),
        tensor("c", Mode::Out, dtype, &["M", "N"]),
    ];
    let mut s = Sketch::new("matmul", params, &["M", "K", "N"]);
    let bm = s.b.tile_size("BM", vec![], false, Span::default());
    let bn = s.b.tile_size("BN", vec![], false, Span::default());
    let bk = s.b.tile_size("s", vec![], true, Span::default());
    let (m, n, k) = (s.dim("M"), s.dim("N"), s.dim("K"));
    let i = s.par_tiles("i", m, bm);
    let j = s.par_tiles("j", n, bn);
    let acc_dtype = dtype.accumulator().expect("a dtype that dots take");
    let zero = match acc_dtype.is_float() {
        true => s.b.constant(Literal::Float(0.0), acc_dtype),
        false => s.b.constant(Literal::Int(0), acc_dtype),
    };
    let start = s.broadcast(zero, &[i.axis(), j.axis()]);
    let acc_type = ValueType::tile(acc_dtype, [i.axis(), j.axis()]);
    let (iter, body, kk, acc) = s.open_tiles(RegionKind::Loop, "s", bk, vec![acc_type.clone()]);
    let a = s.load(0, &[Sub::Along(i), Sub::Along(kk)]);
    let b = s.load(1, &[Sub::Along(kk), Sub::Along(j)]);
    let dot = s.op(Op::Dot(DotAxes::matrix()), &[a, b]);
    let sum = s.elem(ElemOp::Add, &[acc[0], dot]);
    s.b.close(&[sum]);
    let f = ForOp {
        iter,
        body,
        name: "s".into(),
        origin: LoopOrigin::Stream,
        early_exit: false,
        skip: None,
        combine: LoopCombine::Sum,
    };
    let lo = s.b.index(0);
    s.b.named("s");
    let out = s.b.add(Op::For(f), &[lo, k, start], vec![acc_type])[0];
    let c = if acc_dtype == dtype { out } else { s.cast(out, dtype) };
    s.store(2, &[Sub::Along(i), Sub::Along(j)], c);
    s.finish()
}

/// `par i in tiles(M, BM) { let x = a[i, :].to(f32); let e = exp(x - x.max(1)); o[i, :] = (e / e.sum(1)).to(T); }`
pub fn softmax(dtype: DType, row: u64) -> Graph {
    let n = row.to_string();
    let params = vec![tensor("a", Mode::In, dtype, &["M", &n]), tensor("o", Mode::Out, dtype, &["M", &n])];
    let mut s = Sketch::new("softmax", params, &["M"]);
    let bm = s.b.tile_size("BM", vec![], false, Span::default());
    let m = s.dim("M");
    let i = s.par_tiles("i", m, bm);
    let mut x = s.load(0, &[Sub::Along(i), Sub::All]);
    if dtype != DType::F32 {
        x = s.cast(x, DType::F32);
    }
    let max = s.op(Op::Reduce { axis: 1, kind: ReduceKind::Max }, &[x]);
    let d = s.elem(ElemOp::Sub, &[x, max]);
    let e = s.elem(ElemOp::Exp, &[d]);
    let sum = s.op(Op::Reduce { axis: 1, kind: ReduceKind::Sum }, &[e]);
    let mut o = s.elem(ElemOp::Div, &[e, sum]);
    if dtype != DType::F32 {
        o = s.cast(o, dtype);
    }
    s.store(1, &[Sub::Along(i), Sub::All], o);
    s.finish()
}

/// `online(m, s)`: the new maximum, the weights, the correction.
fn online(s: &mut Sketch, m: Value, x: Value) -> (Value, Value, Value) {
    let top = s.op(Op::Reduce { axis: 1, kind: ReduceKind::Max }, &[x]);
    let m1 = s.elem(ElemOp::Max, &[m, top]);
    let (zero, none) = (s.f32(0.0), s.f32(f64::NEG_INFINITY));
    let unseen = s.elem(ElemOp::Eq, &[m1, none]);
    let r = s.elem(ElemOp::Select, &[unseen, zero, m1]);
    let ds = s.elem(ElemOp::Sub, &[x, r]);
    let p = s.elem(ElemOp::Exp2, &[ds]);
    let dm = s.elem(ElemOp::Sub, &[m, r]);
    let c = s.elem(ElemOp::Exp2, &[dm]);
    (m1, p, c)
}

/// `flash_fwd<T, D, CAUSAL>` of language.md.
pub fn flash(dtype: DType, d: u64, causal: bool) -> Graph {
    let depth = d.to_string();
    let mut params = vec![
        tensor("q", Mode::In, dtype, &["B", "M", "HQ", &depth]),
        tensor("k", Mode::In, dtype, &["B", "N", "HK", &depth]),
        tensor("v", Mode::In, dtype, &["B", "N", "HK", &depth]),
        tensor("o", Mode::Out, dtype, &["B", "M", "HQ", &depth]),
        tensor("lse", Mode::Out, DType::F32, &["B", "HQ", "M"]),
    ];
    params.push(ParamKind::Scalar(ScalarParam { name: "scale".into(), dtype: DType::F32, index: false }));
    let mut s = Sketch::new("flash_fwd", params, &["B", "M", "HQ", "N", "HK"]);
    let signature = &mut s.b.graph_mut().signature;
    signature.consts = vec![
        ("T".into(), dtype.name().into()),
        ("D".into(), depth.clone()),
        ("CAUSAL".into(), causal.to_string()),
    ];
    signature.facts.push(Fact {
        lhs: Size::Mod(Size::name("HQ").into(), Size::name("HK").into()),
        op: Relation::Eq,
        rhs: Size::Const(0),
        text: "HQ % HK == 0".into(),
    });
    let bm = s.b.tile_size("BM", vec![], false, Span::default());
    let bn = s.b.tile_size("BN", vec![], false, Span::default());
    let (nb, m, hq, n, hk) = (s.dim("B"), s.dim("M"), s.dim("HQ"), s.dim("N"), s.dim("HK"));
    let scale = s.b.param(5, DType::F32);
    let b = s.par("b", nb);
    let h = s.par("h", hq);
    let i = s.par_tiles("i", m, bm);
    let group = s.elem(ElemOp::Div, &[hq, hk]);
    s.b.named("g");
    let g = s.elem(ElemOp::Div, &[h, group]);
    s.b.named("qi");
    let qi = s.load(0, &[Sub::At(b), Sub::Along(i), Sub::At(h), Sub::All]);
    let width = crate::typing::fixed(d);
    let (zero, none) = (s.f32(0.0), s.f32(f64::NEG_INFINITY));
    let m0 = s.broadcast(none, &[i.axis(), Axis::One]);
    let l0 = s.broadcast(zero, &[i.axis(), Axis::One]);
    let acc0 = s.broadcast(zero, &[i.axis(), width]);
    let types: Vec<ValueType> = [m0, l0, acc0].iter().map(|&v| s.b.type_of(v).clone()).collect();

    let skip = causal.then(|| {
        let (region, args) = s.b.open(RegionKind::Skip, vec![ValueType::index(); 3]);
        let extra = s.elem(ElemOp::Sub, &[n, m]);
        let end = s.elem(ElemOp::Add, &[i.end, extra]);
        let past = s.elem(ElemOp::Ge, &[args[0], end]);
        s.b.close(&[past]);
        region
    });
    let (combine, args) = s.b.open(RegionKind::Combine, [&types[..], &types].concat());
    let (m1, p, c) = online(&mut s, args[0], args[3]);
    let lc = s.elem(ElemOp::Mul, &[args[1], c]);
    let kp = s.elem(ElemOp::Mul, &[args[4], p]);
    let l1 = s.elem(ElemOp::Add, &[lc, kp]);
    let ac = s.elem(ElemOp::Mul, &[args[2], c]);
    let bp = s.elem(ElemOp::Mul, &[args[5], p]);
    let a1 = s.elem(ElemOp::Add, &[ac, bp]);
    s.b.close(&[m1, l1, a1]);

    let (iter, body, j, carried) = s.open_tiles(RegionKind::Loop, "j", bn, types.clone());
    let (mp, lp, ap) = (carried[0], carried[1], carried[2]);
    let kj = s.load(1, &[Sub::At(b), Sub::Along(j), Sub::At(g), Sub::All]);
    let transposed = DotAxes { lhs_batch: vec![], rhs_batch: vec![], lhs_k: 1, rhs_k: 1 };
    let qk = s.op(Op::Dot(transposed), &[qi, kj]);
    let log2e = s.f32(LOG2_E);
    let factor = s.elem(ElemOp::Mul, &[scale, log2e]);
    s.b.named("x");
    let mut x = s.elem(ElemOp::Mul, &[qk, factor]);
    if causal {
        x = masked(&mut s, x, i, j, (n, m));
    }
    let (m1, p, c) = online(&mut s, mp, x);
    let lc = s.elem(ElemOp::Mul, &[lp, c]);
    let row = s.op(Op::Reduce { axis: 1, kind: ReduceKind::Sum }, &[p]);
    let l1 = s.elem(ElemOp::Add, &[lc, row]);
    let ac = s.elem(ElemOp::Mul, &[ap, c]);
    let weights = if dtype == DType::F32 { p } else { s.cast(p, dtype) };
    let vj = s.load(2, &[Sub::At(b), Sub::Along(j), Sub::At(g), Sub::All]);
    let pv = s.op(Op::Dot(DotAxes::matrix()), &[weights, vj]);
    let a1 = s.elem(ElemOp::Add, &[ac, pv]);
    s.b.close(&[m1, l1, a1]);
    let f = ForOp {
        iter,
        body,
        name: "j".into(),
        origin: LoopOrigin::Written,
        early_exit: false,
        skip,
        combine: LoopCombine::Merge { vars: vec![0, 1, 2], combine },
    };
    let lo = s.b.index(0);
    s.b.named("j");
    let out = s.b.add(Op::For(f), &[lo, n, m0, l0, acc0], types);
    finish_rows(&mut s, dtype, (b, i, h), &out);
    s.finish()
}

/// `select(j.at[_, :] <= i.at[:, _] + (N - M), x, -inf)`
fn masked(s: &mut Sketch, x: Value, i: Tiles, j: Tiles, (n, m): (Value, Value)) -> Value {
    let at = |s: &mut Sketch, t: Tiles| {
        let iota = s.b.one(Op::Iota, &[], ValueType::tile(DType::I64, [t.axis()]));
        s.elem(ElemOp::Add, &[iota, t.start])
    };
    let cols = at(s, j);
    let cols = s.op(Op::Reshape { axes: vec![None, Some(0)] }, &[cols]);
    let rows = at(s, i);
    let rows = s.op(Op::Reshape { axes: vec![Some(0), None] }, &[rows]);
    let extra = s.elem(ElemOp::Sub, &[n, m]);
    let limit = s.elem(ElemOp::Add, &[rows, extra]);
    let seen = s.elem(ElemOp::Le, &[cols, limit]);
    let none = s.f32(f64::NEG_INFINITY);
    s.elem(ElemOp::Select, &[seen, x, none])
}

/// `o[b, i, h, :] = (acc / select(l == 0, 1, l)).to(T);  lse[b, h, i] = ((m + log2(l)) * LN2)[:, 0];`
fn finish_rows(s: &mut Sketch, dtype: DType, (b, i, h): (Value, Tiles, Value), out: &[Value]) {
    let (zero, one, ln2) = (s.f32(0.0), s.f32(1.0), s.f32(LN_2));
    let empty = s.elem(ElemOp::Eq, &[out[1], zero]);
    let safe = s.elem(ElemOp::Select, &[empty, one, out[1]]);
    let mut o = s.elem(ElemOp::Div, &[out[2], safe]);
    if dtype != DType::F32 {
        o = s.cast(o, dtype);
    }
    s.store(3, &[Sub::At(b), Sub::Along(i), Sub::At(h), Sub::All], o);
    let log = s.elem(ElemOp::Log2, &[out[1]]);
    let sum = s.elem(ElemOp::Add, &[out[0], log]);
    let lse = s.elem(ElemOp::Mul, &[sum, ln2]);
    let lse = s.op(Op::Reshape { axes: vec![Some(0)] }, &[lse]);
    s.store(4, &[Sub::At(b), Sub::At(h), Sub::Along(i)], lse);
}
