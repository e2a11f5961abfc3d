//! The names that host code mentions: which outputs of the forward a backward needs, and whether it uses what it declares.

use std::collections::BTreeSet;
use tile_syntax::ast::{Block, Else, Expr, ExprKind, If, Stmt, StmtKind, Subscript};

/// Every name in the arguments, conditions and sizes of a block.
pub(super) fn mentioned(block: &Block) -> BTreeSet<&str> {
    let mut out = BTreeSet::new();
    of_block(block, &mut out);
    out
}

fn of_block<'a>(block: &'a Block, out: &mut BTreeSet<&'a str>) {
    block.stmts.iter().for_each(|s| of_stmt(s, out));
    block.value.iter().for_each(|v| of_expr(v, out));
}

fn of_stmt<'a>(s: &'a Stmt, out: &mut BTreeSet<&'a str>) {
    match &s.kind {
        StmtKind::Run { args, .. } => args.iter().for_each(|a| of_expr(&a.value, out)),
        StmtKind::Let { value, .. } | StmtKind::Expr(value) => of_expr(value, out),
        StmtKind::For { range, body, .. } => {
            of_expr(range, out);
            of_block(body, out);
        }
        StmtKind::If(i) => of_if(i, out),
        _ => {}
    }
}

fn of_if<'a>(i: &'a If, out: &mut BTreeSet<&'a str>) {
    of_expr(&i.condition, out);
    of_block(&i.then, out);
    match &i.otherwise {
        Some(Else::Block(b)) => of_block(b, out),
        Some(Else::If(i, _)) => of_if(i, out),
        None => {}
    }
}

fn of_expr<'a>(e: &'a Expr, out: &mut BTreeSet<&'a str>) {
    match &e.kind {
        ExprKind::Name(n) => drop(out.insert(n)),
        ExprKind::Paren(e) | ExprKind::Unary { operand: e, .. } => of_expr(e, out),
        ExprKind::Binary { lhs, rhs, .. } => [lhs, rhs].into_iter().for_each(|e| of_expr(e, out)),
        ExprKind::Range { lo, hi } => [lo, hi].into_iter().for_each(|e| of_expr(e, out)),
        ExprKind::Call { args, .. } => args.iter().for_each(|a| of_expr(&a.value, out)),
        ExprKind::Subscript { base, subscripts, .. } => {
            of_expr(base, out);
            for s in subscripts {
                if let Subscript::Expr(e) = s {
                    of_expr(e, out);
                }
            }
        }
        ExprKind::If(i) => of_if(i, out),
        _ => {}
    }
}
