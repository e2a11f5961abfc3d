//! Integer arithmetic, logic, shifts, bit fields, byte permutations, carries.

use super::{
    case::{Case, Target::*},
    elementwise::*,
};

const EDGES16: [u64; 9] = [0, 1, 2, 0x7f, 0x80, 0x7fff, 0x8000, 0xfffe, 0xffff];
const EDGES32: [u64; 14] = [
    0,
    1,
    2,
    3,
    31,
    32,
    33,
    0xff,
    0x7fff_ffff,
    0x8000_0000,
    0x8000_0001,
    0xffff_fffe,
    0xffff_ffff,
    0x1234_5678,
];
const EDGES64: [u64; 13] = [
    0,
    1,
    3,
    63,
    64,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0x8000_0000_0000_0001,
    u64::MAX,
    u64::MAX - 1,
    0x0123_4567_89ab_cdef,
];
const AMOUNTS: [u64; 9] = [0, 1, 5, 16, 31, 32, 33, 63, 200];
const PLACES: [u64; 14] = [0, 1, 5, 16, 31, 32, 33, 63, 64, 200, 256, 257, 0x8000_0000, 0xffff_ffff];
const LENGTHS: [u64; 12] = [0, 1, 8, 31, 32, 63, 64, 255, 256, 264, 0x8000_0001, 0xffff_ffff];

fn edges(bits: u32) -> &'static [u64] {
    match bits {
        16 => &EDGES16,
        32 => &EDGES32,
        _ => &EDGES64,
    }
}

fn kind(bits: u32) -> Kind {
    match bits {
        16 => H,
        32 => R,
        _ => X,
    }
}

/// The value of bits as a type sees them.
fn value(v: u64, bits: u32, signed: bool) -> i128 {
    let v = v as u128 & ((1u128 << bits) - 1);
    if signed && v >> (bits - 1) == 1 { v as i128 - (1i128 << bits) } else { v as i128 }
}

pub fn cases() -> Vec<Case> {
    let mut out = vec![];
    arithmetic(&mut out);
    logic(&mut out);
    shifts_and_fields(&mut out);
    bytes(&mut out);
    special(&mut out);
    carries(&mut out);
    out
}

fn arithmetic(out: &mut Vec<Case>) {
    type Two = fn(i128, i128) -> i128;
    const TWO: [(&str, Two); 6] = [
        ("add", |x, y| x + y),
        ("sub", |x, y| x - y),
        ("mul.lo", |x, y| x.wrapping_mul(y)),
        ("min", |x, y| x.min(y)),
        ("max", |x, y| x.max(y)),
        ("sad", |x, y| (x - y).abs()),
    ];
    for bits in [16u32, 32, 64] {
        for signed in [false, true] {
            let ty = format!("{}{bits}", if signed { 's' } else { 'u' });
            let k = kind(bits);
            let pairs = product(&[edges(bits), edges(bits)]);
            let read = move |v: u64| value(v, bits, signed);
            for (name, f) in TWO {
                if name == "sad" {
                    let text = format!("sad.{ty} %d, %a, %b, %c;");
                    let triples = mixed(&[edges(bits), edges(bits), edges(bits)], 160);
                    out.push(elementwise(Sm80, &text, &[k], &[k, k, k], &triples, |v| {
                        vec![(f(read(v[0]), read(v[1])) + read(v[2])) as u64]
                    }));
                    continue;
                }
                out.push(elementwise(
                    Sm80,
                    &format!("{name}.{ty} %d, %a, %b;"),
                    &[k],
                    &[k, k],
                    &pairs,
                    |v| vec![f(read(v[0]), read(v[1])) as u64],
                ));
            }
            // Quotients where they are defined: no zero divisor, no overflow.
            let defined: Vec<Vec<u64>> = pairs
                .iter()
                .filter(|v| read(v[1]) != 0 && !(signed && read(v[1]) == -1 && v[0] == 1 << (bits - 1)))
                .cloned()
                .collect();
            out.push(elementwise(Sm80, &format!("div.{ty} %d, %a, %b;"), &[k], &[k, k], &defined, |v| {
                vec![(read(v[0]) / read(v[1])) as u64]
            }));
            out.push(elementwise(Sm80, &format!("rem.{ty} %d, %a, %b;"), &[k], &[k, k], &defined, |v| {
                vec![(read(v[0]) % read(v[1])) as u64]
            }));
            let triples = mixed(&[edges(bits), edges(bits), edges(bits)], 192);
            let high = move |v: &[u64]| match signed {
                true => (read(v[0]) * read(v[1])) >> bits,
                false => ((read(v[0]) as u128 * read(v[1]) as u128) >> bits) as i128,
            };
            out.push(elementwise(Sm80, &format!("mul.hi.{ty} %d, %a, %b;"), &[k], &[k, k], &pairs, |v| {
                vec![high(v) as u64]
            }));
            out.push(elementwise(
                Sm80,
                &format!("mad.lo.{ty} %d, %a, %b, %c;"),
                &[k],
                &[k, k, k],
                &triples,
                |v| vec![read(v[0]).wrapping_mul(read(v[1])).wrapping_add(read(v[2])) as u64],
            ));
            out.push(elementwise(
                Sm80,
                &format!("mad.hi.{ty} %d, %a, %b, %c;"),
                &[k],
                &[k, k, k],
                &triples,
                |v| vec![(high(v) + read(v[2])) as u64],
            ));
            if bits < 64 {
                let wide = kind(2 * bits);
                let text = format!("mul.wide.{ty} %d, %a, %b;");
                out.push(elementwise(Sm80, &text, &[wide], &[k, k], &pairs, |v| {
                    vec![(read(v[0]) * read(v[1])) as u64]
                }));
                let triples = mixed(&[edges(bits), edges(bits), edges(2 * bits)], 128);
                let text = format!("mad.wide.{ty} %d, %a, %b, %c;");
                out.push(elementwise(Sm80, &text, &[wide], &[k, k, wide], &triples, |v| {
                    vec![(read(v[0]) * read(v[1]) + value(v[2], 2 * bits, signed)) as u64]
                }));
            }
            if signed {
                let ones = product(&[edges(bits)]);
                out.push(elementwise(Sm80, &format!("abs.{ty} %d, %a;"), &[k], &[k], &ones, |v| {
                    vec![read(v[0]).unsigned_abs() as u64]
                }));
                out.push(elementwise(Sm80, &format!("neg.{ty} %d, %a;"), &[k], &[k], &ones, |v| {
                    vec![-read(v[0]) as u64]
                }));
            }
        }
    }
    let limit = |v: i128| v.clamp(i32::MIN as i128, i32::MAX as i128) as u64;
    let s32 = |v: u64| value(v, 32, true);
    let pairs = product(&[&EDGES32, &EDGES32]);
    out.push(elementwise(Sm80, "add.sat.s32 %d, %a, %b;", &[R], &[R, R], &pairs, |v| {
        vec![limit(s32(v[0]) + s32(v[1]))]
    }));
    out.push(elementwise(Sm80, "sub.sat.s32 %d, %a, %b;", &[R], &[R, R], &pairs, |v| {
        vec![limit(s32(v[0]) - s32(v[1]))]
    }));
    let triples = mixed(&[&EDGES32, &EDGES32, &EDGES32], 192);
    out.push(elementwise(Sm80, "mad.hi.sat.s32 %d, %a, %b, %c;", &[R], &[R, R, R], &triples, |v| {
        vec![limit(((s32(v[0]) * s32(v[1])) >> 32) + s32(v[2]))]
    }));
    for (text, greatest) in [("min.relu.s32 %d, %a, %b;", false), ("max.relu.s32 %d, %a, %b;", true)] {
        out.push(elementwise(Sm90a, text, &[R], &[R, R], &pairs, |v| {
            let (x, y) = (s32(v[0]), s32(v[1]));
            vec![(if greatest { x.max(y) } else { x.min(y) }).max(0) as u64]
        }));
    }
    for (signed, ty) in [(true, "s32"), (false, "u32")] {
        let low = move |v: u64| value(v & 0xff_ffff, 24, signed);
        for (mode, shift) in [("lo", 0), ("hi", 16)] {
            let text = format!("mul24.{mode}.{ty} %d, %a, %b;");
            out.push(elementwise(Sm80, &text, &[R], &[R, R], &pairs, |v| {
                vec![((low(v[0]) * low(v[1])) >> shift) as u64]
            }));
            let text = format!("mad24.{mode}.{ty} %d, %a, %b, %c;");
            out.push(elementwise(Sm80, &text, &[R], &[R, R, R], &triples, |v| {
                vec![(((low(v[0]) * low(v[1])) >> shift) + value(v[2], 32, signed)) as u64]
            }));
        }
    }
    let low = |v: u64| value(v & 0xff_ffff, 24, true);
    out.push(elementwise(Sm80, "mad24.hi.sat.s32 %d, %a, %b, %c;", &[R], &[R, R, R], &triples, |v| {
        vec![limit(((low(v[0]) * low(v[1])) >> 16) as i32 as i128 + s32(v[2]))]
    }));
    packed(out, &pairs);
}

fn packed(out: &mut Vec<Case>, pairs: &[Vec<u64>]) {
    type Two = fn(i128, i128) -> i128;
    let ops: [(&str, Two); 3] = [("add", |x, y| x + y), ("min", |x, y| x.min(y)), ("max", |x, y| x.max(y))];
    for (name, f) in ops {
        for (signed, ty) in [(true, "s16x2"), (false, "u16x2")] {
            for relu in [false, true] {
                if relu && (!signed || name == "add") {
                    continue;
                }
                let half = move |x: u64, y: u64, shift: u32| {
                    let at = |v: u64| value(v >> shift, 16, signed);
                    let r = f(at(x), at(y));
                    ((if relu { r.max(0) } else { r }) as u64 & 0xffff) << shift
                };
                let text = format!("{name}{}.{ty} %d, %a, %b;", if relu { ".relu" } else { "" });
                out.push(elementwise(Sm90a, &text, &[R], &[R, R], pairs, |v| {
                    vec![half(v[0], v[1], 0) | half(v[0], v[1], 16)]
                }));
            }
        }
    }
}

fn logic(out: &mut Vec<Case>) {
    for bits in [16u32, 32, 64] {
        let k = kind(bits);
        let pairs = product(&[edges(bits), edges(bits)]);
        type Two = fn(u64, u64) -> u64;
        let ops: [(&str, Two); 3] = [("and", |x, y| x & y), ("or", |x, y| x | y), ("xor", |x, y| x ^ y)];
        for (name, f) in ops {
            let text = format!("{name}.b{bits} %d, %a, %b;");
            out.push(elementwise(Sm80, &text, &[k], &[k, k], &pairs, |v| vec![f(v[0], v[1])]));
        }
        let ones = product(&[edges(bits)]);
        out.push(elementwise(Sm80, &format!("not.b{bits} %d, %a;"), &[k], &[k], &ones, |v| vec![!v[0]]));
        out.push(elementwise(Sm80, &format!("cnot.b{bits} %d, %a;"), &[k], &[k], &ones, |v| {
            vec![(v[0] == 0) as u64]
        }));
    }
    let triples = mixed(&[&EDGES32, &EDGES32, &EDGES32], 96);
    let table = |lut: u32, v: &[u64]| {
        (0..32).fold(0u64, |out, n| {
            let bit = |v: u64| (v >> n & 1) as u32;
            out | ((lut >> (bit(v[0]) << 2 | bit(v[1]) << 1 | bit(v[2])) & 1) as u64) << n
        })
    };
    for lut in [0x00, 0xff, 0x96, 0xe8, 0xca, 0x1b, 0x80, 0x01, 0xf0, 0xaa] {
        let text = format!("lop3.b32 %d, %a, %b, %c, {lut:#x};");
        out.push(elementwise(Sm80, &text, &[R], &[R, R, R], &triples, |v| vec![table(lut, v)]));
    }
    let with_pred: Vec<Vec<u64>> =
        triples.iter().enumerate().map(|(n, t)| [&t[..], &[n as u64 & 1]].concat()).collect();
    for (name, any) in [("or", true), ("and", false)] {
        let text = format!("lop3.{name}.b32 %d|%q, %a, %b, %c, 0x88, %e;");
        out.push(elementwise(Sm80, &text, &[R, P], &[R, R, R, P], &with_pred, |v| {
            let d = table(0x88, v);
            let (p, q) = (d != 0, v[3] == 1);
            vec![d, (if any { p || q } else { p && q }) as u64]
        }));
    }
}

fn shifts_and_fields(out: &mut Vec<Case>) {
    for bits in [16u32, 32, 64] {
        let k = kind(bits);
        let pairs = product(&[edges(bits), &AMOUNTS]);
        out.push(elementwise(Sm80, &format!("shl.b{bits} %d, %a, %b;"), &[k], &[k, R], &pairs, |v| {
            vec![if v[1] < bits as u64 { v[0] << v[1] } else { 0 }]
        }));
        for (ty, signed) in [("u", false), ("s", true)] {
            out.push(elementwise(Sm80, &format!("shr.{ty}{bits} %d, %a, %b;"), &[k], &[k, R], &pairs, |v| {
                vec![(value(v[0], bits, signed) >> v[1].min(bits as u64)) as u64]
            }));
        }
    }
    for bits in [32u32, 64] {
        let k = kind(bits);
        let ones = product(&[edges(bits)]);
        let mask = if bits == 64 { u64::MAX } else { 0xffff_ffff };
        // Of a field's place and length the low byte counts, of those of 64-bit fields the whole word.
        let counts = if bits == 64 { 0xffff_ffff } else { 0xff };
        let count = |text: &str, f: &dyn Fn(u64) -> u64| {
            elementwise(Sm80, &format!("{text} %d, %a;"), &[R], &[k], &ones, |v| vec![f(v[0] & mask)])
        };
        out.push(count(&format!("popc.b{bits}"), &|v| v.count_ones() as u64));
        out.push(count(&format!("clz.b{bits}"), &|v| v.leading_zeros() as u64 - (64 - bits as u64)));
        for (ty, signed) in [("u", false), ("s", true)] {
            let find = move |v: u64| {
                let v = if signed && v >> (bits - 1) == 1 { !v & mask } else { v };
                (0..bits as u64).rev().find(|n| v >> n & 1 == 1)
            };
            out.push(count(&format!("bfind.{ty}{bits}"), &|v| find(v).unwrap_or(0xffff_ffff)));
            out.push(count(&format!("bfind.shiftamt.{ty}{bits}"), &|v| {
                find(v).map_or(0xffff_ffff, |at| bits as u64 - 1 - at)
            }));
            // Fields bit by bit, as the ISA writes them.
            let triples = product(&[&edges(bits)[4..], &PLACES, &LENGTHS]);
            let text = format!("bfe.{ty}{bits} %d, %a, %b, %c;");
            out.push(elementwise(Sm80, &text, &[k], &[k, R, R], &triples, |v| {
                let (pos, len, msb) = (v[1] & counts, v[2] & counts, bits as u64 - 1);
                let bit = |n: u64| v[0] >> n & 1;
                let sign = if !signed || len == 0 { 0 } else { bit((pos + len - 1).min(msb)) };
                let at = |n: u64| if n < len && pos + n <= msb { bit(pos + n) } else { sign };
                vec![(0..=msb).fold(0, |r, n| r | at(n) << n)]
            }));
        }
        out.push(elementwise(Sm80, &format!("brev.b{bits} %d, %a;"), &[k], &[k], &ones, |v| {
            vec![(0..bits).fold(0, |r, n| r | (v[0] >> n & 1) << (bits - 1 - n))]
        }));
        let quads = mixed(&[edges(bits), edges(bits), &PLACES, &LENGTHS], 640);
        out.push(elementwise(
            Sm80,
            &format!("bfi.b{bits} %d, %a, %b, %c, %e;"),
            &[k],
            &[k, k, R, R],
            &quads,
            |v| {
                let (pos, len) = (v[2] & counts, (v[3] & counts).min(64));
                let field = (0..len).filter(|n| pos + n < bits as u64);
                vec![field.fold(v[1], |r, n| r & !(1 << (pos + n)) | (v[0] >> n & 1) << (pos + n))]
            },
        ));
    }
    out.push(elementwise(
        Sm80,
        "bfi.b32 %d, %a, %b, 4, 12;",
        &[R],
        &[R, R],
        &product(&[&EDGES32, &EDGES32]),
        |v| vec![v[1] & !0xfff0 | (v[0] & 0xfff) << 4],
    ));
    let triples = mixed(&[&EDGES32, &EDGES32, &AMOUNTS], 160);
    for (name, left, wrap) in
        [("l.wrap", true, true), ("l.clamp", true, false), ("r.wrap", false, true), ("r.clamp", false, false)]
    {
        let text = format!("shf.{name}.b32 %d, %a, %b, %c;");
        out.push(elementwise(Sm80, &text, &[R], &[R, R, R], &triples, |v| {
            let n = if wrap { v[2] & 31 } else { v[2].min(32) };
            let both = (v[1] as u128) << 32 | v[0] as u128;
            vec![if left { (both << n >> 32) as u64 } else { (both >> n) as u64 }]
        }));
    }
}

fn bytes(out: &mut Vec<Case>) {
    let selectors = [0x3210, 0x7654, 0x0123, 0xfedc, 0x8888, 0x5140, 0xb3a2, 0, 3, 0xffff_0001];
    let triples = product(&[&[0x4433_2281, 0x80ff_7f01], &[0x8877_66f5, 0x0102_0304], &selectors]);
    let byte = |v: &[u64], n: u64| (v[0] | v[1] << 32) >> (8 * n) & 0xff;
    out.push(elementwise(Sm80, "prmt.b32 %d, %a, %b, %c;", &[R], &[R, R, R], &triples, |v| {
        let pick = |n: u64| {
            let s = v[2] >> (4 * n) & 0xf;
            let b = byte(v, s & 7);
            if s & 8 != 0 { (b >> 7) * 0xff } else { b }
        };
        vec![(0..4).fold(0, |r, n| r | pick(n) << (8 * n))]
    }));
    type Mode = fn(u64, u64) -> u64;
    // Which byte goes to place n for the choice c.
    let modes: [(&str, Mode); 6] = [
        ("f4e", |c, n| c + n),
        ("b4e", |c, n| (c + 8 - n) % 8),
        ("rc8", |c, _| c),
        ("ecl", |c, n| n.max(c)),
        ("ecr", |c, n| n.min(c)),
        ("rc16", |c, n| (c & 1) * 2 + (n & 1)),
    ];
    for (name, place) in modes {
        let triples = product(&[&[0x4433_2211], &[0x8877_6655], &[0, 1, 2, 3, 7]]);
        let text = format!("prmt.b32.{name} %d, %a, %b, %c;");
        out.push(elementwise(Sm80, &text, &[R], &[R, R, R], &triples, |v| {
            vec![(0..4).fold(0, |r, n| r | byte(v, place(v[2] & 3, n)) << (8 * n))]
        }));
    }
    let words = [0x0102_0304, 0xff80_7f01, 0x8000_7fff, 0xffff_ffff, 0x7f7f_7f7f, 0];
    let triples = product(&[&words, &words, &[0, 5, 0x7fff_ffff, 0xffff_ffff]]);
    let part = |w: u64, bits: u32, n: u32, signed: bool| value(w >> (bits * n), bits, signed);
    for (p, ps) in [("u32", false), ("s32", true)] {
        for (q, qs) in [("u32", false), ("s32", true)] {
            let text = format!("dp4a.{p}.{q} %d, %a, %b, %c;");
            out.push(elementwise(Sm80, &text, &[R], &[R, R, R], &triples, |v| {
                let sum: i128 = (0..4).map(|n| part(v[0], 8, n, ps) * part(v[1], 8, n, qs)).sum();
                vec![(sum + v[2] as i128) as u64]
            }));
            for (mode, from) in [("lo", 0), ("hi", 2)] {
                let text = format!("dp2a.{mode}.{p}.{q} %d, %a, %b, %c;");
                out.push(elementwise(Sm80, &text, &[R], &[R, R, R], &triples, |v| {
                    let sum: i128 = (0..2).map(|n| part(v[0], 16, n, ps) * part(v[1], 8, n + from, qs)).sum();
                    vec![(sum + v[2] as i128) as u64]
                }));
            }
        }
    }
}

fn special(out: &mut Vec<Case>) {
    let pairs = product(&[&[0, 1, 5, 31, 32, 40, 0xffff_ffff], &[0, 1, 8, 31, 32, 33, 64]]);
    for (mode, clamp) in [("wrap", false), ("clamp", true)] {
        out.push(elementwise(Sm80, &format!("bmsk.{mode}.b32 %d, %a, %b;"), &[R], &[R, R], &pairs, |v| {
            let (start, width) = (v[0] & 31, v[1] & 31);
            if clamp && v[0] >= 32 {
                return vec![0];
            }
            let full = clamp && v[1] >= 32;
            vec![(0..32).filter(|n| *n >= start && (full || *n < start + width)).fold(0, |r, n| r | 1 << n)]
        }));
        for (ty, signed) in [("s32", true), ("u32", false)] {
            let pairs = product(&[&EDGES32, &[0, 1, 8, 31, 32, 33, 200]]);
            out.push(elementwise(
                Sm80,
                &format!("szext.{mode}.{ty} %d, %a, %b;"),
                &[R],
                &[R, R],
                &pairs,
                |v| {
                    let n = v[1] & 31;
                    vec![match () {
                        () if clamp && v[1] >= 32 => v[0],
                        () if n == 0 => 0,
                        () => value(v[0], n as u32, signed) as u64,
                    }]
                },
            ));
        }
    }
    let offsets = [0, 1, 2, 3, 5, 0xffff_ffff, 0xffff_fffe, 0xffff_fffb];
    let triples =
        product(&[&[0xaaaa_aaaa, 0x8000_0001, 0, 0xffff_ffff, 0x00f0_0f00], &[0, 2, 3, 15, 31], &offsets]);
    out.push(elementwise(Sm80, "fns.b32 %d, %a, %b, %c;", &[R], &[R, R, R], &triples, |v| {
        let offset = v[2] as u32 as i32;
        let set = |n: &u64| v[0] >> n & 1 == 1;
        let found = match offset {
            0 => Some(v[1]).filter(set),
            1.. => (v[1]..32).filter(set).nth(offset as usize - 1),
            _ => (0..=v[1]).rev().filter(set).nth(-offset as usize - 1),
        };
        vec![found.unwrap_or(0xffff_ffff)]
    }));
}

fn carries(out: &mut Vec<Case>) {
    let words = [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff];
    let pairs = product(&[&words, &words, &words, &words]);
    let joined = |lo: u64, hi: u64| hi << 32 | lo;
    let text = "add.cc.u32 %d, %a, %b; addc.cc.u32 %q, %c, %e; addc.u32 %r1, 0, 0; xor.b32 %q, %q, %r1;";
    out.push(elementwise(Sm80, text, &[R, R], &[R, R, R, R], &pairs, |v| {
        let sum = joined(v[0], v[2]) as u128 + joined(v[1], v[3]) as u128;
        vec![sum as u64 & 0xffff_ffff, (sum >> 32) as u64 & 0xffff_ffff ^ (sum >> 64) as u64]
    }));
    let text = "sub.cc.u32 %d, %a, %b; subc.cc.u32 %q, %c, %e; subc.u32 %r1, 0, 0; xor.b32 %q, %q, %r1;";
    out.push(elementwise(Sm80, text, &[R, R], &[R, R, R, R], &pairs, |v| {
        let difference = (joined(v[0], v[2]) as i128) - joined(v[1], v[3]) as i128;
        let borrow = if difference < 0 { 0xffff_ffff } else { 0 };
        vec![difference as u64 & 0xffff_ffff, (difference >> 32) as u64 & 0xffff_ffff ^ borrow]
    }));
    let text = "add.cc.u64 %d, %a, %b; addc.u64 %q, %c, 0;";
    out.push(elementwise(
        Sm80,
        text,
        &[X, X],
        &[X, X, X],
        &mixed(&[&EDGES64, &EDGES64, &EDGES64], 96),
        |v| {
            let sum = v[0] as u128 + v[1] as u128;
            vec![sum as u64, v[2].wrapping_add((sum >> 64) as u64)]
        },
    ));
    let text = "mad.lo.cc.u32 %d, %a, %b, %c; madc.hi.u32 %q, %a, %b, %e;";
    out.push(elementwise(Sm80, text, &[R, R], &[R, R, R, R], &pairs, |v| {
        let sum = v[0] as u128 * v[1] as u128 + joined(v[2], v[3]) as u128;
        vec![sum as u64 & 0xffff_ffff, (sum >> 32) as u64 & 0xffff_ffff]
    }));
}
