//! What it takes to turn one layout of a tile into another.
//!
//! *Registers*: lanes and warps hold the same elements, only the registers are named differently. *Shared*: the
//! tile is written to shared memory in the first layout and read back in the second.

use crate::linear::Layout;

/// For each register of `to`, the register of `from` in the same thread that holds the element; `None` where some
/// element sits in another thread.
///
/// A lane bit on which `from` does not depend (all its lanes hold the element) serves any step of `to` that a
/// register of `from` also makes; only equal bases are recognised here, which is all the plan relies on.
pub fn registers(from: &Layout, to: &Layout) -> Option<Vec<usize>> {
    if from.lane != to.lane || from.warp != to.warp || from.rank() != to.rank() {
        return None;
    }
    (0..to.registers()).map(|r| from.find_register(&to.register_offset(r))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{blocked, fragment};

    #[test]
    fn an_accumulator_is_a_left_operand_with_registers_renamed() {
        let s = fragment::accumulator(64, 64, 4, 1);
        let p = fragment::lhs(64, 64, 16, 4, 1);
        let map = registers(&s, &p).expect("same lanes");
        for (to, &from) in map.iter().enumerate() {
            for thread in 0..128 {
                let (lane, warp) = (thread % 32, thread / 32);
                assert_eq!(s.coordinate(from, lane, warp), p.coordinate(to, lane, warp));
            }
        }
    }

    #[test]
    fn a_blocked_tile_is_not() {
        let s = blocked::blocked(&[64, 64], 1, 8, 4, blocked::WarpOrder::SlowFirst);
        assert_eq!(registers(&s, &fragment::lhs(64, 64, 16, 4, 1)), None);
    }
}
