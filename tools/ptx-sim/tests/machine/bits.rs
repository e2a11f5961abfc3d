//! Undefined bits: which bits of a result are undefined where some of an operand are, instruction by instruction, and what
//! may be done with a word that has some.
//!
//! `%r9` is a register that nobody writes. The words that are tried come from it:
//!
//! ```text
//! and.b32 %r2, %r9, 0x30      bits 4 and 5 are undefined, the others 0
//! or.b32  %r2, %r2, 0x81      and two of those 1
//! ```

use crate::support::*;
use ptx_sim::FaultKind;

fn ptx(body: &str) -> String {
    text("", 64, &format!("{{ .local .align 8 .b8 own[16]; .reg .b16 %h<8>;\n{body}\n}}"))
}

/// `%r2` and `%rd5`, undefined in the bits `undefined` and with the others of `value`.
fn start(undefined: u64, value: u64) -> String {
    let low = |word: u64| word as u32;
    format!(
        "and.b32 %r2, %r9, {:#x}; or.b32 %r2, %r2, {:#x};
    and.b64 %rd5, %rd9, {undefined:#x}; or.b64 %rd5, %rd5, {value:#x};",
        low(undefined),
        low(value & !undefined)
    )
}

/// Undefined bits of a word of `bits`, by a branch on each alone. `shift` and `mask` leave one at the bottom of `%r60`.
fn undefined_bits(before: &str, result: &str, bits: u32) -> u64 {
    let of = |bit: u32| {
        let look = if bits == 64 {
            format!("shr.u64 %rd60, {result}, {bit}; cvt.u32.u64 %r60, %rd60;")
        } else {
            format!("shr.u32 %r60, {result}, {bit};")
        };
        let body = format!(
            "{before}\n{look}\nand.b32 %r60, %r60, 1; setp.eq.u32 %p9, %r60, 1;\n@%p9 bra END;\nEND:"
        );
        let found = faults(&ptx(&body), &threads(1), &[0], &[0]);
        assert!(found.iter().all(|f| f.kind == FaultKind::Undefined), "{found:#?}");
        !found.is_empty()
    };
    (0..bits).fold(0, |all, bit| all | (of(bit) as u64) << bit)
}

/// Each row: undefined bits of the operand, its value elsewhere, the instruction, undefined bits of the result.
fn expect(result: &str, bits: u32, rows: &[(u64, u64, &str, u64)]) {
    for (undefined, value, instruction, want) in rows {
        let got = undefined_bits(&format!("{}\n{instruction}", start(*undefined, *value)), result, bits);
        assert_eq!(got, *want, "{instruction}: {got:#x} undefined, {want:#x} expected");
    }
}

#[test]
fn logic() {
    let rows = [
        (0xf0, 0, "and.b32 %r3, %r2, 0x3c;", 0x30),
        (0xf0, 0, "or.b32 %r3, %r2, 0x3c;", 0xc0),
        (0xf0, 0, "xor.b32 %r3, %r2, 0xff;", 0xf0),
        (0xf0, 0, "not.b32 %r3, %r2;", 0xf0),
        // An undefined operand hides nothing that the other does not decide.
        (0x0f, 0xf0, "and.b32 %r3, %r2, %r9;", 0xff),
        // a & b | c
        (0xf0, 0, "lop3.b32 %r3, %r2, 0x3c, 0x10, 0xea;", 0x20),
        // Both sides of a choice agree: (a & b) | (~a & b) is b.
        (0xf0, 0, "lop3.b32 %r3, %r2, 0x3c, 0, 0xcc;", 0),
        (1, 8, "cnot.b32 %r3, %r2;", 0),
        (1, 0, "cnot.b32 %r3, %r2;", 1),
    ];
    expect("%r3", 32, &rows);
}

#[test]
fn sums_and_products() {
    let high = 0xffff_fff0;
    let rows = [
        // Nothing to carry into; a carry through ones; one that a zero stops.
        (0x10, 0, "add.u32 %r3, %r2, 0xf;", 0x10),
        (0x10, 0, "add.u32 %r3, %r2, 0x10;", 0x30),
        (0x10, 0x60, "add.u32 %r3, %r2, 0x10;", 0xf0),
        // A difference borrows from all that is above, up to a one.
        (0x10, 0, "sub.u32 %r3, %r2, 1;", high),
        (0x10, 0x80, "sub.u32 %r3, %r2, 1;", 0xf0),
        (0x10, 0, "neg.s32 %r3, %r2;", high),
        (0x10, 0, "mul.lo.u32 %r3, %r2, 4;", 0xffff_ffc0),
        (0x10, 0, "mul.lo.u32 %r3, %r2, 0;", 0),
        (0x10, 0, "mad.lo.u32 %r3, %r2, 4, 3;", 0xffff_ffc0),
        // The high half and quotients: all or nothing.
        (0x10, 0, "mul.hi.u32 %r3, %r2, 4;", 0xffff_ffff),
        (0x10, 0, "div.u32 %r3, %r2, 4;", 0xffff_ffff),
        (0x10, 0, "popc.b32 %r3, %r2;", 0xffff_ffff),
    ];
    expect("%r3", 32, &rows);
}

#[test]
fn shifts_and_fields() {
    let rows = [
        (0xf0, 0, "shl.b32 %r3, %r2, 4;", 0xf00),
        (0xf0, 0, "shr.u32 %r3, %r2, 6;", 0x3),
        (0xf0, 0, "shl.b32 %r3, %r2, 99;", 0),
        (1 << 31, 0, "shr.s32 %r3, %r2, 3;", 0xf << 28),
        (1 << 31, 0, "shr.u32 %r3, %r2, 3;", 1 << 28),
        (1, 0, "shl.b32 %r3, 8, %r2;", 0xffff_ffff),
        (0xf0, 0, "bfe.u32 %r3, %r2, 2, 4;", 0xc),
        (0xf0, 0, "bfe.s32 %r3, %r2, 2, 4;", 0xffff_fffc),
        (0x30, 0, "bfe.s32 %r3, %r2, 2, 5;", 0xc),
        (0xf, 0, "bfi.b32 %r3, %r2, 0, 4, 2;", 0x30),
        (0xff, 0, "bfi.b32 %r3, 3, %r2, 2, 3;", 0xe3),
        (0xff, 0, "prmt.b32 %r3, %r2, 0, 0x4040;", 0x00ff_00ff),
        (0x80, 0, "prmt.b32 %r3, %r2, 0, 0x8444;", 0xff00_0000),
        (0xff, 0, "shf.l.wrap.b32 %r3, %r2, 0, 4;", 0),
        (0xff << 24, 0, "shf.l.wrap.b32 %r3, %r2, 0, 4;", 0xf),
        (0xff, 0, "shf.r.clamp.b32 %r3, 0, %r2, 28;", 0xff0),
        (1, 0, "brev.b32 %r3, %r2;", 1 << 31),
        (0x80, 0, "szext.wrap.s32 %r3, %r2, 8;", 0xffff_ff80),
        (0xf0, 0, "szext.wrap.u32 %r3, %r2, 6;", 0x30),
    ];
    expect("%r3", 32, &rows);
}

#[test]
fn words_of_64_bits() {
    let rows = [
        (1 << 40, 0, "shr.u64 %rd3, %rd5, 4;", 1 << 36),
        (1 << 31, 0, "shl.b64 %rd3, %rd5, 1;", 1 << 32),
        (1 << 31, 0, "add.s64 %rd3, %rd5, 0x80000000;", 3 << 31),
        (3 << 31, 0, "and.b64 %rd3, %rd5, 0x100000000;", 1 << 32),
        (3 << 31, 0, "bfe.u64 %rd3, %rd5, 30, 3;", 6),
        (1 << 31, 0, "cvt.s64.s32 %rd3, %r2;", u64::MAX << 31),
        (1 << 31, 0, "cvt.u64.u32 %rd3, %r2;", 1 << 31),
        (1 << 31, 0, "mul.wide.u32 %rd3, %r2, 4;", u64::MAX << 33),
        (1 << 31, 0, "mul.wide.s32 %rd3, %r2, 4;", u64::MAX << 33),
        (1 << 40, 0, "mov.b64 {%r3, %r4}, %rd5; mov.b64 %rd3, {%r4, %r3};", 1 << 8),
    ];
    expect("%rd3", 64, &rows);
}

#[test]
fn halves_and_conversions() {
    let rows = [
        (0xff00, 0, "mov.b32 {%h1, %h2}, %r2; mov.b32 %r3, {%h2, %h1};", 0xff00_0000),
        (0x8000, 0, "mov.b32 {%h1, %h2}, %r2; shr.s16 %h1, %h1, 3; cvt.u32.u16 %r3, %h1;", 0xf000),
        (0x8000, 0, "mov.b32 {%h1, %h2}, %r2; and.b16 %h1, %h1, 0xff; cvt.u32.u16 %r3, %h1;", 0),
        (0x8000, 0, "mov.b32 {%h1, %h2}, %r2; cvt.s32.s16 %r3, %h1;", 0xffff_8000),
        (0x80, 0, "cvt.s32.s8 %r3, %r2;", 0xffff_ff80),
        (0x180, 0, "cvt.u32.u8 %r3, %r2;", 0x80),
        (1 << 20, 0, "cvt.u16.u32 %h1, %r2; cvt.u32.u16 %r3, %h1;", 0),
        // Of floats each is defined as a whole.
        (1, 0, "cvt.rn.f32.u32 %f1, %r2; mov.b32 %r3, %f1;", 0xffff_ffff),
        (1, 0, "mov.b32 %f1, %r2; add.f32 %f1, %f1, %f1; mov.b32 %r3, %f1;", 0xffff_ffff),
        (1 << 20, 0, "add.rn.f16x2 %r3, %r2, %r2;", 0xffff_0000),
    ];
    expect("%r3", 32, &rows);
}

#[test]
fn choices() {
    let rows = [
        (0xf, 0, "setp.eq.u32 %p1, %r1, 0; selp.b32 %r3, %r2, 7, %p1;", 0xf),
        (0xf, 0, "setp.ne.u32 %p1, %r1, 0; selp.b32 %r3, %r2, 7, %p1;", 0),
        // The predicate is undefined: what both have in common is known.
        (1, 0, "setp.eq.u32 %p1, %r2, 0; selp.b32 %r3, 5, 6, %p1;", 3),
        // A shuffle hands on what there is.
        (0xf, 0, "shfl.sync.idx.b32 %r3, %r2, 0, 31, 1;", 0xf),
    ];
    expect("%r3", 32, &rows);
}

#[test]
fn comparisons_that_are_decided() {
    // Undefined bits of %r2, its value elsewhere, the comparison, whether it is decided.
    let rows = [
        (1, 8, "eq.u32 %p1, %r2, 0", true),
        (1, 0, "eq.u32 %p1, %r2, 0", false),
        (1, 0, "ne.u32 %p1, %r2, 2", true),
        (7, 0, "lt.u32 %p1, %r2, 8", true),
        (7, 0, "lt.u32 %p1, %r2, 7", false),
        (7, 16, "ge.u32 %p1, %r2, 16", true),
        (1 << 31, 0, "lt.s32 %p1, %r2, 1", true),
        (1 << 31, 0, "lt.s32 %p1, %r2, 0", false),
        (1 << 31, 0, "lt.u32 %p1, %r2, 1", false),
    ];
    for (undefined, value, comparison, decided) in rows {
        let body = format!("{}\nsetp.{comparison};\n@%p1 bra END;\nEND:", start(undefined, value));
        let found = faults(&ptx(&body), &threads(1), &[0], &[0]);
        assert_eq!(found.is_empty(), decided, "{comparison}: {found:#?}");
    }
}

#[test]
fn votes_that_are_decided() {
    // Of three lanes the predicate of lane 0 is undefined, and true in no other but `yes`.
    let vote = |yes: u32, text: &str| {
        let body = format!(
            "setp.eq.u32 %p2, %r1, 0; setp.eq.u32 %p1, %r1, {yes}; @%p2 setp.eq.u32 %p1, %r9, 0;
    {text}\n@%p3 bra END;\nEND:"
        );
        faults(&ptx(&body), &threads(3), &[0], &[0]).is_empty()
    };
    let all = |text| [vote(2, text), vote(3, text)];
    assert_eq!(all("vote.sync.any.pred %p3, %p1, 7;"), [true, false]);
    assert_eq!(all("vote.sync.all.pred %p3, %p1, 7;"), [true, true]);
    assert_eq!(all("vote.sync.all.pred %p3, !%p1, 7;"), [true, false]);
    assert_eq!(all("vote.sync.uni.pred %p3, %p1, 7;"), [true, false]);
    // Of a ballot, a bit for each lane.
    let bit = |n: u32| {
        format!("vote.sync.ballot.b32 %r3, %p1, 7; and.b32 %r3, %r3, {}; setp.ne.u32 %p3, %r3, 0;", 1 << n)
    };
    assert_eq!([0, 1, 2].map(|n| vote(2, &bit(n))), [false, true, true]);
}

/// `unsigned open : 1, phase : 1` in a byte that nobody has written, as an unoptimised compiler sets one after the other.
#[test]
fn single_bits_in_memory() {
    for (space, base) in [("local", "own"), ("shared", "%r20")] {
        let set = |bit: u32| {
            format!(
                "ld.{space}.u8 %r3, [{base}]; and.b32 %r3, %r3, {}; or.b32 %r3, %r3, {}; st.{space}.u8 [{base}], %r3;",
                255 - (1 << bit),
                1 << bit
            )
        };
        let read = |bit: u32| {
            format!(
                "ld.{space}.u8 %r4, [{base}]; bfe.u32 %r4, %r4, {bit}, 1; setp.eq.u32 %p1, %r4, 0;\n@%p1 bra END;\nEND:"
            )
        };
        let both = format!("mov.u32 %r20, smem;\n{}\n{}\n", set(0), set(1));
        for bit in 0..3 {
            let body = format!("{both}{}", read(bit));
            if bit < 2 {
                clean(&ptx(&body), &threads(1), &[0], &[0]);
            } else {
                refuted(&ptx(&body), &threads(1), &[0], &[0], FaultKind::Undefined);
            }
        }
        // A word that is read over them: its other bytes are undefined, too.
        let word =
            format!("{both}ld.{space}.u32 %r4, [{base}]; and.b32 %r4, %r4, MASK; st.global.u32 [%rd1], %r4;");
        assert_eq!(clean(&ptx(&word.replace("MASK", "3")), &threads(1), &[0], &[0]).a, [3]);
        refuted(&ptx(&word.replace("MASK", "7")), &threads(1), &[0], &[0], FaultKind::Undefined);
        // As it is: six bits of it are nobody's.
        let copy = format!("{both}ld.{space}.u8 %r4, [{base}]; st.global.u8 [%rd1], %r4;");
        refuted(&ptx(&copy), &threads(1), &[0], &[0], FaultKind::Undefined);
        // Written over as a whole.
        let whole = format!("{both}st.{space}.u8 [{base}], 9; {}", read(2));
        clean(&ptx(&whole), &threads(1), &[0], &[0]);
    }
}

#[test]
fn what_a_single_undefined_bit_may_not_do() {
    let bad = |body: &str| {
        let ptx = ptx(&format!("{}\n{body}", start(4, 0)));
        refuted(&ptx, &threads(1), &[0, 0], &[0], FaultKind::Undefined).message
    };
    assert!(bad("setp.eq.u32 %p1, %r2, 0;\n@%p1 bra END;\nEND:").contains("branch"));
    assert!(bad("setp.eq.u32 %p1, %r2, 0;\n@%p1 mov.u32 %r3, 1;").contains("guard"));
    assert!(bad("add.s64 %rd6, %rd1, %rd5; ld.global.u32 %r3, [%rd6];").contains("address"));
    assert!(bad("st.global.u32 [%rd1], %r2;").contains("global memory"));
    assert!(bad("st.global.u8 [%rd1], %r2;").contains("global memory"));
    assert!(bad("atom.global.or.b32 %r3, [%rd1], %r2;").contains("global memory"));
    assert!(bad("mov.u32 %r20, smem; st.shared.u32 [%r20], %r2; atom.shared.add.u32 %r3, [%r20], 1; st.global.u32 [%rd1], %r3;")
        .contains("global memory"));
    assert!(bad("bar.sync %r2;").contains("barrier"));
    // A narrow store takes only the bits that it writes.
    let narrow = ptx(&format!("{}\nst.global.u8 [%rd1], %r2;", start(0x100, 7)));
    assert_eq!(clean(&narrow, &threads(1), &[0], &[0]).a, [7]);
}
