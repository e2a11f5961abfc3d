//! Operations of a whole warp: shuffles, votes, matches, reductions, elections, and matrices across lanes.

use super::case::{Case, Target, Target::*};

/// One warp: each lane loads a word into `%r0`, and stores what the text leaves in `%r1`.
fn lanes(target: Target, text: &str, input: &[u32; 32], f: impl Fn(usize, &[u32; 32]) -> u32) -> Case {
    let body = format!(
        "    mad.wide.u32 %in, %t, 4, %in; mad.wide.u32 %out, %t, 4, %out; ld.global.u32 %r0, [%in]; mov.u32 %r1, 0;
    {text}\n    st.global.u32 [%out], %r1;"
    );
    let expected: Vec<u32> = (0..32).map(|l| f(l, input)).collect();
    Case::new(text, target, 32, &body).input(&input[..]).expect(&expected)
}

fn values() -> [u32; 32] {
    std::array::from_fn(|n| (n as u32).wrapping_mul(0x9e37_79b9) >> 7)
}

pub fn cases() -> Vec<Case> {
    let mut out = vec![];
    shuffles(&mut out);
    votes(&mut out);
    matches(&mut out);
    reductions(&mut out);
    matrices(&mut out);
    masks(&mut out);
    out
}

fn shuffles(out: &mut Vec<Case>) {
    // Segments of 32, 16 and 8 lanes; the clamp of each mode.
    for (width, clamp_low) in [(32u32, 0x1f), (16, 0x1f), (8, 0x1f)] {
        let segment = (32 - width) << 8;
        for by in [0u32, 1, 3, 7, 8, 20, 31] {
            for mode in ["up", "down", "bfly", "idx"] {
                let c = segment | if mode == "up" { 0 } else { clamp_low };
                let text = format!(
                    "shfl.sync.{mode}.b32 %r1|%p1, %r0, {by}, {c:#x}, -1; @!%p1 add.u32 %r1, %r1, 1000000000;"
                );
                out.push(lanes(Sm80, &text, &values(), |lane, v| {
                    let (lane, mask) = (lane as u32, width - 1);
                    let first = lane & !mask;
                    let by = by & 31;
                    let source = match mode {
                        "up" => lane.checked_sub(by).filter(|s| *s >= first),
                        "down" => Some(lane + by).filter(|s| *s <= first + mask),
                        "bfly" => Some(lane ^ by).filter(|s| *s <= first + mask),
                        _ => Some(first | by & mask),
                    };
                    match source {
                        Some(s) => v[s as usize],
                        None => v[lane as usize].wrapping_add(1_000_000_000),
                    }
                }));
            }
        }
    }
    out.push(lanes(
        Sm80,
        "and.b32 %r2, %t, 7; shfl.sync.idx.b32 %r1, %r0, %r2, 0x1f, 0xffffffff;",
        &values(),
        |l, v| v[l & 7],
    ));
    // Tiles of eight lanes, each with its own members.
    let tile = "and.b32 %r2, %t, 24; mov.u32 %r3, 255; shl.b32 %r3, %r3, %r2; shfl.sync.bfly.b32 %r1, %r0, 4, 0x1f, %r3;";
    out.push(lanes(Sm80, tile, &values(), |l, v| v[l ^ 4]));
    // Half of the warp, in a branch.
    let half =
        "setp.lt.u32 %p1, %t, 16; @!%p1 bra skip; shfl.sync.down.b32 %r1, %r0, 8, 0x101f, 0xffff; skip:";
    out.push(lanes(Sm80, half, &values(), |l, v| match l {
        0..8 => v[l + 8],
        8..16 => v[l],
        _ => 0,
    }));
}

fn votes(out: &mut Vec<Case>) {
    let odd = "and.b32 %r2, %r0, 1; setp.eq.u32 %p1, %r2, 1;";
    let bit = |v: &[u32; 32], l: usize| v[l] & 1 == 1;
    out.push(lanes(Sm80, &format!("{odd} vote.sync.ballot.b32 %r1, %p1, -1;"), &values(), |_, v| {
        (0..32).fold(0, |m, l| m | (bit(v, l) as u32) << l)
    }));
    out.push(lanes(Sm80, &format!("{odd} vote.sync.ballot.b32 %r1, !%p1, -1;"), &values(), |_, v| {
        (0..32).fold(0, |m, l| m | (!bit(v, l) as u32) << l)
    }));
    type Kind = fn(usize) -> bool;
    let kinds: [(&str, Kind); 3] = [("all", |n| n == 32), ("any", |n| n > 0), ("uni", |n| n == 32 || n == 0)];
    for (kind, f) in kinds {
        for fill in [0u32, 1, 2] {
            let input = std::array::from_fn(|n| if fill < 2 { fill } else { n as u32 });
            let text = format!(
                "{odd} vote.sync.{kind}.pred %p2, %p1, 0xffffffff; selp.u32 %r1, {}, 0, %p2;",
                fill + 1
            );
            out.push(lanes(Sm80, &text, &input, |_, v| {
                let count = (0..32).filter(|&l| bit(v, l)).count();
                if f(count) { fill + 1 } else { 0 }
            }));
        }
    }
    let text = "setp.gt.u32 %p1, %t, 3; @%p1 activemask.b32 %r1;";
    out.push(lanes(Sm80, text, &values(), |l, _| if l > 3 { 0xffff_fff0 } else { 0 }));
    let text = "elect.sync %r1|%p1, -1; @%p1 add.u32 %r1, %r1, 100;";
    out.push(lanes(Sm90a, text, &values(), |l, _| if l == 0 { 100 } else { 0 }));
}

fn matches(out: &mut Vec<Case>) {
    let few: [u32; 32] = std::array::from_fn(|n| (n as u32 * 7) % 5);
    out.push(lanes(Sm80, "match.any.sync.b32 %r1, %r0, -1;", &few, |l, v| {
        (0..32).filter(|&o| v[o] == v[l]).fold(0, |m, o| m | 1 << o)
    }));
    out.push(lanes(Sm80, "mov.b64 %x1, {%r0, %r0}; match.any.sync.b64 %r1, %x1, -1;", &few, |l, v| {
        (0..32).filter(|&o| v[o] == v[l]).fold(0, |m, o| m | 1 << o)
    }));
    for (input, hit) in [([7u32; 32], true), (few, false)] {
        let text = format!(
            "match.all.sync.b32 %r1|%p1, %r0, -1; @%p1 xor.b32 %r1, %r1, {};",
            if hit { 3 } else { 5 }
        );
        out.push(lanes(Sm80, &text, &input, |_, _| if hit { 0xffff_fffc } else { 0 }));
    }
}

fn reductions(out: &mut Vec<Case>) {
    type Join = fn(u32, u32) -> u32;
    let ops: [(&str, Join); 9] = [
        ("add.u32", u32::wrapping_add),
        ("add.s32", u32::wrapping_add),
        ("min.u32", u32::min),
        ("max.u32", u32::max),
        ("min.s32", |x, y| (x as i32).min(y as i32) as u32),
        ("max.s32", |x, y| (x as i32).max(y as i32) as u32),
        ("and.b32", |x, y| x & y),
        ("or.b32", |x, y| x | y),
        ("xor.b32", |x, y| x ^ y),
    ];
    let input: [u32; 32] = std::array::from_fn(|n| (n as u32).wrapping_mul(0x9e37_79b9) ^ 0x8000_0000);
    for (op, f) in ops {
        let text = format!("redux.sync.{op} %r1, %r0, 0xffffffff;");
        out.push(lanes(Sm80, &text, &input, |_, v| v.iter().copied().reduce(f).unwrap()));
    }
    let mut floats: [u32; 32] = std::array::from_fn(|n| ((n as f32 - 11.0) * 1.5).to_bits());
    for (op, greatest) in [("min", false), ("max", true)] {
        for abs in [false, true] {
            let text = format!("redux.sync.{op}{}.f32 %f1, %f0, -1;", if abs { ".abs" } else { "" });
            let text = format!("mov.b32 %f0, %r0; {text} mov.b32 %r1, %f1;");
            out.push(lanes(Sm100a, &text, &floats, |_, v| {
                let all = v.iter().map(|&b| f32::from_bits(b)).map(|x| if abs { x.abs() } else { x });
                all.reduce(if greatest { f32::max } else { f32::min }).unwrap().to_bits()
            }));
        }
    }
    floats[5] = f32::NAN.to_bits();
    let text = "mov.b32 %f0, %r0; redux.sync.max.NaN.f32 %f1, %f0, -1; mov.b32 %r1, %f1;";
    out.push(lanes(Sm100a, text, &floats, |_, _| 0x7fff_ffff));
    let text = "mov.b32 %f0, %r0; redux.sync.max.f32 %f1, %f0, 0xffffffff; mov.b32 %r1, %f1;";
    out.push(lanes(Sm100a, text, &floats, |_, _| (20.0f32 * 1.5).to_bits()));
}

/// `ldmatrix`, `stmatrix`, `movmatrix`: element (row, column) of an 8×8 matrix lies in lane 4 row + column / 2.
fn matrices(out: &mut Vec<Case>) {
    let halves: Vec<u16> = (0..256u16).map(|n| n.wrapping_mul(257).wrapping_add(3)).collect();
    for count in [1usize, 2, 4] {
        for trans in [false, true] {
            let registers: Vec<String> = (1..=count).map(|n| format!("%r{n}")).collect();
            let list = registers.join(", ");
            let stores: String =
                (0..count).map(|n| format!("st.global.u32 [%x1+{}], %r{};\n", 128 * n, n + 1)).collect();
            let words = if trans { ".trans" } else { "" };
            let body = format!(
                "    {{ .shared .align 16 .b8 tile[512]; .reg .b32 s, r; mov.u32 s, tile;
    mul.wide.u32 %x0, %t, 16; add.u64 %x0, %in, %x0; ld.global.v4.u32 {{%r10, %r11, %r12, %r13}}, [%x0];
    mad.lo.u32 r, %t, 16, s; st.shared.v4.u32 [r], {{%r10, %r11, %r12, %r13}}; bar.sync 0;
    ldmatrix.sync.aligned.m8n8.x{count}{words}.shared.b16 {{{list}}}, [r];
    mad.wide.u32 %x1, %t, 4, %out;\n{stores} }}"
            );
            let expected: Vec<u16> = (0..count)
                .flat_map(|m| (0..64).map(move |n| (m, n / 8, n % 8)))
                .map(|(m, row, column)| {
                    let (row, column) = if trans { (column, row) } else { (row, column) };
                    halves[64 * m + 8 * row + column]
                })
                .collect();
            out.push(
                Case::new(&format!("ldmatrix.x{count}{words}"), Sm80, 32, &body)
                    .input(&halves)
                    .expect(&expected),
            );
            // The way back.
            let loads: String =
                (0..count).map(|n| format!("ld.global.u32 %r{}, [%x1+{}];\n", n + 1, 128 * n)).collect();
            let body = format!(
                "    {{ .shared .align 16 .b8 tile[512]; .reg .b32 s, r; mov.u32 s, tile; mad.wide.u32 %x1, %t, 4, %in;
    {loads} mad.lo.u32 r, %t, 16, s; stmatrix.sync.aligned.m8n8.x{count}{words}.shared.b16 [r], {{{list}}}; bar.sync 0;
    setp.lt.u32 %p1, %t, {rows}; @!%p1 bra done; ld.shared.v4.u32 {{%r10, %r11, %r12, %r13}}, [r];
    mad.wide.u32 %x0, %t, 16, %out; st.global.v4.u32 [%x0], {{%r10, %r11, %r12, %r13}}; done: }}",
                rows = 8 * count
            );
            let case = Case::new(&format!("stmatrix.x{count}{words}"), Sm90a, 32, &body);
            out.push(case.input(&expected).expect(&halves[..64 * count]));
        }
    }
    bytes(out);
    let body = "    mad.wide.u32 %in, %t, 4, %in; mad.wide.u32 %out, %t, 4, %out; ld.global.u32 %r0, [%in];
    movmatrix.sync.aligned.m8n8.trans.b16 %r1, %r0; st.global.u32 [%out], %r1;";
    let expected: Vec<u16> = (0..64).map(|n| halves[8 * (n % 8) + n / 8]).collect();
    out.push(Case::new("movmatrix", Sm80, 32, body).input(&halves[..64]).expect(&expected));
}

/// Matrices of bytes, and of elements of 6 and 4 bits that become bytes. Of 16 × 16 elements, lane 4 g + t receives rows 4 t
/// to 4 t + 3 of columns g and g + 8; of 8 × 16, columns 4 t to 4 t + 3 of row g.
fn bytes(out: &mut Vec<Case>) {
    let raw: Vec<u8> = (0..512u32).map(|n| (n.wrapping_mul(0x9e37_79b1) >> 13) as u8).collect();
    let element = |bits: usize, row: usize, column: usize| -> u8 {
        let bit = |n: usize| raw[16 * row + n / 8] >> (n % 8) & 1;
        (0..bits).fold(0, |v, n| v | bit(bits * column + n) << n)
    };
    let formats = [(".b8", 8), (".b8x16.b6x16_p32", 6), (".b8x16.b4x16_p64", 4)];
    for (shape, words, height, counts) in
        [("m16n16", ".trans", 16, vec![1, 2]), ("m8n16", "", 8, vec![1, 2, 4])]
    {
        for count in counts {
            for (format, bits) in formats.iter().filter(|f| shape == "m16n16" || f.1 != 8) {
                let registers = count * height / 8;
                let names: Vec<String> = (1..=registers).map(|n| format!("%r{n}")).collect();
                let stores: String = (0..registers)
                    .map(|n| format!("st.global.u32 [%x1+{}], %r{};\n", 128 * n, n + 1))
                    .collect();
                let body = format!(
                    "    {{ .shared .align 16 .b8 tile[512]; .reg .b32 s, r; mov.u32 s, tile;
    mul.wide.u32 %x0, %t, 16; add.u64 %x0, %in, %x0; ld.global.v4.u32 {{%r10, %r11, %r12, %r13}}, [%x0];
    mad.lo.u32 r, %t, 16, s; st.shared.v4.u32 [r], {{%r10, %r11, %r12, %r13}}; bar.sync 0;
    ldmatrix.sync.aligned.{shape}.x{count}{words}.shared{format} {{{}}}, [r];
    mad.wide.u32 %x1, %t, 4, %out;\n{stores} }}",
                    names.join(", ")
                );
                let expected: Vec<u8> = (0..registers * 128)
                    .map(|n| (n / 128, n / 4 % 32, n % 4))
                    .map(|(register, lane, byte)| {
                        let (g, t) = (lane / 4, lane % 4);
                        match height {
                            16 => element(*bits, 16 * (register / 2) + 4 * t + byte, g + 8 * (register % 2)),
                            _ => element(*bits, 8 * register + g, 4 * t + byte),
                        }
                    })
                    .collect();
                let name = format!("ldmatrix.{shape}.x{count}{words}{format}");
                out.push(Case::new(&name, Sm100a, 32, &body).input(&raw).expect(&expected));
            }
        }
    }
    // Stored, lane 4 g + t holds columns 2 t and 2 t + 1 of rows g and g + 8 of a matrix of 16 rows, column after column.
    for count in [1usize, 2, 4] {
        let names: Vec<String> = (1..=count).map(|n| format!("%r{n}")).collect();
        let loads: String =
            (0..count).map(|n| format!("ld.global.u32 %r{}, [%x1+{}];\n", n + 1, 128 * n)).collect();
        let body = format!(
            "    {{ .shared .align 16 .b8 tile[512]; .reg .b32 s, r; mov.u32 s, tile; mad.wide.u32 %x1, %t, 4, %in;
    {loads} mad.lo.u32 r, %t, 16, s; stmatrix.sync.aligned.m16n8.x{count}.trans.shared.b8 [r], {{{}}}; bar.sync 0;
    setp.lt.u32 %p1, %t, {}; @!%p1 bra done; ld.shared.v4.u32 {{%r10, %r11, %r12, %r13}}, [r];
    mad.wide.u32 %x0, %t, 16, %out; st.global.v4.u32 [%x0], {{%r10, %r11, %r12, %r13}}; done: }}",
            names.join(", "),
            8 * count
        );
        let held: Vec<u8> = (0..count * 128)
            .map(|n| (n / 128, n / 4 % 32, n % 4))
            .map(|(matrix, lane, byte)| {
                let (row, column) = (lane / 4 + 8 * (byte / 2), lane % 4 * 2 + byte % 2);
                raw[128 * matrix + 16 * column + row]
            })
            .collect();
        let case = Case::new(&format!("stmatrix.m16n8.x{count}.trans.b8"), Sm100a, 32, &body);
        out.push(case.input(&held).expect(&raw[..128 * count]));
    }
}

fn masks(out: &mut Vec<Case>) {
    type Mask = fn(u32) -> u32;
    let masks: [(&str, Mask); 6] = [
        ("%lanemask_eq", |l| 1 << l),
        ("%lanemask_lt", |l| (1 << l) - 1),
        ("%lanemask_le", |l| u32::MAX >> (31 - l)),
        ("%lanemask_gt", |l| !(u32::MAX >> (31 - l))),
        ("%lanemask_ge", |l| !((1 << l) - 1)),
        ("%laneid", |l| l),
    ];
    for (name, f) in masks {
        out.push(lanes(Sm80, &format!("mov.u32 %r1, {name};"), &values(), |l, _| f(l as u32)));
    }
    let text = "mov.u32 %r1, WARP_SZ; mov.u32 %r2, %ntid.x; add.u32 %r1, %r1, %r2; mov.u32 %r2, %nctaid.x; shl.b32 %r2, %r2, 8; add.u32 %r1, %r1, %r2;";
    out.push(lanes(Sm80, text, &values(), |_, _| 64 + 256));
    let text = "mov.u64 %x1, %clock64; mov.u32 %r2, %clock; mov.u64 %x2, %globaltimer; mov.u32 %r3, %smid; mov.u32 %r4, %nsmid; mov.u32 %r5, %envreg3; mov.u64 %x3, %clock64; setp.le.u64 %p1, %x1, %x3; setp.lt.and.u32 %p1, %r3, %r4, %p1; selp.u32 %r1, 1, 0, %p1;";
    out.push(lanes(Sm80, text, &values(), |_, _| 1));
}
