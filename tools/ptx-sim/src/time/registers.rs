//! How many registers a thread will need: PTX does not say, and it decides how many CTAs a multiprocessor holds.
//!
//! `.maxnreg` is a word; without it the estimate is the greatest number of rows that are alive at one instruction:
//!
//! ```text
//! mov %r1, %tid.x       alive behind it: r1
//! mov %r2, %laneid                       r1 r2
//! add %r3, %r1, %r2                      r3          two at most
//! mov %r4, %ctaid.x                      r3          the same in all lanes: in a register of the warp, not of its threads
//! add %r5, %r3, 7                        r5          and constants are in the instruction
//! ```
//!
//! ptxas can do with fewer (it computes things again, or moves them) and often takes a few more.

use crate::ir::*;
use tile_target::Target;

/// What ptxas keeps for itself, and what it rounds to.
const RESERVED: u32 = 8;
const STEP: u32 = 8;

/// How far above the registers that let two CTAs fit where one would ptxas is seen to come down to them.
const SQUEEZE: f64 = 1.4;

/// Words of all sets together beyond which nothing is counted: as many registers as there can be, then.
const MOST_WORDS: usize = 1 << 24;

/// Registers of a thread at launch.
pub fn per_thread(kernel: &Kernel, threads: u32, target: &Target) -> u32 {
    let round = |n: u32| n.next_multiple_of(STEP).clamp(STEP, target.registers_per_thread);
    let limits = &kernel.limits;
    // ptxas sees to it that so many CTAs fit.
    let share = target.registers_per_sm / threads.next_multiple_of(128).max(128) / limits.min_ctas.max(1);
    match limits.max_registers {
        0 => {
            let wanted = round(alive(kernel) + RESERVED).min((share / STEP * STEP).max(STEP));
            let for_two = share / 2 / STEP * STEP;
            let squeezed = f64::from(wanted) <= f64::from(for_two) * SQUEEZE && !gives_back(kernel);
            if squeezed { wanted.min(for_two) } else { wanted }
        }
        n => round(n),
    }
}

/// Whether warps trade registers, so that what a thread has at launch says little.
fn gives_back(kernel: &Kernel) -> bool {
    let trades = |op: &Op| matches!(op, Op::Hopper(h) if matches!(**h, HopperOp::SetMaxRegisters { .. }));
    kernel.code.iter().any(|i| trades(&i.op))
}

/// Words of a set of rows.
type Rows = Vec<u64>;

/// The greatest number of rows alive at once.
fn alive(kernel: &Kernel) -> u32 {
    let words = kernel.rows as usize / 64 + 1;
    let code = &kernel.code;
    let varies = varying(kernel);
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
            most = most.max(live.iter().zip(&varies).map(|(a, b)| (a & b).count_ones()).sum());
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

/// Rows that may differ from lane to lane: what comes from a lane's number, from memory, or from anything but integer arithmetic
/// on values that are the same in all lanes.
fn varying(kernel: &Kernel) -> Rows {
    let mut rows = vec![0u64; kernel.rows as usize / 64 + 1];
    let of_lanes = |s: &Special| {
        use Special::*;
        matches!(s, Tid(_) | LaneId | WarpId | LaneMaskEq | LaneMaskLt | LaneMaskLe | LaneMaskGt | LaneMaskGe)
    };
    for (slot, _) in kernel.specials.iter().filter(|(_, s)| of_lanes(s)) {
        rows[*slot as usize / 64] |= 1 << (slot % 64);
    }
    loop {
        let mut changed = false;
        for inst in &kernel.code {
            let mut varies = inst.guard.is_some()
                || !matches!(
                    inst.op,
                    Op::Copy { .. }
                        | Op::Int { .. }
                        | Op::Carry { .. }
                        | Op::LoadParam { .. }
                        | Op::Cvta { .. }
                        | Op::Convert { to: Scalar::Int { .. }, from: Scalar::Int { .. }, .. }
                );
            inst.op.visit(&mut |role| match role {
                Role::Use(s) | Role::Address(s) => varies |= rows[s as usize / 64] >> (s % 64) & 1 == 1,
                _ => {}
            });
            if varies {
                inst.op.visit(&mut |role| {
                    if let Role::Def(s) = role {
                        changed |= rows[s as usize / 64] >> (s % 64) & 1 == 0;
                        rows[s as usize / 64] |= 1 << (s % 64);
                    }
                });
            }
        }
        if !changed {
            return rows;
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
        let ptx = ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k() { .reg .b32 %r<7>; .reg .b64 %rd<2>;
            mov.u32 %r1, %tid.x; mov.u32 %r2, %laneid; add.u32 %r3, %r1, %r2; mov.u32 %r4, %ctaid.x;
            add.u32 %r5, %r3, 7; add.u32 %r6, %r5, %r4; st.global.u32 [%rd1], %r6; ret; }";
        let kernel = crate::decode::kernel(&crate::read::parse(ptx).unwrap(), "k").unwrap();
        assert_eq!(alive(&kernel), 2);
        let target = tile_target::find("sm_80").unwrap();
        assert_eq!(per_thread(&kernel, 128, target), 16);
    }
}
