//! Where a warp's registers lie in its 16 rows of a `wgmma`.
//!
//! Lane l belongs to group g = l / 4 and is t = l % 4 in it. With E elements to a 32-bit word (f32 and tf32: 1,
//! 16 bits: 2, 8 bits: 4, bits: 32):
//!
//! ```text
//! D, 32-bit elements   register i: row g + 8·(i/2 % 2), column 8·(i/4) + 2t + i % 2
//! D, f16               register i: row g + 8·(i % 2), columns 8·(i/2) + 2t and + 1
//! A, four registers    register i: row g + 8·(i % 2), columns E·t + 4E·(i/2) … + E − 1
//! ```
//!
//! A's layout for 16 bits is D's for f32, packed in pairs: so a first product's accumulator becomes the second's A
//! without leaving its lane.

/// Row and column of a 32-bit element of D.
pub fn d_position(register: usize, lane: usize) -> (usize, usize) {
    let (g, t) = (lane / 4, lane % 4);
    (g + 8 * (register / 2 % 2), 8 * (register / 4) + 2 * t + register % 2)
}

/// Row and first column of the pair in a register of D with f16 elements.
pub fn d_half_position(register: usize, lane: usize) -> (usize, usize) {
    let (g, t) = (lane / 4, lane % 4);
    (g + 8 * (register % 2), 8 * (register / 2) + 2 * t)
}

/// Row and first column of the `per_word` elements in a register of A.
pub fn a_position(register: usize, lane: usize, per_word: usize) -> (usize, usize) {
    let (g, t) = (lane / 4, lane % 4);
    (g + 8 * (register % 2), per_word * (t + 4 * (register / 2)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tile_layout::fragment;

    /// The compiler's layouts, written independently as bases, say the same.
    #[test]
    fn agrees_with_the_compilers_layouts() {
        let d = fragment::accumulator(16, 64, 1, 1);
        let a16 = fragment::lhs(16, 16, 16, 1, 1);
        let tf32 = fragment::lhs(16, 8, 8, 1, 1);
        for lane in 0..32 {
            for register in 0..32 {
                let (r, c) = d_position(register, lane);
                assert_eq!(d.coordinate(register, lane as u32, 0), [r as u32, c as u32]);
            }
            for register in 0..4 {
                for x in 0..2 {
                    let (r, c) = a_position(register, lane, 2);
                    let want = a16.coordinate(2 * register + x, lane as u32, 0);
                    assert_eq!(want, [r as u32, (c + x) as u32]);
                }
                let (r, c) = a_position(register, lane, 1);
                assert_eq!(tf32.coordinate(register, lane as u32, 0), [r as u32, c as u32]);
            }
        }
    }

    #[test]
    fn half_accumulators_are_pairs_of_the_wide_ones() {
        for lane in 0..32 {
            for register in 0..16 {
                assert_eq!(d_half_position(register, lane), d_position(2 * register, lane));
            }
        }
    }

    #[test]
    fn byte_operands_cover_16_by_32_once() {
        let mut seen = [[0; 32]; 16];
        for lane in 0..32 {
            for register in 0..4 {
                let (r, c) = a_position(register, lane, 4);
                (0..4).for_each(|x| seen[r][c + x] += 1);
            }
        }
        assert!(seen.iter().flatten().all(|&n| n == 1));
    }
}
