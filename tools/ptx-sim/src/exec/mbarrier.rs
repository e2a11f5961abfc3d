//! The state of one mbarrier (docs/machine.md §5).
//!
//! A phase is complete when no arrivals are pending and the bytes expected and arrived are equal; then the next one
//! begins with the arrivals anew. Bytes may arrive before they are expected: the count is negative until then.
//!
//! ```text
//! init 1                phase 0   pending 1   bytes 0
//! arrive.expect_tx 64   phase 0   pending 0   bytes 64     not complete: bytes are missing
//! 64 bytes land         phase 1   pending 1   bytes 0      a wait with parity 0 passes now
//! ```
//!
//! The state lives beside shared memory, not in its bytes: the real layout is not documented, and code that looks at it
//! is wrong.

use super::check::clock::Knowledge;

/// Greatest count of arrivals, and of bytes either way.
pub const MOST: i64 = (1 << 20) - 1;

#[derive(Clone, Debug)]
pub struct Mbarrier {
    /// Arrivals of a phase.
    expected: u32,
    pending: u32,
    bytes: i64,
    /// Phases completed.
    pub phase: u32,
    /// Copies that were issued in this phase and will signal it.
    pub copies: u32,
    /// What those that arrive in this phase know.
    gather: Knowledge,
    /// What those know that completed the last phase.
    pub done: Knowledge,
    /// The phase that each warp has taken last, in check mode.
    taken: Vec<Taken>,
    /// Who made it: warp and its interval, to see that others use it only after that.
    pub made: (usize, u32),
}

/// A wait that has passed.
#[derive(Clone, Copy, Debug)]
struct Taken {
    warp: usize,
    /// The instruction.
    at: u32,
    phase: u32,
    lanes: u32,
}

/// Something that the rules forbid.
pub type Misuse = String;

impl Mbarrier {
    pub fn new(count: u32, made: (usize, u32)) -> Result<Mbarrier, Misuse> {
        if count == 0 || count as i64 > MOST {
            return Err(format!("an mbarrier for {count} arrivals; 1 to {MOST} are possible"));
        }
        Ok(Mbarrier {
            expected: count,
            pending: count,
            bytes: 0,
            phase: 0,
            copies: 0,
            gather: Knowledge::default(),
            done: Knowledge::default(),
            taken: vec![],
            made,
        })
    }

    /// The 64 bits an arrive gives: the phase and the arrivals pending in it.
    pub fn token(&self) -> u64 {
        (self.phase as u64) << 32 | self.pending as u64
    }

    pub fn pending_of(token: u64) -> u32 {
        (token & MOST as u64) as u32
    }

    pub fn know(&mut self, k: &Knowledge) {
        self.gather.join(k);
    }

    pub fn expect(&mut self, bytes: i64) -> Result<(), Misuse> {
        self.bytes += bytes;
        if self.bytes.abs() > MOST {
            return Err(format!("{} pending bytes; an mbarrier counts to {MOST}", self.bytes));
        }
        Ok(())
    }

    /// Bytes that have landed; whether the phase is complete with them.
    pub fn complete(&mut self, bytes: i64) -> Result<bool, Misuse> {
        self.expect(-bytes)?;
        self.flip()
    }

    pub fn arrive(&mut self, count: u32, drop: bool, no_complete: bool) -> Result<bool, Misuse> {
        if count == 0 || count > self.pending {
            return Err(format!(
                "{count} arrivals where {} of {} are pending in phase {}",
                self.pending, self.expected, self.phase
            ));
        }
        self.pending -= count;
        if drop {
            self.expected = self.expected.saturating_sub(count);
        }
        if no_complete && self.pending == 0 {
            return Err("an arrive with .noComplete completes the phase".into());
        }
        self.flip()
    }

    /// `cp.async.mbarrier.arrive` without `.noinc`: one more arrival that will come.
    pub fn expect_arrival(&mut self) -> Result<(), Misuse> {
        self.pending += 1;
        if self.pending as i64 > MOST {
            return Err(format!("more than {MOST} pending arrivals"));
        }
        Ok(())
    }

    /// Goes to the next phase if this one is complete.
    fn flip(&mut self) -> Result<bool, Misuse> {
        if self.pending != 0 || self.bytes != 0 {
            return Ok(false);
        }
        self.phase = self.phase.wrapping_add(1);
        self.pending = self.expected;
        self.done = std::mem::take(&mut self.gather);
        if self.copies > 0 {
            let copies = std::mem::take(&mut self.copies);
            return Err(format!(
                "phase {} ends while {copies} of its copies are still on their way: fewer bytes were expected than are copied",
                self.phase.wrapping_sub(1)
            ));
        }
        Ok(true)
    }

    /// Whether the phase of this parity is over.
    pub fn passed(&self, parity: u32) -> bool {
        self.phase & 1 != parity & 1
    }

    /// A wait for a parity has passed, at an instruction of a warp: the phase, if some of the lanes have taken it there
    /// before. Waits that stand at different places may be for one phase (of each of several operands, say).
    ///
    /// ```text
    /// loop:  try_wait full, parity      takes phase 0        … parity ought to flip here …
    ///        try_wait full, parity      passes at once, though phase 1 is still to come: takes phase 0 again
    /// ```
    pub fn take(&mut self, warp: usize, at: u32, lanes: u32) -> Option<i64> {
        let taken = Taken { warp, at, phase: self.phase.wrapping_sub(1), lanes };
        let Some(last) = self.taken.iter_mut().find(|t| (t.warp, t.at) == (warp, at)) else {
            self.taken.push(taken);
            return None;
        };
        if last.phase != taken.phase {
            *last = taken;
            return None;
        }
        let again = last.lanes & lanes != 0;
        last.lanes |= lanes;
        again.then_some(self.phase as i64 - 1)
    }

    pub fn passed_token(&self, token: u64) -> bool {
        (token >> 32) as u32 != self.phase
    }

    /// For a report of who waits.
    pub fn describe(&self) -> String {
        format!(
            "phase {}: {} of {} arrivals and {} bytes are missing",
            self.phase, self.pending, self.expected, self.bytes
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_may_come_before_they_are_expected() {
        let mut b = Mbarrier::new(1, (0, 0)).unwrap();
        assert_eq!(b.complete(64), Ok(false));
        b.expect(64).unwrap();
        assert!(!b.passed(0) && b.passed(1));
        assert_eq!(b.arrive(1, false, false), Ok(true));
        assert!(b.passed(0) && !b.passed(1));
    }

    #[test]
    fn counts_have_limits() {
        assert!(Mbarrier::new(0, (0, 0)).is_err());
        let mut b = Mbarrier::new(2, (0, 0)).unwrap();
        assert!(b.arrive(3, false, false).is_err());
        assert!(b.expect(1 << 20).is_err());
    }

    #[test]
    fn a_dropped_arrival_is_missing_from_all_later_phases() {
        let mut b = Mbarrier::new(2, (0, 0)).unwrap();
        assert_eq!(b.arrive(1, true, false), Ok(false));
        assert_eq!(b.arrive(1, false, false), Ok(true));
        assert_eq!(b.arrive(1, false, false), Ok(true));
        assert_eq!(b.phase, 2);
    }

    #[test]
    fn a_phase_is_taken_once_at_each_place() {
        let mut b = Mbarrier::new(1, (0, 0)).unwrap();
        // The phase before the first, as a producer waits for it.
        assert_eq!(b.take(0, 7, 1), None);
        assert_eq!(b.take(0, 7, 1), Some(-1));
        b.arrive(1, false, false).unwrap();
        assert_eq!(b.take(0, 7, 1), None);
        // Other lanes, another warp, another place.
        assert_eq!([b.take(0, 7, 2), b.take(1, 7, 1), b.take(0, 8, 1)], [None; 3]);
        assert_eq!(b.take(0, 7, 2), Some(0));
    }

    #[test]
    fn a_phase_that_ends_before_its_copies_is_told() {
        let mut b = Mbarrier::new(1, (0, 0)).unwrap();
        b.copies = 1;
        assert!(b.arrive(1, false, false).is_err());
    }
}
