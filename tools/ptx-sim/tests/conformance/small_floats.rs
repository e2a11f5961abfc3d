//! `cvt` to and from floats of 8, 6 and 4 bits, and powers of two.
//!
//! A format so small has its numbers listed: the nearest code is found by looking at all of them, of two at the same distance the
//! even one.
//!
//! ```text
//! e4m3   0.3 lies between 0x29 (0.28125) and 0x2a (0.3125): 0x2a
//! ```

use super::{
    case::{Case, Target::*},
    elementwise::*,
};

/// A small format by all of its numbers: code, and value.
struct Small {
    name: &'static str,
    greatest: u64,
    sign: u64,
    fraction: u32,
    bias: i32,
    nan: u64,
    bits: u32,
}

const SMALL: [Small; 5] = [
    Small { name: "e4m3x2", greatest: 0x7e, sign: 0x80, fraction: 3, bias: 7, nan: 0x7f, bits: 8 },
    Small { name: "e5m2x2", greatest: 0x7b, sign: 0x80, fraction: 2, bias: 15, nan: 0x7f, bits: 8 },
    Small { name: "e2m3x2", greatest: 0x1f, sign: 0x20, fraction: 3, bias: 1, nan: 0x1f, bits: 8 },
    Small { name: "e3m2x2", greatest: 0x1f, sign: 0x20, fraction: 2, bias: 3, nan: 0x1f, bits: 8 },
    Small { name: "e2m1x2", greatest: 0x07, sign: 0x08, fraction: 1, bias: 1, nan: 0x07, bits: 4 },
];

impl Small {
    fn value(&self, code: u64) -> f64 {
        let (e, m) = ((code >> self.fraction) as i32, (code & ((1 << self.fraction) - 1)) as f64);
        let scale = (1u64 << self.fraction) as f64;
        if e == 0 {
            m / scale * 2f64.powi(1 - self.bias)
        } else {
            (1.0 + m / scale) * 2f64.powi(e - self.bias)
        }
    }

    /// The nearest code, found by looking at all of them; beyond the greatest is the greatest.
    fn nearest(&self, v: f64) -> u64 {
        if v.is_nan() {
            return self.nan;
        }
        let v = v.clamp(-1e6, 1e6);
        let distance = |c: &u64| (self.value(*c) - v.abs()).abs();
        let best = (0..=self.greatest)
            .min_by(|x, y| distance(x).total_cmp(&distance(y)).then((x & 1).cmp(&(y & 1))))
            .unwrap();
        best | if v.is_sign_negative() { self.sign } else { 0 }
    }
}

pub fn cases(out: &mut Vec<Case>) {
    let values: Vec<u64> = [
        0.0f32,
        -0.0,
        1.0,
        -1.5,
        0.3,
        1e-9,
        448.0,
        449.0,
        480.0,
        57344.0,
        61440.0,
        1e9,
        -1e9,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        0.000_976_562_5,
        0.001_464_843_8,
        3.25,
        -6.0,
        5.0,
        7.25,
        28.0,
        30.0,
        0.0625,
        0.75,
        2.5,
        0.25,
        17.0,
        0.1875,
    ]
    .iter()
    .map(|v| v.to_bits() as u64)
    .collect();
    let pairs = mixed(&[&values, &values], 224);
    let f = |v: u64| f32::from_bits(v as u32) as f64;
    for small in &SMALL {
        let (name, bits) = (small.name, small.bits);
        let wide = bits == 8;
        let target = if name.starts_with("e4m3") || name.starts_with("e5m2") { Sm89 } else { Sm100a };
        let join = move |hi: u64, lo: u64| hi << bits | lo;
        for relu in [false, true] {
            let words = if relu { ".relu" } else { "" };
            // The 4-bit pair fills a byte register, which is then widened.
            let text = if wide {
                format!("cvt.rn.satfinite{words}.{name}.f32 %d, %a, %b;")
            } else {
                format!(
                    "{{ .reg .b8 t; cvt.rn.satfinite{words}.{name}.f32 t, %a, %b; mov.b16 %d, {{t, 0}}; }}"
                )
            };
            out.push(elementwise(target, &text, &[H], &[R, R], &pairs, |v| {
                let one = |v: u64| {
                    let v = f(v);
                    small.nearest(if relu && v <= 0.0 { 0.0 } else { v })
                };
                vec![join(one(v[0]), one(v[1]))]
            }));
        }
        let codes: Vec<u64> =
            (0..=0xff).filter(|c| (c & (small.sign - 1)) <= small.greatest && *c < 2 * small.sign).collect();
        let tuples: Vec<Vec<u64>> =
            codes.iter().zip(codes.iter().rev()).map(|(x, y)| vec![join(*x, *y)]).collect();
        let text = if wide {
            format!("cvt.rn.f16x2.{name} %d, %a;")
        } else {
            format!("{{ .reg .b8 t; mov.b16 {{t, _}}, %a; cvt.rn.f16x2.{name} %d, t; }}")
        };
        out.push(elementwise(target, &text, &[R], &[H], &tuples, |v| {
            let one = |c: u64| {
                let value = small.value(c & (small.sign - 1));
                let value = if c & small.sign != 0 { -value } else { value };
                half::f16::from_f32(value as f32).to_bits() as u64
            };
            let mask = (1 << bits) - 1;
            vec![one(v[0] >> bits & mask) << 16 | one(v[0] & mask)]
        }));
    }
    // Halves to fp8, and powers of two.
    let halves: Vec<u64> = [0x3c00u64, 0xbc00, 0x5f00, 0x7bff, 0x7c00, 0xfc00, 0x7e00, 1, 0x2401].into();
    let words: Vec<Vec<u64>> = product(&[&halves, &halves]).iter().map(|p| vec![p[0] | p[1] << 16]).collect();
    for small in &SMALL[..2] {
        let text = format!("cvt.rn.satfinite.{}.f16x2 %d, %a;", small.name);
        out.push(elementwise(Sm89, &text, &[H], &[R], &words, |v| {
            let one = |c: u64| small.nearest(half::f16::from_bits(c as u16).to_f64());
            vec![one(v[0] >> 16 & 0xffff) << 8 | one(v[0] & 0xffff)]
        }));
    }
    let finite: Vec<u64> = values.iter().copied().filter(|v| f(*v).is_finite() && f(*v) >= 0.0).collect();
    for (mode, up) in [("rz", false), ("rp", true)] {
        let text = format!("cvt.{mode}.satfinite.ue8m0x2.f32 %d, %a, %b;");
        out.push(elementwise(Sm100a, &text, &[H], &[R, R], &mixed(&[&finite, &finite], 64), |v| {
            let one = |v: u64| {
                let v = f(v);
                let e = if v == 0.0 {
                    -127.0
                } else if up {
                    v.log2().ceil()
                } else {
                    v.log2().floor()
                };
                (e as i64 + 127).clamp(0, 254) as u64
            };
            vec![one(v[0]) << 8 | one(v[1])]
        }));
    }
}
