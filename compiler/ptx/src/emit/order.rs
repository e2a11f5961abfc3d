//! The order in which `sort` and `topk` put elements: by value, a NaN after every number, and of equals the earlier
//! position first. With positions the order is total, which makes any way of sorting a stable one.

use super::Emit;
use crate::text::{Ty, V};
use tile_base::DType;
use tile_graph::ElemOp;

/// An element on its way: value, position, and whether there is one.
#[derive(Clone, Copy)]
pub(super) struct Placed {
    pub value: V,
    pub position: V,
    pub there: V,
}

impl Emit<'_> {
    /// Whether `a` comes before `b`. One that exists comes before one that does not.
    pub(super) fn comes_before(&mut self, dtype: DType, descending: bool, a: Placed, b: Placed) -> V {
        let first = self.precedes(dtype, descending, a.value, b.value);
        let alike = self.alike(dtype, a.value, b.value);
        let earlier = self.t.icmp("slt", a.position, b.position);
        let tie = self.t.int_op("and", alike, earlier);
        let either = self.t.int_op("or", first, tie);
        let yes = self.t.int(Ty::I1, 1);
        let alone = self.t.int_op("xor", b.there, yes);
        let either = self.t.int_op("or", either, alone);
        self.t.int_op("and", a.there, either)
    }

    /// Whether value a stands before value b, positions apart.
    fn precedes(&mut self, dtype: DType, descending: bool, a: V, b: V) -> V {
        let op = if descending { ElemOp::Gt } else { ElemOp::Lt };
        let first = self.apply(op, dtype, &[a, b], true);
        if !dtype.is_float() {
            return first;
        }
        let (number, nan) = (self.t.fcmp("ord", a, a), self.t.fcmp("uno", b, b));
        let only = self.t.int_op("and", number, nan);
        self.t.int_op("or", first, only)
    }

    fn alike(&mut self, dtype: DType, a: V, b: V) -> V {
        let equal = self.apply(ElemOp::Eq, dtype, &[a, b], true);
        if !dtype.is_float() {
            return equal;
        }
        let (nan_a, nan_b) = (self.t.fcmp("uno", a, a), self.t.fcmp("uno", b, b));
        let both = self.t.int_op("and", nan_a, nan_b);
        self.t.int_op("or", equal, both)
    }

    /// The one that comes first.
    pub(super) fn earlier_of(&mut self, dtype: DType, descending: bool, a: Placed, b: Placed) -> Placed {
        let takes = self.comes_before(dtype, descending, b, a);
        Placed {
            value: self.t.select(takes, b.value, a.value),
            position: self.t.select(takes, b.position, a.position),
            there: self.t.int_op("or", a.there, b.there),
        }
    }
}
