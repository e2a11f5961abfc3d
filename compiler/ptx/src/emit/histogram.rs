//! How often each number below `bins` occurs in a tile of positions: counters in shared memory.
//!
//! The counters are cleared, every element that exists adds 1 to its own, and the result is read. The additions are
//! atomic and come in no order; sums of integers do not depend on it, so the counts are the same in every run. Numbers
//! outside `0..bins` are not counted.

use super::{Emission, Emit};
use crate::text::{Ty, V};
use tile_graph::NodeId;

impl Emit<'_> {
    pub(super) fn histogram(&mut self, node: NodeId, bins: u64) -> Emission<Vec<V>> {
        let counts = &self.exchange(node)?.arrays[0];
        let operand = self.g.inputs(node)[0];
        let axis = self.g.type_of(operand).axes[0];
        let (registers, layout) = (self.input(node, 0)?, self.input_layout(node, 0)?);
        let covered = self.layout(tile_graph::Value { node, port: 0 })?.coverage(0);
        self.step_barrier(node, 0);
        let zero = self.t.i32(0);
        self.over_threads(covered, |e, bin| e.write_element(counts, bin, zero));
        self.step_barrier(node, 1);
        let bins = self.t.i64(bins as i64);
        let owner = self.owner(&layout);
        for (r, &number) in registers.iter().enumerate() {
            let wide = self.t.convert("sext", number, Ty::I64);
            let counted = self.t.icmp("ult", wide, bins);
            let exists = self.exists(node, &layout, 0, axis, layout.register_offset(r)[0])?;
            let counted = self.t.both(exists, Some(counted));
            let counted = self.t.both(owner, counted);
            self.when(counted, |e| {
                let bin = e.t.convert("trunc", wide, Ty::I32);
                let (pointer, one) = (e.element(counts, bin), e.t.i32(1));
                e.t.pinned(
                    &format!(
                        "llvm.atomicrmw add {pointer}, {one} syncscope(\"block\") monotonic : !llvm.ptr<3>, i32"
                    ),
                    Ty::I32,
                );
            });
        }
        self.step_barrier(node, 2);
        self.read_result(node, 0, counts)
    }
}
