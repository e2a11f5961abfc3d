//! Products against a plain triple loop, with operands laid out in shared memory by rules written anew here.
//!
//! Values are small integers, so every order of additions gives the same result and equality is exact.

use super::*;
use crate::{
    exec::units::operand::{self, OperandError, SourceA},
    ir::{WgmmaA, WgmmaType},
};
use half::bf16;
use tile_machine::{MatrixDescriptor, Swizzle};

/// A matrix of small integers: `lines` × `length`, the second along the contiguous dimension of memory.
struct Matrix {
    lines: usize,
    length: usize,
    values: Vec<i32>,
}

impl Matrix {
    fn new(lines: usize, length: usize, ty: WgmmaType, seed: u32) -> Matrix {
        let mut state = seed;
        let values = (0..lines * length).map(|_| {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            match ty {
                WgmmaType::B1 => (state >> 30 & 1) as i32,
                WgmmaType::U8 => (state >> 28) as i32,
                _ => (state >> 28) as i32 - 8,
            }
        });
        Matrix { lines, length, values: values.collect() }
    }

    fn at(&self, line: usize, x: usize) -> i32 {
        self.values[line * self.length + x]
    }
}

fn encode(ty: WgmmaType, v: i32) -> Vec<u8> {
    let x = v as f32;
    match ty {
        WgmmaType::Tf32 => x.to_le_bytes().to_vec(),
        WgmmaType::F16 => f16::from_f32(x).to_le_bytes().to_vec(),
        WgmmaType::Bf16 => bf16::from_f32(x).to_le_bytes().to_vec(),
        // The upper byte of an f16 is e5m2; for e4m3 the small integers by their definition.
        WgmmaType::E5m2 => vec![(f16::from_f32(x).to_bits() >> 8) as u8],
        WgmmaType::E4m3 => vec![e4m3(v)],
        WgmmaType::S8 | WgmmaType::U8 => vec![v as u8],
        WgmmaType::B1 => unreachable!("bits are packed by the caller"),
    }
}

fn e4m3(v: i32) -> u8 {
    if v == 0 {
        return 0;
    }
    let (sign, size) = (if v < 0 { 0x80 } else { 0 }, v.unsigned_abs());
    let exponent = size.ilog2();
    let fraction = (size << 3 >> exponent) & 7;
    sign | ((exponent + 7) << 3) as u8 | fraction as u8
}

/// e5m2 has two bits of fraction: only such values may be used with it.
fn representable(ty: WgmmaType, v: i32) -> i32 {
    if ty == WgmmaType::E5m2 && v.unsigned_abs() > 4 { v & !1 } else { v }
}

fn pack(m: &Matrix, ty: WgmmaType) -> Vec<Vec<u8>> {
    (0..m.lines)
        .map(|l| {
            let line = (0..m.length).map(|x| m.at(l, x));
            if ty == WgmmaType::B1 {
                let bits: Vec<i32> = line.collect();
                return bits.chunks(8).map(|b| (0..8).fold(0, |w, n| w | (b[n] as u8) << n)).collect();
            }
            line.flat_map(|v| encode(ty, v)).collect()
        })
        .collect()
}

/// Lays lines out as a sequence of TMA boxes would: `swizzle.width()` bytes of every line to a box, boxes one after
/// the other; without swizzle in core matrices of 8 lines by 16 bytes.
fn place(lines: &[Vec<u8>], swizzle: Swizzle, k_major: bool) -> (Vec<u8>, MatrixDescriptor) {
    let base = 1024;
    let width = swizzle.width() as usize;
    let box_bytes = (lines.len() * width).next_multiple_of(1024);
    let boxes = lines[0].len().div_ceil(width);
    let mut shared = vec![0xee; base + box_bytes * boxes];
    for (l, line) in lines.iter().enumerate() {
        for (x, &byte) in line.iter().enumerate() {
            let at = base + x / width * box_bytes + l * width + x % width;
            shared[swizzle.apply(at as u32) as usize] = byte;
        }
    }
    // Next eight lines, next box; without swizzle a "box" is one chunk wide, and MN-major swaps the two names.
    let (eight, next) = (8 * width as u32, box_bytes as u32);
    let (stride, leading) = match (swizzle, k_major) {
        (Swizzle::None, false) => (next, eight),
        _ => (eight, next),
    };
    (shared, MatrixDescriptor { start: base as u32, leading, stride, base_offset: 0, swizzle })
}

fn instruction(n: u16, k: u16, d_type: WgmmaAcc, ty: WgmmaType) -> Wgmma {
    Wgmma {
        n,
        k,
        d_type,
        a_type: ty,
        b_type: ty,
        d: vec![],
        a: WgmmaA::Descriptor(0),
        b: 0,
        scale_d: 0,
        scale_d_negated: false,
        negate_a: false,
        negate_b: false,
        transpose_a: false,
        transpose_b: false,
        saturate: false,
        sparse: None,
        and_popc: ty == WgmmaType::B1,
    }
}

fn k_of(ty: WgmmaType) -> u16 {
    256 / operand::bits(ty) as u16
}

/// Runs the instruction with A (64 × k) and B (n × k) and compares D of all four warps with the triple loop.
#[track_caller]
fn check(w: &Wgmma, swizzle: Swizzle, registers: bool) {
    let (n, k) = (w.n as usize, w.k as usize);
    let mut a = Matrix::new(64, k, w.a_type, 7);
    let mut b = Matrix::new(n, k, w.b_type, 11);
    a.values.iter_mut().for_each(|v| *v = representable(w.a_type, *v));
    b.values.iter_mut().for_each(|v| *v = representable(w.b_type, *v));
    let flip = |m: &Matrix| Matrix {
        lines: m.length,
        length: m.lines,
        values: (0..m.length)
            .flat_map(|x| (0..m.lines).map(move |l| (l, x)))
            .map(|(l, x)| m.at(l, x))
            .collect(),
    };
    let (a_memory, b_memory) = (
        if w.transpose_a { flip(&a) } else { flip(&flip(&a)) },
        if w.transpose_b { flip(&b) } else { flip(&flip(&b)) },
    );
    let (a_shared, a_descriptor) = place(&pack(&a_memory, w.a_type), swizzle, !w.transpose_a);
    let (b_shared, b_descriptor) = place(&pack(&b_memory, w.b_type), swizzle, !w.transpose_b);
    let b_tile = operand::unpack_b(w, &b_descriptor, &b_shared).unwrap();
    for quarter in 0..4 {
        let fragment = registers.then(|| a_registers(&a, w.a_type, quarter as usize));
        let source = match &fragment {
            Some(rows) => SourceA::Registers(rows),
            None => SourceA::Shared(&a_descriptor, &a_shared),
        };
        let a_tile = operand::unpack_a(w, source, quarter, None).unwrap();
        let count = if w.d_type == WgmmaAcc::F16 { n / 4 } else { n / 2 };
        let mut d = vec![[0x3c00_3c00; 32]; count];
        if w.d_type == WgmmaAcc::F32 {
            d.iter_mut().flatten().for_each(|x| *x = 1f32.to_bits());
        }
        multiply(w, &a_tile, &b_tile, true, &mut d);
        let sign = if w.negate_a != w.negate_b { -1 } else { 1 };
        for row in 0..16 {
            for column in 0..n {
                let sum: i32 = (0..k).map(|x| a.at(16 * quarter as usize + row, x) * b.at(column, x)).sum();
                let got = element(w, &d, row, column);
                let start = if w.d_type == WgmmaAcc::S32 { 0x3c00_3c00 as f64 } else { 1.0 };
                assert_eq!(
                    got,
                    start + (sign * sum) as f64,
                    "row {row} column {column} of {w:?} {swizzle:?}"
                );
            }
        }
    }
}

/// The fragment by the ISA's figure: groups of four lanes hold a row, words of E elements.
fn a_registers(a: &Matrix, ty: WgmmaType, quarter: usize) -> [Row; 4] {
    let lines = pack(a, ty);
    std::array::from_fn(|register| {
        std::array::from_fn(|lane| {
            let row = 16 * quarter + lane / 4 + if register % 2 == 1 { 8 } else { 0 };
            let byte = 4 * (lane % 4) + if register >= 2 { 16 } else { 0 };
            u32::from_le_bytes(lines[row][byte..byte + 4].try_into().unwrap())
        })
    })
}

fn element(w: &Wgmma, d: &[Row], row: usize, column: usize) -> f64 {
    let (g, t) = (row % 8, column % 8 / 2);
    let lane = 4 * g + t;
    let (high, odd, eight) = (row / 8, column % 2, column / 8);
    match w.d_type {
        WgmmaAcc::F32 => f32::from_bits(d[4 * eight + 2 * high + odd][lane]) as f64,
        WgmmaAcc::S32 => d[4 * eight + 2 * high + odd][lane] as i32 as f64,
        WgmmaAcc::F16 => f16::from_bits((d[2 * eight + high][lane] >> (16 * odd)) as u16).to_f64(),
    }
}

#[test]
fn every_type_and_swizzle_from_shared_memory_and_registers() {
    use WgmmaType::*;
    for (ty, acc) in [
        (F16, WgmmaAcc::F32),
        (F16, WgmmaAcc::F16),
        (Bf16, WgmmaAcc::F32),
        (Tf32, WgmmaAcc::F32),
        (E4m3, WgmmaAcc::F32),
        (E5m2, WgmmaAcc::F16),
        (S8, WgmmaAcc::S32),
        (U8, WgmmaAcc::S32),
        (B1, WgmmaAcc::S32),
    ] {
        for swizzle in Swizzle::ALL {
            for registers in [false, true] {
                check(&instruction(48, k_of(ty), acc, ty), swizzle, registers);
            }
        }
    }
}

#[test]
fn every_width() {
    for n in (8..=256).step_by(8) {
        check(&instruction(n, 16, WgmmaAcc::F32, WgmmaType::Bf16), Swizzle::B32, false);
    }
}

#[test]
fn operands_whose_rows_run_along_m_and_n() {
    for swizzle in Swizzle::ALL {
        for (transpose_a, transpose_b) in [(true, false), (false, true), (true, true)] {
            for n in [8, 64, 176] {
                // A box of the widest swizzle holds 64 columns; narrower tiles have narrower swizzles.
                if n * 2 < swizzle.width() as u16 {
                    continue;
                }
                let w =
                    Wgmma { transpose_a, transpose_b, ..instruction(n, 16, WgmmaAcc::F32, WgmmaType::F16) };
                check(&w, swizzle, false);
            }
        }
    }
}

#[test]
fn signs_and_mixed_types() {
    let plain = || instruction(16, 32, WgmmaAcc::F32, WgmmaType::E4m3);
    for (negate_a, negate_b) in [(true, false), (false, true), (true, true)] {
        check(&Wgmma { negate_a, negate_b, ..plain() }, Swizzle::B32, false);
    }
    check(&Wgmma { b_type: WgmmaType::E5m2, ..plain() }, Swizzle::None, true);
    let bytes = instruction(16, 32, WgmmaAcc::S32, WgmmaType::U8);
    check(&Wgmma { b_type: WgmmaType::S8, ..bytes }, Swizzle::B32, false);
}

fn tiles(a: f32, b: f32, n: usize, k: usize) -> (Tile, Tile) {
    (Tile { columns: k, values: vec![a; 16 * k] }, Tile { columns: n, values: vec![b; k * n] })
}

#[test]
fn scale_d_zero_does_not_read_d() {
    let w = instruction(8, 16, WgmmaAcc::F32, WgmmaType::F16);
    let (a, b) = tiles(1.0, 2.0, 8, 16);
    let mut d = vec![[f32::NAN.to_bits(); 32]; 4];
    multiply(&w, &a, &b, false, &mut d);
    assert!(d.iter().flatten().all(|&x| f32::from_bits(x) == 32.0));
}

#[test]
fn nan_saturation_and_wrapping() {
    let w = instruction(8, 16, WgmmaAcc::F32, WgmmaType::F16);
    let (a, b) = tiles(f32::INFINITY, 0.0, 8, 16);
    let mut d = vec![[0; 32]; 4];
    multiply(&w, &a, &b, true, &mut d);
    assert!(d.iter().flatten().all(|&x| x == 0x7fff_ffff));
    let w = instruction(8, 32, WgmmaAcc::S32, WgmmaType::S8);
    let (a, b) = tiles(127.0, 127.0, 8, 32);
    for (saturate, want) in [(true, i32::MAX), (false, i32::MIN + 32 * 127 * 127 - 1)] {
        let mut d = vec![[i32::MAX as u32; 32]; 4];
        multiply(&Wgmma { saturate, ..w.clone() }, &a, &b, true, &mut d);
        assert!(d.iter().flatten().all(|&x| x as i32 == want));
    }
}

#[test]
fn the_order_of_additions() {
    let w = instruction(8, 16, WgmmaAcc::F32, WgmmaType::Tf32);
    let (mut a, b) = tiles(0.0, 1.0, 8, 16);
    for row in 0..16 {
        (a.values[row * 16], a.values[row * 16 + 1]) = (2f32.powi(-24), 1.0);
    }
    let mut d = vec![[1f32.to_bits(); 32]; 4];
    multiply(&w, &a, &b, true, &mut d);
    assert!(d.iter().flatten().all(|&x| f32::from_bits(x) == 2.0));
}

#[test]
fn sparse_a_of_halves() {
    // Row r stores 1 + (group) and 100 at positions 1 and 3 of every group of four k's.
    let mut w = instruction(8, 32, WgmmaAcc::F32, WgmmaType::F16);
    w.sparse = Some((0, 1));
    let stored = |c: usize| if c.is_multiple_of(2) { 1 + c as i32 / 2 } else { 100 };
    let values = (0..16).flat_map(|_| (0..16).map(stored)).collect();
    let fragment = a_registers(&Matrix { lines: 16, length: 16, values }, WgmmaType::F16, 0);
    let metadata = [0xdddd_dddd; 32];
    let a = operand::unpack_a(&w, SourceA::Registers(&fragment), 0, Some(&metadata)).unwrap();
    for row in 0..16 {
        for k in 0..32 {
            let want = [0.0, 1.0 + (k / 4) as f32, 0.0, 100.0][k % 4];
            assert_eq!(a.at(row, k), want);
        }
    }
    let twice = operand::unpack_a(&w, SourceA::Registers(&fragment), 0, Some(&[0; 32]));
    assert_eq!(twice, Err(OperandError::Metadata { row: 0, group: 0 }));
}

/// Eight groups of one row in each lane: the first pair of four is stored where row and group add up to an even number.
#[test]
fn sparse_a_of_bytes() {
    let mut w = instruction(8, 64, WgmmaAcc::F32, WgmmaType::E4m3);
    w.sparse = Some((0, 0));
    let stored = Matrix { lines: 16, length: 32, values: vec![1; 512] };
    let fragment = a_registers(&stored, WgmmaType::E4m3, 0);
    let metadata = std::array::from_fn(|lane| {
        let (row, first) = (lane / 4 + lane % 2 * 8, lane % 4 / 2 * 8);
        (0..8).fold(0, |word, at| word | [0b0100, 0b1110][(row + first + at) % 2] << (4 * at))
    });
    let a = operand::unpack_a(&w, SourceA::Registers(&fragment), 0, Some(&metadata)).unwrap();
    for row in 0..16 {
        for k in 0..64 {
            let want = if (row + k / 4) % 2 == k % 4 / 2 { 1.0 } else { 0.0 };
            assert_eq!(a.at(row, k), want, "{row} {k}");
        }
    }
}

#[test]
fn a_descriptor_past_the_end_is_an_error() {
    let w = instruction(16, 16, WgmmaAcc::F32, WgmmaType::F16);
    let d = MatrixDescriptor { start: 0, leading: 16, stride: 1024, base_offset: 0, swizzle: Swizzle::B128 };
    assert!(operand::unpack_b(&w, &d, &[0; 2048]).is_ok());
    assert_eq!(
        operand::unpack_b(&w, &d, &[0; 1024]),
        Err(OperandError::OutOfBounds { what: "B", address: 1024, size: 1024 })
    );
}
