//! `cvt` between every pair of types, with every rounding and saturation; packed small floats; `cvt.pack`; `mov`.

use super::{
    case::{Case, Target::*},
    elementwise::*,
    exact::*,
    small_floats,
};

const F64S: [u64; 24] = [
    0,
    0x8000_0000_0000_0000,
    1,
    0x3ff0_0000_0000_0000,
    0xbff0_0000_0000_0000,
    0x3fe0_0000_0000_0000,
    0x3ff8_0000_0000_0000,
    0xc004_0000_0000_0000,
    0x41df_ffff_ffc0_0000,
    0x41e0_0000_0000_0000,
    0xc1e0_0000_0020_0000,
    0x43f0_0000_0000_0000,
    0x7fef_ffff_ffff_ffff,
    0x7ff0_0000_0000_0000,
    0xfff0_0000_0000_0000,
    0x7ff8_0000_0000_0000,
    0x3ff0_0000_2000_0001,
    0x3690_0000_0000_0001,
    0x405f_e000_0000_0000,
    0xfff8_0000_0000_0001,
    0x7ff4_5678_9abc_def0,
    0xfff1_2345_6789_abcd,
    0x7ff0_0000_0000_0001,
    0x7fff_ffff_ffff_ffff,
];
const F32S: [u64; 24] = [
    0,
    0x8000_0000,
    1,
    0x007f_ffff,
    0x3f80_0000,
    0xbf80_0000,
    0x3f00_0000,
    0x3fc0_0000,
    0xc020_0000,
    0x4f00_0000,
    0xcf00_0001,
    0x5f80_0000,
    0x7f7f_ffff,
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0000,
    0x3f80_1001,
    0x3f80_1000,
    0x477f_f000,
    0x3880_0001,
    0xffc0_1234,
    0x7f80_0001,
    0xff81_2345,
    0x7fff_ffff,
];
const F16S: [u64; 16] = [
    0, 0x8000, 1, 0x3c00, 0xbc00, 0x3800, 0x3e00, 0xc100, 0x7bff, 0x7c00, 0xfc00, 0x7e00, 0xfe01, 0x7c01,
    0xfdff, 0x7fff,
];
const BF16S: [u64; 16] = [
    0, 0x8000, 1, 0x3f80, 0xbf80, 0x3f00, 0x3fc0, 0xc020, 0x7f7f, 0x7f80, 0xff80, 0x7fc0, 0xffc1, 0x7f81,
    0xffbf, 0x7fff,
];
const INTS: [u64; 11] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0x8000_0000,
    0x0020_0001,
    u64::MAX,
    0x8000_0000_0000_0000,
    0x0020_0000_2000_0001,
];

#[derive(Clone, Copy, PartialEq)]
enum Ty {
    Int { signed: bool, bits: u32 },
    Float(Format),
}

struct Type {
    name: &'static str,
    ty: Ty,
}

const fn int(name: &'static str, signed: bool, bits: u32) -> Type {
    Type { name, ty: Ty::Int { signed, bits } }
}

const TYPES: [Type; 12] = [
    int("u8", false, 8),
    int("s8", true, 8),
    int("u16", false, 16),
    int("s16", true, 16),
    int("u32", false, 32),
    int("s32", true, 32),
    int("u64", false, 64),
    int("s64", true, 64),
    Type { name: "f16", ty: Ty::Float(F16) },
    Type { name: "bf16", ty: Ty::Float(BF16) },
    Type { name: "f32", ty: Ty::Float(F32) },
    Type { name: "f64", ty: Ty::Float(F64) },
];

const ROUND: [(&str, &str, Mode); 4] = [
    ("rn", "rni", Mode::Nearest),
    ("rz", "rzi", Mode::Zero),
    ("rm", "rmi", Mode::Down),
    ("rp", "rpi", Mode::Up),
];

impl Type {
    fn kind(&self) -> Kind {
        match self.ty {
            // A register of 32 bits holds the byte.
            Ty::Int { bits: 8, .. } => R,
            Ty::Int { bits: 16, .. } => H,
            Ty::Int { bits: 32, .. } => R,
            Ty::Int { .. } => X,
            Ty::Float(f) => match f.bits() {
                16 => H,
                32 => R,
                _ => X,
            },
        }
    }

    fn values(&self) -> &'static [u64] {
        match self.ty {
            Ty::Int { .. } => &INTS,
            Ty::Float(F16) => &F16S,
            Ty::Float(BF16) => &BF16S,
            Ty::Float(F32) => &F32S,
            Ty::Float(_) => &F64S,
        }
    }
}

/// A source value.
enum Value {
    Number(Dyadic, bool),
    Infinite(bool),
    /// With its code.
    Nan(u64),
}

fn read(ty: Ty, v: u64) -> Value {
    match ty {
        Ty::Int { signed, bits } => {
            let v = v as u128 & ((1u128 << bits) - 1);
            let v = if signed && v >> (bits - 1) == 1 { v as i128 - (1i128 << bits) } else { v as i128 };
            Value::Number(Dyadic::int(v), false)
        }
        Ty::Float(f) => {
            let v = v & (f.sign() | (f.sign() - 1));
            let magnitude = v & (f.sign() - 1);
            match magnitude.cmp(&f.infinity()) {
                std::cmp::Ordering::Less => Value::Number(f.number(v), v & f.sign() != 0),
                std::cmp::Ordering::Equal => Value::Infinite(v & f.sign() != 0),
                std::cmp::Ordering::Greater => Value::Nan(v),
            }
        }
    }
}

/// A number to an integer in a mode, before clamping.
fn integral(v: &Dyadic, mode: Mode) -> num_bigint::BigInt {
    use num_bigint::BigInt;
    if v.e >= 0 {
        return &v.n << v.e as usize;
    }
    // `>>` of BigInt goes down.
    let shift = -v.e as usize;
    let floor: BigInt = &v.n >> shift;
    let rest: BigInt = &v.n - (&floor << shift);
    let exact = rest == BigInt::ZERO;
    let half = BigInt::from(1) << (shift - 1);
    let odd = &floor & BigInt::from(1) == BigInt::from(1);
    let up = match mode {
        _ if exact => false,
        Mode::Down => false,
        Mode::Up => true,
        Mode::Zero => v.negative(),
        _ => rest > half || rest == half && odd,
    };
    if up { floor + 1 } else { floor }
}

fn clamp(v: &num_bigint::BigInt, signed: bool, bits: u32) -> u64 {
    use num_bigint::BigInt;
    let one = BigInt::from(1);
    let (lo, hi) = if signed {
        (-(&one << (bits - 1)), (&one << (bits - 1)) - 1)
    } else {
        (BigInt::ZERO, (&one << bits) - 1)
    };
    let v = v.clone().clamp(lo, hi);
    let v: i128 = v.try_into().unwrap();
    v as u64
}

fn to_float(f: Format, v: Value, mode: Mode) -> u64 {
    match v {
        Value::Nan(_) => f.nan(),
        Value::Infinite(negative) => f.infinity() | if negative { f.sign() } else { 0 },
        Value::Number(n, negative) => f.encode(&n, mode, negative),
    }
}

/// A NaN of one format in another: the hardware's one, but for two ways that keep sign and payload: the unit of f64, which makes
/// it quiet, and the shift that makes f32 of bf16.
fn nan_to(to: Format, from: Format, code: u64) -> u64 {
    let sign = if code & from.sign() != 0 { to.sign() } else { 0 };
    let fraction = (code & (from.infinity() ^ (from.sign() - 1))) as u128;
    let moved = ((fraction << to.fraction) >> from.fraction) as u64;
    match () {
        () if to == F32 && from == BF16 => sign | to.infinity() | moved,
        () if to == F64 || from == F64 => sign | to.infinity() | moved | 1 << (to.fraction - 1),
        () => to.nan(),
    }
}

pub fn cases() -> Vec<Case> {
    let mut out = vec![];
    for to in &TYPES {
        for from in &TYPES {
            pair(&mut out, to, from);
        }
    }
    flushed(&mut out);
    small_floats::cases(&mut out);
    packed(&mut out);
    moves(&mut out);
    out
}

/// The bits of an 8-bit result that a store of its register shows.
fn as_stored(to: &Type, v: u64) -> u64 {
    match to.ty {
        Ty::Int { signed: true, bits: 8 } => v as u8 as i8 as i32 as u32 as u64,
        Ty::Int { bits: 8, .. } => v & 0xff,
        _ => v,
    }
}

fn pair(out: &mut Vec<Case>, to: &Type, from: &Type) {
    let (k, j) = (to.kind(), from.kind());
    let byte = |ty: &Type| matches!(ty.ty, Ty::Int { bits: 8, .. });
    if byte(to) && from.name == "bf16" || byte(from) && to.name == "bf16" {
        // Registers of 8 bits only, which can be neither loaded nor stored here.
        return;
    }
    let new = to.name == "bf16" || from.name == "bf16";
    let target = if new { Sm90a } else { Sm80 };
    let tuples = product(&[from.values()]);
    let mut add = |text: String, f: &dyn Fn(u64) -> u64| {
        out.push(elementwise(target, &text, &[k], &[j], &tuples, |v| vec![as_stored(to, f(v[0]))]));
    };
    let (t, f) = (to.name, from.name);
    match (to.ty, from.ty) {
        (Ty::Int { bits, .. }, Ty::Int { .. }) => {
            if t == f {
                return;
            }
            let plain = |v: u64| match read(from.ty, v) {
                Value::Number(n, _) => i128::try_from(n.n).unwrap() as u64 & (u64::MAX >> (64 - bits)),
                _ => 0,
            };
            add(format!("cvt.{t}.{f} %d, %a;"), &plain);
            let saturating = |v: u64| match (read(from.ty, v), to.ty) {
                (Value::Number(n, _), Ty::Int { signed, bits }) => clamp(&n.n, signed, bits),
                _ => 0,
            };
            // Where every source fits, ptxas knows no `.sat`.
            let fits = match (to.ty, from.ty) {
                (Ty::Int { signed: s, bits: n }, Ty::Int { signed: r, bits: m }) => {
                    if s == r {
                        n >= m
                    } else {
                        s && n > m
                    }
                }
                _ => false,
            };
            if !fits {
                add(format!("cvt.sat.{t}.{f} %d, %a;"), &saturating);
            }
        }
        (Ty::Int { signed, bits }, Ty::Float(format)) => {
            for (_, mode_name, mode) in ROUND {
                let convert = |v: u64| match read(from.ty, v) {
                    Value::Nan(_) if format == F64 || bits == 64 => 1 << (bits - 1),
                    Value::Nan(_) => 0,
                    Value::Infinite(negative) => clamp(
                        &num_bigint::BigInt::from(if negative { i128::MIN } else { i128::MAX }),
                        signed,
                        bits,
                    ),
                    Value::Number(n, _) => clamp(&integral(&n, mode), signed, bits),
                };
                add(format!("cvt.{mode_name}.{t}.{f} %d, %a;"), &convert);
            }
        }
        (Ty::Float(format), Ty::Int { .. }) => {
            for (mode_name, _, mode) in ROUND {
                add(format!("cvt.{mode_name}.{t}.{f} %d, %a;"), &|v| {
                    to_float(format, read(from.ty, v), mode)
                });
            }
        }
        (Ty::Float(format), Ty::Float(source)) => {
            if format.bits() > source.bits() || format == source {
                if format != source && (format == F64 || format == F32) {
                    add(format!("cvt.{t}.{f} %d, %a;"), &|v| {
                        float_to_float(format, source, v, Mode::Nearest)
                    });
                    return;
                }
                if format != source || format == F64 {
                    return;
                }
                for (_, mode_name, mode) in ROUND {
                    let convert = |v: u64| match read(from.ty, v) {
                        Value::Number(n, negative) => {
                            let whole = Dyadic { n: integral(&n, mode), e: 0 };
                            format.encode(&whole, Mode::Nearest, negative)
                        }
                        other => to_float(format, other, mode),
                    };
                    add(format!("cvt.{mode_name}.{t}.{f} %d, %a;"), &convert);
                }
                return;
            }
            let modes = if format.bits() == 16 && source == F32 { 2 } else { 4 };
            for (mode_name, _, mode) in ROUND.iter().take(modes) {
                add(format!("cvt.{mode_name}.{t}.{f} %d, %a;"), &|v| {
                    float_to_float(format, source, v, *mode)
                });
            }
            if source == F32 && format.bits() == 16 {
                let relu = |v: u64| {
                    let r = to_float(format, read(from.ty, v), Mode::Nearest);
                    if r & format.sign() != 0 { 0 } else { r }
                };
                add(format!("cvt.rn.relu.{t}.{f} %d, %a;"), &relu);
            }
            if source == F32 && format == F16 {
                let ftz = |v: u64| {
                    let v = if v & 0x7f80_0000 == 0 { v & 0x8000_0000 } else { v };
                    to_float(format, read(from.ty, v), Mode::Nearest)
                };
                add(format!("cvt.rn.ftz.{t}.{f} %d, %a;"), &ftz);
                let sat = |v: u64| match read(from.ty, v) {
                    Value::Nan(_) | Value::Infinite(true) => 0,
                    Value::Infinite(false) => 0x3c00,
                    Value::Number(_, true) => 0,
                    other => to_float(F16, other, Mode::Nearest).min(0x3c00),
                };
                add(format!("cvt.rn.sat.{t}.{f} %d, %a;"), &sat);
            }
        }
    }
}

fn float_to_float(to: Format, from: Format, code: u64, mode: Mode) -> u64 {
    match read(Ty::Float(from), code) {
        Value::Nan(code) => nan_to(to, from, code),
        value => to_float(to, value, mode),
    }
}

/// `cvt.ftz.f32.f64` about the least normal number: rounded to 24 bits first, then made zero if less.
fn flushed(out: &mut Vec<Case>) {
    const LEAST: u64 = 0x3810_0000_0000_0000;
    let near =
        [0, 1, 2, 1 << 27, (1 << 28) - 1, 1 << 28, (1 << 28) + 1, 1 << 29, (1 << 29) + 1, 1 << 30, 3 << 29];
    let sizes = near.iter().map(|n| LEAST - n).chain([LEAST + 1, 0x3690_0000_0000_0000, 0, F64.infinity()]);
    let values: Vec<u64> = sizes.flat_map(|v| [v, v | F64.sign()]).collect();
    let wide = Format { exponent: 9, fraction: 23 };
    for (mode_name, _, mode) in ROUND {
        // What fits 24 bits exactly is flushed when it is rounded away from zero, by the rule; not by the code that ptxas makes.
        let exact = |v: u64| v & (F64.sign() - 1) == LEAST - (1 << 29);
        let away = |v: u64| if v & F64.sign() != 0 { mode == Mode::Down } else { mode == Mode::Up };
        let some: Vec<Vec<u64>> =
            values.iter().filter(|&&v| !(exact(v) && away(v))).map(|&v| vec![v]).collect();
        out.push(elementwise(
            Sm80,
            &format!("cvt.{mode_name}.ftz.f32.f64 %d, %a;"),
            &[R],
            &[X],
            &some,
            |v| {
                let code = to_float(wide, read(Ty::Float(F64), v[0]), mode);
                let least = F32.number(1 << 23);
                let tiny = wide.finite(code) && wide.number(code).abs().compare(&least).is_lt();
                let sign = if v[0] & F64.sign() != 0 { F32.sign() } else { 0 };
                vec![if tiny { sign } else { to_float(F32, read(Ty::Float(F64), v[0]), mode) }]
            },
        ));
    }
}

fn packed(out: &mut Vec<Case>) {
    let pairs = mixed(&[&F32S, &F32S], 200);
    for (name, format) in [("f16x2", F16), ("bf16x2", BF16)] {
        for (mode_name, _, mode) in ROUND.iter().take(2) {
            for relu in [false, true] {
                let text =
                    format!("cvt.{mode_name}{}.{name}.f32 %d, %a, %b;", if relu { ".relu" } else { "" });
                out.push(elementwise(Sm80, &text, &[R], &[R, R], &pairs, |v| {
                    let one = |v: u64| {
                        let r = to_float(format, read(Ty::Float(F32), v), *mode);
                        if relu && r & format.sign() != 0 { 0 } else { r }
                    };
                    vec![one(v[0]) << 16 | one(v[1])]
                }));
            }
        }
        let text = format!("cvt.rn.satfinite.{name}.f32 %d, %a, %b;");
        out.push(elementwise(Sm100a, &text, &[R], &[R, R], &pairs, |v| {
            let one = |v: u64| {
                let r = to_float(format, read(Ty::Float(F32), v), Mode::Nearest);
                let infinite = r & (format.sign() - 1) == format.infinity();
                if infinite { r & format.sign() | (format.infinity() - 1) } else { r }
            };
            vec![one(v[0]) << 16 | one(v[1])]
        }));
    }
    let ones = product(&[&F32S]);
    let tf32 = |mode| move |v: &[u64]| vec![to_float(TF32, read(Ty::Float(F32), v[0]), mode) << 13];
    // Ties away from zero are rounded by an integer sum; NaN is only cut off, which may make it infinity.
    out.push(elementwise(Sm80, "cvt.rna.tf32.f32 %d, %a;", &[R], &[R], &ones, |v| {
        match read(Ty::Float(F32), v[0]) {
            Value::Nan(code) => vec![code & 0xffff_e000],
            _ => tf32(Mode::Away)(v),
        }
    }));
    out.push(elementwise(Sm90a, "cvt.rn.tf32.f32 %d, %a;", &[R], &[R], &ones, tf32(Mode::Nearest)));
    out.push(elementwise(Sm90a, "cvt.rz.tf32.f32 %d, %a;", &[R], &[R], &ones, tf32(Mode::Zero)));
    let words = [
        0u64,
        1,
        0x7f,
        0x80,
        0xffff_ff80,
        0xffff_ff7f,
        0x7fff,
        0x8000,
        0xffff_8000,
        0x7fff_ffff,
        0x8000_0000,
        3,
    ];
    for (name, signed, bits) in [
        ("u16", false, 16),
        ("s16", true, 16),
        ("u8", false, 8),
        ("s8", true, 8),
        ("u4", false, 4),
        ("s4", true, 4),
        ("u2", false, 2),
        ("s2", true, 2),
    ] {
        let one = move |v: u64| {
            let v = v as u32 as i32 as i64;
            let (lo, hi) =
                if signed { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1i64 << bits) - 1) };
            v.clamp(lo, hi) as u64 & ((1 << bits) - 1)
        };
        if bits == 16 {
            let text = format!("cvt.pack.sat.{name}.s32 %d, %a, %b;");
            out.push(elementwise(Sm80, &text, &[R], &[R, R], &product(&[&words, &words]), |v| {
                vec![one(v[0]) << 16 | one(v[1])]
            }));
        } else {
            let text = format!("cvt.pack.sat.{name}.s32.b32 %d, %a, %b, %c;");
            let triples = mixed(&[&words, &words, &[0x1234_5678, 0xffff_ffff, 0]], 160);
            out.push(elementwise(Sm80, &text, &[R], &[R, R, R], &triples, |v| {
                vec![v[2] << (2 * bits) | one(v[0]) << bits | one(v[1])]
            }));
        }
    }
}

fn moves(out: &mut Vec<Case>) {
    let words = [0x0123_4567_89ab_cdefu64, 0xfedc_ba98_7654_3210];
    let pairs = product(&[&words, &words]);
    let low = |v: u64, bits: u32| v & ((1u64 << bits) - 1);
    out.push(elementwise(Sm80, "mov.b64 %d, {%a, %b};", &[X], &[R, R], &pairs, |v| {
        vec![low(v[0], 32) | v[1] << 32]
    }));
    out.push(elementwise(Sm80, "mov.b32 %d, {%a, %b};", &[R], &[H, H], &pairs, |v| {
        vec![low(v[0], 16) | v[1] << 16]
    }));
    out.push(elementwise(Sm80, "mov.b64 {%d, %q}, %a;", &[R, R], &[X], &product(&[&words]), |v| {
        vec![v[0], v[0] >> 32]
    }));
    out.push(elementwise(Sm80, "mov.b32 {%d, %q}, %a;", &[H, H], &[R], &product(&[&words]), |v| {
        vec![v[0], v[0] >> 16]
    }));
    out.push(elementwise(Sm80, "mov.b64 {%h1, %d, _, %q}, %a;", &[H, H], &[X], &product(&[&words]), |v| {
        vec![v[0] >> 16, v[0] >> 48]
    }));
    out.push(elementwise(Sm80, "mov.b64 %d, {%a, %b, %b, %a};", &[X], &[H, H], &pairs, |v| {
        let (x, y) = (low(v[0], 16), low(v[1], 16));
        vec![x | y << 16 | y << 32 | x << 48]
    }));
    let text = "{ .reg .b8 t0, t1, t2, t3; mov.b32 {t0, t1, t2, t3}, %a; mov.b32 %d, {t3, t0, t2, t1}; }";
    out.push(elementwise(Sm80, text, &[R], &[R], &product(&[&words]), |v| {
        let byte = |n: u32| v[0] >> (8 * n) & 0xff;
        vec![byte(3) | byte(0) << 8 | byte(2) << 16 | byte(1) << 24]
    }));
    let text = "{ .reg .b128 t; mov.b128 t, {%a, %b}; mov.b128 {%q, %d}, t; }";
    out.push(elementwise(Sm90a, text, &[X, X], &[X, X], &pairs, |v| vec![v[1], v[0]]));
    out.push(elementwise(
        Sm80,
        "mov.b32 %d, {%h0, 7}; mov.u32 %d, 0x10|3;",
        &[R],
        &[R],
        &product(&[&words]),
        |_| vec![0x13],
    ));
}
