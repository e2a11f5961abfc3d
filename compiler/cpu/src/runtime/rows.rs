//! Row programs: a pass along one row of f32 elements, 128 at a time, on machines with AVX-512.
//!
//! Cranelift's vectors have 128 bits. Where the hardware has 512, a pass over a long row is better told as a short
//! program whose steps each run over a chunk of 128 elements that stays in the first-level cache: the choice of the
//! step costs a few cycles, the step itself works on eight full vectors. Softmax's second pass, for example,
//!
//! ```text
//! r0 = load s          p = exp2(s - r), stored, and its sum, for each row of scores:
//! r1 = splat r
//! r0 = r0 - r1
//! r0 = exp2 r0
//! store r0 → p
//! sum r0 → word 3
//! ```
//!
//! is six steps. The program is fixed when the kernel is compiled; what changes from row to row (addresses, row values)
//! comes in the words of the call, and the results of reductions go back into them. Past the end of the row loads give
//! 0, stores write nothing and reductions take their identity. The order of a sum depends on the length of the row
//! alone: lane l of 128 adds elements l, l + 128, …, and the lanes are added pairwise at the end.

use tile_graph::ReduceKind;

/// A chunk of values.
pub type RegId = u8;
/// A chunk of conditions, one bit each.
pub type MaskId = u8;
/// Position of a word of the call.
pub type Word = u16;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unary {
    Neg,
    Abs,
    Sqrt,
    Rsqrt,
    Floor,
    Ceil,
    Round,
    Exp,
    Exp2,
    /// To the nearest f16, bf16 or tf32, held as f32.
    ToHalf,
    ToBrain,
    ToTf32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    /// maximumNumber and minimumNumber: a NaN loses.
    Max,
    Min,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Logic {
    And,
    Or,
    Xor,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum RowStep {
    /// Neighbouring elements from the address in a word.
    Load {
        d: RegId,
        from: Word,
    },
    Store {
        a: RegId,
        to: Word,
    },
    /// The f32 in the low bits of a word.
    Splat {
        d: RegId,
        from: Word,
    },
    Constant {
        d: RegId,
        value: f32,
    },
    Unary {
        op: Unary,
        d: RegId,
        a: RegId,
    },
    Binary {
        op: Binary,
        d: RegId,
        a: RegId,
        b: RegId,
    },
    Select {
        d: RegId,
        condition: MaskId,
        a: RegId,
        b: RegId,
    },
    /// Float comparison; with a NaN only `Ne` holds.
    Compare {
        order: Order,
        d: MaskId,
        a: RegId,
        b: RegId,
    },
    /// `position order word`, positions from 0 as i32.
    ComparePosition {
        order: Order,
        d: MaskId,
        with: Word,
    },
    Logic {
        op: Logic,
        d: MaskId,
        a: MaskId,
        b: MaskId,
    },
    Not {
        d: MaskId,
        a: MaskId,
    },
    /// A condition that is the same along the row: whether a word is 1 and not 0.
    SplatMask {
        d: MaskId,
        from: Word,
    },
    /// Folds the row into a word through the running value `sum`.
    Reduce {
        kind: ReduceKind,
        sum: RegId,
        a: RegId,
        to: Word,
    },
}

/// What happens to each chunk of a row, in order.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct RowProgram {
    pub steps: Vec<RowStep>,
}

/// Most chunks of values (running values of reductions count apart) and of conditions that a program may name.
pub const REGISTERS: usize = 24;
pub const MASKS: usize = 16;
/// Elements of a chunk.
pub const CHUNK: usize = 128;

/// Chunks in use, one for each register and running value; a thread keeps them, because clearing them for each row
/// would cost as much as a short row.
#[derive(Clone)]
#[repr(C, align(64))]
pub struct Scratch {
    registers: [[f32; CHUNK]; REGISTERS],
    sums: [[f32; CHUNK]; REGISTERS],
}

impl Scratch {
    pub fn new() -> Box<Scratch> {
        Box::new(Scratch { registers: [[0.0; CHUNK]; REGISTERS], sums: [[0.0; CHUNK]; REGISTERS] })
    }
}

/// Whether this machine runs row programs.
pub fn available() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::is_x86_feature_detected!("avx512f") && std::is_x86_feature_detected!("avx512dq")
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Words: program, length of the row, then those that the program names (their numbers count from 0 after these two).
pub unsafe extern "C" fn run_row(env: *mut super::Env, args: *const i64) -> i64 {
    // SAFETY: the words are as the code generator wrote them.
    unsafe { run(args, &mut *(*env).rows) }
    0
}

unsafe fn run(args: *const i64, scratch: &mut Scratch) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: programs are only emitted where `available` says so; addresses have as many elements behind them as the
    // row is long.
    unsafe {
        let program = &*(*args as *const RowProgram);
        let length = (*args.add(1)).max(0) as usize;
        avx512::run(program, length, args.add(2).cast_mut(), scratch);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (args, scratch);
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::*;
    use std::arch::x86_64::*;

    /// Vectors of a chunk.
    const PARTS: usize = CHUNK / 16;
    type Chunk = [__m512; PARTS];
    type Mask = [__mmask16; PARTS];

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
        row.start(program);
        let whole = length / CHUNK * CHUNK;
        for from in (0..whole).step_by(CHUNK) {
            // SAFETY: the chunk lies within the row.
            unsafe { row.chunk::<true>(program, from, CHUNK) }
        }
        if whole < length {
            // SAFETY: loads and stores are masked to what exists.
            unsafe { row.chunk::<false>(program, whole, length - whole) }
        }
        row.end(program);
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

        /// What is the same in every chunk.
        #[target_feature(enable = "avx512f,avx512dq")]
        fn start(&mut self, program: &RowProgram) {
            for step in &program.steps {
                match *step {
                    RowStep::Splat { d, from } => {
                        let value = f32::from_bits(self.word(from) as u32);
                        self.registers[d as usize] = [_mm512_set1_ps(value); PARTS];
                    }
                    RowStep::Constant { d, value } => {
                        self.registers[d as usize] = [_mm512_set1_ps(value); PARTS];
                    }
                    RowStep::SplatMask { d, from } => {
                        self.masks[d as usize] = [(self.word(from) as __mmask16 & 1).wrapping_neg(); PARTS];
                    }
                    RowStep::Reduce { kind, sum, .. } => {
                        self.sums[sum as usize] = [_mm512_set1_ps(identity(kind)); PARTS];
                    }
                    _ => {}
                }
            }
        }

        /// Results of reductions to their words.
        #[target_feature(enable = "avx512f,avx512dq")]
        fn end(&mut self, program: &RowProgram) {
            for step in &program.steps {
                if let RowStep::Reduce { kind, sum, to, .. } = *step {
                    let total = fold(kind, self.sums[sum as usize]);
                    // SAFETY: a word of the call.
                    unsafe { *self.words.add(to as usize) = total.to_bits() as i64 };
                }
            }
        }

        #[target_feature(enable = "avx512f,avx512dq")]
        unsafe fn chunk<const WHOLE: bool>(&mut self, program: &RowProgram, from: usize, live: usize) {
            for step in &program.steps {
                match *step {
                    RowStep::Splat { .. } | RowStep::Constant { .. } | RowStep::SplatMask { .. } => {}
                    // SAFETY: as the caller promised.
                    RowStep::Load { d, from: word } => unsafe { self.load::<WHOLE>(d, word, from, live) },
                    RowStep::Store { a, to } => unsafe { self.store::<WHOLE>(a, to, from, live) },
                    RowStep::Unary { op, d, a } => {
                        self.registers[d as usize] = unary(op, self.registers[a as usize]);
                    }
                    RowStep::Binary { op, d, a, b } => {
                        let (x, y) = (self.registers[a as usize], self.registers[b as usize]);
                        self.registers[d as usize] = binary(op, x, y);
                    }
                    RowStep::Select { d, condition, a, b } => {
                        let (x, y) = (self.registers[a as usize], self.registers[b as usize]);
                        self.registers[d as usize] = select(self.masks[condition as usize], x, y);
                    }
                    RowStep::Compare { order, d, a, b } => {
                        let (x, y) = (self.registers[a as usize], self.registers[b as usize]);
                        self.masks[d as usize] = compare(order, x, y);
                    }
                    RowStep::ComparePosition { order, d, with } => {
                        self.masks[d as usize] = compare_position(order, from, self.word(with) as i32);
                    }
                    RowStep::Logic { op, d, a, b } => {
                        let (x, y) = (self.masks[a as usize], self.masks[b as usize]);
                        self.masks[d as usize] = std::array::from_fn(|n| match op {
                            Logic::And => x[n] & y[n],
                            Logic::Or => x[n] | y[n],
                            Logic::Xor => x[n] ^ y[n],
                        });
                    }
                    RowStep::Not { d, a } => self.masks[d as usize] = self.masks[a as usize].map(|x| !x),
                    RowStep::Reduce { kind, sum, a, .. } => {
                        let x = self.registers[a as usize];
                        reduce::<WHOLE>(kind, &mut self.sums[sum as usize], x, live);
                    }
                }
            }
        }

        #[target_feature(enable = "avx512f,avx512dq")]
        unsafe fn load<const WHOLE: bool>(&mut self, d: RegId, word: Word, from: usize, live: usize) {
            let p = (self.word(word) as *const f32).wrapping_add(from);
            let d = &mut self.registers[d as usize];
            for (n, x) in d.iter_mut().enumerate() {
                let p = p.wrapping_add(16 * n);
                // SAFETY: whole, or masked to what exists.
                *x = unsafe {
                    if WHOLE { _mm512_loadu_ps(p) } else { _mm512_maskz_loadu_ps(live_bits(live, n), p) }
                };
            }
        }

        #[target_feature(enable = "avx512f,avx512dq")]
        unsafe fn store<const WHOLE: bool>(&mut self, a: RegId, word: Word, from: usize, live: usize) {
            let p = (self.word(word) as *mut f32).wrapping_add(from);
            for (n, x) in self.registers[a as usize].iter().enumerate() {
                let p = p.wrapping_add(16 * n);
                // SAFETY: whole, or masked to what exists.
                unsafe {
                    if WHOLE {
                        _mm512_storeu_ps(p, *x);
                    } else {
                        _mm512_mask_storeu_ps(p, live_bits(live, n), *x);
                    }
                }
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512dq")]
    fn select(condition: Mask, a: Chunk, b: Chunk) -> Chunk {
        let mut d = b;
        for n in 0..PARTS {
            d[n] = _mm512_mask_blend_ps(condition[n], b[n], a[n]);
        }
        d
    }

    #[target_feature(enable = "avx512f,avx512dq")]
    fn reduce<const WHOLE: bool>(kind: ReduceKind, sum: &mut Chunk, x: Chunk, live: usize) {
        for (n, (sum, x)) in sum.iter_mut().zip(x).enumerate() {
            let stepped = reduce_step(kind, *sum, x);
            *sum = if WHOLE { stepped } else { _mm512_mask_mov_ps(*sum, live_bits(live, n), stepped) };
        }
    }

    fn identity(kind: ReduceKind) -> f32 {
        match kind {
            ReduceKind::Prod => 1.0,
            ReduceKind::Max => f32::NEG_INFINITY,
            ReduceKind::Min => f32::INFINITY,
            _ => 0.0,
        }
    }

    /// The running value is never NaN where it is a maximum or a minimum: `max` gives its second operand if either is.
    #[target_feature(enable = "avx512f,avx512dq")]
    fn reduce_step(kind: ReduceKind, sum: __m512, x: __m512) -> __m512 {
        match kind {
            ReduceKind::Prod => _mm512_mul_ps(sum, x),
            ReduceKind::Max => _mm512_max_ps(x, sum),
            ReduceKind::Min => _mm512_min_ps(x, sum),
            _ => _mm512_add_ps(sum, x),
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

    #[target_feature(enable = "avx512f,avx512dq")]
    fn unary(op: Unary, a: Chunk) -> Chunk {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        const DOWN: i32 = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;
        const UP: i32 = _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC;
        let sign = _mm512_set1_ps(-0.0);
        macro_rules! each {
            ($x:ident => $e:expr) => {{
                let mut d = a;
                for $x in &mut d {
                    let v = *$x;
                    *$x = {
                        let $x = v;
                        $e
                    };
                }
                d
            }};
        }
        match op {
            Unary::Neg => each!(x => _mm512_xor_ps(x, sign)),
            Unary::Abs => each!(x => _mm512_andnot_ps(sign, x)),
            Unary::Sqrt => each!(x => _mm512_sqrt_ps(x)),
            Unary::Rsqrt => each!(x => _mm512_div_ps(_mm512_set1_ps(1.0), _mm512_sqrt_ps(x))),
            Unary::Floor => each!(x => _mm512_roundscale_ps::<DOWN>(x)),
            Unary::Ceil => each!(x => _mm512_roundscale_ps::<UP>(x)),
            Unary::Round => each!(x => _mm512_roundscale_ps::<NEAREST>(x)),
            Unary::Exp2 => each!(x => exp2(x)),
            Unary::Exp => each!(x => exp(x)),
            Unary::ToHalf => each!(x => _mm512_cvtph_ps(_mm512_cvtps_ph::<NEAREST>(x))),
            Unary::ToBrain => each!(x => drop_bits::<16>(x)),
            Unary::ToTf32 => each!(x => drop_bits::<13>(x)),
        }
    }

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
    #[target_feature(enable = "avx512f,avx512dq")]
    fn exp2(x: __m512) -> __m512 {
        let x = _mm512_max_ps(_mm512_set1_ps(-151.0), x);
        let x = _mm512_min_ps(_mm512_set1_ps(129.0), x);
        let n = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x);
        let p = horner(_mm512_sub_ps(x, n), &crate::emit::functions::EXP2);
        _mm512_scalef_ps(p, n)
    }

    #[target_feature(enable = "avx512f,avx512dq")]
    fn exp(x: __m512) -> __m512 {
        let x = _mm512_max_ps(_mm512_set1_ps(-105.0), x);
        let x = _mm512_min_ps(_mm512_set1_ps(89.5), x);
        let y = _mm512_mul_ps(x, _mm512_set1_ps(std::f32::consts::LOG2_E));
        let n = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(y);
        let r = _mm512_fmadd_ps(n, _mm512_set1_ps(-0.693_359_4), x);
        let r = _mm512_fmadd_ps(n, _mm512_set1_ps(2.121_944_4e-4), r);
        let q = horner(r, &crate::emit::functions::EXP);
        let p = _mm512_fmadd_ps(_mm512_mul_ps(r, r), q, r);
        _mm512_scalef_ps(_mm512_add_ps(p, _mm512_set1_ps(1.0)), n)
    }

    /// Rounds to nearest even at bit `N` of the representation; NaN keeps its bits.
    #[target_feature(enable = "avx512f,avx512dq")]
    fn drop_bits<const N: u32>(x: __m512) -> __m512 {
        let bits = _mm512_castps_si512(x);
        let odd = _mm512_and_si512(_mm512_srli_epi32::<N>(bits), _mm512_set1_epi32(1));
        let up = _mm512_add_epi32(bits, _mm512_set1_epi32((1 << (N - 1)) - 1));
        let cut = _mm512_and_si512(_mm512_add_epi32(up, odd), _mm512_set1_epi32(!((1 << N) - 1)));
        let number = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(x, x);
        _mm512_mask_mov_ps(x, number, _mm512_castsi512_ps(cut))
    }

    #[target_feature(enable = "avx512f,avx512dq")]
    fn binary(op: Binary, a: Chunk, b: Chunk) -> Chunk {
        macro_rules! each {
            ($x:ident, $y:ident => $e:expr) => {{
                let mut d = a;
                for (at, $y) in d.iter_mut().zip(b) {
                    let $x = *at;
                    *at = $e;
                }
                d
            }};
        }
        match op {
            Binary::Add => each!(x, y => _mm512_add_ps(x, y)),
            Binary::Sub => each!(x, y => _mm512_sub_ps(x, y)),
            Binary::Mul => each!(x, y => _mm512_mul_ps(x, y)),
            Binary::Div => each!(x, y => _mm512_div_ps(x, y)),
            Binary::Max => each!(x, y => number(_mm512_max_ps(x, y), x, y)),
            Binary::Min => each!(x, y => number(_mm512_min_ps(x, y), x, y)),
        }
    }

    /// The extremum of x and y is y where either is NaN; where y is, x is meant.
    #[target_feature(enable = "avx512f,avx512dq")]
    fn number(extremum: __m512, x: __m512, y: __m512) -> __m512 {
        _mm512_mask_mov_ps(extremum, _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(y, y), x)
    }

    #[target_feature(enable = "avx512f,avx512dq")]
    fn compare(order: Order, a: Chunk, b: Chunk) -> Mask {
        let mut out = [0; PARTS];
        for n in 0..PARTS {
            out[n] = match order {
                Order::Eq => _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a[n], b[n]),
                Order::Ne => _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(a[n], b[n]),
                Order::Lt => _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a[n], b[n]),
                Order::Le => _mm512_cmp_ps_mask::<_CMP_LE_OQ>(a[n], b[n]),
                Order::Gt => _mm512_cmp_ps_mask::<_CMP_GT_OQ>(a[n], b[n]),
                Order::Ge => _mm512_cmp_ps_mask::<_CMP_GE_OQ>(a[n], b[n]),
            };
        }
        out
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(program: &RowProgram, length: usize, words: &mut Vec<i64>) {
        let mut all = vec![program as *const RowProgram as i64, length as i64];
        all.append(words);
        unsafe { super::run(all.as_ptr(), &mut Scratch::new()) };
        *words = all.split_off(2);
    }

    /// Softmax's second pass, at lengths around the chunk.
    #[test]
    fn a_row_of_exponentials_is_stored_and_summed() {
        if !available() {
            println!("left out: this machine has no AVX-512");
            return;
        }
        let steps = vec![
            RowStep::Load { d: 0, from: 0 },
            RowStep::Splat { d: 1, from: 1 },
            RowStep::ComparePosition { order: Order::Le, d: 0, with: 4 },
            RowStep::Constant { d: 3, value: f32::NEG_INFINITY },
            RowStep::Select { d: 0, condition: 0, a: 0, b: 3 },
            RowStep::Binary { op: Binary::Sub, d: 2, a: 0, b: 1 },
            RowStep::Unary { op: Unary::Exp2, d: 2, a: 2 },
            RowStep::Store { a: 2, to: 2 },
            RowStep::Reduce { kind: ReduceKind::Sum, sum: 0, a: 2, to: 3 },
        ];
        let program = RowProgram { steps };
        for length in [1, 15, 16, 127, 128, 129, 300] {
            let input: Vec<f32> = (0..length).map(|n| (n as f32 * 0.37).sin() * 20.0).collect();
            let mut output = vec![-1f32; length + 3];
            let last = 40;
            let mut words =
                vec![input.as_ptr() as i64, 2.5f32.to_bits() as i64, output.as_mut_ptr() as i64, 0, last];
            run(&program, length, &mut words);
            let mut sum = 0.0f64;
            for (n, &x) in input.iter().enumerate() {
                let want = if n as i64 <= last { ((x - 2.5) as f64).exp2() } else { 0.0 };
                assert!((output[n] as f64 - want).abs() <= 2e-7 * want, "{n}: {} for {want}", output[n]);
                sum += want;
            }
            assert_eq!(output[length..], [-1.0; 3], "nothing past the end");
            let got = f32::from_bits(words[3] as u32) as f64;
            assert!((got - sum).abs() <= 1e-5 * sum, "{length}: {got} for {sum}");
        }
    }

    #[test]
    fn a_nan_loses_against_a_number_and_exponentials_reach_their_ends() {
        if !available() {
            println!("left out: this machine has no AVX-512");
            return;
        }
        let input = [f32::NAN, 1.0, f32::INFINITY, -200.0, -149.0, 128.0, f32::NEG_INFINITY, 0.0];
        let mut exp = [0f32; 8];
        let steps = vec![
            RowStep::Load { d: 0, from: 0 },
            RowStep::Unary { op: Unary::Exp2, d: 1, a: 0 },
            RowStep::Store { a: 1, to: 1 },
            RowStep::Reduce { kind: ReduceKind::Max, sum: 0, a: 0, to: 2 },
            RowStep::Constant { d: 2, value: 0.5 },
            RowStep::Binary { op: Binary::Min, d: 2, a: 0, b: 2 },
            RowStep::Reduce { kind: ReduceKind::Min, sum: 1, a: 2, to: 3 },
        ];
        let program = RowProgram { steps };
        let mut words = vec![input.as_ptr() as i64, exp.as_mut_ptr() as i64, 0, 0];
        run(&program, 8, &mut words);
        assert!(exp[0].is_nan());
        assert_eq!(exp[1..], [2.0, f32::INFINITY, 0.0, f32::from_bits(1), f32::INFINITY, 0.0, 1.0]);
        assert_eq!(f32::from_bits(words[2] as u32), f32::INFINITY);
        assert_eq!(f32::from_bits(words[3] as u32), f32::NEG_INFINITY);
    }

    #[test]
    fn narrow_floats_are_rounded_as_the_tables_say() {
        if !available() {
            println!("left out: this machine has no AVX-512");
            return;
        }
        use tile_base::DType;
        let input: Vec<f32> = (0..4096u32)
            .map(|n| f32::from_bits(n.wrapping_mul(0x9E37_79B9)))
            .chain([65504.0, 65520.0, 1e-8, -0.0, f32::INFINITY, f32::MAX])
            .collect();
        for (op, dtype) in
            [(Unary::ToHalf, DType::F16), (Unary::ToBrain, DType::Bf16), (Unary::ToTf32, DType::Tf32)]
        {
            let mut output = vec![0f32; input.len()];
            let steps = vec![
                RowStep::Load { d: 0, from: 0 },
                RowStep::Unary { op, d: 1, a: 0 },
                RowStep::Store { a: 1, to: 1 },
            ];
            let program = RowProgram { steps };
            run(&program, input.len(), &mut vec![input.as_ptr() as i64, output.as_mut_ptr() as i64]);
            for (&x, &got) in input.iter().zip(&output) {
                let want = tile_tensor::convert::round_to(dtype, x as f64) as f32;
                let same = got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan());
                assert!(same, "{dtype} {x:e}: {got:e} for {want:e}");
            }
        }
    }
}
