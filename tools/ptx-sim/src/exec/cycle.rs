//! Noticing that a deterministic thing is in a state it was in before (Brent's algorithm).
//!
//! One state is remembered and compared with those that follow; after 1, 2, 4, … of them the latest takes its place. A
//! cycle of any length is noticed within a small multiple of its length, at the cost of one comparison a step.

#[derive(Default)]
pub struct Cycle {
    /// A state, and how many changes had been made around it.
    mark: Option<(u64, u64)>,
    since: u64,
    span: u64,
}

impl Cycle {
    /// Whether this state was there before, with nothing changed in between.
    pub fn returned(&mut self, state: u64, changes: u64) -> bool {
        let now = (state, changes);
        if self.mark == Some(now) {
            return true;
        }
        if self.mark.is_none_or(|m| m.1 != changes) {
            *self = Cycle { mark: Some(now), since: 0, span: 1 };
            return false;
        }
        self.since += 1;
        if self.since == self.span {
            *self = Cycle { mark: Some(now), since: 0, span: 2 * self.span };
        }
        false
    }

    pub fn forget(&mut self) {
        *self = Cycle::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_of_every_length_are_noticed() {
        for length in 1..40u64 {
            let mut c = Cycle::default();
            let at = (0..1000).position(|n| c.returned(if n < 5 { 100 + n } else { n % length }, 0));
            assert!(at.is_some_and(|at| at as u64 <= 5 + 4 * length + 8), "{length}: {at:?}");
        }
    }

    #[test]
    fn a_change_begins_anew() {
        let mut c = Cycle::default();
        assert!((0..100).all(|n| !c.returned(7, n)));
        assert!(!c.returned(7, 100) && c.returned(7, 100));
    }
}
