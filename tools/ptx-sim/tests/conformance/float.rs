//! Float arithmetic in every format and rounding mode, at edge values; approximations within their documented error.

use super::{
    case::{Case, Target::*, Tolerance},
    elementwise::*,
    exact::*,
};
use std::cmp::Ordering;

const EDGES32: [u32; 24] = [
    0x0000_0000,
    0x8000_0000,
    0x0000_0001,
    0x8000_0001,
    0x007f_ffff,
    0x0080_0000,
    0x0080_0001,
    0x3f80_0000,
    0xbf80_0000,
    0x3f80_0001,
    0x3f7f_ffff,
    0x3eaa_aaab,
    0x4b80_0000,
    0x4b80_0001,
    0x7f7f_ffff,
    0xff7f_ffff,
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0000,
    0xffc0_1234,
    0x7f80_0001,
    0x4049_0fdb,
    0xc2f6_e979,
    0x1e3c_e508,
];
const EDGES64: [u64; 16] = [
    0x0000_0000_0000_0000,
    0x8000_0000_0000_0000,
    1,
    0x000f_ffff_ffff_ffff,
    0x0010_0000_0000_0000,
    0x3ff0_0000_0000_0000,
    0xbff0_0000_0000_0000,
    0x3ff0_0000_0000_0001,
    0x3fd5_5555_5555_5555,
    0x7fef_ffff_ffff_ffff,
    0xffef_ffff_ffff_ffff,
    0x7ff0_0000_0000_0000,
    0xfff0_0000_0000_0000,
    0x4340_0000_0000_0001,
    0x400a_bcde_f012_3456,
    0x2000_0000_0000_0003,
];
const EDGES16: [u64; 18] = [
    0x0000, 0x8000, 0x0001, 0x83ff, 0x0400, 0x3c00, 0xbc00, 0x3c01, 0x3bff, 0x3555, 0x7bff, 0xfbff, 0x7c00,
    0xfc00, 0x7e00, 0x6400, 0x1234, 0xd678,
];
const EDGES_BF16: [u64; 18] = [
    0x0000, 0x8000, 0x0001, 0x807f, 0x0080, 0x3f80, 0xbf80, 0x3f81, 0x3f7f, 0x3eab, 0x7f7f, 0xff7f, 0x7f80,
    0xff80, 0x7fc0, 0x4b80, 0x1234, 0xc3d4,
];

const MODES: [(&str, Mode); 4] =
    [("rn", Mode::Nearest), ("rz", Mode::Zero), ("rm", Mode::Down), ("rp", Mode::Up)];

fn edges(format: Format) -> Vec<u64> {
    match format {
        F16 => EDGES16.to_vec(),
        BF16 => EDGES_BF16.to_vec(),
        F32 => EDGES32.iter().map(|&v| v as u64).collect(),
        _ => EDGES64.to_vec(),
    }
}

fn kind(format: Format) -> Kind {
    match format.bits() {
        16 => H,
        32 => R,
        _ => X,
    }
}

/// A finite or infinite code as f64, for the signs and infinities of results that are not finite numbers.
fn host(format: Format, code: u64) -> f64 {
    let sign = if code & format.sign() != 0 { -1.0 } else { 1.0 };
    let magnitude = code & (format.sign() - 1);
    match magnitude.cmp(&format.infinity()) {
        Ordering::Greater => f64::NAN,
        Ordering::Equal => sign * f64::INFINITY,
        // Only zero, or not: the size does not matter where this is used.
        Ordering::Less if magnitude == 0 => sign * 0.0,
        Ordering::Less => sign,
    }
}

fn special(format: Format, v: f64) -> u64 {
    let sign = if v.is_sign_negative() { format.sign() } else { 0 };
    match () {
        () if v.is_nan() => format.nan(),
        () if v.is_infinite() => sign | format.infinity(),
        () => sign,
    }
}

/// Correctly rounded sums, products, quotients, roots.
fn reference(format: Format, op: &str, mode: Mode, v: &[u64]) -> u64 {
    reference_in(format, format, op, mode, v)
}

/// With `.ftz`: subnormal operands are zeros, and so is a result that is less than the least normal number when it has been
/// rounded to the format's digits, however small its exponent.
fn reference_flushed(format: Format, op: &str, mode: Mode, v: &[u64]) -> u64 {
    let v: Vec<u64> = v.iter().map(|&c| flush(format, c)).collect();
    let wide = Format { exponent: format.exponent + 3, fraction: format.fraction };
    let code = reference_in(format, wide, op, mode, &v);
    let least = format.number(1 << format.fraction);
    if wide.finite(code) && wide.number(code).abs().compare(&least) == Ordering::Less {
        return if code & wide.sign() != 0 { format.sign() } else { 0 };
    }
    reference(format, op, mode, &v)
}

/// Of operands in one format, the result in another.
fn reference_in(format: Format, to: Format, op: &str, mode: Mode, v: &[u64]) -> u64 {
    let h: Vec<f64> = v.iter().map(|&c| host(format, c)).collect();
    let all_finite = v.iter().all(|&c| format.finite(c));
    let n = |i: usize| format.number(v[i]);
    let zero_sum = |x: bool, y: bool| if x == y { x } else { mode == Mode::Down };
    let sum = |x: &Dyadic, xs: bool, y: &Dyadic, ys: bool| {
        let total = x.plus(y);
        let both_zero = x.is_zero() && y.is_zero();
        to.encode(&total, mode, if both_zero { zero_sum(xs, ys) } else { mode == Mode::Down })
    };
    let negative = |i: usize| v[i] & format.sign() != 0;
    match op {
        "add" if all_finite => sum(&n(0), negative(0), &n(1), negative(1)),
        "sub" if all_finite => {
            let flipped = format.number(v[1] ^ format.sign());
            sum(&n(0), negative(0), &flipped, !negative(1))
        }
        "mul" if all_finite => to.encode(&n(0).times(&n(1)), mode, negative(0) != negative(1)),
        "fma" if all_finite => sum(&n(0).times(&n(1)), negative(0) != negative(1), &n(2), negative(2)),
        "div" | "rcp" if all_finite && h[v.len() - 1] != 0.0 => {
            let one = Dyadic::int(1);
            let (x, y) = if op == "rcp" { (one, n(0)) } else { (n(0), n(1)) };
            let sign = x.negative() != y.negative();
            let sign = if op == "div" { negative(0) != negative(1) } else { sign };
            if x.is_zero() {
                return if sign { to.sign() } else { 0 };
            }
            to.round(mode, sign, |candidate| candidate.times(&y.abs()).compare(&x.abs()))
        }
        "sqrt" if all_finite && h[0] > 0.0 => {
            to.round(mode, false, |candidate| candidate.times(candidate).compare(&n(0)))
        }
        "add" => special(to, h[0] + h[1]),
        "sub" => special(to, h[0] - h[1]),
        "mul" => special(to, h[0] * h[1]),
        "fma" => special(to, h[0] * h[1] + h[2]),
        "div" => special(to, h[0] / h[1]),
        "rcp" => special(to, 1.0 / h[0]),
        _ => special(to, h[0].sqrt()),
    }
}

/// Subnormal codes to zeros of their sign.
fn flush(format: Format, code: u64) -> u64 {
    let magnitude = code & (format.sign() - 1);
    if magnitude < 1 << format.fraction { code & format.sign() } else { code }
}

/// Operands whose results lie about the least normal number.
fn least_results(format: Format, op: &str) -> Vec<Vec<u64>> {
    let least = 1u64 << format.fraction;
    let one = ((1u64 << (format.exponent - 1)) - 1) << format.fraction;
    let mut out = vec![];
    for n in 0..48u64 {
        // Two fractions whose product is two, nearly: x y = 2^(1 - bias) (1 ± a few units).
        let m = least + (n * n * 0x9e37 + 7 * n) % least;
        let partner = (2 * least * least / m + n % 3 - 1).clamp(least, 2 * least - 1);
        let x = least * (1 + n % 2) + m - least;
        let y = one - least * (1 + n % 2) + partner - least;
        let sign = if n % 5 == 0 { format.sign() } else { 0 };
        let c = [0, format.sign(), 1, least, format.sign() | least, least / 2][n as usize % 6];
        match op {
            "add" | "sub" => out.push(vec![x | sign, (x + n % 7) ^ format.sign()]),
            "mul" => out.push(vec![x | sign, y]),
            "fma" => out.push(vec![x | sign, y, c]),
            "div" => out.push(vec![x | sign, one + 2 * least - n]),
            "rcp" => out.push(vec![(2 * one - least * (n % 3) - n % 4) | sign]),
            _ => out.push(vec![least - 2 + n % 5]),
        }
    }
    // (1 + u)(1 - u) below the least: rounds to it.
    if matches!(op, "mul" | "fma") {
        for (x, y) in [
            (least + 1, one - 2),
            (least, one - 1),
            (least, one - 2),
            (least + 1, one - 1),
            (least + 2, one - 4),
        ] {
            out.push([&[x, y][..], &vec![0; (op == "fma") as usize]].concat());
        }
    }
    out
}

fn saturate(format: Format, code: u64) -> u64 {
    let one = (((1u64 << (format.exponent - 1)) - 1) << format.fraction, format.sign());
    match () {
        () if code & (format.sign() - 1) > format.infinity() => 0,
        () if code & one.1 != 0 => 0,
        () => code.min(one.0),
    }
}

pub fn cases() -> Vec<Case> {
    let mut out = vec![];
    rounded(&mut out);
    halves(&mut out);
    extrema(&mut out);
    signs(&mut out);
    approximations(&mut out);
    pairs_of_f32(&mut out);
    out
}

fn rounded(out: &mut Vec<Case>) {
    for format in [F32, F64] {
        let (k, all) = (kind(format), edges(format));
        // NaNs of f64 keep a payload that is not ours to state.
        let quiet = |t: &Vec<u64>, op: &str, mode| {
            format == F32 || reference(format, op, mode, t) & F64.nan() <= F64.infinity()
        };
        let bits = format.bits();
        for (mode_name, mode) in MODES {
            for (op, sources) in
                [("add", 2), ("sub", 2), ("mul", 2), ("fma", 3), ("div", 2), ("rcp", 1), ("sqrt", 1)]
            {
                let columns = vec![&all[..]; sources];
                let tuples = if sources == 3 { mixed(&columns, 480) } else { product(&columns) };
                let tuples: Vec<Vec<u64>> = tuples.into_iter().filter(|t| quiet(t, op, mode)).collect();
                let operands = ["%d, %a", "%d, %a, %b", "%d, %a, %b, %c"][sources - 1];
                let text = format!("{op}.{mode_name}.f{bits} {operands};");
                let kinds = vec![k; sources];
                out.push(elementwise(Sm80, &text, &[k], &kinds, &tuples, |v| {
                    vec![reference(format, op, mode, v)]
                }));
                if format == F64 {
                    continue;
                }
                let text = format!("{op}.{mode_name}.ftz.f32 {operands};");
                let at_the_edge = [&tuples[..], &least_results(F32, op)].concat();
                out.push(elementwise(Sm80, &text, &[k], &kinds, &at_the_edge, |v| {
                    vec![reference_flushed(format, op, mode, v)]
                }));
                if mode != Mode::Nearest && op != "fma" {
                    continue;
                }
                if !matches!(op, "div" | "rcp" | "sqrt") {
                    let text = format!("{op}.{mode_name}.sat.f32 {operands};");
                    out.push(elementwise(Sm80, &text, &[k], &kinds, &tuples, |v| {
                        vec![saturate(F32, reference(format, op, mode, v))]
                    }));
                }
            }
        }
    }
}

fn halves(out: &mut Vec<Case>) {
    for (format, name, target) in [(F16, "f16", Sm80), (BF16, "bf16", Sm90a)] {
        let all = edges(format);
        let two = product(&[&all, &all]);
        let three = mixed(&[&all, &all, &all], 480);
        for (op, sources, tuples) in
            [("add", 2, &two), ("sub", 2, &two), ("mul", 2, &two), ("fma", 3, &three)]
        {
            let operands = ["%d, %a, %b", "%d, %a, %b, %c"][sources - 2];
            let scalar = vec![H; sources];
            let exact = move |v: &[u64]| reference(format, op, Mode::Nearest, v);
            let text = format!("{op}.rn.{name} {operands};");
            out.push(elementwise(target, &text, &[H], &scalar, tuples, |v| vec![exact(v)]));
            // Packed: the halves of each source come from two rows of the table.
            let packed: Vec<Vec<u64>> = tuples
                .iter()
                .zip(tuples.iter().rev())
                .map(|(p, q)| p.iter().zip(q).map(|(x, y)| x | y << 16).collect())
                .collect();
            let half =
                move |v: &[u64], n: u32| v.iter().map(|w| w >> (16 * n) & 0xffff).collect::<Vec<u64>>();
            let text = format!("{op}.rn.{name}x2 {operands};");
            out.push(elementwise(target, &text, &[R], &vec![R; sources], &packed, |v| {
                vec![exact(&half(v, 0)) | exact(&half(v, 1)) << 16]
            }));
            if format == F16 {
                let text = format!("{op}.rn.ftz.f16 {operands};");
                let at_the_edge = [&tuples[..], &least_results(F16, op)].concat();
                out.push(elementwise(target, &text, &[H], &scalar, &at_the_edge, |v| {
                    vec![reference_flushed(F16, op, Mode::Nearest, v)]
                }));
                let text = format!("{op}.rn.sat.f16 {operands};");
                out.push(elementwise(target, &text, &[H], &scalar, tuples, |v| {
                    vec![saturate(F16, exact(v))]
                }));
            }
            if op == "fma" {
                let text = format!("fma.rn.relu.{name} {operands};");
                out.push(elementwise(target, &text, &[H], &scalar, tuples, |v| {
                    let r = exact(v);
                    let nan = r & (format.sign() - 1) > format.infinity();
                    vec![if !nan && r & format.sign() != 0 { 0 } else { r }]
                }));
            }
        }
    }
    // What double rounding would get wrong: a tie of f16 with something far below it.
    let tuples =
        vec![vec![0x3c01, 0x3c01, 0x0001], vec![0x3c01, 0x3c01, 0x8001], vec![0x3c00, 0x1000, 0x0001]];
    out.push(elementwise(Sm80, "fma.rn.f16 %d, %b, %a, %c;", &[H], &[H, H, H], &tuples, |v| {
        vec![reference(F16, "fma", Mode::Nearest, v)]
    }));
}

fn extrema(out: &mut Vec<Case>) {
    for (format, name, target) in
        [(F16, "f16", Sm80), (BF16, "bf16", Sm80), (F32, "f32", Sm80), (F64, "f64", Sm80)]
    {
        let k = kind(format);
        let all: Vec<u64> = edges(format);
        let pairs = product(&[&all, &all]);
        let magnitude = move |c: u64| c & (format.sign() - 1);
        let nan = move |c: u64| magnitude(c) > format.infinity();
        // A key in which codes rise as their numbers do, -0 below +0.
        let key = move |c: u64| {
            let m = magnitude(c) as i64;
            if c & format.sign() != 0 { -m - 1 } else { m }
        };
        for greatest in [false, true] {
            let op = if greatest { "max" } else { "min" };
            let pick = move |x: u64, y: u64, nan_wins: bool| match (nan(x), nan(y)) {
                (true, true) => format.nan(),
                (true, false) | (false, true) if nan_wins => format.nan(),
                (true, false) => y,
                (false, true) => x,
                _ => {
                    if (key(x) > key(y)) == greatest {
                        x
                    } else {
                        y
                    }
                }
            };
            let text = format!("{op}.{name} %d, %a, %b;");
            let tuples: Vec<Vec<u64>> =
                pairs.iter().filter(|v| format != F64 || !(nan(v[0]) && nan(v[1]))).cloned().collect();
            out.push(elementwise(target, &text, &[k], &[k, k], &tuples, |v| vec![pick(v[0], v[1], false)]));
            if format == F64 {
                continue;
            }
            let text = format!("{op}.NaN.{name} %d, %a, %b;");
            out.push(elementwise(target, &text, &[k], &[k, k], &pairs, |v| vec![pick(v[0], v[1], true)]));
            let text = format!("{op}.xorsign.abs.{name} %d, %a, %b;");
            let numbers: Vec<Vec<u64>> = pairs.iter().filter(|v| !nan(v[0]) && !nan(v[1])).cloned().collect();
            out.push(elementwise(Sm89, &text, &[k], &[k, k], &numbers, |v| {
                vec![pick(magnitude(v[0]), magnitude(v[1]), false) | (v[0] ^ v[1]) & format.sign()]
            }));
            if format == F32 {
                let text = format!("{op}.ftz.f32 %d, %a, %b;");
                out.push(elementwise(Sm80, &text, &[k], &[k, k], &pairs, |v| {
                    vec![pick(flush(F32, v[0]), flush(F32, v[1]), false)]
                }));
                let triples = mixed(&[&all, &all, &all], 256);
                let text = format!("{op}.f32 %d, %a, %b, %c;");
                out.push(elementwise(Sm100a, &text, &[k], &[k; 3], &triples, |v| {
                    vec![pick(pick(v[0], v[1], false), v[2], false)]
                }));
            }
        }
    }
}

fn signs(out: &mut Vec<Case>) {
    for (format, name) in [(F16, "f16"), (BF16, "bf16"), (F32, "f32"), (F64, "f64")] {
        let k = kind(format);
        let numbers = edges(format);
        let nan = |c: u64| c & (format.sign() - 1) > format.infinity();
        let ones: Vec<Vec<u64>> =
            product(&[&numbers]).into_iter().filter(|v| format != F64 || !nan(v[0])).collect();
        out.push(elementwise(Sm80, &format!("neg.{name} %d, %a;"), &[k], &[k], &ones, |v| {
            vec![if nan(v[0]) { format.nan() } else { v[0] ^ format.sign() }]
        }));
        out.push(elementwise(Sm80, &format!("abs.{name} %d, %a;"), &[k], &[k], &ones, |v| {
            vec![if nan(v[0]) { format.nan() } else { v[0] & !format.sign() }]
        }));
        if format.bits() > 16 {
            let pairs = product(&[&numbers, &numbers]);
            out.push(elementwise(
                Sm80,
                &format!("copysign.{name} %d, %a, %b;"),
                &[k],
                &[k, k],
                &pairs,
                |v| vec![v[0] & format.sign() | v[1] & !format.sign()],
            ));
        }
    }
    out.push(elementwise(
        Sm80,
        "neg.ftz.f32 %d, %a;",
        &[R],
        &[R],
        &product(&[&[0x8000_0001, 0x3f80_0000, 1]]),
        |v| vec![flush(F32, v[0]) ^ F32.sign()],
    ));
}

fn approximations(out: &mut Vec<Case>) {
    type One = fn(f64) -> f64;
    // Documented errors, in units in the last place or absolute.
    const TABLE: [(&str, One, u32, f64); 10] = [
        ("rcp.approx.ftz.f32", |x| 1.0 / x, 1, 0.0),
        ("rsqrt.approx.ftz.f32", |x| 1.0 / x.sqrt(), 2, 0.0),
        ("sqrt.approx.ftz.f32", |x| x.sqrt(), 2, 0.0),
        ("ex2.approx.ftz.f32", |x| x.exp2(), 2, 0.0),
        ("lg2.approx.ftz.f32", |x| x.log2(), 1, 2.4e-7),
        ("sin.approx.ftz.f32", |x| x.sin(), 0, 7e-7),
        ("cos.approx.ftz.f32", |x| x.cos(), 0, 7e-7),
        ("tanh.approx.f32", |x| x.tanh(), 8192, 0.0),
        ("ex2.approx.f32", |x| x.exp2(), 2, 0.0),
        ("rcp.approx.f32", |x| 1.0 / x, 1, 0.0),
    ];
    let values: Vec<f32> = (0..256)
        .map(|n| ((n as f32 - 100.0) * 0.047).powi(3) * 0.05 + 1e-3)
        .filter(|v| v.abs() < 6.0)
        .collect();
    for (text, f, ulps, absolute) in TABLE {
        let positive = text.contains("sqrt") || text.contains("lg2");
        let inputs: Vec<f32> = values.iter().map(|v| if positive { v.abs() } else { *v }).collect();
        let inputs = &inputs[..inputs.len() / 32 * 32];
        let body = format!(
            "    mad.wide.u32 %in, %t, 4, %in; mad.wide.u32 %out, %t, 4, %out;\n    ld.global.f32 %f0, [%in]; {text} %f1, %f0; st.global.f32 [%out], %f1;"
        );
        let expected: Vec<f32> = inputs.iter().map(|&v| f(v as f64) as f32).collect();
        let case = Case::new(&format!("{text} near values"), Sm80, inputs.len() as u32, &body);
        out.push(case.input(inputs).expect(&expected).within(Tolerance::Single { ulps, absolute }));
    }
    // Special values are exact.
    let (inf, minus, nan, zero) = (0x7f80_0000, 0xff80_0000, 0x7fff_ffff, 0x8000_0000);
    let one = 0x3f80_0000;
    let specials: [(&str, &[(u64, u64)]); 8] = [
        (
            "rcp.approx.ftz.f32",
            &[(0, inf), (zero, minus), (inf, 0), (minus, zero), (1, inf), (nan, nan), (one, one)],
        ),
        (
            "rsqrt.approx.ftz.f32",
            &[(0, inf), (zero, minus), (inf, 0), (minus, nan), (0xbf80_0000, nan), (one, one)],
        ),
        ("sqrt.approx.ftz.f32", &[(0, 0), (zero, zero), (inf, inf), (minus, nan), (0xbf80_0000, nan)]),
        (
            "ex2.approx.ftz.f32",
            &[(0, one), (zero, one), (inf, inf), (minus, 0), (0x4000_0000, 0x4080_0000), (nan, nan)],
        ),
        ("lg2.approx.ftz.f32", &[(0, minus), (zero, minus), (inf, inf), (0xbf80_0000, nan), (one, 0)]),
        ("sin.approx.ftz.f32", &[(0, 0), (zero, zero), (inf, nan), (minus, nan)]),
        ("cos.approx.ftz.f32", &[(0, one), (zero, one), (inf, nan)]),
        ("tanh.approx.f32", &[(0, 0), (zero, zero), (inf, one), (minus, 0xbf80_0000)]),
    ];
    for (text, table) in specials {
        let tuples: Vec<Vec<u64>> = table.iter().map(|(x, _)| vec![*x]).collect();
        out.push(elementwise(Sm80, &format!("{text} %d, %a;"), &[R], &[R], &tuples, |v| {
            vec![table.iter().find(|(x, _)| *x == v[0]).unwrap().1]
        }));
    }
    quotients(out);
    // Only the upper half of these carries a value.
    let tuples =
        vec![vec![0x4000_0000_0000_0000], vec![0x4010_0000_dead_beef], vec![0], vec![0x7ff0_0000_0000_0000]];
    out.push(elementwise(Sm80, "rcp.approx.ftz.f64 %d, %a;", &[X], &[X], &tuples, |v| {
        vec![(1.0 / f64::from_bits(v[0] & !0xffff_ffff)).to_bits() & !0xffff_ffff]
    }));
    out.push(elementwise(Sm80, "rsqrt.approx.ftz.f64 %d, %a;", &[X], &[X], &tuples, |v| {
        vec![(1.0 / f64::from_bits(v[0] & !0xffff_ffff).sqrt()).to_bits() & !0xffff_ffff]
    }));
    for (text, bits) in [("ex2.approx.f16", 16), ("tanh.approx.f16", 16)] {
        let inputs: Vec<u16> =
            (0..64).map(|n| half::f16::from_f32((n as f32 - 30.0) / 8.0).to_bits()).collect();
        let f = if text.starts_with("ex2") { f64::exp2 } else { f64::tanh };
        let expected: Vec<u16> = inputs
            .iter()
            .map(|&v| half::f16::from_f64(f(half::f16::from_bits(v).to_f64())).to_bits())
            .collect();
        let body = format!(
            "    mad.wide.u32 %in, %t, 2, %in; mad.wide.u32 %out, %t, 2, %out;\n    ld.global.b16 %h0, [%in]; {text} %h1, %h0; st.global.b16 [%out], %h1;"
        );
        let case = Case::new(&format!("{text} near values"), Sm80, 64, &body);
        out.push(case.input(&inputs).expect(&expected).within(Tolerance::Relative { bits, error: 2e-3 }));
    }
}

fn quotients(out: &mut Vec<Case>) {
    let values = [1.0f32, -3.0, 0.1, 1e10, 1e-10, 7.5, -0.3, 123456.0];
    let tuples: Vec<Vec<u64>> =
        product(&[&values.map(|v| v.to_bits() as u64), &values.map(|v| v.to_bits() as u64)]);
    for text in ["div.approx.f32", "div.full.f32", "div.approx.ftz.f32", "div.full.ftz.f32"] {
        let body = format!(
            "    mad.wide.u32 %in, %t, 8, %in; mad.wide.u32 %out, %t, 4, %out;\n    ld.global.v2.f32 {{%f0, %f1}}, [%in]; {text} %f2, %f0, %f1; st.global.f32 [%out], %f2;"
        );
        let input: Vec<u32> = tuples.iter().flatten().map(|&v| v as u32).collect();
        let f = |v: u64| f32::from_bits(v as u32);
        let expected: Vec<f32> = tuples.iter().map(|t| f(t[0]) / f(t[1])).collect();
        let case = Case::new(&format!("{text} near values"), Sm80, tuples.len() as u32, &body);
        out.push(case.input(&input).expect(&expected).within(Tolerance::Single { ulps: 2, absolute: 0.0 }));
    }
    // A divisor beyond 2^126 has no reciprocal.
    let huge = 0x7f00_0001u64;
    let tuples = vec![
        vec![0x3f80_0000, huge],
        vec![0xbf80_0000, huge],
        vec![0x7f80_0000, huge],
        vec![0x7f7f_ffff, huge],
    ];
    out.push(elementwise(Sm80, "div.approx.f32 %d, %a, %b;", &[R], &[R, R], &tuples, |v| {
        vec![if v[0] == 0x7f80_0000 { 0x7fff_ffff } else { v[0] & 0x8000_0000 }]
    }));
}

/// Two f32 side by side (sm_100).
fn pairs_of_f32(out: &mut Vec<Case>) {
    let wide: Vec<u64> =
        EDGES32.iter().zip(EDGES32.iter().rev()).map(|(x, y)| *x as u64 | (*y as u64) << 32).collect();
    for (op, sources) in [("add", 2), ("mul", 2), ("fma", 3)] {
        let tuples = mixed(&vec![&wide[..]; sources], 192);
        let operands = ["%d, %a, %b", "%d, %a, %b, %c"][sources - 2];
        for (mode_name, mode) in MODES {
            let text = format!("{op}.{mode_name}.f32x2 {operands};");
            out.push(elementwise(Sm100a, &text, &[X], &vec![X; sources], &tuples, |v| {
                let half = |n: u32| {
                    let v: Vec<u64> = v.iter().map(|w| w >> (32 * n) & 0xffff_ffff).collect();
                    reference(F32, op, mode, &v)
                };
                vec![half(0) | half(1) << 32]
            }));
        }
    }
}
