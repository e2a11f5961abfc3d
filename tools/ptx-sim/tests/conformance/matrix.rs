//! `mma.sync` and `wmma` of every shape and type, against a plain matrix product.
//!
//! Fragments are placed by the ISA's formulas, stated here element by element: `groupID = lane / 4`,
//! `threadID_in_group = lane % 4`. Values are small integers (or their multiples by a power of two), so that sums are exact
//! whatever their order.

use super::case::{Case, Target, Target::*};
use half::{bf16, f16};

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Elem {
    F16,
    Bf16,
    Tf32,
    F64,
    S8,
    U8,
    S4,
    U4,
    B1,
    E4m3,
    E5m2,
    F32,
    S32,
}

use Elem::*;

impl Elem {
    pub fn name(self) -> &'static str {
        match self {
            F16 => "f16",
            Bf16 => "bf16",
            Tf32 => "tf32",
            F64 => "f64",
            S8 => "s8",
            U8 => "u8",
            S4 => "s4",
            U4 => "u4",
            B1 => "b1",
            E4m3 => "e4m3",
            E5m2 => "e5m2",
            F32 => "f32",
            S32 => "s32",
        }
    }

    pub fn bits(self) -> usize {
        match self {
            F16 | Bf16 => 16,
            S8 | U8 | E4m3 | E5m2 => 8,
            S4 | U4 => 4,
            B1 => 1,
            F64 => 64,
            _ => 32,
        }
    }

    /// Elements in a register.
    pub fn packed(self) -> usize {
        (32 / self.bits()).max(1)
    }

    pub fn encode(self, v: i64) -> u64 {
        match self {
            F16 => f16::from_f64(v as f64).to_bits() as u64,
            Bf16 => bf16::from_f64(v as f64).to_bits() as u64,
            Tf32 | F32 => (v as f32).to_bits() as u64,
            F64 => (v as f64).to_bits(),
            E4m3 | E5m2 => {
                // Small integers are exact in both: sign, exponent, one or two bits of fraction.
                let (fraction, bias) = if self == E4m3 { (3, 7) } else { (2, 15) };
                if v == 0 {
                    return 0;
                }
                let m = v.unsigned_abs();
                let e = 63 - m.leading_zeros() as u64;
                let rest = ((m << fraction) >> e) & ((1 << fraction) - 1);
                ((v < 0) as u64) << 7 | (e + bias) << fraction | rest
            }
            _ => v as u64 & ((1 << self.bits()) - 1),
        }
    }

    /// A small value that the type holds exactly.
    pub fn sample(self, n: usize) -> i64 {
        let n = (n * 7919 + n / 5) as i64;
        match self {
            B1 => n % 3 % 2,
            U4 => n % 16,
            S4 => n % 16 - 8,
            U8 => n % 256,
            S8 => n % 256 - 128,
            E5m2 => [-4, -3, -2, -1, 0, 1, 2, 3, 4, 6][(n % 10) as usize],
            _ => n % 17 - 8,
        }
    }
}

/// Place (row, column) of element `i` of a lane's A fragment, for operands of m rows: the ISA's tables in one formula.
pub fn place_a(m: usize, e: usize, lane: usize, i: usize) -> (usize, usize) {
    let (group, thread) = (lane / 4, lane % 4);
    let (register, within) = (i / e, i % e);
    if m == 8 {
        return (group, thread * e + within + register * 4 * e);
    }
    let row = if register % 2 == 0 { group } else { group + 8 };
    (row, thread * e + within + register / 2 * 4 * e)
}

pub fn place_b(e: usize, lane: usize, i: usize) -> (usize, usize) {
    (lane % 4 * e + i % e + i / e * 4 * e, lane / 4)
}

pub fn place_c(lane: usize, i: usize) -> (usize, usize) {
    (if i < 2 { lane / 4 } else { lane / 4 + 8 }, lane % 4 * 2 + i % 2)
}

/// Packs elements into the words (or pairs of words) of registers.
pub fn pack(ty: Elem, values: &[i64]) -> Vec<u32> {
    if ty == F64 {
        return values.iter().map(|&v| ty.encode(v)).flat_map(|v| [v as u32, (v >> 32) as u32]).collect();
    }
    values
        .chunks(ty.packed())
        .map(|c| c.iter().enumerate().fold(0, |w, (n, &v)| w | (ty.encode(v) as u32) << (n * ty.bits())))
        .collect()
}

/// A product as a case: fragments are loaded lane by lane, multiplied, stored.
pub struct Product {
    pub target: Target,
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub d: Elem,
    pub a: Elem,
    pub b: Elem,
    pub words: &'static str,
}

/// Loads so many registers of a fragment from the lane's input.
pub fn loads(name: &str, count: usize, wide: bool, at: &mut usize) -> (String, String) {
    let size = if wide { 8 } else { 4 };
    let (mut text, mut list) = (String::new(), vec![]);
    for n in 0..count {
        text += &format!("    .reg .b{} {name}{n}; ld.global.b{0} {name}{n}, [%in+{at}];\n", 8 * size);
        list.push(format!("{name}{n}"));
        *at += size;
    }
    (text, list.join(", "))
}

impl Product {
    fn case(&self) -> Case {
        let &Product { target, m, n, k, d, a, b, words } = self;
        let (ea, eb, ed) = (a.packed(), b.packed(), d.packed());
        let (count_a, count_b, count_d) = (m * k / 32, k * n / 32, m * n / 32);
        let left = |r: usize, c: usize| a.sample(r * k + c + 3);
        let right = |r: usize, c: usize| b.sample(r * n + c + 11);
        let start = |r: usize, c: usize| ((r * n + c) % 9) as i64 - 4;
        let product = |r: usize, c: usize| -> i64 {
            (0..k)
                .map(|x| match words {
                    "xor.popc" => left(r, x) ^ right(x, c),
                    _ => left(r, x) * right(x, c),
                })
                .sum::<i64>()
                + start(r, c)
        };
        let mut input = vec![];
        for lane in 0..32 {
            let fragment: Vec<i64> =
                (0..count_a).map(|i| place_a(m, ea, lane, i)).map(|(r, c)| left(r, c)).collect();
            input.extend(pack(a, &fragment));
            let fragment: Vec<i64> =
                (0..count_b).map(|i| place_b(eb, lane, i)).map(|(r, c)| right(r, c)).collect();
            input.extend(pack(b, &fragment));
            let fragment: Vec<i64> =
                (0..count_d).map(|i| place_c(lane, i)).map(|(r, c)| start(r, c)).collect();
            input.extend(pack(d, &fragment));
        }
        let expected: Vec<u32> = (0..32)
            .flat_map(|lane| {
                let values: Vec<i64> =
                    (0..count_d).map(|i| place_c(lane, i)).map(|(r, c)| product(r, c)).collect();
                pack(d, &values)
            })
            .collect();
        let wide = a == F64;
        let mut at = 0;
        let (text_a, list_a) = loads("va", count_a / ea, wide, &mut at);
        let (text_b, list_b) = loads("vb", count_b / eb, wide, &mut at);
        let (text_c, list_c) = loads("vc", count_d / ed, wide, &mut at);
        let size = if wide { 8 } else { 4 };
        let list_d: Vec<String> = (0..count_d / ed).map(|n| format!("vd{n}")).collect();
        let stores: String = list_d
            .iter()
            .enumerate()
            .map(|(n, r)| format!("    st.global.b{} [%out+{}], {r};\n", 8 * size, n * size))
            .collect();
        let declare: String = list_d.iter().map(|r| format!("    .reg .b{} {r};\n", 8 * size)).collect();
        let (sat, bits) = match words {
            "xor.popc" | "and.popc" => ("", format!(".{words}")),
            words => (words, String::new()),
        };
        let op = format!(
            "mma.sync.aligned.m{m}n{n}k{k}.row.col{sat}.{}.{}.{}.{}{bits}",
            d.name(),
            a.name(),
            b.name(),
            d.name()
        );
        let body = format!(
            "    mad.wide.u32 %in, %t, {at}, %in; mad.wide.u32 %out, %t, {}, %out;\n{declare}{text_a}{text_b}{text_c}    {op} {{{}}}, {{{list_a}}}, {{{list_b}}}, {{{list_c}}};\n{stores}",
            count_d / ed * size,
            list_d.join(", "),
        );
        Case::new(&op, target, 32, &body).input(&input).expect(&expected)
    }
}

pub fn cases() -> Vec<Case> {
    let mut out = vec![];
    let mut add = |target, (m, n, k), d, a, b, words| {
        out.push(Product { target, m, n, k, d, a, b, words }.case());
    };
    for k in [8, 16] {
        add(Sm80, (16, 8, k), F32, F16, F16, "");
        add(Sm80, (16, 8, k), F16, F16, F16, "");
        add(Sm80, (16, 8, k), F32, Bf16, Bf16, "");
        add(Sm80, (16, 8, k / 2), F32, Tf32, Tf32, "");
    }
    add(Sm80, (8, 8, 4), F64, F64, F64, "");
    for k in [4, 8, 16] {
        add(Sm90a, (16, 8, k), F64, F64, F64, "");
    }
    for (a, b) in [(S8, S8), (U8, U8), (S8, U8), (U8, S8)] {
        for words in ["", ".satfinite"] {
            add(Sm80, (8, 8, 16), S32, a, b, words);
            add(Sm80, (16, 8, 16), S32, a, b, words);
            add(Sm80, (16, 8, 32), S32, a, b, words);
        }
    }
    for (a, b) in [(S4, S4), (U4, U4), (S4, U4), (U4, S4)] {
        add(Sm80, (8, 8, 32), S32, a, b, "");
        add(Sm80, (16, 8, 32), S32, a, b, ".satfinite");
        add(Sm80, (16, 8, 64), S32, a, b, "");
    }
    for words in ["xor.popc", "and.popc"] {
        add(Sm80, (8, 8, 128), S32, B1, B1, words);
        add(Sm80, (16, 8, 128), S32, B1, B1, words);
        add(Sm80, (16, 8, 256), S32, B1, B1, words);
    }
    for (a, b) in [(E4m3, E4m3), (E5m2, E5m2), (E4m3, E5m2), (E5m2, E4m3)] {
        add(Sm89, (16, 8, 32), F32, a, b, "");
        add(Sm89, (16, 8, 16), F32, a, b, "");
        add(Sm89, (16, 8, 32), F16, a, b, "");
    }
    for a in ["row", "col"] {
        for b in ["row", "col"] {
            for (d, c) in [(F16, F16), (F32, F16), (F32, F32)] {
                out.push(quads(a, b, d, c));
            }
        }
    }
    saturation(&mut out);
    warp_matrices(&mut out);
    out
}

/// `mma.m8n8k4` of f16: lanes 4 n to 4 n + 3 and 4 n + 16 to 4 n + 19 have the n-th of four products.
fn quads(order_a: &str, order_b: &str, d: Elem, c: Elem) -> Case {
    let left = |n: usize, r: usize, x: usize| F16.sample(n * 64 + r * 4 + x + 3);
    let right = |n: usize, x: usize, col: usize| F16.sample(n * 64 + x * 8 + col + 11);
    let start = |n: usize, r: usize, col: usize| ((n + r * 8 + col) % 9) as i64 - 4;
    let sum = |n, r, col| start(n, r, col) + (0..4).map(|x| left(n, r, x) * right(n, x, col)).sum::<i64>();
    let places = |ty: Elem, lane: usize| -> Vec<(usize, usize)> {
        let high = if lane < 16 { 0 } else { 4 };
        let place = |i: usize| match ty {
            F16 => (lane % 4 + high, i),
            _ => ((lane & 1) + (i & 2) + high, (i & 4) + (lane & 2) + (i & 1)),
        };
        (0..8).map(place).collect()
    };
    let (mut input, mut expected) = (vec![], vec![]);
    for lane in 0..32 {
        let (n, high, t) = (lane / 4 % 4, if lane < 16 { 0 } else { 4 }, lane % 4);
        let a = |i: usize| if order_a == "row" { left(n, t + high, i) } else { left(n, i + high, t) };
        let b = |i: usize| if order_b == "row" { right(n, t, i + high) } else { right(n, i, t + high) };
        input.extend(pack(F16, &(0..4).map(a).collect::<Vec<i64>>()));
        input.extend(pack(F16, &(0..4).map(b).collect::<Vec<i64>>()));
        let values = |ty: Elem, f: &dyn Fn(usize, usize, usize) -> i64| -> Vec<u32> {
            pack(ty, &places(ty, lane).into_iter().map(|(r, col)| f(n, r, col)).collect::<Vec<i64>>())
        };
        input.extend(values(c, &start));
        expected.extend(values(d, &sum));
    }
    let (count_c, count_d) = (8 / c.packed(), 8 / d.packed());
    let mut at = 0;
    let (text_a, list_a) = loads("va", 2, false, &mut at);
    let (text_b, list_b) = loads("vb", 2, false, &mut at);
    let (text_c, list_c) = loads("vc", count_c, false, &mut at);
    let stores: String =
        (0..count_d).map(|n| format!("    st.global.b32 [%out+{}], %r{n};\n", 4 * n)).collect();
    let list_d = (0..count_d).map(|n| format!("%r{n}")).collect::<Vec<_>>().join(", ");
    let op = format!("mma.sync.aligned.m8n8k4.{order_a}.{order_b}.{}.f16.f16.{}", d.name(), c.name());
    let body = format!(
        "    mad.wide.u32 %in, %t, {at}, %in; mad.wide.u32 %out, %t, {}, %out;\n{text_a}{text_b}{text_c}    {op} {{{list_d}}}, {{{list_a}}}, {{{list_b}}}, {{{list_c}}};\n{stores}",
        4 * count_d
    );
    Case::new(&op, Sm80, 32, &body).input(&input).expect(&expected)
}

/// Sums beyond 32 bits wrap, or stop at the greatest number.
fn saturation(out: &mut Vec<Case>) {
    for (words, expected) in [("", i32::MIN + 16 * 127 * 127 - 1), (".satfinite", i32::MAX)] {
        let body = format!(
            "    mov.b32 %r0, 0x7f7f7f7f; mov.b32 %r1, 0x7fffffff; mad.wide.u32 %out, %t, 8, %out;
    mma.sync.aligned.m8n8k16.row.col{words}.s32.s8.s8.s32 {{%r2, %r3}}, {{%r0}}, {{%r0}}, {{%r1, %r1}};
    st.global.v2.u32 [%out], {{%r2, %r3}};"
        );
        out.push(Case::new(&format!("mma overflow{words}"), Sm80, 32, &body).expect(&[expected; 64]));
    }
}

/// `wmma`: matrices in memory, in both orders; which lane holds what is the implementation's affair.
fn warp_matrices(out: &mut Vec<Case>) {
    for (m, n, k, d, a, registers) in [
        (16usize, 16usize, 16usize, F32, F16, (8, 8, 8)),
        (8, 32, 16, F32, F16, (8, 8, 8)),
        (32, 8, 16, F32, F16, (8, 8, 8)),
        (16, 16, 16, F16, F16, (8, 8, 4)),
        (32, 8, 16, F16, F16, (8, 8, 4)),
        (8, 32, 16, F16, F16, (8, 8, 4)),
        (16, 16, 16, F32, Bf16, (4, 4, 8)),
        (8, 32, 16, F32, Bf16, (2, 8, 8)),
        (32, 8, 16, F32, Bf16, (8, 2, 8)),
        (16, 16, 8, F32, Tf32, (4, 4, 8)),
        (16, 16, 16, S32, S8, (2, 2, 8)),
        (32, 8, 16, S32, U8, (4, 1, 8)),
        (8, 32, 16, S32, S8, (1, 4, 8)),
        (8, 8, 4, F64, F64, (1, 1, 2)),
    ] {
        for (order_a, order_b, order_d) in [("row", "col", "row"), ("col", "row", "col")] {
            let size = |t: Elem| t.bits() / 8;
            // Rows are a little longer than need be.
            let pad = |extent: usize, t: Elem| extent + 16 / size(t);
            let stride = |rows, columns, order: &str, t| pad(if order == "row" { columns } else { rows }, t);
            let (sa, sb, sd) = (stride(m, k, order_a, a), stride(k, n, order_b, a), stride(m, n, order_d, d));
            let at = |r: usize, c: usize, order: &str, stride: usize| {
                if order == "row" { r * stride + c } else { c * stride + r }
            };
            let lines =
                |rows: usize, columns: usize, order: &str| if order == "row" { rows } else { columns };
            let left = |r: usize, c: usize| a.sample(r * k + c + 1);
            let right = |r: usize, c: usize| a.sample(r * n + c + 5);
            let start = |r: usize, c: usize| ((r * n + c) % 7) as i64 - 3;
            let bytes = |t: Elem, v: i64| t.encode(v).to_le_bytes()[..size(t)].to_vec();
            let matrix = |t: Elem,
                          rows: usize,
                          columns: usize,
                          order: &str,
                          stride: usize,
                          f: &dyn Fn(usize, usize) -> i64| {
                let mut out = vec![0u8; lines(rows, columns, order) * stride * size(t)];
                for r in 0..rows {
                    for c in 0..columns {
                        let from = at(r, c, order, stride) * size(t);
                        out[from..from + size(t)].copy_from_slice(&bytes(t, f(r, c)));
                    }
                }
                out.resize(out.len().next_multiple_of(32), 0);
                out
            };
            let (ma, mb) = (matrix(a, m, k, order_a, sa, &left), matrix(a, k, n, order_b, sb, &right));
            let before = matrix(d, m, n, order_d, sd, &start);
            let sum =
                |r: usize, c: usize| start(r, c) + (0..k).map(|x| left(r, x) * right(x, c)).sum::<i64>();
            let expected = matrix(d, m, n, order_d, sd, &sum);
            let names =
                |p: &str, count: usize| (0..count).map(|i| format!("{p}{i}")).collect::<Vec<_>>().join(", ");
            let (ra, rb, rd) = registers;
            let (bits_a, bits_d) = (if a == F64 { 64 } else { 32 }, if d == F64 { 64 } else { 32 });
            let ty_d = d.name();
            let types =
                if a == F16 { format!("{ty_d}.{ty_d}") } else { format!("{ty_d}.{0}.{0}.{ty_d}", a.name()) };
            let rnd = if a == F64 { ".rn" } else { "" };
            let shape = format!("m{m}n{n}k{k}");
            let body = format!(
                "    .reg .b{bits_a} wa<8>, wb<8>; .reg .b{bits_d} wc<8>, wd<8>; add.u64 %x1, %in, {offset};
    wmma.load.a.sync.aligned.{order_a}.{shape}.global.{ta} {{{la}}}, [%in], {sa};
    wmma.load.b.sync.aligned.{order_b}.{shape}.global.{ta} {{{lb}}}, [%x1], {sb};
    wmma.load.c.sync.aligned.{order_d}.{shape}.global.{ty_d} {{{lc}}}, [%out], {sd};
    wmma.mma.sync.aligned.{order_a}.{order_b}.{shape}{rnd}.{types} {{{ld}}}, {{{la}}}, {{{lb}}}, {{{lc}}};
    wmma.store.d.sync.aligned.{order_d}.{shape}.global.{ty_d} [%out], {{{ld}}}, {sd};",
                offset = ma.len(),
                ta = a.name(),
                la = names("wa", ra),
                lb = names("wb", rb),
                lc = names("wc", rd),
                ld = names("wd", rd),
            );
            let name = format!("wmma.{shape}.{order_a}.{order_b}.{order_d}.{types}.{}", a.name());
            let case = Case::new(&name, Sm80, 32, &body);
            out.push(case.input(&[ma, mb].concat()).before(&before).expect(&expected));
        }
    }
}
