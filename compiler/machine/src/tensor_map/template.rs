//! A tensor map but for its tensor: what a compiled kernel says about one, before a launch has arguments.
//!
//! A tensor has its dimensions in the order of its shape, with strides in elements; a map has them innermost first, with
//! strides in bytes, and none for the innermost. Worked example, keys `k[B, N, HK, 64]` in bf16 of which a copy takes 32
//! positions of one head:
//!
//! ```
//! use tile_machine::{Swizzle, tensor_map::*};
//! let template = Template {
//!     element: ElementType::Bf16,
//!     order: vec![3, 2, 1, 0],
//!     box_dims: vec![64, 1, 32, 1],
//!     swizzle: Swizzle::B128,
//!     l2_promotion: L2Promotion::B128,
//!     fill: Fill::Zero,
//! };
//! let map = template.of(&[2, 100, 4, 64], &[25600, 256, 64, 1], 0x7000_0000_0000).unwrap();
//! assert_eq!((map.dims(), map.strides()), (&[64, 4, 100, 2][..], &[128, 512, 51200][..]));
//!
//! // Rows that do not begin at multiples of 16 bytes; the error names the dimension of the tensor.
//! let odd = template.of(&[2, 100, 4, 64], &[25200, 252, 63, 1], 0x7000_0000_0000);
//! assert_eq!(odd.unwrap_err().to_string(), "stride 126 of dimension 2 is not a multiple of 16 below 2^40");
//! ```

use super::{ElementType, Fill, Interleave, L2Promotion, Spec, TensorMap, TensorMapError};
use crate::swizzle::Swizzle;

/// See the module. `order` has at least one dimension and `box_dims` as many entries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Template {
    pub element: ElementType,
    /// Which dimension of the tensor is dimension `n` of the map.
    pub order: Vec<usize>,
    /// Elements that a copy takes, in the order of the map.
    pub box_dims: Vec<u32>,
    pub swizzle: Swizzle,
    pub l2_promotion: L2Promotion,
    pub fill: Fill,
}

impl Template {
    /// The map of a tensor; shape and strides in elements. Errors name dimensions of the tensor.
    pub fn of(&self, shape: &[u64], strides: &[i64], address: u64) -> Result<TensorMap, TensorMapError> {
        let dims: Vec<u64> = self.order.iter().map(|&d| shape.get(d).copied().unwrap_or(0)).collect();
        let bytes = |&d: &usize| match (shape.get(d), strides.get(d)) {
            // Nobody steps along a dimension of one element; any legal stride will do.
            (Some(1), _) | (_, None) => 16,
            // A negative stride becomes one that is far too large.
            (_, Some(&stride)) => stride.wrapping_mul(i64::from(self.element.bytes())) as u64,
        };
        let strides: Vec<u64> = self.order.iter().skip(1).map(bytes).collect();
        let spec = Spec {
            element: self.element,
            address,
            dims: &dims,
            strides: &strides,
            box_dims: &self.box_dims,
            element_strides: &vec![1; self.order.len()],
            interleave: Interleave::None,
            swizzle: self.swizzle,
            l2_promotion: self.l2_promotion,
            fill: self.fill,
        };
        TensorMap::new(spec).map_err(|e| self.named(e))
    }

    /// Bytes that one copy moves.
    pub fn box_bytes(&self) -> u64 {
        self.box_dims.iter().map(|&n| u64::from(n)).product::<u64>() * u64::from(self.element.bytes())
    }

    fn named(&self, error: TensorMapError) -> TensorMapError {
        use TensorMapError as E;
        let of = |dim: usize| self.order.get(dim).copied().unwrap_or(dim);
        match error {
            E::Dimension { dim, extent } => E::Dimension { dim: of(dim), extent },
            E::Stride { dim, stride, align } => E::Stride { dim: of(dim), stride, align },
            E::Box { dim, extent } => E::Box { dim: of(dim), extent },
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Template {
        Template {
            element: ElementType::F16,
            order: vec![1, 0],
            box_dims: vec![64, 16],
            swizzle: Swizzle::B128,
            l2_promotion: L2Promotion::B128,
            fill: Fill::Zero,
        }
    }

    #[test]
    fn what_a_launch_can_get_wrong_has_a_name() {
        let of = |shape: &[u64], strides: &[i64], address| rows().of(shape, strides, address).unwrap_err();
        assert_eq!(of(&[5, 64], &[64, 1], 8), TensorMapError::Address { address: 8, align: 16 });
        let stride = |stride| TensorMapError::Stride { dim: 0, stride, align: 16 };
        assert_eq!(of(&[5, 50], &[50, 1], 0), stride(100));
        assert_eq!(of(&[5, 64], &[1 << 39, 1], 0), stride(1 << 40));
        assert_eq!(of(&[5, 64], &[-64, 1], 0), stride(-128i64 as u64));
        assert_eq!(of(&[0, 64], &[64, 1], 0), TensorMapError::Dimension { dim: 0, extent: 0 });
    }

    #[test]
    fn one_row_may_have_any_stride() {
        assert_eq!(rows().of(&[1, 50], &[50, 1], 0).unwrap().strides(), [16]);
    }
}
