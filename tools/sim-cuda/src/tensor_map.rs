//! Tensor maps, in this project's own encoding: a map is opaque to a client, and the simulator reads what is written here.

use crate::{
    entry::{Answer, give},
    errors::INVALID_VALUE,
    log,
    state::ready,
};
use std::ffi::c_void;
use tile_machine::{
    Swizzle,
    tensor_map::{
        ElementType, Field, Fill, Interleave, L2Promotion, MAX_RANK, Spec, TensorMap, bytes::BYTES,
        replace::replace,
    },
};

/// A list of the client's with so many entries.
unsafe fn entries_of<'a, T>(list: *const T, count: usize) -> Option<&'a [T]> {
    match (list.is_null(), count) {
        (_, 0) => Some(&[]),
        (true, _) => None,
        // SAFETY: the client says that so many are there.
        (false, n) => Some(unsafe { std::slice::from_raw_parts(list, n) }),
    }
}

/// The driver checks the map alone: no context is needed, and the address need not be of an allocation yet.
fn encode(spec: Option<Spec>, place: *mut [u8; BYTES]) -> Answer {
    ready(|_| {
        let map = TensorMap::new(spec.ok_or(INVALID_VALUE)?).map_err(|e| {
            log::line(&format!("sim-cuda: a tensor map is refused: {e}"));
            INVALID_VALUE
        })?;
        unsafe { give(place, map.encode()) }
    })
}

entries! {
    fn cuTensorMapEncodeTiled(
        place: *mut [u8; BYTES],
        element: u32,
        rank: u32,
        address: *const c_void,
        dims: *const u64,
        strides: *const u64,
        box_dims: *const u32,
        element_strides: *const u32,
        interleave: u32,
        swizzle: u32,
        promotion: u32,
        fill: u32,
    ) {
        let rank = rank as usize;
        if !(1..=MAX_RANK).contains(&rank) {
            return Err(INVALID_VALUE);
        }
        let spec = || {
            // SAFETY: the client has an entry for each dimension, and of strides one less.
            let (dims, strides, box_dims, element_strides) = unsafe {
                (
                    entries_of(dims, rank)?,
                    entries_of(strides, rank - 1)?,
                    entries_of(box_dims, rank)?,
                    entries_of(element_strides, rank)?,
                )
            };
            Some(Spec {
                element: ElementType::from_driver(element)?,
                address: address.addr() as u64,
                dims,
                strides,
                box_dims,
                element_strides,
                interleave: Interleave::from_driver(interleave)?,
                swizzle: Swizzle::from_driver(swizzle)?,
                l2_promotion: L2Promotion::from_driver(promotion)?,
                fill: Fill::from_driver(fill)?,
            })
        };
        encode(spec(), place)
    }

    fn cuTensorMapReplaceAddress(map: *mut [u8; BYTES], address: *const c_void) {
        if map.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: not null, and the client's promise.
        let mut bytes = unsafe { map.read() };
        replace(&mut bytes, Field::GlobalAddress, 0, address.addr() as u64).map_err(|_| INVALID_VALUE)?;
        TensorMap::decode(&bytes).map_err(|_| INVALID_VALUE)?;
        unsafe { give(map, bytes) }
    }
}
