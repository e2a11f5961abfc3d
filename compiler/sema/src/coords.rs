//! Index tiles as coordinates: affine in the positions where that can be seen, else a look-up.
//!
//! `2 * j.at[:, _] + iota(4)[_, :]` is `2 * j.start + 2 * p0 + p1`: strided, no index in a register.

use crate::typed::*;
use tile_base::op::ElemOp;

pub(crate) type AffineForm = (Option<TExpr>, Vec<(u32, i64)>);

/// An index tile as a coordinate: affine in the positions where it is, else a look-up.
pub(crate) fn tile_coord(e: &TExpr, at: u32) -> CoordIndex {
    let rank = e.ty.axes.len() as u32;
    match affine(e) {
        Some((base, terms)) => CoordIndex::Affine {
            base: base.filter(|b| !b.is_zero()),
            terms: terms.into_iter().map(|(n, s)| (n + at, s)).collect(),
        },
        None => CoordIndex::Gather { index: e.clone(), axes: (at..at + rank).collect() },
    }
}

/// `base + Σ stride × position` of an index tile.
pub(crate) fn affine(e: &TExpr) -> Option<AffineForm> {
    let index = || Type::scalar(Elem::Index);
    if e.ty.is_scalar() {
        return Some((Some(e.clone()), vec![]));
    }
    match &e.kind {
        TExprKind::Positions(s) => {
            let start = TExpr::new(TExprKind::SpanField(*s, SpanField::Start), index(), e.span);
            Some((Some(start), vec![(0, 1)]))
        }
        TExprKind::Iota => Some((None, vec![(0, 1)])),
        TExprKind::Reshape { x, axes } => {
            let (base, terms) = affine(x)?;
            let place = |old: u32| axes.iter().position(|a| *a == Some(old)).map(|n| n as u32);
            let terms = terms.into_iter().map(|(n, s)| Some((place(n)?, s))).collect::<Option<Vec<_>>>()?;
            Some((base, terms))
        }
        TExprKind::Elem { op: op @ (ElemOp::Add | ElemOp::Sub), args } => {
            let ((a, mut terms), (b, more)) = (affine(&args[0])?, affine(&args[1])?);
            let sign = if *op == ElemOp::Sub { -1 } else { 1 };
            for (n, s) in more {
                match terms.iter_mut().find(|(m, _)| *m == n) {
                    Some((_, t)) => *t = t.checked_add(s.checked_mul(sign)?)?,
                    None => terms.push((n, s.checked_mul(sign)?)),
                }
            }
            let base = match (a, b) {
                (a, None) => a,
                (None, Some(b)) if sign == 1 => Some(b),
                (a, Some(b)) => {
                    let a = a.unwrap_or_else(|| TExpr::int(0, e.span));
                    Some(TExpr::new(TExprKind::Elem { op: *op, args: vec![a, b] }, index(), e.span))
                }
            };
            Some((base, terms))
        }
        TExprKind::Elem { op: ElemOp::Mul, args } => {
            let (x, by) = match (args[0].as_int(), args[1].as_int()) {
                (_, Some(c)) => (&args[0], c),
                (Some(c), _) => (&args[1], c),
                _ => return None,
            };
            let (base, terms) = affine(x)?;
            let base = base.map(|b| {
                let args = vec![b, TExpr::int(by, e.span)];
                TExpr::new(TExprKind::Elem { op: ElemOp::Mul, args }, index(), e.span)
            });
            Some((
                base,
                terms.into_iter().map(|(n, s)| Some((n, s.checked_mul(by)?))).collect::<Option<_>>()?,
            ))
        }
        _ => None,
    }
}
