//! Sorting along an axis: `sort` and `topk`, both stable, with positions. A NaN comes after every number.

use super::{
    Class, Env,
    collective::{Number, Shape, by_class},
};
use std::cmp::Ordering;

/// Shape of the source (targets' strides are those of the values), then class, axis, descending, positions address,
/// position strides, k: the first `k` of each line in order.
pub unsafe extern "C" fn sort(_: *mut Env, args: *const i64) -> i64 {
    // SAFETY: tiles of the extents given.
    unsafe {
        let (shape, rest) = Shape::read(args);
        let rank = shape.extents.len();
        let (class, axis, descending) = (*rest, *rest.add(1) as usize, *rest.add(2) != 0);
        let positions = *rest.add(3) as *mut i64;
        let strides = std::slice::from_raw_parts(rest.add(4), rank);
        let k = *rest.add(4 + rank);
        by_class!(class, lines(&shape, axis, descending, positions, strides, k));
    }
    0
}

unsafe fn lines<T: Number>(
    shape: &Shape,
    axis: usize,
    descending: bool,
    positions: *mut i64,
    strides: &[i64],
    k: i64,
) {
    let n = shape.extents[axis].max(0);
    let mut line: Vec<(T, i64)> = Vec::with_capacity(n as usize);
    // Offsets of the positions, in the order in which `each` visits lines.
    let mut offsets = vec![];
    let of_positions = Shape { to: strides, ..*shape };
    of_positions.each(&[axis], |_, to| offsets.push(to));
    let mut next = offsets.into_iter();
    shape.each(&[axis], |from, to| {
        let at = next.next().unwrap_or(0);
        // SAFETY: positions of the tiles.
        unsafe {
            line.clear();
            line.extend((0..n).map(|i| {
                let offset = from + (i * shape.from[axis]) as isize;
                (*(shape.source as *const T).offset(offset), i)
            }));
            line.sort_by(|a, b| order(a.0, b.0, descending).then(a.1.cmp(&b.1)));
            for (i, &(x, p)) in line.iter().enumerate().take(k.max(0) as usize) {
                *(shape.target as *mut T).offset(to + i as isize * shape.to[axis] as isize) = x;
                *positions.offset(at + i as isize * strides[axis] as isize) = p;
            }
            for i in n..k {
                *(shape.target as *mut T).offset(to + (i * shape.to[axis]) as isize) = T::LEAST;
                *positions.offset(at + (i * strides[axis]) as isize) = -1;
            }
        }
    });
}

fn order<T: Number>(a: T, b: T, descending: bool) -> Ordering {
    match (a.is_number(), b.is_number()) {
        (true, true) => {
            let rising = if a < b {
                Ordering::Less
            } else if a > b {
                Ordering::Greater
            } else {
                Ordering::Equal
            };
            if descending { rising.reverse() } else { rising }
        }
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => Ordering::Equal,
    }
}
