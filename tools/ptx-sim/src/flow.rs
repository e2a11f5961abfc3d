//! Where diverged lanes meet again: the immediate post-dominator of each branch.
//!
//! Computed on instructions (not blocks) by the iterative algorithm of Cooper, Harvey and Kennedy on the reversed
//! control-flow graph, with a virtual exit after the last instruction.

use crate::ir::{Inst, Op};

/// Past the last instruction: lanes that only meet when they are done.
pub const NEVER: u32 = u32::MAX;

/// For each instruction, the position where lanes that diverge there reconverge.
pub fn reconvergence(code: &[Inst]) -> Vec<u32> {
    let exit = code.len();
    let successors = |at: usize| -> Vec<usize> {
        let inst = &code[at];
        match inst.op {
            Op::Branch { target } if inst.guard.is_some() => vec![at + 1, target as usize],
            Op::Branch { target } => vec![target as usize],
            Op::Exit | Op::Trap if inst.guard.is_none() => vec![exit],
            // Of its function; behind a call the caller goes on.
            Op::Return { .. } => vec![exit],
            Op::Exit | Op::Trap => vec![at + 1, exit],
            _ => vec![at + 1],
        }
    };
    let order = postorder_from_exit(exit, &successors);
    let mut number = vec![usize::MAX; exit + 1];
    for (n, &at) in order.iter().enumerate() {
        number[at] = n;
    }
    let mut idom = vec![usize::MAX; exit + 1];
    idom[exit] = exit;
    let mut changed = true;
    while changed {
        changed = false;
        for &at in order.iter().rev().filter(|&&at| at != exit) {
            let mut new = usize::MAX;
            for s in successors(at).into_iter().map(|s| s.min(exit)) {
                if idom[s] != usize::MAX {
                    new = if new == usize::MAX { s } else { intersect(&idom, &number, new, s) };
                }
            }
            if new != idom[at] {
                idom[at] = new;
                changed = true;
            }
        }
    }
    (0..exit).map(|at| if idom[at] >= exit { NEVER } else { idom[at] as u32 }).collect()
}

fn intersect(idom: &[usize], number: &[usize], mut a: usize, mut b: usize) -> usize {
    while a != b {
        while number[a] < number[b] {
            a = idom[a];
        }
        while number[b] < number[a] {
            b = idom[b];
        }
    }
    a
}

/// Postorder of a walk over predecessors from the exit; instructions that never reach it are left out.
fn postorder_from_exit(exit: usize, successors: &dyn Fn(usize) -> Vec<usize>) -> Vec<usize> {
    let mut predecessors = vec![vec![]; exit + 1];
    for at in 0..exit {
        for s in successors(at) {
            predecessors[s.min(exit)].push(at);
        }
    }
    let mut order = vec![];
    let mut seen = vec![false; exit + 1];
    let mut stack = vec![(exit, 0)];
    seen[exit] = true;
    while let Some((at, next)) = stack.pop() {
        match predecessors[at].get(next) {
            Some(&p) => {
                stack.push((at, next + 1));
                if !seen[p] {
                    seen[p] = true;
                    stack.push((p, 0));
                }
            }
            None => order.push(at),
        }
    }
    order
}
