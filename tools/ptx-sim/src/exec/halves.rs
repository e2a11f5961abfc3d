//! 16-bit floats as f32 and back, without a branch, so that a loop over lanes takes many of them at a time.
//!
//! ```text
//! wide     0x3c00 → 1.0     0x0001 → 2^-24     0x7e01 → NaN          exact
//! narrow   1.0 → 0x3c00     1 + 2^-11 → 0x3c00 (a tie, to even)      any NaN → 0x7fff, the hardware's one
//! ```
//!
//! f16 goes by way of the bits: moved to where f32 has them, a number is 2^112 too small, which one exact product mends,
//! subnormal or not.

use super::rows::{LANES, Row};

/// A format of 16 bits. Codes lie in the low half of a word; the upper half is not looked at.
pub trait Narrow {
    fn wide(code: u32) -> f32;
    fn narrow(v: f32) -> u32;
}

pub struct Half;
pub struct Brain;

const NAN: u32 = 0x7fff;

impl Narrow for Half {
    #[inline(always)]
    fn wide(code: u32) -> f32 {
        let moved = (code & 0x7fff) << 13;
        let number = (f32::from_bits(moved) * f32::from_bits((127 + 112) << 23)).to_bits();
        // Infinity and NaN have the greatest exponent in both.
        let bits = if moved as i32 >= 0x7c00 << 13 { moved | 0x7f80_0000 } else { number };
        f32::from_bits(bits | (code & 0x8000) << 16)
    }

    #[inline(always)]
    fn narrow(v: f32) -> u32 {
        let bits = v.to_bits();
        let size = bits & 0x7fff_ffff;
        // Half of the last place, less one if that is even; a carry goes up into the exponent.
        let rounded = size.wrapping_add(0xfff + (size >> 13 & 1)).wrapping_sub(112 << 23) >> 13;
        // The sum's last place is the one of subnormal f16, so that the addition rounds to it.
        let small = (f32::from_bits(size) + 0.5).to_bits().wrapping_sub(0x3f00_0000);
        let size = size as i32;
        let code = if size < 113 << 23 { small } else { rounded };
        let code = if size >= 143 << 23 { 0x7c00 } else { code };
        if size > 0x7f80_0000 { NAN } else { code | bits >> 16 & 0x8000 }
    }
}

impl Narrow for Brain {
    #[inline(always)]
    fn wide(code: u32) -> f32 {
        f32::from_bits(code << 16)
    }

    #[inline(always)]
    fn narrow(v: f32) -> u32 {
        let bits = v.to_bits();
        let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
        if v.is_nan() { NAN } else { rounded }
    }
}

/// f32 of two rows as the low and high halves of one; the loop compiled for each vector width that the CPU may have.
pub struct Pack<'a, T> {
    pub low: &'a Row,
    pub high: Option<&'a Row>,
    pub out: &'a mut Row,
    pub format: std::marker::PhantomData<T>,
}

impl<T: Narrow> pulp::NullaryFnOnce for Pack<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for l in 0..LANES {
            self.out[l] = T::narrow(f32::from_bits(self.low[l]));
        }
        for (out, high) in self.out.iter_mut().zip(self.high.into_iter().flatten()) {
            *out |= T::narrow(f32::from_bits(*high)) << 16;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every code there and back, the numbers beside it and the tie after it, against the `half` crate.
    fn agrees<T: Narrow>(wide: impl Fn(u16) -> f32, narrow: impl Fn(f32) -> u16) {
        for code in 0..=u16::MAX {
            let v = T::wide(code as u32 | 0xabcd_0000);
            assert!(v.is_nan() && wide(code).is_nan() || v.to_bits() == wide(code).to_bits(), "{code:#x}");
            let next = wide(code.wrapping_add(1));
            let tie = ((v as f64 + next as f64) / 2.0) as f32;
            for near in [-1, 0, 1]
                .map(|n| f32::from_bits(v.to_bits().wrapping_add_signed(n)))
                .into_iter()
                .chain([tie])
            {
                let want = if near.is_nan() { 0x7fff } else { narrow(near) };
                assert_eq!(T::narrow(near), want as u32, "{near} by {code:#x}");
            }
        }
    }

    #[test]
    fn every_code_and_tie() {
        agrees::<Half>(|c| half::f16::from_bits(c).to_f32(), |v| half::f16::from_f32(v).to_bits());
        agrees::<Brain>(|c| half::bf16::from_bits(c).to_f32(), |v| half::bf16::from_f32(v).to_bits());
    }
}
