//! `setp`, `set`, `selp`, `slct`, `testp`.

use super::{
    case::{Case, Target::*},
    elementwise::*,
};
use half::{bf16, f16};
use std::cmp::Ordering;

const F32S: [u64; 9] =
    [0, 0x8000_0000, 1, 0x3f80_0000, 0xbf80_0000, 0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0xffc0_0001];
const F64S: [u64; 7] = [
    0,
    0x8000_0000_0000_0000,
    1,
    0x3ff0_0000_0000_0000,
    0xbff0_0000_0000_0000,
    0x7ff0_0000_0000_0000,
    0x7ff8_0000_0000_0000,
];
const F16S: [u64; 7] = [0, 0x8000, 1, 0x3c00, 0xbc00, 0x7c00, 0x7e00];
const BF16S: [u64; 7] = [0, 0x8000, 1, 0x3f80, 0xbf80, 0x7f80, 0x7fc0];
const INTS: [u64; 6] = [0, 1, 0x7fff_ffff_ffff_ffff, 0x8000_0000_0000_0000, u64::MAX, 0x7fff_8000_7fff_8000];

/// What a comparison says of an order, or of none.
fn holds(name: &str, order: Option<Ordering>) -> bool {
    let Some(order) = order else {
        return matches!(name, "equ" | "neu" | "ltu" | "leu" | "gtu" | "geu" | "nan");
    };
    match name.trim_end_matches('u') {
        "eq" | "eq_" => order.is_eq(),
        "ne" => order.is_ne(),
        "lt" | "lo" => order.is_lt(),
        "le" | "ls" => order.is_le(),
        "gt" | "hi" => order.is_gt(),
        "ge" | "hs" => order.is_ge(),
        "num" => true,
        _ => false,
    }
}

const ORDERED: [&str; 6] = ["eq", "ne", "lt", "le", "gt", "ge"];
const UNORDERED: [&str; 8] = ["equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"];
const UNSIGNED: [&str; 4] = ["lo", "ls", "hi", "hs"];

fn float_order(ty: &str, x: u64, y: u64) -> Option<Ordering> {
    let number = |v: u64| match ty {
        "f16" => f16::from_bits(v as u16).to_f64(),
        "bf16" => bf16::from_bits(v as u16).to_f64(),
        "f32" => f32::from_bits(v as u32) as f64,
        _ => f64::from_bits(v),
    };
    number(x).partial_cmp(&number(y))
}

fn int_order(ty: &str, x: u64, y: u64) -> Ordering {
    let bits: u32 = ty[1..].parse().unwrap();
    let signed = ty.starts_with('s');
    let value = |v: u64| {
        let shift = 64 - bits;
        if signed { ((v << shift) as i64 >> shift) as i128 } else { (v << shift >> shift) as i128 }
    };
    value(x).cmp(&value(y))
}

pub fn cases() -> Vec<Case> {
    let mut out = vec![];
    for (ty, k, values) in [("f16", H, &F16S[..]), ("bf16", H, &BF16S), ("f32", R, &F32S), ("f64", X, &F64S)]
    {
        let target = if ty == "bf16" { Sm90a } else { Sm80 };
        for name in ORDERED.iter().chain(&UNORDERED) {
            // The second predicate of halves is that of the upper one, in packed forms only.
            let both = k != H;
            let (text, kinds) = if both { ("%d|%q", &[P, P][..]) } else { ("%d", &[P][..]) };
            let text = format!("setp.{name}.{ty} {text}, %a, %b;");
            out.push(elementwise(target, &text, kinds, &[k, k], &product(&[values, values]), |v| {
                let p = holds(name, float_order(ty, v[0], v[1]));
                vec![p as u64, !p as u64]
            }));
        }
    }
    for ty in ["s16", "u16", "s32", "u32", "s64", "u64"] {
        let k = match &ty[1..] {
            "16" => H,
            "32" => R,
            _ => X,
        };
        let names: Vec<&str> =
            ORDERED.iter().chain(if ty.starts_with('u') { &UNSIGNED[..] } else { &[] }).copied().collect();
        for name in names {
            let text = format!("setp.{name}.{ty} %d, %a, %b;");
            out.push(elementwise(Sm80, &text, &[P], &[k, k], &product(&[&INTS, &INTS]), |v| {
                vec![holds(name, Some(int_order(ty, v[0], v[1]))) as u64]
            }));
        }
    }
    combined(&mut out);
    sets(&mut out);
    classes(&mut out);
    out
}

fn combined(out: &mut Vec<Case>) {
    let tuples = product(&[&[1, 2], &[1, 2], &[0, 1]]);
    type Join = fn(bool, bool) -> bool;
    let joins: [(&str, Join); 3] = [("and", |x, y| x && y), ("or", |x, y| x || y), ("xor", |x, y| x != y)];
    for (name, join) in joins {
        for (negate, not) in [("", false), ("!", true)] {
            let text = format!("setp.lt.{name}.s32 %d|%q, %a, %b, {negate}%c;");
            out.push(elementwise(Sm80, &text, &[P, P], &[R, R, P], &tuples, |v| {
                let (hit, c) = (v[0] < v[1], (v[2] == 1) != not);
                vec![join(hit, c) as u64, join(!hit, c) as u64]
            }));
        }
    }
    out.push(elementwise(
        Sm80,
        "setp.lt.ftz.f32 %d, %a, %b;",
        &[P],
        &[R, R],
        &product(&[&F32S, &F32S]),
        |v| {
            let flush = |v: u64| if v & 0x7f80_0000 == 0 { v & 0x8000_0000 } else { v };
            vec![holds("lt", float_order("f32", flush(v[0]), flush(v[1]))) as u64]
        },
    ));
    // Packed: one predicate for each half.
    let words: Vec<u64> = F16S.iter().zip(F16S.iter().rev()).map(|(x, y)| x | y << 16).collect();
    out.push(elementwise(
        Sm80,
        "setp.le.f16x2 %d|%q, %a, %b;",
        &[P, P],
        &[R, R],
        &product(&[&words, &words]),
        |v| {
            let half =
                |n: u32| holds("le", float_order("f16", v[0] >> n & 0xffff, v[1] >> n & 0xffff)) as u64;
            vec![half(0), half(16)]
        },
    ));
    // Logic of predicates.
    let (ones, pairs) = (product(&[&[0, 1]]), product(&[&[0, 1], &[0, 1]]));
    type Two = fn(u64, u64) -> u64;
    let ops: [(&str, Two); 3] = [("and", |x, y| x & y), ("or", |x, y| x | y), ("xor", |x, y| x ^ y)];
    for (name, f) in ops {
        let text = format!("{name}.pred %d, %a, %b;");
        out.push(elementwise(Sm80, &text, &[P], &[P, P], &pairs, |v| vec![f(v[0], v[1])]));
    }
    out.push(elementwise(Sm80, "not.pred %d, %a;", &[P], &[P], &ones, |v| vec![1 - v[0]]));
    out.push(elementwise(Sm80, "mov.pred %d, %a;", &[P], &[P], &ones, |v| vec![v[0]]));
}

fn sets(out: &mut Vec<Case>) {
    let pairs = product(&[&F32S, &F32S]);
    for (ty, one) in [("u32", 0xffff_ffff), ("s32", 0xffff_ffff), ("f32", 0x3f80_0000)] {
        for name in ["lt", "geu"] {
            let text = format!("set.{name}.{ty}.f32 %d, %a, %b;");
            out.push(elementwise(Sm80, &text, &[R], &[R, R], &pairs, |v| {
                vec![if holds(name, float_order("f32", v[0], v[1])) { one } else { 0 }]
            }));
        }
    }
    let tuples = product(&[&[1, 2], &[1, 2], &[0, 1]]);
    out.push(elementwise(Sm80, "set.eq.xor.u32.s32 %d, %a, %b, %c;", &[R], &[R, R, P], &tuples, |v| {
        vec![if (v[0] == v[1]) != (v[2] == 1) { 0xffff_ffff } else { 0 }]
    }));
    let words: Vec<u64> = F16S.iter().zip(F16S.iter().rev()).map(|(x, y)| x | y << 16).collect();
    out.push(elementwise(
        Sm80,
        "set.ge.f16x2.f16x2 %d, %a, %b;",
        &[R],
        &[R, R],
        &product(&[&words, &words]),
        |v| {
            let half = |n: u32| {
                let hit = holds("ge", float_order("f16", v[0] >> n & 0xffff, v[1] >> n & 0xffff));
                (if hit { 0x3c00 } else { 0 }) << n
            };
            vec![half(0) | half(16)]
        },
    ));
    for (bits, k) in [(16, H), (32, R), (64, X)] {
        let tuples = product(&[&INTS, &INTS[..3], &[0, 1]]);
        let text = format!("selp.b{bits} %d, %a, %b, %c;");
        out.push(elementwise(Sm80, &text, &[k], &[k, k, P], &tuples, |v| {
            vec![if v[2] == 1 { v[0] } else { v[1] }]
        }));
        let signs = [0, 1, 0x8000_0000, 0xffff_ffff, 0x7fff_ffff];
        let tuples = product(&[&INTS[1..3], &INTS[3..5], &signs]);
        let text = format!("slct.b{bits}.s32 %d, %a, %b, %c;");
        out.push(elementwise(Sm80, &text, &[k], &[k, k, R], &tuples, |v| {
            vec![if v[2] as u32 as i32 >= 0 { v[0] } else { v[1] }]
        }));
        let tuples = product(&[&INTS[1..3], &INTS[3..5], &F32S]);
        let text = format!("slct.b{bits}.f32 %d, %a, %b, %c;");
        out.push(elementwise(Sm80, &text, &[k], &[k, k, R], &tuples, |v| {
            vec![if f32::from_bits(v[2] as u32) >= 0.0 { v[0] } else { v[1] }]
        }));
    }
}

fn classes(out: &mut Vec<Case>) {
    let more = [0x007f_ffff, 0x0080_0000, 0x7f7f_ffff, 0x7f80_0001, 0x807f_ffff];
    let all: Vec<u64> = F32S.iter().chain(&more).copied().collect();
    type Class = fn(std::num::FpCategory) -> bool;
    use std::num::FpCategory::*;
    let classes: [(&str, Class); 6] = [
        ("finite", |c| matches!(c, Zero | Subnormal | Normal)),
        ("infinite", |c| c == Infinite),
        ("number", |c| c != Nan),
        ("notanumber", |c| c == Nan),
        // Zeros, too, whatever the ISA's words suggest.
        ("normal", |c| matches!(c, Normal | Zero)),
        ("subnormal", |c| c == Subnormal),
    ];
    for (name, class) in classes {
        let text = format!("testp.{name}.f32 %d, %a;");
        out.push(elementwise(Sm80, &text, &[P], &[R], &product(&[&all]), |v| {
            vec![class(f32::from_bits(v[0] as u32).classify()) as u64]
        }));
        let text = format!("testp.{name}.f64 %d, %a;");
        out.push(elementwise(Sm80, &text, &[P], &[X], &product(&[&F64S]), |v| {
            vec![class(f64::from_bits(v[0]).classify()) as u64]
        }));
    }
}
