//! `atom` and `red` of every operation and type, scalar and vector.

use super::{
    case::{Bytes, Case, Target, Target::*},
    exact::{BF16, F16, Format, Mode},
};

/// Each of 32 threads applies one operation to a cell of its own: what was there, and what is there afterwards.
#[allow(clippy::too_many_arguments)]
fn each<T: Bytes + Copy>(
    target: Target,
    words: &str,
    register: &str,
    old: impl Fn(usize) -> T,
    operands: &[&dyn Fn(usize) -> T],
    new: impl Fn(usize) -> T,
) -> Case {
    let size = T::bytes(&[old(0)]).len();
    let bits = 8 * size;
    let loads: String = (0..operands.len())
        .map(|n| format!("    ld.global.b{bits} {register}{}, [%in+{}];\n", n + 1, n * size))
        .collect();
    let list: String = (0..operands.len()).map(|n| format!(", {register}{}", n + 1)).collect();
    let declare = if bits == 128 { "    .reg .b128 %q<3>;\n" } else { "" };
    let body = format!(
        "{declare}    mad.wide.u32 %in, %t, {}, %in; mad.wide.u32 %out, %t, {}, %out;\n{loads}    atom.{words} {register}0, [%out]{list};
    st.global.b{bits} [%out+{size}], {register}0;",
        operands.len() * size,
        2 * size
    );
    let input: Vec<T> = (0..32).flat_map(|t| operands.iter().map(move |f| f(t))).collect();
    let before: Vec<T> = (0..32).flat_map(|t| [old(t), old(t)]).collect();
    let after: Vec<T> = (0..32).flat_map(|t| [new(t), old(t)]).collect();
    Case::new(&format!("atom.{words}"), target, 32, &body).input(&input).before(&before).expect(&after)
}

pub fn cases() -> Vec<Case> {
    let mut out = vec![];
    integers(&mut out);
    floats(&mut out);
    vectors(&mut out);
    contended(&mut out);
    out
}

fn integers(out: &mut Vec<Case>) {
    let old32 = |t: usize| (t as u32).wrapping_mul(0x9e37_79b9) ^ 0x8000_0000;
    let a32 = |t: usize| if t.is_multiple_of(3) { old32(t) } else { (t as u32).wrapping_mul(0x85eb_ca6b) };
    let b32 = |t: usize| t as u32 + 100;
    let old64 = |t: usize| (t as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 1 << 63;
    let a64 = |t: usize| {
        if t.is_multiple_of(3) { old64(t) } else { (t as u64).wrapping_mul(0xc2b2_ae3d_27d4_eb4f) }
    };
    let b64 = |t: usize| t as u64 + 100;
    macro_rules! two {
        ($words:literal, $reg:literal, $old:ident, $a:ident, $f:expr) => {
            out.push(each(Sm80, $words, $reg, $old, &[&$a], |t| $f($old(t), $a(t))));
        };
    }
    two!("global.add.u32", "%r", old32, a32, u32::wrapping_add);
    two!("relaxed.gpu.global.add.s32", "%r", old32, a32, u32::wrapping_add);
    two!("acq_rel.cta.min.u32", "%r", old32, a32, u32::min);
    two!("max.u32", "%r", old32, a32, u32::max);
    two!("global.gpu.acquire.min.s32", "%r", old32, a32, |x: u32, y: u32| (x as i32).min(y as i32) as u32);
    two!("global.max.s32", "%r", old32, a32, |x: u32, y: u32| (x as i32).max(y as i32) as u32);
    two!("global.and.b32", "%r", old32, a32, |x, y| x & y);
    two!("global.or.b32", "%r", old32, a32, |x, y| x | y);
    two!("global.xor.b32", "%r", old32, a32, |x, y| x ^ y);
    two!("global.exch.b32", "%r", old32, a32, |_, y| y);
    two!("global.inc.u32", "%r", old32, a32, |x, y| if x >= y { 0 } else { x + 1 });
    two!("global.dec.u32", "%r", old32, a32, |x, y| if x == 0 || x > y { y } else { x - 1 });
    two!("global.add.u64", "%x", old64, a64, u64::wrapping_add);
    two!("global.min.u64", "%x", old64, a64, u64::min);
    two!("global.max.s64", "%x", old64, a64, |x: u64, y: u64| (x as i64).max(y as i64) as u64);
    two!("global.and.b64", "%x", old64, a64, |x, y| x & y);
    two!("global.or.b64", "%x", old64, a64, |x, y| x | y);
    two!("global.xor.b64", "%x", old64, a64, |x, y| x ^ y);
    two!("global.exch.b64", "%x", old64, a64, |_, y| y);
    out.push(each(Sm80, "global.cas.b32", "%r", old32, &[&a32, &b32], |t| {
        if t % 3 == 0 { b32(t) } else { old32(t) }
    }));
    out.push(each(Sm80, "global.cas.b64", "%x", old64, &[&a64, &b64], |t| {
        if t % 3 == 0 { b64(t) } else { old64(t) }
    }));
    // Of 128 bits: exchange and compare only, which may differ in one half.
    let old128 = |t: usize| (old64(t) as u128) << 64 | old64(t + 1) as u128;
    let a128 = |t: usize| match t % 3 {
        0 => old128(t),
        1 => old128(t) ^ 1,
        _ => old128(t) ^ 1 << 127,
    };
    let b128 = |t: usize| (t as u128 + 5) << 62;
    out.push(each(Sm90a, "global.exch.b128", "%q", old128, &[&b128], b128));
    out.push(each(Sm90a, "acq_rel.gpu.global.cas.b128", "%q", old128, &[&a128, &b128], |t| {
        if t % 3 == 0 { b128(t) } else { old128(t) }
    }));
    let old16 = |t: usize| old32(t) as u16;
    let a16 = |t: usize| a32(t) as u16;
    let b16 = |t: usize| t as u16 + 7;
    out.push(each(Sm80, "global.cas.b16", "%h", old16, &[&a16, &b16], |t| {
        if t % 3 == 0 { b16(t) } else { old16(t) }
    }));
    // A literal operand of an integer atomic is that integer.
    let body = "    mad.wide.u32 %out, %t, 4, %out; red.global.add.u32 [%out], 3; atom.global.add.s32 %r0, [%out], -1;";
    out.push(Case::new("atomics with literals", Sm80, 32, body).before(&[5u32; 32]).expect(&[7u32; 32]));
}

/// Sums of halves: exact, then rounded by the reference.
fn sum(format: Format, x: u64, y: u64) -> u64 {
    format.encode(&format.number(x).plus(&format.number(y)), Mode::Nearest, false)
}

fn floats(out: &mut Vec<Case>) {
    let old = |t: usize| t as f32 * 0.37 - 3.0;
    let a = |t: usize| 1.0 / (t as f32 + 0.5);
    out.push(each(Sm80, "global.add.f32", "%f", old, &[&a], |t| old(t) + a(t)));
    let (wide, b) = (|t: usize| old(t) as f64, |t: usize| a(t) as f64 * 1e-3);
    out.push(each(Sm80, "global.add.f64", "%g", wide, &[&b], |t| wide(t) + b(t)));
    let half = |t: usize| half::f16::from_f32(t as f32 * 0.37 - 3.0).to_bits();
    let one = |t: usize| half::f16::from_f32(1.0 / (t as f32 + 0.5)).to_bits();
    let f16_sum = |x: u16, y: u16| sum(F16, x as u64, y as u64) as u16;
    out.push(each(Sm80, "global.add.noftz.f16", "%h", half, &[&one], |t| f16_sum(half(t), one(t))));
    let brain = |t: usize| half::bf16::from_f32(t as f32 * 0.37 - 3.0).to_bits();
    let some = |t: usize| half::bf16::from_f32(1.0 / (t as f32 + 0.5)).to_bits();
    let bf16_sum = |x: u16, y: u16| sum(BF16, x as u64, y as u64) as u16;
    out.push(each(Sm90a, "global.add.noftz.bf16", "%h", brain, &[&some], |t| bf16_sum(brain(t), some(t))));
    at_the_edges(out);
    let join = |lo: u16, hi: u16| lo as u32 | (hi as u32) << 16;
    out.push(each(
        Sm80,
        "global.add.noftz.f16x2",
        "%r",
        |t| join(half(t), half(t + 1)),
        &[&|t| join(one(t), one(t + 2))],
        |t| join(f16_sum(half(t), one(t)), f16_sum(half(t + 1), one(t + 2))),
    ));
    out.push(each(
        Sm90a,
        "global.add.noftz.bf16x2",
        "%r",
        |t| join(brain(t), brain(t + 1)),
        &[&|t| join(some(t), some(t + 2))],
        |t| join(bf16_sum(brain(t), some(t)), bf16_sum(brain(t + 1), some(t + 2))),
    ));
}

/// Subnormal numbers and NaN: global memory has an adder that flushes, shared memory has none.
fn at_the_edges(out: &mut Vec<Case>) {
    const CODES: [u32; 8] =
        [0x8000_0000, 1, 0x807f_ffff, 0x0080_0000, 0x8080_0001, 0x3f80_0000, 0x7f80_0000, 0xffc0_1234];
    let (old, a) = (|t: usize| CODES[t % 8], |t: usize| CODES[(t / 8 + t) % 8]);
    let sum = |t: usize, flush: bool| {
        let value = |code: u32| {
            let tiny = flush && code & 0x7f80_0000 == 0;
            f32::from_bits(if tiny { code & 0x8000_0000 } else { code })
        };
        let sum = value(old(t)) + value(a(t));
        let tiny = flush && sum.to_bits() & 0x7f80_0000 == 0;
        match () {
            () if sum.is_nan() => 0x7fff_ffff,
            () if tiny => sum.to_bits() & 0x8000_0000,
            () => sum.to_bits(),
        }
    };
    let mut global = each(Sm80, "global.gpu.add.f32", "%r", old, &[&a], |t| sum(t, true));
    global.name += " at the edges";
    out.push(global);
    let body = "    mad.wide.u32 %in, %t, 8, %in; mad.wide.u32 %out, %t, 4, %out; ld.global.v2.u32 {%r1, %r2}, [%in];
    .shared .align 4 .b8 cells[128]; mov.u32 %r3, cells; mad.lo.u32 %r3, %t, 4, %r3; st.shared.u32 [%r3], %r1;
    atom.shared.add.f32 %r4, [%r3], %r2; ld.shared.u32 %r1, [%r3]; st.global.u32 [%out], %r1;";
    let input: Vec<u32> = (0..32).flat_map(|t| [old(t), a(t)]).collect();
    let expected: Vec<u32> = (0..32).map(|t| sum(t, false)).collect();
    out.push(Case::new("atom.shared.add.f32 at the edges", Sm80, 32, body).input(&input).expect(&expected));
}

/// Vectors are one atomic an element (sm_90).
fn vectors(out: &mut Vec<Case>) {
    for count in [2usize, 4] {
        let list = |from: usize| (0..count).map(|n| format!("%f{}", from + n)).collect::<Vec<_>>().join(", ");
        let body = format!(
            "    mul.wide.u32 %x0, %t, {step}; add.u64 %in, %in, %x0; mad.wide.u32 %out, %t, {two}, %out;
    ld.global.v{count}.f32 {{{a}}}, [%in]; atom.relaxed.gpu.global.add.v{count}.f32 {{{d}}}, [%out], {{{a}}};
    st.global.v{count}.f32 [%out+{step}], {{{d}}}; red.global.add.v{count}.f32 [%out], {{{a}}};",
            step = 4 * count,
            two = 8 * count,
            a = list(10),
            d = list(20),
        );
        let value = |n: usize| n as f32 * 0.25 - 7.0;
        let input: Vec<f32> = (0..32 * count).map(value).collect();
        let old: Vec<f32> = (0..64 * count).map(|n| n as f32).collect();
        let expected: Vec<f32> = (0..64 * count)
            .map(|n| {
                let (thread, at) = (n / (2 * count), n % (2 * count));
                let cell = (thread * 2 * count + at % count) as f32;
                if at < count { cell + 2.0 * value(thread * count + at) } else { cell }
            })
            .collect();
        out.push(
            Case::new(&format!("atom.v{count}.f32"), Sm90a, 32, &body)
                .input(&input)
                .before(&old)
                .expect(&expected),
        );
    }
    for (op, greatest) in [("add", None), ("max", Some(true)), ("min", Some(false))] {
        let body = format!(
            "    mul.wide.u32 %x0, %t, 8; add.u64 %in, %in, %x0; add.u64 %out, %out, %x0;
    ld.global.v2.b32 {{%r1, %r2}}, [%in]; red.global.{op}.noftz.v2.bf16x2 [%out], {{%r1, %r2}};"
        );
        let value = |n: usize, k: usize| half::bf16::from_f32((n * k % 23) as f32 * 0.5 - 4.0);
        let pairs = |k: usize| (0..128).map(move |n| value(n, k).to_bits()).collect::<Vec<u16>>();
        let expected: Vec<u16> = (0..128)
            .map(|n| {
                let (x, y) = (value(n, 7), value(n, 5));
                match greatest {
                    None => sum(BF16, x.to_bits() as u64, y.to_bits() as u64) as u16,
                    Some(up) => (if (x > y) == up { x } else { y }).to_bits(),
                }
            })
            .collect();
        out.push(
            Case::new(&format!("red.v2.bf16x2 {op}"), Sm90a, 32, &body)
                .input(&pairs(5))
                .before(&pairs(7))
                .expect(&expected),
        );
    }
    let body = "    mul.wide.u32 %x0, %t, 16; add.u64 %in, %in, %x0; add.u64 %out, %out, %x0;
    ld.global.v4.b32 {%r1, %r2, %r3, %r4}, [%in]; mov.b32 {%h0, %h1}, %r1; mov.b32 {%h2, %h3}, %r2; mov.b32 {%h4, %h5}, %r3; mov.b32 {%h6, %h7}, %r4;
    red.relaxed.gpu.global.add.noftz.v8.f16 [%out], {%h0, %h1, %h2, %h3, %h4, %h5, %h6, %h7};";
    let value = |n: usize| half::f16::from_f32(n as f32 * 0.125 - 9.0).to_bits();
    let input: Vec<u16> = (0..256).map(value).collect();
    let expected: Vec<u16> = input.iter().map(|&v| sum(F16, 0x3c00, v as u64) as u16).collect();
    out.push(
        Case::new("red.v8.f16", Sm90a, 32, body).input(&input).before(&[0x3c00u16; 256]).expect(&expected),
    );
}

/// Many threads on one cell, in shared and in global memory.
fn contended(out: &mut Vec<Case>) {
    let body = "    { .shared .align 8 .b8 s[16]; .reg .b32 z;
    mov.u32 z, 0; setp.eq.u32 %p1, %t, 0; @%p1 st.shared.u32 [s], z; @%p1 st.shared.u32 [s+4], -1; bar.sync 0;
    red.shared.add.u32 [s], %t; atom.shared.min.u32 %r1, [s+4], %t; red.global.inc.u32 [%out+8], 9; bar.sync 0;
    ld.shared.v2.u32 {%r2, %r3}, [s]; @%p1 st.global.v2.u32 [%out], {%r2, %r3}; }";
    out.push(Case::new("contended", Sm80, 128, body).before(&[9u32, 9, 0, 4]).expect(&[8128u32, 0, 8, 4]));
    // A lock by compare and swap, one lane at a time.
    let body = "    { .reg .b32 turn; mov.u32 turn, 0;
again: setp.eq.u32 %p1, turn, %t; @!%p1 bra skip;
    atom.global.cas.b32 %r1, [%out], 0, 1; ld.global.u32 %r2, [%out+4]; add.u32 %r2, %r2, %t; st.global.u32 [%out+4], %r2; atom.global.exch.b32 %r1, [%out], 0;
skip: add.u32 turn, turn, 1; setp.lt.u32 %p2, turn, 32; @%p2 bra again; }";
    out.push(Case::new("lock", Sm80, 32, body).before(&[0u32, 5]).expect(&[0u32, 501]));
}
