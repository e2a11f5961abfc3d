//! The machine that runs row programs with vectors of 512 bits.
//!
//! The accumulator is eight vectors in registers. What keeps it there: every step is written out in one function, part by
//! part (`parts!`), so that the compiler sees eight values and no array; functions called in between would pass it
//! through memory. The operand of a step is fetched first, whatever the step is, then the step is chosen.

use super::*;
use crate::emit::functions::{EXP, EXP2};
use std::arch::x86_64::*;

/// Vectors of a chunk.
const PARTS: usize = CHUNK / 16;
type Chunk = [__m512; PARTS];
type Mask = [__mmask16; PARTS];

/// An array of what the expression gives for each part.
macro_rules! parts {
    ($n:ident => $e:expr) => {
        parts!(@ $n => $e; 0 1 2 3 4 5 6 7)
    };
    (@ $n:ident => $e:expr; $($at:literal)*) => {
        [$({
            const $n: usize = $at;
            $e
        }),*]
    };
}

/// # Safety
/// The words are those that the program names: addresses of as many elements as the row is long, values, limits.
#[target_feature(enable = "avx512f,avx512dq")]
pub unsafe fn run(program: &RowProgram, length: usize, words: *mut i64, scratch: &mut Scratch) {
    // SAFETY: a chunk is whole vectors, on a line of its own.
    let (registers, sums) = unsafe {
        (
            &mut *(&raw mut scratch.registers).cast::<[Chunk; REGISTERS]>(),
            &mut *(&raw mut scratch.sums).cast::<[Chunk; REGISTERS]>(),
        )
    };
    let mut row = Row { words, registers, masks: [[0; PARTS]; MASKS], sums };
    for (sum, reduction) in row.sums.iter_mut().zip(&program.reductions) {
        *sum = [_mm512_set1_ps(identity(reduction.kind)); PARTS];
    }
    let whole = length / CHUNK * CHUNK;
    for from in (0..whole).step_by(CHUNK) {
        // SAFETY: the chunk lies within the row.
        unsafe { row.chunk::<true>(program, from, CHUNK) }
    }
    if whole < length {
        // SAFETY: loads and stores are masked to what exists.
        unsafe { row.chunk::<false>(program, whole, length - whole) }
    }
    for (sum, reduction) in row.sums.iter().zip(&program.reductions) {
        let total = fold(reduction.kind, *sum);
        // SAFETY: a word of the call.
        unsafe { *words.add(reduction.to as usize) = total.to_bits() as i64 };
    }
}

struct Row<'s> {
    words: *mut i64,
    registers: &'s mut [Chunk; REGISTERS],
    masks: [Mask; MASKS],
    sums: &'s mut [Chunk; REGISTERS],
}

/// Bits of part `n` of a chunk with `live` elements left.
fn live_bits(live: usize, part: usize) -> __mmask16 {
    let left = live.saturating_sub(16 * part).min(16);
    ((1u32 << left) - 1) as u16
}

impl Row<'_> {
    /// A word of the call.
    fn word(&self, word: Word) -> i64 {
        // SAFETY: programs name words that the code generator has written.
        unsafe { *self.words.add(word as usize) }
    }

    #[target_feature(enable = "avx512f,avx512dq")]
    unsafe fn chunk<const WHOLE: bool>(&mut self, program: &RowProgram, from: usize, live: usize) {
        let mut x: Chunk = [_mm512_setzero_ps(); PARTS];
        for step in &program.steps {
            let y: Chunk = match step.with {
                Operand::None => x,
                Operand::Register(r) => self.registers[r as usize],
                Operand::Splat(word) => [_mm512_set1_ps(f32::from_bits(self.word(word) as u32)); PARTS],
                Operand::Constant(value) => [_mm512_set1_ps(value); PARTS],
                Operand::Memory(word) => {
                    let p = (self.word(word) as *const f32).wrapping_add(from);
                    // SAFETY: whole, or masked to what exists.
                    unsafe {
                        match WHOLE {
                            true => parts!(N => _mm512_loadu_ps(p.add(16 * N))),
                            false => parts!(N => {
                                _mm512_maskz_loadu_ps(live_bits(live, N), p.wrapping_add(16 * N))
                            }),
                        }
                    }
                }
            };
            match step.action {
                Action::Take => x = y,
                Action::Keep(r) => self.registers[r as usize] = x,
                Action::Store(word) => {
                    let p = (self.word(word) as *mut f32).wrapping_add(from);
                    // SAFETY: whole, or masked to what exists.
                    unsafe {
                        match WHOLE {
                            true => parts!(N => _mm512_storeu_ps(p.add(16 * N), x[N])),
                            false => parts!(N => {
                                _mm512_mask_storeu_ps(p.wrapping_add(16 * N), live_bits(live, N), x[N])
                            }),
                        };
                    }
                }
                Action::Unary(op) => {
                    x = match op {
                        Unary::Neg => parts!(N => _mm512_xor_ps(x[N], _mm512_set1_ps(-0.0))),
                        Unary::Abs => parts!(N => _mm512_andnot_ps(_mm512_set1_ps(-0.0), x[N])),
                        Unary::Sqrt => parts!(N => _mm512_sqrt_ps(x[N])),
                        Unary::Rsqrt => {
                            parts!(N => _mm512_div_ps(_mm512_set1_ps(1.0), _mm512_sqrt_ps(x[N])))
                        }
                        Unary::Floor => parts!(N => _mm512_roundscale_ps::<DOWN>(x[N])),
                        Unary::Ceil => parts!(N => _mm512_roundscale_ps::<UP>(x[N])),
                        Unary::Round => parts!(N => _mm512_roundscale_ps::<NEAREST>(x[N])),
                        Unary::Exp2 => parts!(N => exp2(x[N])),
                        Unary::Exp => parts!(N => exp(x[N])),
                        Unary::ToHalf => {
                            parts!(N => _mm512_cvtph_ps(_mm512_cvtps_ph::<NEAREST>(x[N])))
                        }
                        Unary::ToBrain => parts!(N => drop_bits::<16>(x[N])),
                        Unary::ToTf32 => parts!(N => drop_bits::<13>(x[N])),
                    }
                }
                Action::Binary(op) => {
                    x = match op {
                        Binary::Add => parts!(N => _mm512_add_ps(x[N], y[N])),
                        Binary::Sub => parts!(N => _mm512_sub_ps(x[N], y[N])),
                        Binary::Mul => parts!(N => _mm512_mul_ps(x[N], y[N])),
                        Binary::Div => parts!(N => _mm512_div_ps(x[N], y[N])),
                        Binary::Max => parts!(N => number(_mm512_max_ps(x[N], y[N]), x[N], y[N])),
                        Binary::Min => parts!(N => number(_mm512_min_ps(x[N], y[N]), x[N], y[N])),
                    }
                }
                Action::Reversed(op) => {
                    x = match op {
                        Binary::Add => parts!(N => _mm512_add_ps(y[N], x[N])),
                        Binary::Sub => parts!(N => _mm512_sub_ps(y[N], x[N])),
                        Binary::Mul => parts!(N => _mm512_mul_ps(y[N], x[N])),
                        Binary::Div => parts!(N => _mm512_div_ps(y[N], x[N])),
                        Binary::Max => parts!(N => number(_mm512_max_ps(y[N], x[N]), y[N], x[N])),
                        Binary::Min => parts!(N => number(_mm512_min_ps(y[N], x[N]), y[N], x[N])),
                    }
                }
                Action::Select(condition) => {
                    let m = &self.masks[condition as usize];
                    x = parts!(N => _mm512_mask_blend_ps(m[N], y[N], x[N]));
                }
                Action::SelectOther(condition) => {
                    let m = &self.masks[condition as usize];
                    x = parts!(N => _mm512_mask_blend_ps(m[N], x[N], y[N]));
                }
                Action::Compare(order, d) => {
                    self.masks[d as usize] = match order {
                        Order::Eq => parts!(N => _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(x[N], y[N])),
                        Order::Ne => parts!(N => _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(x[N], y[N])),
                        Order::Lt => parts!(N => _mm512_cmp_ps_mask::<_CMP_LT_OQ>(x[N], y[N])),
                        Order::Le => parts!(N => _mm512_cmp_ps_mask::<_CMP_LE_OQ>(x[N], y[N])),
                        Order::Gt => parts!(N => _mm512_cmp_ps_mask::<_CMP_GT_OQ>(x[N], y[N])),
                        Order::Ge => parts!(N => _mm512_cmp_ps_mask::<_CMP_GE_OQ>(x[N], y[N])),
                    }
                }
                Action::Reduce(kind, n) => {
                    let sum = &mut self.sums[n as usize];
                    // The running value is never NaN where it is a maximum or a minimum: the operations give their
                    // second operand if either is.
                    let stepped: Chunk = match kind {
                        ReduceKind::Prod => parts!(N => _mm512_mul_ps(sum[N], x[N])),
                        ReduceKind::Max => parts!(N => _mm512_max_ps(x[N], sum[N])),
                        ReduceKind::Min => parts!(N => _mm512_min_ps(x[N], sum[N])),
                        _ => parts!(N => _mm512_add_ps(sum[N], x[N])),
                    };
                    *sum = match WHOLE {
                        true => stepped,
                        false => parts!(N => {
                            _mm512_mask_mov_ps(sum[N], live_bits(live, N), stepped[N])
                        }),
                    };
                }
                Action::ComparePosition { order, d, with } => {
                    self.masks[d as usize] = compare_position(order, from, self.word(with) as i32);
                }
                Action::SplatMask { d, from } => {
                    self.masks[d as usize] = [(self.word(from) as __mmask16 & 1).wrapping_neg(); PARTS];
                }
                Action::Logic { op, d, a, b } => {
                    let (a, b) = (self.masks[a as usize], self.masks[b as usize]);
                    self.masks[d as usize] = match op {
                        Logic::And => parts!(N => a[N] & b[N]),
                        Logic::Or => parts!(N => a[N] | b[N]),
                        Logic::Xor => parts!(N => a[N] ^ b[N]),
                    };
                }
                Action::Not { d, a } => self.masks[d as usize] = self.masks[a as usize].map(|m| !m),
            }
        }
    }
}

const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
const DOWN: i32 = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;
const UP: i32 = _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC;

fn identity(kind: ReduceKind) -> f32 {
    match kind {
        ReduceKind::Prod => 1.0,
        ReduceKind::Max => f32::NEG_INFINITY,
        ReduceKind::Min => f32::INFINITY,
        _ => 0.0,
    }
}

#[target_feature(enable = "avx512f,avx512dq")]
fn fold(kind: ReduceKind, sum: Chunk) -> f32 {
    let mut lanes = [0f32; CHUNK];
    for (part, x) in lanes.chunks_exact_mut(16).zip(sum) {
        // SAFETY: sixteen elements.
        unsafe { _mm512_storeu_ps(part.as_mut_ptr(), x) };
    }
    let mut width = CHUNK / 2;
    while width > 0 {
        for n in 0..width {
            let (x, y) = (lanes[n], lanes[n + width]);
            lanes[n] = match kind {
                ReduceKind::Prod => x * y,
                ReduceKind::Max => x.max(y),
                ReduceKind::Min => x.min(y),
                _ => x + y,
            };
        }
        width /= 2;
    }
    lanes[0]
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn horner(x: __m512, coefficients: &[f32]) -> __m512 {
    let mut sum = _mm512_set1_ps(coefficients[0]);
    for &c in &coefficients[1..] {
        sum = _mm512_fmadd_ps(sum, x, _mm512_set1_ps(c));
    }
    sum
}

/// As `emit::functions` writes it out: `2^n · p(x - n)`, n the nearest integer. The comparisons of `max` and `min`
/// give their second operand if it is NaN.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn exp2(x: __m512) -> __m512 {
    let x = _mm512_max_ps(_mm512_set1_ps(-151.0), x);
    let x = _mm512_min_ps(_mm512_set1_ps(129.0), x);
    let n = _mm512_roundscale_ps::<NEAREST>(x);
    let p = horner(_mm512_sub_ps(x, n), &EXP2);
    _mm512_scalef_ps(p, n)
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn exp(x: __m512) -> __m512 {
    let x = _mm512_max_ps(_mm512_set1_ps(-105.0), x);
    let x = _mm512_min_ps(_mm512_set1_ps(89.5), x);
    let y = _mm512_mul_ps(x, _mm512_set1_ps(std::f32::consts::LOG2_E));
    let n = _mm512_roundscale_ps::<NEAREST>(y);
    let r = _mm512_fmadd_ps(n, _mm512_set1_ps(-0.693_359_4), x);
    let r = _mm512_fmadd_ps(n, _mm512_set1_ps(2.121_944_4e-4), r);
    let q = horner(r, &EXP);
    let p = _mm512_fmadd_ps(_mm512_mul_ps(r, r), q, r);
    _mm512_scalef_ps(_mm512_add_ps(p, _mm512_set1_ps(1.0)), n)
}

/// Rounds to nearest even at bit `N` of the representation; NaN keeps its bits.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn drop_bits<const N: u32>(x: __m512) -> __m512 {
    let bits = _mm512_castps_si512(x);
    let odd = _mm512_and_si512(_mm512_srli_epi32::<N>(bits), _mm512_set1_epi32(1));
    let up = _mm512_add_epi32(bits, _mm512_set1_epi32((1 << (N - 1)) - 1));
    let cut = _mm512_and_si512(_mm512_add_epi32(up, odd), _mm512_set1_epi32(!((1 << N) - 1)));
    let number = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(x, x);
    _mm512_mask_mov_ps(x, number, _mm512_castsi512_ps(cut))
}

/// The extremum of x and y is y where either is NaN; where y is, x is meant.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn number(extremum: __m512, x: __m512, y: __m512) -> __m512 {
    _mm512_mask_mov_ps(extremum, _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(y, y), x)
}

#[target_feature(enable = "avx512f,avx512dq")]
fn compare_position(order: Order, from: usize, limit: i32) -> Mask {
    let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let limit = _mm512_set1_epi32(limit);
    let mut out = [0; PARTS];
    for (n, bits) in out.iter_mut().enumerate() {
        let at = _mm512_add_epi32(_mm512_set1_epi32((from + 16 * n) as i32), lanes);
        *bits = match order {
            Order::Eq => _mm512_cmpeq_epi32_mask(at, limit),
            Order::Ne => _mm512_cmpneq_epi32_mask(at, limit),
            Order::Lt => _mm512_cmplt_epi32_mask(at, limit),
            Order::Le => _mm512_cmple_epi32_mask(at, limit),
            Order::Gt => _mm512_cmpgt_epi32_mask(at, limit),
            Order::Ge => _mm512_cmpge_epi32_mask(at, limit),
        };
    }
    out
}
