//! Going through typed expressions and statements: reading, replacing a span, asking what is assigned.

use crate::typed::*;
use std::collections::BTreeSet;

/// Calls `f` on the operands of an expression, those inside its access included.
pub fn each_operand<'a>(e: &'a TExpr, f: &mut dyn FnMut(&'a TExpr)) {
    use TExprKind::*;
    match &e.kind {
        Literal(_) | Local(_) | Dim(_) | Param(_) | SpanField(..) | Positions(_) | Iota => {}
        Elem { args, .. } => args.iter().for_each(f),
        Concat { parts, .. } => parts.iter().for_each(f),
        Cast(x) | Broadcast(x) | UnitLowerInv(x) => f(x),
        Reshape { x, .. } | Permute { x, .. } | Merge { x, .. } | Split { x, .. } | Slice { x, .. } => f(x),
        Reduce { x, .. } | Scan { x, .. } | Histogram { x, .. } => f(x),
        Take { x, index, .. } => [x, index].into_iter().for_each(|x| f(x)),
        Dot { lhs, rhs, .. } => [lhs, rhs].into_iter().for_each(|x| f(x)),
        StreamDot { lo, hi, lhs, rhs, .. } => [lo, hi, lhs, rhs].into_iter().for_each(|x| f(x)),
        Load(a) => each_in_access(a, f),
    }
}

/// The expressions in an access.
pub fn each_in_access<'a>(a: &'a Access, f: &mut dyn FnMut(&'a TExpr)) {
    for c in &a.coords {
        match &c.index {
            CoordIndex::Affine { base, .. } => base.iter().for_each(&mut *f),
            CoordIndex::Gather { index, .. } => f(index),
        }
        c.lo.iter().chain(&c.hi).for_each(&mut *f);
    }
    a.otherwise.iter().chain(&a.mask).for_each(|x| f(x));
}

fn each_operand_mut(e: &mut TExpr, f: &mut dyn FnMut(&mut TExpr)) {
    use TExprKind::*;
    match &mut e.kind {
        Literal(_) | Local(_) | Dim(_) | Param(_) | SpanField(..) | Positions(_) | Iota => {}
        Elem { args, .. } => args.iter_mut().for_each(f),
        Concat { parts, .. } => parts.iter_mut().for_each(f),
        Cast(x) | Broadcast(x) | UnitLowerInv(x) => f(x),
        Reshape { x, .. } | Permute { x, .. } | Merge { x, .. } | Split { x, .. } | Slice { x, .. } => f(x),
        Reduce { x, .. } | Scan { x, .. } | Histogram { x, .. } => f(x),
        Take { x, index, .. } => [x, index].into_iter().for_each(|x| f(x)),
        Dot { lhs, rhs, .. } => [lhs, rhs].into_iter().for_each(|x| f(x)),
        StreamDot { lo, hi, lhs, rhs, .. } => [lo, hi, lhs, rhs].into_iter().for_each(|x| f(x)),
        Load(a) => {
            for c in &mut a.coords {
                match &mut c.index {
                    CoordIndex::Affine { base, .. } => base.iter_mut().for_each(&mut *f),
                    CoordIndex::Gather { index, .. } => f(index),
                }
                c.lo.iter_mut().chain(&mut c.hi).for_each(&mut *f);
            }
            a.otherwise.iter_mut().chain(&mut a.mask).for_each(|x| f(x));
        }
    }
}

/// The expression and everything in it.
pub fn each_expr<'a>(e: &'a TExpr, f: &mut dyn FnMut(&'a TExpr)) {
    f(e);
    each_operand(e, &mut |x| each_expr(x, f));
}

/// Every expression (with everything in it) of a list of statements, nested ones included.
pub fn each_in_stmts<'a>(stmts: &'a [TStmt], f: &mut dyn FnMut(&'a TExpr)) {
    for s in stmts {
        match &s.kind {
            TStmtKind::Let { value, .. } | TStmtKind::Var { value, .. } | TStmtKind::Assign { value, .. } => {
                each_expr(value, f)
            }
            TStmtKind::LetMany { op, .. } => match op {
                ManyOp::TopK { x, .. } | ManyOp::Sort { x, .. } => each_expr(x, f),
                ManyOp::Reduce { xs, combine, .. } => {
                    xs.iter().for_each(|x| each_expr(x, f));
                    each_in_block(&combine.body, f);
                }
            },
            TStmtKind::MakeSpan { lo, hi, .. } => [lo, hi].into_iter().for_each(|x| each_expr(x, f)),
            TStmtKind::Store { access, value, .. } | TStmtKind::Accumulate { access, value } => {
                each_in_access(access, &mut |x| each_expr(x, f));
                each_expr(value, f);
            }
            TStmtKind::For(l) => {
                [&l.lo, &l.hi].into_iter().for_each(|x| each_expr(x, f));
                l.skip.iter().for_each(|b| each_in_block(b, f));
                if let LoopCombine::Merge { combine, .. } = &l.combine {
                    each_in_block(&combine.body, f);
                }
                each_in_stmts(&l.body, f);
            }
            TStmtKind::While { condition, body, .. } => {
                each_in_block(condition, f);
                each_in_stmts(body, f);
            }
            TStmtKind::If { condition, then, otherwise, .. } => {
                each_expr(condition, f);
                each_in_block(then, f);
                each_in_block(otherwise, f);
            }
            TStmtKind::Assert { condition, .. } => each_expr(condition, f),
            TStmtKind::Break => {}
        }
    }
}

pub fn each_in_block<'a>(b: &'a TBlock, f: &mut dyn FnMut(&'a TExpr)) {
    each_in_stmts(&b.stmts, f);
    b.values.iter().for_each(|x| each_expr(x, f));
}

/// Variables that the statements assign and do not declare themselves.
pub fn assigned(stmts: &[TStmt]) -> BTreeSet<LocalId> {
    let (mut set, mut own) = (BTreeSet::new(), BTreeSet::new());
    collect_assigned(stmts, &mut set, &mut own);
    set.difference(&own).copied().collect()
}

fn collect_assigned(stmts: &[TStmt], set: &mut BTreeSet<LocalId>, own: &mut BTreeSet<LocalId>) {
    for s in stmts {
        match &s.kind {
            TStmtKind::Var { local, .. } => {
                own.insert(*local);
            }
            TStmtKind::Assign { local, .. } => {
                set.insert(*local);
            }
            TStmtKind::For(l) => collect_assigned(&l.body, set, own),
            TStmtKind::While { body, condition, .. } => {
                collect_assigned(&condition.stmts, set, own);
                collect_assigned(body, set, own);
            }
            TStmtKind::If { then, otherwise, .. } => {
                collect_assigned(&then.stmts, set, own);
                collect_assigned(&otherwise.stmts, set, own);
            }
            _ => {}
        }
    }
}

/// `x = x + e` for a variable: the added part.
pub fn added(local: LocalId, value: &TExpr) -> Option<&TExpr> {
    match &value.kind {
        TExprKind::Elem { op: tile_base::op::ElemOp::Add, args } => match &args[..] {
            [x, e] if x.kind == TExprKind::Local(local) && x.ty == value.ty => Some(e),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a variable is only `+=`-ed by the statements, and read nowhere else in them.
pub fn only_added(local: LocalId, stmts: &[TStmt]) -> bool {
    let mut reads = 0usize;
    each_in_stmts(stmts, &mut |e| reads += usize::from(e.kind == TExprKind::Local(local)));
    let mut sums = 0usize;
    count_sums(local, stmts, &mut sums) && reads == sums
}

fn count_sums(local: LocalId, stmts: &[TStmt], sums: &mut usize) -> bool {
    stmts.iter().all(|s| match &s.kind {
        TStmtKind::Assign { local: l, value } if *l == local => {
            *sums += 1;
            added(local, value).is_some()
        }
        TStmtKind::For(l) => count_sums(local, &l.body, sums),
        TStmtKind::While { body, .. } => count_sums(local, body, sums),
        TStmtKind::If { then, otherwise, .. } => {
            count_sums(local, &then.stmts, sums) && count_sums(local, &otherwise.stmts, sums)
        }
        _ => true,
    })
}

/// Whether two expressions say the same, wherever they stand in the text.
pub fn same_value(a: &TExpr, b: &TExpr) -> bool {
    if a.ty != b.ty {
        return false;
    }
    let shallow = match (&a.kind, &b.kind) {
        (TExprKind::Elem { op: x, .. }, TExprKind::Elem { op: y, .. }) => x == y,
        (TExprKind::Load(x), TExprKind::Load(y)) => {
            let shape = |a: &Access| -> Vec<Option<Vec<(u32, i64)>>> {
                a.coords
                    .iter()
                    .map(|c| match &c.index {
                        CoordIndex::Affine { base, terms } => {
                            let mut t = terms.clone();
                            t.push((u32::MAX, i64::from(base.is_some())));
                            Some(t)
                        }
                        CoordIndex::Gather { .. } => None,
                    })
                    .collect()
            };
            x.object == y.object && shape(x) == shape(y)
        }
        (TExprKind::Reshape { axes: x, .. }, TExprKind::Reshape { axes: y, .. }) => x == y,
        (TExprKind::Cast(_), TExprKind::Cast(_)) => true,
        (x, y) => {
            let mut leaf = true;
            each_operand(a, &mut |_| leaf = false);
            return leaf && x == y;
        }
    };
    let (mut xs, mut ys) = (vec![], vec![]);
    each_operand(a, &mut |x| xs.push(x));
    each_operand(b, &mut |y| ys.push(y));
    shallow && xs.len() == ys.len() && xs.iter().zip(&ys).all(|(x, y)| same_value(x, y))
}

/// Renames a span everywhere in an expression.
pub fn replace_span(e: &mut TExpr, from: SpanId, to: SpanId) {
    let rename = |axis: &mut Axis| {
        if let Axis::Span { span, .. } = axis
            && *span == from
        {
            *span = to;
        }
    };
    e.ty.axes.iter_mut().for_each(rename);
    match &mut e.kind {
        TExprKind::SpanField(s, _) | TExprKind::Positions(s) if *s == from => *s = to,
        TExprKind::Load(a) => a.axes.iter_mut().for_each(rename),
        _ => {}
    }
    each_operand_mut(e, &mut |x| replace_span(x, from, to));
}

/// Replaces the start of a span by an expression (in coordinates, where only starts occur).
pub fn replace_start(e: &mut TExpr, span: SpanId, with: &TExpr) {
    if e.kind == TExprKind::SpanField(span, SpanField::Start) {
        *e = with.clone();
        return;
    }
    each_operand_mut(e, &mut |x| replace_start(x, span, with));
}

/// Reads another local instead.
pub fn replace_local(e: &mut TExpr, from: LocalId, to: LocalId) {
    if e.kind == TExprKind::Local(from) {
        e.kind = TExprKind::Local(to);
        return;
    }
    each_operand_mut(e, &mut |x| replace_local(x, from, to));
}

/// Whether an expression mentions a span at all.
pub fn mentions_span(e: &TExpr, span: SpanId) -> bool {
    let mut found = false;
    each_expr(e, &mut |x| {
        found |= matches!(x.kind, TExprKind::SpanField(s, _) | TExprKind::Positions(s) if s == span);
        found |= x.ty.axes.iter().any(|a| matches!(a, Axis::Span { span: s, .. } if *s == span));
    });
    found
}
