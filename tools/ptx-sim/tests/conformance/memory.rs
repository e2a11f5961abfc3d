//! Loads and stores of every width, vector and space; addresses; asynchronous copies.

use super::case::{Case, Target::*};

fn bytes(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 37 + 129) as u8).collect()
}

pub fn cases() -> Vec<Case> {
    let mut out = vec![];
    widths(&mut out);
    vectors(&mut out);
    spaces(&mut out);
    copies(&mut out);
    generic(&mut out);
    out
}

/// Every narrow load extends to the register it fills.
fn widths(out: &mut Vec<Case>) {
    for (ty, size, signed) in [
        ("u8", 1, false),
        ("s8", 1, true),
        ("u16", 2, false),
        ("s16", 2, true),
        ("u32", 4, false),
        ("s32", 4, true),
        ("b64", 8, false),
    ] {
        let body = format!(
            "    mul.wide.u32 %x0, %t, {size}; add.u64 %x0, %in, %x0; mad.wide.u32 %out, %t, 8, %out;
    ld.global.{ty} %x1, [%x0]; st.global.b64 [%out], %x1;"
        );
        let input = bytes(32 * size);
        let expected: Vec<u64> = input
            .chunks(size)
            .map(|c| {
                let v = c.iter().rev().fold(0u64, |v, b| v << 8 | *b as u64);
                let shift = 64 - 8 * size as u32;
                if signed { ((v << shift) as i64 >> shift) as u64 } else { v }
            })
            .collect();
        out.push(
            Case::new(&format!("ld.global.{ty} extends"), Sm80, 32, &body).input(&input).expect(&expected),
        );
    }
    for (ty, size) in [("b8", 1), ("b16", 2), ("b32", 4), ("u64", 8)] {
        let body = format!(
            "    mad.wide.u32 %in, %t, 8, %in; ld.global.b64 %x1, [%in];
    mul.wide.u32 %x0, %t, {size}; add.u64 %x0, %out, %x0; st.global.{ty} [%x0], %x1;"
        );
        let input = bytes(32 * 8);
        let expected: Vec<u8> = input.chunks(8).flat_map(|c| c[..size].to_vec()).collect();
        out.push(
            Case::new(&format!("st.global.{ty} truncates"), Sm80, 32, &body).input(&input).expect(&expected),
        );
    }
}

fn vectors(out: &mut Vec<Case>) {
    for (ty, size, registers) in
        [("b8", 1, "%h"), ("b16", 2, "%h"), ("b32", 4, "%r"), ("f32", 4, "%f"), ("b64", 8, "%x")]
    {
        for count in [2usize, 4] {
            if size * count > 16 {
                continue;
            }
            let list: Vec<String> = (1..=count).map(|n| format!("{registers}{n}")).collect();
            let mut back = list.clone();
            back.reverse();
            let (list, back) = (list.join(", "), back.join(", "));
            let step = size * count;
            let body = format!(
                "    mul.wide.u32 %x0, %t, {step}; add.u64 %in, %in, %x0; add.u64 %out, %out, %x0;
    ld.global.nc.L1::no_allocate.v{count}.{ty} {{{list}}}, [%in]; st.global.cs.v{count}.{ty} [%out], {{{back}}};"
            );
            let input = bytes(32 * step);
            let expected: Vec<u8> = input
                .chunks(step)
                .flat_map(|v| v.chunks(size).rev().flatten().copied().collect::<Vec<u8>>())
                .collect();
            out.push(Case::new(&format!("v{count}.{ty}"), Sm80, 32, &body).input(&input).expect(&expected));
        }
    }
    let wide = "    mul.wide.u32 %x0, %t, 32; add.u64 %in, %in, %x0; add.u64 %out, %out, %x0;\n";
    let body = format!(
        "{wide}    ld.global.v8.b32 {{%r1, %r2, %r3, %r4, %r5, %r6, %r7, %r8}}, [%in];
    st.global.v8.b32 [%out], {{%r8, %r7, %r6, %r5, %r4, %r3, %r2, %r1}};"
    );
    let input = bytes(32 * 32);
    let reversed = |size: usize| -> Vec<u8> {
        input.chunks(32).flat_map(|v| v.chunks(size).rev().flatten().copied().collect::<Vec<u8>>()).collect()
    };
    out.push(Case::new("v8.b32", Sm100a, 32, &body).input(&input).expect(&reversed(4)));
    let body = format!(
        "{wide}    ld.global.v4.b64 {{%x1, %x2, %x3, %x4}}, [%in]; st.global.v4.b64 [%out], {{%x4, %x3, %x2, %x1}};"
    );
    out.push(Case::new("v4.b64", Sm100a, 32, &body).input(&input).expect(&reversed(8)));
    let body = "    { .reg .b128 q; mul.wide.u32 %x0, %t, 16; add.u64 %in, %in, %x0; add.u64 %out, %out, %x0;
    ld.global.b128 q, [%in]; mov.b128 {%x1, %x2}, q; mov.b128 q, {%x2, %x1}; st.global.b128 [%out], q; }";
    let input = bytes(32 * 16);
    let expected: Vec<u8> = input.chunks(16).flat_map(|v| [&v[8..], &v[..8]].concat()).collect();
    out.push(Case::new("b128", Sm90a, 32, body).input(&input).expect(&expected));
    // A destination may be the address; a sink takes nothing.
    let body = "    mul.wide.u32 %x0, %t, 16; add.u64 %x1, %in, %x0; mul.wide.u32 %x0, %t, 8; add.u64 %out, %out, %x0;
    ld.global.v2.b64 {%x1, %x2}, [%x1]; add.u64 %x1, %x1, %x2; st.global.b64 [%out], %x1;";
    let word = |c: &[u8]| u64::from_le_bytes(c.try_into().unwrap());
    let expected: Vec<u64> = input.chunks(16).map(|c| word(&c[..8]).wrapping_add(word(&c[8..]))).collect();
    out.push(Case::new("load over its address", Sm80, 32, body).input(&input).expect(&expected));
}

fn spaces(out: &mut Vec<Case>) {
    let numbers: Vec<u32> = (0..64u32).map(|n| n.wrapping_mul(2_654_435_761)).collect();
    let reversed: Vec<u32> =
        numbers.chunks(32).flat_map(|c| c.iter().rev().copied().collect::<Vec<u32>>()).collect();
    // Shared memory, by name and by generic address.
    let body = "    { .shared .align 16 .b8 tile[256]; .reg .b32 s, u; .reg .b64 g;
    mul.wide.u32 %x0, %t, 4; add.u64 %in, %in, %x0; add.u64 %out, %out, %x0; ld.global.u32 %r0, [%in];
    mov.u32 s, tile; mad.lo.u32 s, %t, 4, s; st.shared.u32 [s], %r0; bar.sync 0;
    xor.b32 u, %t, 31; mov.u64 g, tile; cvta.shared.u64 g, g; mad.wide.u32 g, u, 4, g; ld.u32 %r1, [g];
    st.global.u32 [%out], %r1; }";
    out.push(Case::new("shared and generic", Sm80, 64, body).input(&numbers).expect(&reversed));
    // Local memory: an array for each thread.
    let body = "    { .local .align 8 .b8 stack[64]; .reg .b32 i, a; .reg .b64 g, l; .reg .pred p;
    mul.wide.u32 %x0, %t, 4; add.u64 %in, %in, %x0; add.u64 %out, %out, %x0; ld.global.u32 %r0, [%in];
    mov.u64 l, stack; cvta.local.u64 g, l; mov.u32 i, 0; 
again: mad.lo.u32 %r1, i, 3, %r0; mad.wide.u32 %x1, i, 4, l; st.local.u32 [%x1], %r1; add.u32 i, i, 1;
    setp.lt.u32 p, i, 16; @p bra again;
    and.b32 a, %t, 15; mad.wide.u32 %x1, a, 4, g; ld.u32 %r2, [%x1+0]; st.global.u32 [%out], %r2; }";
    let expected: Vec<u32> =
        numbers.iter().enumerate().map(|(n, v)| v.wrapping_add((n as u32 & 15) * 3)).collect();
    out.push(Case::new("local and generic", Sm80, 64, body).input(&numbers).expect(&expected));
    // Constant and global variables with initial values, one of them an address.
    let module = ".const .align 4 .u32 table[4] = {10, 0x20, -1, 040};
.global .align 4 .f32 reals[3] = {0f3F800000, 0F40000000, 0d4008000000000000};
.global .align 8 .u64 where[2] = {generic(reals)+4, reals};
.global .align 1 .u8 first[8] = {0xFF(reals), 0xFF00(reals), 0xFF0000(reals), 0xFF000000(reals), 0xFF00000000(reals), 0xFF0000000000(reals), 0xFF000000000000(reals), 0xFF00000000000000(reals)};";
    let body = "    and.b32 %r0, %t, 3; mul.wide.u32 %x0, %r0, 4; mov.u64 %x1, table; add.u64 %x1, %x1, %x0; ld.const.u32 %r1, [%x1];
    ld.global.u64 %x2, [where]; ld.f32 %f0, [%x2]; ld.global.u64 %x3, [where+8]; ld.global.f32 %f1, [%x3+8];
    { .reg .b64 %v<9>; .reg .b32 %w<3>; ld.global.v4.u8 {%v0, %v1, %v2, %v3}, [first]; ld.global.v4.u8 {%v4, %v5, %v6, %v7}, [first+4];
    shl.b64 %v1, %v1, 8; shl.b64 %v2, %v2, 16; shl.b64 %v3, %v3, 24; shl.b64 %v4, %v4, 32; shl.b64 %v5, %v5, 40; shl.b64 %v6, %v6, 48; shl.b64 %v7, %v7, 56;
    or.b64 %v0, %v0, %v1; or.b64 %v2, %v2, %v3; or.b64 %v4, %v4, %v5; or.b64 %v6, %v6, %v7; or.b64 %v0, %v0, %v2; or.b64 %v4, %v4, %v6; or.b64 %x5, %v0, %v4; }
    ld.global.f32 %f2, [%x5]; add.f32 %f0, %f0, %f1; add.f32 %f0, %f0, %f2; cvt.rzi.u32.f32 %r2, %f0; add.u32 %r1, %r1, %r2;
    mad.wide.u32 %out, %t, 4, %out; st.global.u32 [%out], %r1;";
    let expected: Vec<u32> = (0..32).map(|n| [10u32, 32, u32::MAX, 32][n & 3].wrapping_add(6)).collect();
    out.push(Case::new("initialised variables", Sm80, 32, body).module(module).expect(&expected));
}

/// `cp.async` of every size, cut short, and not at all.
fn copies(out: &mut Vec<Case>) {
    for size in [4usize, 8, 16] {
        let cache = if size == 16 { "cg" } else { "ca" };
        for (form, operands) in
            [("whole", "".to_string()), ("short", ", %r1".into()), ("ignored", ", %p1".into())]
        {
            let body = format!(
                "    {{ .shared .align 16 .b8 tile[1024]; .reg .b32 s;
    mul.wide.u32 %x0, %t, {size}; add.u64 %in, %in, %x0; add.u64 %out, %out, %x0;
    mov.u32 s, tile; mad.lo.u32 s, %t, {size}, s; rem.u32 %r1, %t, {m}; and.b32 %r2, %t, 1; setp.eq.u32 %p1, %r2, 1;
    cp.async.{cache}.shared.global.L2::128B [s], [%in], {size}{operands};
    cp.async.commit_group; cp.async.wait_group 0;
{moves}    }}",
                m = size + 1,
                moves = (0..size / 4)
                    .map(|n| format!("    ld.shared.u32 %r3, [s+{0}]; st.global.u32 [%out+{0}], %r3;\n", 4 * n))
                    .collect::<String>()
            );
            let input = bytes(32 * size);
            let expected: Vec<u8> = input
                .chunks(size)
                .enumerate()
                .flat_map(|(t, c)| {
                    let keep = match form {
                        "whole" => size,
                        "short" => t % (size + 1),
                        _ => {
                            if t % 2 == 1 {
                                0
                            } else {
                                size
                            }
                        }
                    };
                    (0..size).map(|n| if n < keep { c[n] } else { 0 }).collect::<Vec<u8>>()
                })
                .collect();
            out.push(
                Case::new(&format!("cp.async {size} {form}"), Sm80, 32, &body)
                    .input(&input)
                    .expect(&expected),
            );
        }
    }
}

/// Which space a generic address lies in.
fn generic(out: &mut Vec<Case>) {
    let body = "    { .shared .align 4 .b8 s[4]; .local .align 4 .b8 l[4]; .reg .b64 a, b;
    mov.u64 a, s; cvta.shared.u64 a, a; mov.u64 b, l; cvta.local.u64 b, b; mov.u32 %r9, 0;
    isspacep.shared %p1, a; isspacep.local %p2, a; isspacep.global %p3, a;
    isspacep.shared %p4, b; isspacep.local %p5, b; isspacep.global %p6, b;
    isspacep.shared %p7, %in; isspacep.local %p8, %in; isspacep.global %p9, %in;
    @%p1 or.b32 %r9, %r9, 1; @%p2 or.b32 %r9, %r9, 2; @%p3 or.b32 %r9, %r9, 4;
    @%p4 or.b32 %r9, %r9, 8; @%p5 or.b32 %r9, %r9, 16; @%p6 or.b32 %r9, %r9, 32;
    @%p7 or.b32 %r9, %r9, 64; @%p8 or.b32 %r9, %r9, 128; @%p9 or.b32 %r9, %r9, 256;
    cvta.to.shared.u64 a, a; mov.u64 b, s; setp.eq.u64 %p1, a, b; @%p1 or.b32 %r9, %r9, 512;
    mad.wide.u32 %out, %t, 4, %out; st.global.u32 [%out], %r9; }";
    out.push(Case::new("isspacep", Sm80, 32, body).input(&[0u32]).expect(&[1u32 | 16 | 256 | 512; 32]));
}
