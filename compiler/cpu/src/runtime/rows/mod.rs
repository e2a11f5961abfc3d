//! Row programs: a pass along one row of f32 elements, 128 at a time, on machines with AVX-512.
//!
//! Cranelift's vectors have 128 bits. Where the hardware has 512, a pass over a long row is better told as a short
//! program for a machine with one *accumulator* of 128 elements, which are eight full vectors and stay in registers from
//! step to step ([`machine`]): the choice of the step costs a few cycles, the step itself eight instructions. Softmax's
//! second pass, for example,
//!
//! ```text
//! take s         p = exp2(s - r), stored, and its sum, for each row of scores
//! x - r
//! exp2 x
//! store p
//! sum 0
//! ```
//!
//! is five steps. The program is fixed when the kernel is compiled; what changes from row to row (addresses, row values)
//! comes in the words of the call, and the results of reductions go back into them. Past the end of the row what is read is
//! 0, stores write nothing and reductions take their identity. The order of a sum depends on the length of the row
//! alone: lane l of 128 adds elements l, l + 128, …, and the lanes are added pairwise at the end.

#[cfg(target_arch = "x86_64")]
mod machine;

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

/// Where the second operand of a step is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Operand {
    /// The step has none.
    None,
    Register(RegId),
    /// Neighbouring elements from the address in a word.
    Memory(Word),
    /// The f32 in the low bits of a word.
    Splat(Word),
    Constant(f32),
}

/// What a step does to the accumulator `x`, with the operand `y`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Action {
    /// `x = y`
    Take,
    /// `register = x`
    Keep(RegId),
    /// Neighbouring elements at the address in a word become x.
    Store(Word),
    /// `x = op(x)`
    Unary(Unary),
    /// `x = x op y`
    Binary(Binary),
    /// `x = y op x`
    Reversed(Binary),
    /// `x = condition ? x : y`
    Select(MaskId),
    /// `x = condition ? y : x`
    SelectOther(MaskId),
    /// `mask = x order y`; with a NaN only `Ne` holds.
    Compare(Order, MaskId),
    /// `mask = position order word`, positions from 0 as i32.
    ComparePosition {
        order: Order,
        d: MaskId,
        with: Word,
    },
    /// A condition that is the same along the row: whether a word is 1 and not 0.
    SplatMask {
        d: MaskId,
        from: Word,
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
    /// Folds x into the running value `n`.
    Reduce(ReduceKind, u8),
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RowStep {
    pub action: Action,
    pub with: Operand,
}

/// A running value and the word it ends in.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Reduction {
    pub kind: ReduceKind,
    pub to: Word,
}

/// What happens to each chunk of a row, in order, and what is folded along it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct RowProgram {
    pub steps: Vec<RowStep>,
    pub reductions: Vec<Reduction>,
}

/// Most chunks of values, of running values and of conditions that a program may name.
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
        machine::run(program, length, args.add(2).cast_mut(), scratch);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (args, scratch);
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

    fn step(action: Action, with: Operand) -> RowStep {
        RowStep { action, with }
    }

    /// The two orders of the operands of what does not commute, both ways to choose, and conditions of the row.
    #[test]
    fn every_step_has_its_sides_and_conditions_where_it_says() {
        if !available() {
            println!("left out: this machine has no AVX-512");
            return;
        }
        type Case<'a> = (&'a [RowStep], fn(f32) -> f32);
        let cases: [Case; 8] = [
            (&[step(Action::Binary(Binary::Sub), Operand::Constant(3.0))], |x| x - 3.0),
            (&[step(Action::Reversed(Binary::Sub), Operand::Constant(3.0))], |x| 3.0 - x),
            (&[step(Action::Binary(Binary::Div), Operand::Splat(2))], |x| x / 2.5),
            (&[step(Action::Reversed(Binary::Div), Operand::Splat(2))], |x| 2.5 / x),
            (
                &[
                    step(Action::Keep(5), Operand::None),
                    step(Action::Binary(Binary::Mul), Operand::Register(5)),
                ],
                |x| x * x,
            ),
            (
                &[
                    step(Action::Compare(Order::Lt, 1), Operand::Constant(40.0)),
                    step(Action::Select(1), Operand::Constant(-1.0)),
                ],
                |x| if x < 40.0 { x } else { -1.0 },
            ),
            (
                &[
                    step(Action::SplatMask { d: 2, from: 3 }, Operand::None),
                    step(Action::SelectOther(2), Operand::Constant(7.0)),
                ],
                |_| 7.0,
            ),
            (
                &[
                    step(Action::SplatMask { d: 2, from: 3 }, Operand::None),
                    step(Action::Not { d: 0, a: 2 }, Operand::None),
                    step(Action::SelectOther(0), Operand::Constant(7.0)),
                ],
                |x| x,
            ),
        ];
        let input: Vec<f32> = (1..=200).map(|n| n as f32).collect();
        for (steps, want) in cases {
            let mut output = vec![0f32; 200];
            let ends = [step(Action::Take, Operand::Memory(0)), step(Action::Store(1), Operand::None)];
            let steps = [&ends[..1], steps, &ends[1..]].concat();
            let program = RowProgram { steps, reductions: vec![] };
            let words = [input.as_ptr() as i64, output.as_mut_ptr() as i64, 2.5f32.to_bits() as i64, 1];
            run(&program, 200, &mut words.to_vec());
            assert_eq!(output, input.iter().map(|&x| want(x)).collect::<Vec<_>>(), "{program:?}");
        }
    }

    /// Softmax's second pass, at lengths around the chunk.
    #[test]
    fn a_row_of_exponentials_is_stored_and_summed() {
        if !available() {
            println!("left out: this machine has no AVX-512");
            return;
        }
        let steps = vec![
            step(Action::ComparePosition { order: Order::Le, d: 0, with: 4 }, Operand::None),
            step(Action::Take, Operand::Memory(0)),
            step(Action::Select(0), Operand::Constant(f32::NEG_INFINITY)),
            step(Action::Binary(Binary::Sub), Operand::Splat(1)),
            step(Action::Unary(Unary::Exp2), Operand::None),
            step(Action::Store(2), Operand::None),
            step(Action::Reduce(ReduceKind::Sum, 0), Operand::None),
        ];
        let program = RowProgram { steps, reductions: vec![Reduction { kind: ReduceKind::Sum, to: 3 }] };
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
            step(Action::Take, Operand::Memory(0)),
            step(Action::Reduce(ReduceKind::Max, 0), Operand::None),
            step(Action::Unary(Unary::Exp2), Operand::None),
            step(Action::Store(1), Operand::None),
            step(Action::Take, Operand::Memory(0)),
            step(Action::Binary(Binary::Min), Operand::Constant(0.5)),
            step(Action::Reduce(ReduceKind::Min, 1), Operand::None),
        ];
        let [most, least] =
            [(ReduceKind::Max, 2), (ReduceKind::Min, 3)].map(|(kind, to)| Reduction { kind, to });
        let program = RowProgram { steps, reductions: vec![most, least] };
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
                step(Action::Take, Operand::Memory(0)),
                step(Action::Unary(op), Operand::None),
                step(Action::Store(1), Operand::None),
            ];
            let program = RowProgram { steps, reductions: vec![] };
            run(&program, input.len(), &mut vec![input.as_ptr() as i64, output.as_mut_ptr() as i64]);
            for (&x, &got) in input.iter().zip(&output) {
                let want = tile_tensor::convert::round_to(dtype, x as f64) as f32;
                let same = got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan());
                assert!(same, "{dtype} {x:e}: {got:e} for {want:e}");
            }
        }
    }
}
