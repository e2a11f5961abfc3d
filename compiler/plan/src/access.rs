//! How wide each load and store may be.
//!
//! A vector of `v` elements along tile axis `a` is allowed where, whatever the launch, it lies wholly inside or
//! wholly outside: the tensor's class says that the unit dimension is contiguous and 16-byte stepped, the
//! coordinate moves with `a` alone and starts at a multiple of `v`, and the axis ends at a multiple of `v`.

use crate::{
    plan::TensorClass,
    shape::{Shapes, gcd},
};
use tile_base::Size;
use tile_graph::{Access, Check, CoordIndex, NodeId, Object, Op, Value, ValueType};

/// The value an access moves and the port where its ports begin.
pub fn moved<'a>(shapes: &'a Shapes, node: NodeId) -> Option<(&'a Access, &'a ValueType)> {
    let n = shapes.graph.node(node);
    match &n.op {
        Op::Load(a) => Some((a, &n.outputs[0])),
        Op::Store { access, .. } | Op::Accumulate(access) => {
            let value = *shapes.graph.inputs(node).first()?;
            Some((access, shapes.graph.type_of(value)))
        }
        _ => None,
    }
}

/// The tile axis along which memory is contiguous, and the widest vector there.
pub fn widest(shapes: &Shapes, node: NodeId, class: TensorClass) -> (Option<usize>, u32) {
    let Some((access, ty)) = moved(shapes, node) else { return (None, 1) };
    let inputs = shapes.graph.inputs(node);
    let Some(unit) = class.unit() else { return (None, 1) };
    let CoordIndex::Affine { base, terms } = &access.coords[unit].index else { return (None, 1) };
    let [(axis, 1)] = terms[..] else { return (None, 1) };
    let axis = axis as usize;
    let TensorClass::Vector { bytes, .. } = class else { return (Some(axis), 1) };
    let alone =
        access.coords.iter().enumerate().all(|(d, c)| d == unit || !c.axes().contains(&(axis as u32)));
    let coord = &access.coords[unit];
    let plain = coord.lo.is_none()
        && coord.hi.is_none()
        && matches!(coord.check, Check::Proven | Check::AtLaunch)
        && access.mask.is_none();
    if !alone || !plain {
        return (Some(axis), 1);
    }
    let start = base.map_or(0, |port| shapes.divisor(inputs[port as usize]));
    let elements = u64::from(bytes) * 8 / ty.dtype.bits() as u64;
    let fits = gcd(gcd(start, shapes.extent_divisor(ty.axes[axis])), elements);
    (Some(axis), 1 << fits.max(1).trailing_zeros())
}

/// The class of a tensor that is contiguous along `unit`: vectors as wide as a static extent allows.
pub fn vector_class(object: &Object, unit: usize) -> TensorClass {
    let element = object.dtype.bits() as u64;
    let bytes = match object.shape.get(unit) {
        // An extent that is no whole number of bytes leaves rows that begin within one.
        Some(Size::Const(n)) if (n.unsigned_abs() * element).is_multiple_of(8) => {
            gcd(16, n.unsigned_abs() * element / 8)
        }
        Some(Size::Name(_)) => 16,
        _ => element / 8,
    };
    match bytes * 8 > element {
        true => TensorClass::Vector { unit, bytes: bytes as u32 },
        false => TensorClass::Unit { unit },
    }
}

/// The class by itself: the last dimension is contiguous.
pub fn default_class(object: &Object) -> TensorClass {
    match object.shape.len() {
        0 => TensorClass::Strided,
        n => vector_class(object, n - 1),
    }
}

/// Where the accessed value's base ports and so on point; `None` for a port that is not there.
pub fn port_value(inputs: &[Value], port: Option<u32>) -> Option<Value> {
    port.and_then(|p| inputs.get(p as usize).copied())
}
