//! What the compiler hands to the runner: the statements of a spec with names resolved.

use super::code::{ArrayId, Code, NodeId, Slot};
use tile_base::Span;

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a program has few steps")]
pub(super) enum Step {
    Equation(Box<Equation>),
    For(Box<Loop>),
    If { condition: Small, then: Vec<Step>, otherwise: Vec<Step> },
}

/// `for name in range { body }`; `depth` is the slot of the name in every equation of the body.
#[derive(Debug)]
pub(super) struct Loop {
    pub depth: Slot,
    pub range: Small,
    pub kind: RangeKind,
    pub reverse: bool,
    pub body: Vec<Step>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum RangeKind {
    /// The roots are the least position and one past the greatest.
    Span,
    /// The roots are a vector of positions, and its slot's length; -1 is passed over.
    List { slot: Slot },
}

/// A small piece of code that is evaluated as scalars, with the loop variables of the statement around it.
#[derive(Debug)]
pub(super) struct Small {
    pub code: Code,
    pub roots: Vec<NodeId>,
    pub span: Span,
}

/// A free index of an equation.
#[derive(Clone, Debug)]
pub(super) struct Free {
    pub slot: Slot,
    pub lo: NodeId,
    pub hi: NodeId,
    /// The range depends on free indices before this one.
    pub dependent: bool,
}

#[derive(Clone, Debug)]
pub(super) enum TargetAxis {
    /// Runs with a free index, by position in `Equation::free`.
    Free(usize),
    At(NodeId),
}

/// One equation. Loop variables of the statements around it are its first slots.
#[derive(Debug)]
pub(super) struct Equation {
    pub target: ArrayId,
    /// `let`: makes the array.
    pub fresh: bool,
    /// `+=`
    pub adds: bool,
    pub axes: Vec<TargetAxis>,
    pub free: Vec<Free>,
    pub value: NodeId,
    pub code: Code,
    pub span: Span,
}

/// A compiled spec.
#[derive(Debug)]
pub(super) struct Plan {
    pub arrays: Vec<super::array::ArrayInfo>,
    pub steps: Vec<Step>,
}
