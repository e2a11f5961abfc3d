//! The type rule of each operation, in one place.
//!
//! [`infer`] gives what the outputs of an operation must be. Where an operation leaves a choice (the dtype of a
//! `Cast`, the axes of a `Broadcast`, the tile of a `Load`) the choice is read from `declared`. The verifier calls
//! it with the node's own outputs and compares; builders call it with nothing, or with the choice, and use the
//! result. Rules look only at types, never at other nodes.
//!
//! Worked example: `infer(Elem(Mul), [f32[i, 64], f32[i, 1]])` is `f32[i, 64]`: ranks agree, the `1` stretches.
//! `infer(Elem(Mul), [f32[i, 64], f32[j, 64]])` is an error even if `i` and `j` have one tile size: axes agree by
//! identity.

use crate::{access::*, ir::*, op::*};
use tile_base::DType;

type Rule = Result<Vec<ValueType>, String>;

/// The output types of `op` on inputs of these types.
pub fn infer(graph: &Graph, op: &Op, inputs: &[ValueType], declared: &[ValueType]) -> Rule {
    let arity = |n: usize| match inputs.len() {
        k if k == n => Ok(()),
        k => Err(format!("takes {n} inputs, has {k}")),
    };
    match op {
        Op::Const(_) => arity(0).and_then(|()| constant(op, declared)),
        Op::Dim(_) => arity(0).map(|()| vec![ValueType::index()]),
        Op::Param(at) => arity(0).and_then(|()| parameter(graph, *at)),
        Op::MakeSpan { .. } => {
            arity(2)?;
            index_scalar(&inputs[0], "lo")?;
            index_scalar(&inputs[1], "hi")?;
            Ok(vec![ValueType::index(); 2])
        }
        Op::Iota => match declared {
            [t] if t.axes.len() == 1 && t.dtype == DType::I64 && inputs.is_empty() => Ok(vec![t.clone()]),
            _ => Err("gives an index tile of one axis and takes nothing".into()),
        },
        Op::Elem(e) => arity(e.arity()).and_then(|()| elementwise(*e, inputs).map(|t| vec![t])),
        Op::Cast => {
            arity(1)?;
            let [t] = declared else { return Err("needs a declared dtype".into()) };
            Ok(vec![ValueType { dtype: t.dtype, axes: inputs[0].axes.clone() }])
        }
        Op::Broadcast => {
            arity(1)?;
            let [t] = declared else { return Err("needs declared axes".into()) };
            stretches(&inputs[0], &t.axes)?;
            Ok(vec![ValueType { dtype: inputs[0].dtype, axes: t.axes.clone() }])
        }
        Op::Reshape { .. } | Op::Permute { .. } | Op::Merge { .. } | Op::Split { .. } | Op::Slice { .. } => {
            arity(1)?;
            rearranged(op, &inputs[0], declared).map(|t| vec![t])
        }
        Op::Concat { axis } => concatenated(*axis as usize, inputs).map(|t| vec![t]),
        Op::Take { axis } => {
            arity(2)?;
            taken(*axis as usize, &inputs[0], &inputs[1]).map(|t| vec![t])
        }
        Op::Dot(axes) => arity(2).and_then(|()| dot(axes, &inputs[0], &inputs[1], declared)).map(|t| vec![t]),
        Op::Reduce { axis, kind } => {
            arity(1)?;
            reduced(*axis as usize, *kind, &inputs[0]).map(|t| vec![t])
        }
        Op::ReduceWith { axis, combine } => reduced_with(graph, *axis as usize, *combine, inputs),
        Op::Scan { axis, .. } => {
            arity(1)?;
            axis_of(&inputs[0], *axis as usize)?;
            Ok(vec![inputs[0].clone()])
        }
        Op::TopK { axis, k } => {
            arity(1)?;
            axis_of(&inputs[0], *axis as usize)?;
            let mut values = inputs[0].clone();
            values.axes[*axis as usize] = fixed(*k);
            Ok(with_positions(values))
        }
        Op::Sort { axis, .. } => {
            arity(1)?;
            axis_of(&inputs[0], *axis as usize)?;
            Ok(with_positions(inputs[0].clone()))
        }
        Op::Histogram { bins } => match inputs {
            [t] if t.axes.len() == 1 && t.dtype == DType::I64 => {
                // A count is an index, or i32 where the kernel says so.
                let dtype = match declared {
                    [t] if t.dtype == DType::I64 => DType::I64,
                    _ => DType::I32,
                };
                Ok(vec![ValueType::tile(dtype, vec![fixed(*bins)])])
            }
            _ => Err("takes an index tile of one axis".into()),
        },
        Op::UnitLowerInv => match inputs {
            [t] if t.axes.len() >= 2 && t.axes[t.axes.len() - 1] == t.axes[t.axes.len() - 2] => {
                Ok(vec![t.clone()])
            }
            _ => Err("takes one tile whose last two axes are equal".into()),
        },
        Op::Load(access) => {
            let [t] = declared else { return Err("needs a declared tile".into()) };
            accessed(graph, access, 0, inputs, t)?;
            Ok(vec![t.clone()])
        }
        Op::Store { access, .. } | Op::Accumulate(access) => {
            let Some(value) = inputs.first() else { return Err("takes the value at port 0".into()) };
            accessed(graph, access, 1, inputs, value)?;
            Ok(vec![])
        }
        Op::RegionArgs => arity(0).map(|()| declared.to_vec()),
        Op::Yield => Ok(vec![]),
        Op::Par(p) => {
            arity(2)?;
            index_scalar(&inputs[0], "lo")?;
            index_scalar(&inputs[1], "hi")?;
            region_takes(graph, p.body, &vec![ValueType::index(); p.iter.variables()])?;
            region_gives(graph, p.body, &[])?;
            Ok(vec![])
        }
        Op::For(f) => for_loop(graph, f, inputs),
        Op::While { condition, body } => {
            region_takes(graph, *condition, inputs)?;
            region_gives(graph, *condition, &[ValueType::scalar(DType::Bool)])?;
            region_takes(graph, *body, inputs)?;
            region_gives(graph, *body, inputs)?;
            Ok(inputs.to_vec())
        }
        Op::If { then, otherwise } => {
            arity(1)?;
            if inputs[0] != ValueType::scalar(DType::Bool) {
                return Err("the condition is one bool".into());
            }
            region_takes(graph, *then, &[])?;
            region_takes(graph, *otherwise, &[])?;
            let gives = yielded(graph, *then);
            region_gives(graph, *otherwise, &gives)?;
            Ok(gives)
        }
        Op::Assert { .. } => match inputs {
            [t] if t.dtype == DType::Bool => Ok(vec![]),
            _ => Err("takes one bool scalar or tile".into()),
        },
        Op::Print { .. } => arity(1).map(|()| vec![]),
    }
}

/// An axis of `extent` elements in its one spelling: extent 1 is `One`.
pub fn fixed(extent: u64) -> Axis {
    if extent == 1 { Axis::One } else { Axis::Fixed(extent) }
}

/// The common axes of elementwise operands: scalars and `One` stretch.
pub fn unify(types: &[ValueType]) -> Result<Vec<Axis>, String> {
    let mut axes: Option<Vec<Axis>> = None;
    for t in types.iter().filter(|t| !t.is_scalar()) {
        let Some(so_far) = &mut axes else {
            axes = Some(t.axes.clone());
            continue;
        };
        if so_far.len() != t.axes.len() {
            return Err(format!("operands of rank {} and {}", so_far.len(), t.axes.len()));
        }
        for (at, (a, &b)) in so_far.iter_mut().zip(&t.axes).enumerate() {
            match (*a, b) {
                (Axis::One, _) => *a = b,
                (_, Axis::One) => {}
                (x, y) if x == y => {}
                (x, y) => return Err(format!("axis {at} is {x:?} in one operand and {y:?} in another")),
            }
        }
    }
    Ok(axes.unwrap_or_default())
}

/// The result of an elementwise operation.
pub fn elementwise(op: ElemOp, inputs: &[ValueType]) -> Result<ValueType, String> {
    use ElemOp::*;
    let axes = unify(inputs)?;
    let values = if op == Select { &inputs[1..] } else { inputs };
    let dtype = values[0].dtype;
    if let Some(other) = values.iter().find(|t| t.dtype != dtype) {
        return Err(format!("operands of {dtype} and {}", other.dtype));
    }
    if op == Select && inputs[0].dtype != DType::Bool {
        return Err("the condition of a select is bool".into());
    }
    let fits = match op {
        Not | And | Or | Xor => dtype == DType::Bool || dtype.is_int(),
        Popcount | Shl | Shr => dtype.is_int(),
        Exp | Exp2 | Log | Log2 | Sqrt | Rsqrt | Sin | Cos | Tanh | Erf | Floor | Ceil | Round | IsNan => {
            dtype.is_float()
        }
        Neg | Abs | Add | Sub | Mul | Div | Rem | Max | Min | Pow | Lt | Le | Gt | Ge => dtype != DType::Bool,
        Eq | Ne | Select => true,
    };
    if !fits {
        return Err(format!("`{}` of {dtype}", op.name()));
    }
    Ok(ValueType { dtype: if op.is_predicate() { DType::Bool } else { dtype }, axes })
}

fn constant(op: &Op, declared: &[ValueType]) -> Rule {
    let (Op::Const(literal), [t]) = (op, declared) else { return Err("needs a declared dtype".into()) };
    let fits = match literal {
        Literal::Float(_) => t.dtype.is_float(),
        Literal::Int(v) => t.dtype.int_range().is_some_and(|(lo, hi)| (lo..=hi).contains(v)),
        Literal::Bool(_) => t.dtype == DType::Bool,
    };
    match fits && t.is_scalar() {
        true => Ok(vec![t.clone()]),
        false => Err(format!("the literal is not a scalar of {}", t.dtype)),
    }
}

fn parameter(graph: &Graph, at: u32) -> Rule {
    match graph.signature.params.get(at as usize) {
        Some(tile_base::signature::ParamKind::Scalar(s)) => Ok(vec![ValueType::scalar(s.dtype)]),
        _ => Err(format!("parameter {at} is not a scalar of the signature")),
    }
}

fn axis_of(t: &ValueType, axis: usize) -> Result<Axis, String> {
    t.axes.get(axis).copied().ok_or_else(|| format!("axis {axis} of a tile of rank {}", t.axes.len()))
}

fn index_scalar(t: &ValueType, what: &str) -> Result<(), String> {
    if *t == ValueType::index() { Ok(()) } else { Err(format!("{what} is not an index")) }
}

fn stretches(t: &ValueType, axes: &[Axis]) -> Result<(), String> {
    let fits = t.is_scalar()
        || (t.axes.len() == axes.len() && t.axes.iter().zip(axes).all(|(a, b)| *a == Axis::One || a == b));
    if fits { Ok(()) } else { Err(format!("axes {:?} do not stretch to {axes:?}", t.axes)) }
}

fn rearranged(op: &Op, x: &ValueType, declared: &[ValueType]) -> Result<ValueType, String> {
    let mut axes = x.axes.clone();
    match op {
        Op::Reshape { axes: sources } => {
            let kept: Vec<u32> = sources.iter().flatten().copied().collect();
            if kept.windows(2).any(|w| w[0] >= w[1]) {
                return Err("reorders axes".into());
            }
            for (at, axis) in x.axes.iter().enumerate() {
                if !kept.contains(&(at as u32)) && *axis != Axis::One {
                    return Err(format!("drops axis {at}, whose extent is not 1"));
                }
            }
            axes = sources
                .iter()
                .map(|s| s.map_or(Ok(Axis::One), |s| axis_of(x, s as usize)))
                .collect::<Result<_, _>>()?;
        }
        Op::Permute { order } => {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            if sorted != (0..x.axes.len() as u32).collect::<Vec<_>>() {
                return Err(format!("{order:?} is not an order of {} axes", x.axes.len()));
            }
            axes = order.iter().map(|&o| x.axes[o as usize]).collect();
        }
        Op::Merge { axis } => {
            let at = *axis as usize;
            let (major, minor) = (axis_of(x, at)?, axis_of(x, at + 1)?);
            axes[at] = merged(major, minor)?;
            axes.remove(at + 1);
        }
        Op::Split { axis, minor } => {
            let at = *axis as usize;
            axes[at] = split_major(axis_of(x, at)?, *minor)?;
            axes.insert(at + 1, fixed(*minor));
        }
        Op::Slice { axis, lo } => {
            let at = *axis as usize;
            let Some(wanted) = declared.first().and_then(|t| t.axes.get(at)) else {
                return Err("needs a declared extent".into());
            };
            match (axis_of(x, at)?, wanted) {
                (Axis::Fixed(n), Axis::Fixed(m)) if lo + m <= n => axes[at] = Axis::Fixed(*m),
                (Axis::Fixed(n), Axis::One) if *lo < n => axes[at] = Axis::One,
                (a, b) => return Err(format!("takes {b:?} from {lo} of {a:?}")),
            }
        }
        _ => return Err("is not a rearrangement".into()),
    }
    Ok(ValueType { dtype: x.dtype, axes })
}

fn merged(major: Axis, minor: Axis) -> Result<Axis, String> {
    match (major, minor) {
        (a, Axis::One) => Ok(a),
        (Axis::One, Axis::Fixed(n)) => Ok(Axis::Fixed(n)),
        (Axis::Fixed(m), Axis::Fixed(n)) => Ok(Axis::Fixed(m * n)),
        (Axis::Span { span, times }, Axis::Fixed(n)) => Ok(Axis::Span { span, times: times * n }),
        (a, b) => Err(format!("merges {a:?} with {b:?}, whose extent is not fixed")),
    }
}

fn split_major(axis: Axis, minor: u64) -> Result<Axis, String> {
    match axis {
        Axis::Fixed(n) if minor > 0 && n % minor == 0 => Ok(fixed(n / minor)),
        Axis::Span { span, times } if minor > 0 && times % minor == 0 => {
            Ok(Axis::Span { span, times: times / minor })
        }
        Axis::One if minor == 1 => Ok(Axis::One),
        a => Err(format!("splits {a:?} by {minor}")),
    }
}

fn concatenated(axis: usize, inputs: &[ValueType]) -> Result<ValueType, String> {
    let Some(first) = inputs.first() else { return Err("takes at least one tile".into()) };
    let mut total = 0;
    for t in inputs {
        total += match axis_of(t, axis)? {
            Axis::One => 1,
            Axis::Fixed(n) => n,
            a => return Err(format!("concatenates along {a:?}, whose extent is not fixed")),
        };
        let mut other = t.clone();
        other.axes[axis] = first.axes[axis];
        if other != *first {
            return Err("operands differ in dtype or in another axis".into());
        }
    }
    let mut out = first.clone();
    out.axes[axis] = fixed(total);
    Ok(out)
}

fn taken(axis: usize, x: &ValueType, index: &ValueType) -> Result<ValueType, String> {
    axis_of(x, axis)?;
    if index.dtype != DType::I64 {
        return Err("the index of a take is not an index".into());
    }
    let mut out = x.clone();
    out.axes[axis] = match index.axes[..] {
        [] => Axis::One,
        [a] => a,
        _ => return Err("the index of a take has more than one axis".into()),
    };
    Ok(out)
}

fn dot(d: &DotAxes, lhs: &ValueType, rhs: &ValueType, declared: &[ValueType]) -> Result<ValueType, String> {
    if lhs.dtype != rhs.dtype {
        return Err(format!("operands of {} and {}", lhs.dtype, rhs.dtype));
    }
    if axis_of(lhs, d.lhs_k as usize)? != axis_of(rhs, d.rhs_k as usize)? {
        return Err("the contracted axes differ".into());
    }
    let mut axes = vec![];
    for (&l, &r) in d.lhs_batch.iter().zip(&d.rhs_batch) {
        let (a, b) = (axis_of(lhs, l as usize)?, axis_of(rhs, r as usize)?);
        if a != b || l == d.lhs_k || r == d.rhs_k {
            return Err("the batch axes differ".into());
        }
        axes.push(a);
    }
    if d.lhs_batch.len() != d.rhs_batch.len() {
        return Err("the batch axes differ in number".into());
    }
    for (t, batch, k) in [(lhs, &d.lhs_batch, d.lhs_k), (rhs, &d.rhs_batch, d.rhs_k)] {
        let free = (0..t.axes.len() as u32).filter(|a| *a != k && !batch.contains(a));
        axes.extend(free.map(|a| t.axes[a as usize]));
    }
    let dtype = match declared {
        [t] => t.dtype,
        _ => lhs.dtype.accumulator().ok_or_else(|| format!("{} has no accumulator", lhs.dtype))?,
    };
    Ok(ValueType { dtype, axes })
}

fn reduced(axis: usize, kind: ReduceKind, x: &ValueType) -> Result<ValueType, String> {
    use ReduceKind::*;
    axis_of(x, axis)?;
    let fits = match kind {
        Any | All => x.dtype == DType::Bool,
        _ => x.dtype != DType::Bool,
    };
    if !fits {
        return Err(format!("{kind:?} of {}", x.dtype));
    }
    let mut out = x.clone();
    out.axes[axis] = Axis::One;
    if matches!(kind, ArgMax | ArgMin) {
        out.dtype = DType::I64;
    }
    Ok(out)
}

fn reduced_with(graph: &Graph, axis: usize, combine: RegionId, inputs: &[ValueType]) -> Rule {
    let Some(first) = inputs.first() else { return Err("takes at least one tile".into()) };
    axis_of(first, axis)?;
    if inputs.iter().any(|t| t.axes != first.axes) {
        return Err("operands have different axes".into());
    }
    let scalars: Vec<ValueType> = inputs.iter().map(|t| ValueType::scalar(t.dtype)).collect();
    region_takes(graph, combine, &[scalars.clone(), scalars.clone()].concat())?;
    region_gives(graph, combine, &scalars)?;
    let mut out = inputs.to_vec();
    out.iter_mut().for_each(|t| t.axes[axis] = Axis::One);
    Ok(out)
}

fn with_positions(values: ValueType) -> Vec<ValueType> {
    let positions = ValueType { dtype: DType::I64, axes: values.axes.clone() };
    vec![values, positions]
}

fn for_loop(graph: &Graph, f: &ForOp, inputs: &[ValueType]) -> Rule {
    if inputs.len() < 2 {
        return Err("takes lo and hi".into());
    }
    index_scalar(&inputs[0], "lo")?;
    index_scalar(&inputs[1], "hi")?;
    let carried = &inputs[2..];
    let variables = vec![ValueType::index(); f.iter.variables()];
    region_takes(graph, f.body, &[&variables[..], carried].concat())?;
    let stop = f.early_exit.then(|| ValueType::scalar(DType::Bool));
    region_gives(graph, f.body, &stop.into_iter().chain(carried.iter().cloned()).collect::<Vec<_>>())?;
    if let Some(skip) = f.skip {
        region_takes(graph, skip, &variables)?;
        region_gives(graph, skip, &[ValueType::scalar(DType::Bool)])?;
    }
    let var = |v: u32| carried.get(v as usize).cloned().ok_or(format!("there is no carried value {v}"));
    match &f.combine {
        LoopCombine::Merge { vars, combine } => {
            let types = vars.iter().map(|&v| var(v)).collect::<Result<Vec<_>, _>>()?;
            region_takes(graph, *combine, &[&types[..], &types].concat())?;
            region_gives(graph, *combine, &types)?;
        }
        LoopCombine::Affine { var: v } => {
            var(*v)?;
        }
        LoopCombine::Ordered | LoopCombine::Sum => {}
    }
    Ok(carried.to_vec())
}

fn yielded(graph: &Graph, region: RegionId) -> Vec<ValueType> {
    graph.yields(region).into_iter().map(|v| graph.type_of(v).clone()).collect()
}

fn region_takes(graph: &Graph, region: RegionId, wanted: &[ValueType]) -> Result<(), String> {
    let args: Vec<ValueType> =
        graph.region_args(region).into_iter().map(|v| graph.type_of(v).clone()).collect();
    if args == wanted { Ok(()) } else { Err(format!("region {region} takes {args:?}, is given {wanted:?}")) }
}

fn region_gives(graph: &Graph, region: RegionId, wanted: &[ValueType]) -> Result<(), String> {
    let given = yielded(graph, region);
    if given == wanted { Ok(()) } else { Err(format!("region {region} yields {given:?}, not {wanted:?}")) }
}

/// The rule of an access: rank, dtype, ports of the right types, every axis of the tile moved along.
fn accessed(
    graph: &Graph,
    access: &Access,
    first_port: u32,
    inputs: &[ValueType],
    tile: &ValueType,
) -> Result<(), String> {
    let Some(object) = graph.objects.get(access.object.index()) else {
        return Err(format!("there is no object {}", access.object));
    };
    let dtype = if object.index.is_some() { DType::I64 } else { object.dtype };
    if tile.dtype != dtype {
        return Err(format!("`{}` holds {dtype}, the tile is {}", object.name, tile.dtype));
    }
    if access.coords.len() != object.shape.len() {
        return Err(format!(
            "{} coordinates for `{}` of rank {}",
            access.coords.len(),
            object.name,
            object.shape.len()
        ));
    }
    let mut used = vec![false; inputs.len()];
    used.iter_mut().take(first_port as usize).for_each(|u| *u = true);
    let mut port = |p: u32| -> Result<ValueType, String> {
        match inputs.get(p as usize) {
            Some(t) if p >= first_port => {
                used[p as usize] = true;
                Ok(t.clone())
            }
            _ => Err(format!("uses port {p}, which is not one of the access")),
        }
    };
    let mut moved = vec![false; tile.axes.len()];
    for coord in &access.coords {
        for limit in [coord.lo, coord.hi].into_iter().flatten() {
            index_scalar(&port(limit)?, "a limit of a coordinate")?;
        }
        match &coord.index {
            CoordIndex::Affine { base, .. } => {
                if let Some(base) = base {
                    index_scalar(&port(*base)?, "the base of a coordinate")?;
                }
            }
            CoordIndex::Gather { index, axes } => gathered(&port(*index)?, axes, tile)?,
        }
        for axis in coord.axes() {
            *moved.get_mut(axis as usize).ok_or("a coordinate moves with an axis the tile has not")? = true;
        }
    }
    if let Some(at) = moved.iter().zip(&tile.axes).position(|(m, a)| !m && *a != Axis::One) {
        return Err(format!("no coordinate moves with axis {at} of the tile"));
    }
    if let Some(p) = access.otherwise
        && port(p)? != ValueType::scalar(dtype)
    {
        return Err("`else` is not a scalar of the tile's dtype".into());
    }
    if let Some(p) = access.mask {
        let mask = port(p)?;
        if mask.dtype != DType::Bool {
            return Err("the mask is not bool".into());
        }
        stretches(&mask, &tile.axes)?;
    }
    match used.iter().position(|u| !u) {
        Some(p) => Err(format!("port {p} is not used by the access")),
        None => Ok(()),
    }
}

fn gathered(index: &ValueType, axes: &[u32], tile: &ValueType) -> Result<(), String> {
    if index.dtype != DType::I64 || index.axes.len() != axes.len() {
        return Err("the index tile of a gather is no index or has another rank than its axes".into());
    }
    for (have, &at) in index.axes.iter().zip(axes) {
        let want = axis_of(tile, at as usize)?;
        if *have != Axis::One && *have != want {
            return Err(format!("the index tile has axis {have:?} where the tile has {want:?}"));
        }
    }
    Ok(())
}
