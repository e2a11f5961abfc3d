//! How many registers a thread will need: PTX does not say, and it decides how many CTAs a multiprocessor holds.
//!
//! `.maxnreg` is a word; without it the estimate is the greatest number of rows that are alive at one instruction:
//!
//! ```text
//! mov %r1, 1        alive behind it: r1
//! mov %r2, 2                         r1 r2
//! add %r3, %r1, %r2                  r3          two at most
//! ```
//!
//! ptxas can do with fewer (it computes things again, or moves them) and often takes a few more.

use crate::ir::*;
use tile_target::Target;

/// What ptxas keeps for itself, and what it rounds to.
const RESERVED: u32 = 8;
const STEP: u32 = 8;

/// Words of all sets together beyond which nothing is counted: as many registers as there can be, then.
const MOST_WORDS: usize = 1 << 24;

/// Registers of a thread at launch.
pub fn per_thread(kernel: &Kernel, threads: u32, target: &Target) -> u32 {
    let round = |n: u32| n.next_multiple_of(STEP).clamp(STEP, target.registers_per_thread);
    let limits = &kernel.limits;
    // ptxas sees to it that so many CTAs fit.
    let share = target.registers_per_sm / threads.next_multiple_of(128).max(128) / limits.min_ctas.max(1);
    match limits.max_registers {
        0 => round(alive(kernel) + RESERVED).min((share / STEP * STEP).max(STEP)),
        n => round(n),
    }
}

/// Words of a set of rows.
type Rows = Vec<u64>;

/// The greatest number of rows alive at once.
fn alive(kernel: &Kernel) -> u32 {
    let words = kernel.rows as usize / 64 + 1;
    let code = &kernel.code;
    if words.saturating_mul(code.len()) > MOST_WORDS {
        return u32::MAX - RESERVED - STEP;
    }
    // Alive before each instruction.
    let mut before: Vec<Rows> = vec![vec![0; words]; code.len() + 1];
    let mut most = 0;
    loop {
        let mut changed = false;
        for at in (0..code.len()).rev() {
            let live = before_instruction(kernel, at, &before);
            most = most.max(live.iter().map(|w| w.count_ones()).sum());
            if live != before[at] {
                before[at] = live;
                changed = true;
            }
        }
        if !changed {
            return most;
        }
    }
}

fn before_instruction(kernel: &Kernel, at: usize, before: &[Rows]) -> Rows {
    let inst = &kernel.code[at];
    let mut live = match inst.op {
        Op::Branch { target } => before[target as usize].clone(),
        Op::Exit | Op::Trap | Op::Return { .. } => vec![0; before[at].len()],
        _ => before[at + 1].clone(),
    };
    if inst.guard.is_some() && matches!(inst.op, Op::Branch { .. } | Op::Exit | Op::Trap) {
        live.iter_mut().zip(&before[at + 1]).for_each(|(a, b)| *a |= b);
    }
    inst.op.visit(&mut |role| {
        if let (Role::Def(s), None) = (role, inst.guard) {
            live[s as usize / 64] &= !(1 << (s % 64));
        }
    });
    inst.op.visit(&mut |role| match role {
        Role::Use(s) | Role::Address(s) if kernel.is_register(s) => live[s as usize / 64] |= 1 << (s % 64),
        _ => {}
    });
    if let Op::Hopper(op) = &inst.op
        && let HopperOp::Wgmma(w) = &**op
    {
        // The sums are read, too.
        w.d.iter().for_each(|&s| live[s as usize / 64] |= 1 << (s % 64));
    }
    live
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worked_example() {
        let ptx = ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k() { .reg .b32 %r<4>;
            mov.u32 %r1, 1; mov.u32 %r2, 2; add.u32 %r3, %r1, %r2; ret; }";
        let kernel = crate::decode::kernel(&crate::read::parse(ptx).unwrap(), "k").unwrap();
        assert_eq!(alive(&kernel), 2);
        let target = tile_target::find("sm_80").unwrap();
        assert_eq!(per_thread(&kernel, 128, target), 16);
    }
}
