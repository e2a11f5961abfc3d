//! `setmaxnreg`: registers move between the warpgroups of a CTA through a pool.
//!
//! At launch every thread has the same number. `dec` gives the difference to the pool, `inc` takes it and waits until it
//! is there; nothing is ever created. 384 threads start with 168 each: 24 + 240 + 240 = 504 = 3 * 168 works out, and
//! 24 + 248 + 248 = 520 waits for ever, which ptxas does not say.

use super::world::World;
use crate::{
    fault::FaultKind,
    ir::{HopperOp, Kernel, Op},
    read::Limits,
};

/// Registers of a multiprocessor.
const FILE: u32 = 65536;

/// The most that a thread starts with, in steps of 8.
const MOST: u32 = 248;

#[derive(Clone, Debug)]
pub struct Pool {
    /// Registers of each thread of a warp.
    of: Vec<u32>,
    /// Free, in registers of one warp (32 threads).
    free: u32,
    entry: u32,
    /// How many instructions each warp has executed, and the last of them.
    made: Vec<(u32, u32)>,
}

/// Registers per thread at launch: `.maxnreg`, or what an equal share of the file gives; no more than the greatest number
/// that a `setmaxnreg.inc` asks for, which is what ptxas makes of them (256 threads that increase to 240 start with 240,
/// though 256 each are there).
pub fn at_entry(kernel: &Kernel, threads: u32) -> u32 {
    let limits = &kernel.limits;
    // ptxas knows no block, only its bound.
    let bound: u32 = limits.max_threads.iter().fold(1, |all, n| all.saturating_mul(*n));
    let threads = threads.max(bound);
    let share = FILE / threads.next_multiple_of(128).max(128) / limits.min_ctas.max(1) / 8 * 8;
    let most = kernel.code.iter().filter_map(|inst| match &inst.op {
        Op::Hopper(op) => match **op {
            HopperOp::SetMaxRegisters { increase: true, count } => Some(count),
            _ => None,
        },
        _ => None,
    });
    let most = most.max().unwrap_or(MOST);
    match limits.max_registers {
        0 => share.min(MOST).min(most),
        n => n.next_multiple_of(8).min(share).min(most),
    }
}

/// Whether ptxas knows the number at entry. It ignores `setmaxnreg` where it does not.
pub fn known_at_entry(limits: &Limits) -> bool {
    let threads = limits.required_threads != [0; 3] || limits.max_threads != [0; 3];
    limits.max_registers != 0 || (threads && limits.min_ctas != 0)
}

pub enum Outcome {
    Done,
    Wait,
    Illegal(String),
}

impl Pool {
    pub fn new(entry: u32, warps: usize) -> Pool {
        Pool { of: vec![entry; warps], free: 0, entry, made: vec![(0, 0); warps] }
    }

    pub fn set(&mut self, warp: usize, increase: bool, count: u32) -> Outcome {
        let have = self.of[warp];
        if !(24..=256).contains(&count) || !count.is_multiple_of(8) {
            return Outcome::Illegal(format!("{count} registers; 24 to 256 in steps of 8 are possible"));
        }
        if increase && count < have {
            return Outcome::Illegal(format!("setmaxnreg.inc to {count} where a thread has {have}"));
        }
        if !increase && count > have {
            return Outcome::Illegal(format!("setmaxnreg.dec to {count} where a thread has {have}"));
        }
        if increase && count - have > self.free {
            return Outcome::Wait;
        }
        self.free = self.free + have - count.min(have) - count.saturating_sub(have);
        self.of[warp] = count;
        Outcome::Done
    }

    /// A warp has executed the instruction at `at`.
    pub fn note(&mut self, warp: usize, at: u32) {
        self.made[warp] = (self.made[warp].0 + 1, at);
    }

    /// The first warp of a group of four that has executed more of them than another of its group.
    fn uneven(&self) -> Option<(usize, u32)> {
        let groups = self.made.chunks(4).enumerate();
        groups.into_iter().find_map(|(group, made)| {
            let least = made.iter().map(|m| m.0).min()?;
            let warp = made.iter().position(|m| m.0 > least)?;
            Some((4 * group + warp, made[warp].1))
        })
    }

    /// For a report of who waits: the sums.
    pub fn describe(&self, warp: usize, count: u32) -> String {
        format!(
            "setmaxnreg.inc from {} to {count}: the pool holds {} registers a thread for one warp, {} are needed \
             (threads began with {}, all warps hold {} of {})",
            self.of[warp],
            self.free,
            count.saturating_sub(self.of[warp]),
            self.entry,
            self.of.iter().sum::<u32>(),
            self.entry * self.of.len() as u32,
        )
    }
}

/// A CTA has ended: did all warps of each group execute the same `setmaxnreg`?
pub fn check_end(m: &mut World, cta: usize) {
    let warps = m.launch.warps();
    let (Some(check), Some((warp, at))) = (&mut m.check, m.ctas[cta].pool.uneven()) else { return };
    let message = "a setmaxnreg that not all four warps of the warpgroup execute".into();
    check.report(FaultKind::Registers, cta * warps + warp, at, None, message);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_increase_waits_until_others_have_given() {
        let mut p = Pool::new(168, 12);
        assert!(matches!(p.set(4, true, 240), Outcome::Wait));
        (0..4).for_each(|w| assert!(matches!(p.set(w, false, 24), Outcome::Done)));
        (4..12).for_each(|w| assert!(matches!(p.set(w, true, 240), Outcome::Done)));
        let mut p = Pool::new(168, 12);
        (0..4).for_each(|w| assert!(matches!(p.set(w, false, 24), Outcome::Done)));
        let waits = (4..12).filter(|&w| matches!(p.set(w, true, 248), Outcome::Wait)).count();
        assert!(waits > 0, "24 + 248 + 248 is more than 3 * 168");
    }
}
