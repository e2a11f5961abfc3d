//! Tensor copies: the tensor map and the coordinates to pieces.

use super::{agents::Bulk as Agent, rows::Rows, warp::Refused, world::World};
use crate::{fault::FaultKind, ir::*};

pub fn copy(
    _r: &Rows,
    _op: &Bulk,
    _tensor: &Tensor,
    lane: usize,
    _receivers: Vec<usize>,
    _m: &mut World,
) -> Result<Agent, Refused> {
    Err((FaultKind::NotSupported, "tensor copies are not run yet".into(), Some(lane as u32)))
}
