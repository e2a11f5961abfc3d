//! Undefined values: what they may do, and how far they spread.

use crate::support::*;
use ptx_sim::FaultKind;

#[test]
fn undefined_values_may_be_read_but_not_leave() {
    let read = text("", 64, "mov.u32 %r2, smem;\nld.shared.u32 %r3, [%r2];\nadd.u32 %r4, %r3, %r9;");
    clean(&read, &threads(1), &[0], &[0]);
    let leaves = text("", 64, "mov.u32 %r2, smem;\nld.shared.u32 %r3, [%r2];\nst.global.u32 [%rd1], %r3;");
    refuted(&leaves, &threads(1), &[0], &[0], FaultKind::Undefined);
    let branch = text("", 64, "setp.eq.u32 %p1, %r9, 0;\n@%p1 bra L;\nL:");
    refuted(&branch, &threads(1), &[0], &[0], FaultKind::Undefined);
    // A copy that takes bytes nobody wrote.
    let bulk = text(
        "",
        64,
        "
    mov.u32 %r2, smem;
    cp.async.bulk.global.shared::cta.bulk_group [%rd1], [%r2], 16;
    cp.async.bulk.commit_group;
    cp.async.bulk.wait_group 0;",
    );
    refuted(&bulk, &threads(1), &zeros(4), &[0], FaultKind::Undefined);
}

/// Sixteen rows of A (16 × 16) and of B's transpose (8 × 16), of which only those are written that the predicates say; one
/// `mma`; then each lane stores one register of D, if `%p3` says so.
fn product(write_a: &str, write_b: &str, store: &str) -> String {
    text(
        "",
        1024,
        &format!(
            "
    mov.u32 %r2, smem;
    // Lane l writes half of row l / 2 of A, and lanes below 16 that of column l / 2 of B.
    mad.lo.u32 %r3, %r1, 16, %r2;
    shr.u32 %r4, %r1, 1;
    mov.u32 %r5, 0x3c003c00;
    {write_a}
    @%p1 st.shared.v4.u32 [%r3], {{%r5, %r5, %r5, %r5}};
    setp.lt.u32 %p2, %r1, 16;
    {write_b}
    @%p2 st.shared.v4.u32 [%r3+512], {{%r5, %r5, %r5, %r5}};
    bar.warp.sync 0xffffffff;
    and.b32 %r6, %r1, 15;
    shr.u32 %r7, %r1, 4;
    shl.b32 %r6, %r6, 5;
    mad.lo.u32 %r6, %r7, 16, %r6;
    add.u32 %r6, %r6, %r2;
    ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{%r20, %r21, %r22, %r23}}, [%r6];
    and.b32 %r6, %r1, 7;
    shl.b32 %r6, %r6, 5;
    bfe.u32 %r7, %r1, 3, 1;
    mad.lo.u32 %r6, %r7, 16, %r6;
    add.u32 %r6, %r6, %r2;
    ldmatrix.sync.aligned.m8n8.x2.shared.b16 {{%r24, %r25}}, [%r6+512];
    mov.f32 %f1, 0f00000000;
    mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {{%f4, %f5, %f6, %f7}}, {{%r20, %r21, %r22, %r23}}, {{%r24, %r25}}, {{%f1, %f1, %f1, %f1}};
    mul.wide.u32 %rd3, %r1, 4;
    add.s64 %rd3, %rd1, %rd3;
    {store}"
        ),
    )
}

const ALL: &str = "setp.eq.u32 %p1, %r2, %r2;";
const STORE: &str = "@%p3 st.global.f32 [%rd3], %f4;";

#[test]
fn a_row_of_a_product_hangs_on_one_row_of_a() {
    let one_row = |row: u32, lanes: &str| {
        product(
            &format!("setp.eq.u32 %p1, %r4, {row};"),
            "",
            &format!("setp.eq.u32 %p3, %r7, %r7;\n{lanes}\n{STORE}"),
        )
    };
    // Row 3 lies in lanes 12 to 15 of the first register.
    let right = "shr.u32 %r8, %r1, 2; setp.eq.u32 %p3, %r8, 3;";
    let run = clean(&one_row(3, right), &threads(32), &zeros(32), &[0]);
    assert_eq!(run.a[12..16], [16f32.to_bits(); 4]);
    let fault = refuted(&one_row(4, right), &threads(32), &zeros(32), &[0], FaultKind::Undefined);
    assert_eq!(fault.lane, Some(12));
    // Row 11 is in the third register, not in the first.
    let other = one_row(11, right);
    refuted(&other, &threads(32), &zeros(32), &[0], FaultKind::Undefined);
    clean(&other.replace("%rd3], %f4", "%rd3], %f6"), &threads(32), &zeros(32), &[0]);
}

#[test]
fn a_column_of_a_product_hangs_on_one_column_of_b() {
    let one_column = |column: u32| {
        product(
            ALL,
            &format!("setp.eq.u32 %p2, %r4, {column};"),
            &format!("and.b32 %r8, %r1, 3; setp.eq.u32 %p3, %r8, 2;\n{STORE}"),
        )
    };
    // Columns 4 and 5 lie in every fourth lane, the even one in the first register.
    clean(&one_column(4), &threads(32), &zeros(32), &[0]);
    for column in [5, 3] {
        refuted(&one_column(column), &threads(32), &zeros(32), &[0], FaultKind::Undefined);
    }
}

#[test]
fn words_of_a_vector_are_defined_one_by_one() {
    let ptx = |store: &str| {
        text(
            "",
            64,
            &format!(
                "
    mov.u32 %r2, smem;
    st.shared.u32 [%r2+4], 7;
    st.shared.u16 [%r2+8], 7;
    ld.shared.v4.u32 {{%r4, %r5, %r6, %r7}}, [%r2];
    {store}"
            ),
        )
    };
    clean(&ptx("st.global.u32 [%rd1], %r5;"), &threads(1), &[0], &[0]);
    refuted(&ptx("st.global.u32 [%rd1], %r4;"), &threads(1), &[0], &[0], FaultKind::Undefined);
    // Half of a word, there and back again.
    let back = "st.shared.u32 [%r2+16], %r6; ld.shared.u16 %r8, [%r2+HALF]; st.global.u32 [%rd1], %r8;";
    clean(&ptx(&back.replace("HALF", "16")), &threads(1), &[0], &[0]);
    refuted(&ptx(&back.replace("HALF", "18")), &threads(1), &[0], &[0], FaultKind::Undefined);
}

#[test]
fn a_stored_matrix_is_defined_where_its_registers_are() {
    // Lanes 4 to 7 hold row 1 of a matrix; the others hold nothing.
    let ptx = |transpose: &str, offset: u32| {
        text(
            "",
            128,
            &format!(
                "
    mov.u32 %r2, smem;
    shr.u32 %r4, %r1, 2;
    setp.eq.u32 %p1, %r4, 1;
    @%p1 mov.u32 %r5, 0x00070007;
    and.b32 %r6, %r1, 7;
    mad.lo.u32 %r6, %r6, 16, %r2;
    stmatrix.sync.aligned.m8n8.x1{transpose}.shared.b16 [%r6], {{%r5}};
    bar.warp.sync 0xffffffff;
    ld.shared.u16 %r7, [%r2+{offset}];
    setp.eq.u32 %p2, %r1, 0;
    @%p2 st.global.u32 [%rd1], %r7;"
            ),
        )
    };
    // Row 1, column 3; column 1, row 3.
    for (transpose, good, bad) in [("", 16 + 6, 3 * 16 + 2), (".trans", 3 * 16 + 2, 16 + 6)] {
        assert_eq!(clean(&ptx(transpose, good), &threads(32), &[0], &[0]).a, [7]);
        refuted(&ptx(transpose, bad), &threads(32), &[0], &[0], FaultKind::Undefined);
    }
}

/// One m64n8k16 of which only some lines of A (128 chunks of 16 bytes) and B (16) are written; the lanes that `%p4` names store
/// their first element.
fn quarter(write_a: &str, write_b: &str, store: &str) -> String {
    text(
        "",
        8192,
        &format!(
            "
    mov.u32 %r2, smem;
    mad.lo.u32 %r3, %r1, 16, %r2;
    mov.u32 %r4, 0x3f803f80;
    {write_a}
    @%p1 st.shared.v4.u32 [%r3], {{%r4, %r4, %r4, %r4}};
    setp.lt.u32 %p2, %r1, 16;
    {write_b}
    @%p2 st.shared.v4.u32 [%r3+2048], {{%r4, %r4, %r4, %r4}};
    fence.proxy.async.shared::cta;
    bar.sync 0;
    // Core matrices of 8 rows by 16 bytes, 128 bytes each: the second half of k 128 further, the next rows 256.
    shr.u32 %r5, %r2, 4;
    cvt.u64.u32 %rd5, %r5;
    and.b64 %rd5, %rd5, 0x3fff;
    or.b64 %rd5, %rd5, 0x0000001000080000;
    add.s64 %rd6, %rd5, 128;
    setp.ne.u32 %p3, 0, 0;
    wgmma.fence.sync.aligned;
    wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {{%f0, %f1, %f2, %f3}}, %rd5, %rd6, %p3, 1, 1, 0, 0;
    wgmma.commit_group.sync.aligned;
    wgmma.wait_group.sync.aligned 0;
    mul.wide.u32 %rd3, %r1, 4;
    add.s64 %rd3, %rd1, %rd3;
    {store}
    @%p4 st.global.f32 [%rd3], %f0;"
        ),
    )
}

#[test]
fn rows_and_columns_of_a_warpgroup_product() {
    // Row 18 of A is row 2 of warp 1: core matrices 4 and 5, line 2 of each.
    let row = |n: u32| {
        let line = 8 * 2 * (n / 8) + n % 8;
        let write = format!("and.b32 %r6, %r1, 0x77; setp.eq.u32 %p1, %r6, {line};");
        quarter(&write, "", "shr.u32 %r7, %r1, 2; setp.eq.u32 %p4, %r7, 10;")
    };
    let run = clean(&row(18), &threads(128), &zeros(128), &[0]);
    assert_eq!(run.a[40..44], [16f32.to_bits(); 4]);
    refuted(&row(2), &threads(128), &zeros(128), &[0], FaultKind::Undefined);
    // Column 6 of B: the even elements of lanes 4 g + 3.
    let column = |n: u32| {
        let write = format!("and.b32 %r6, %r1, 0x77; setp.eq.u32 %p2, %r6, {n};");
        quarter(ALL, &write, "and.b32 %r7, %r1, 3; setp.eq.u32 %p4, %r7, 3;")
    };
    clean(&column(6), &threads(128), &zeros(128), &[0]);
    refuted(&column(7), &threads(128), &zeros(128), &[0], FaultKind::Undefined);
}

#[test]
fn local_memory_starts_undefined() {
    let ptx = |body: &str| text("", 0, &format!("{{ .local .align 8 .b8 own[16]; .reg .b64 at;\n{body} }}"));
    let direct = |offset: u32| {
        ptx(&format!(
            "st.local.u32 [own+4], %r1; ld.local.u32 %r3, [own+{offset}]; st.global.u32 [%rd1], %r3;"
        ))
    };
    assert_eq!(clean(&direct(4), &threads(1), &[7], &[0]).a, [0]);
    refuted(&direct(8), &threads(1), &[0], &[0], FaultKind::Undefined);
    // By a generic address, and only in the lanes that wrote it.
    let generic = |writes: &str| {
        ptx(&format!(
            "mov.u64 at, own; cvta.local.u64 at, at; setp.{writes}.u32 %p1, %r1, 3;
    @%p1 st.u32 [at+8], 9; ld.u32 %r3, [at+8]; setp.eq.u32 %p2, %r1, 3; @%p2 st.global.u32 [%rd1], %r3;"
        ))
    };
    assert_eq!(clean(&generic("eq"), &threads(32), &[0], &[0]).a, [9]);
    let fault = refuted(&generic("ne"), &threads(32), &[0], &[0], FaultKind::Undefined);
    assert_eq!(fault.lane, Some(3));
    // An undefined register that is spilled comes back undefined, and decides no branch.
    let branch =
        ptx("st.local.u32 [own], %r9; ld.local.u32 %r3, [own]; setp.eq.u32 %p1, %r3, 0; @%p1 bra L;\nL:");
    refuted(&branch, &threads(1), &[0], &[0], FaultKind::Undefined);
}

#[test]
fn an_atomic_on_what_was_never_written() {
    let ptx = |begin: &str, op: &str| {
        text("", 64, &format!("mov.u32 %r2, smem;\n{begin}\natom.shared.{op};\nst.global.u32 [%rd1], %r3;"))
    };
    let begin = "st.shared.u32 [%r2], 5;";
    assert_eq!(clean(&ptx(begin, "add.u32 %r3, [%r2], 1"), &threads(1), &[0], &[0]).a, [5]);
    refuted(&ptx("", "add.u32 %r3, [%r2], 1"), &threads(1), &[0], &[0], FaultKind::Undefined);
    // An exchange leaves its operand.
    let after = "exch.b32 %r4, [%r2], 6;\nld.shared.u32 %r3, [%r2]";
    assert_eq!(clean(&ptx("", after), &threads(1), &[0], &[0]).a, [6]);
}

#[test]
fn quads_multiply_apart() {
    // A is defined in lanes 4 to 7 and 20 to 23 only: the second of the four products.
    let ptx = |stores: u32| {
        text(
            "",
            0,
            &format!(
                "
    shr.u32 %r2, %r1, 2;
    and.b32 %r2, %r2, 3;
    setp.eq.u32 %p1, %r2, 1;
    @%p1 mov.u32 %r3, 0x3c003c00;
    mov.u32 %r4, 0x3c003c00;
    mov.u32 %r5, 0;
    mma.sync.aligned.m8n8k4.row.col.f16.f16.f16.f16 {{%r6, %r7, %r8, %r9}}, {{%r3, %r3}}, {{%r4, %r4}}, {{%r5, %r5, %r5, %r5}};
    mul.wide.u32 %rd3, %r1, 4;
    add.s64 %rd3, %rd1, %rd3;
    setp.eq.u32 %p2, %r2, {stores};
    @%p2 st.global.u32 [%rd3], %r6;"
            ),
        )
    };
    assert_eq!(clean(&ptx(1), &threads(32), &zeros(32), &[0]).a[20..24], [0x4400_4400; 4]);
    refuted(&ptx(2), &threads(32), &zeros(32), &[0], FaultKind::Undefined);
}

/// `{int a; short b;}` copied as one word of eight bytes: nobody writes the last two.
#[test]
fn padding_goes_with_its_structure() {
    let ptx = |fields: &str, copy: &str| {
        text("", 0, &format!("{{ .local .align 8 .b8 own[16]; .reg .b16 %h<4>;\n{fields}\n{copy} }}"))
    };
    let fields = "st.local.u32 [own], %r1; mov.u16 %h1, 7; st.local.u16 [own+4], %h1;";
    let copy = "ld.local.u64 %rd3, [own]; st.global.u64 [%rd1], %rd3;";
    let padded = ptx(fields, copy);
    assert_eq!(clean(&padded, &threads(1), &zeros(2), &[0]).a[0], 0);
    let notes = notes(&padded, &threads(1), &zeros(2), &[0]);
    assert!(notes.iter().any(|n| n.kind == FaultKind::Undefined), "{notes:#?}");
    // Nothing of it was written, or something was computed from it.
    refuted(&ptx("", copy), &threads(1), &zeros(2), &[0], FaultKind::Undefined);
    let computed = "ld.local.u64 %rd3, [own]; add.s64 %rd3, %rd3, 1; st.global.u64 [%rd1], %rd3;";
    refuted(&ptx(fields, computed), &threads(1), &zeros(2), &[0], FaultKind::Undefined);
}

/// `unsigned kind : 8, size : 24` in memory that nobody has written, as compilers set the second field.
#[test]
fn a_bit_field_beside_undefined_bits() {
    let ptx = |shift: u32| {
        text(
            "",
            0,
            &format!(
                "{{ .local .align 8 .b8 own[8];
    ld.local.u32 %r2, [own]; and.b32 %r2, %r2, 255; shl.b32 %r3, %r1, 8; or.b32 %r2, %r2, %r3; st.local.u32 [own], %r2;
    ld.local.u32 %r4, [own]; shr.u32 %r4, %r4, {shift};
    mul.wide.u32 %rd3, %r1, 4; add.s64 %rd3, %rd1, %rd3; st.global.u32 [%rd3], %r4; }}"
            ),
        )
    };
    assert_eq!(clean(&ptx(8), &threads(32), &zeros(32), &[0]).a, (0..32).collect::<Vec<_>>());
    refuted(&ptx(7), &threads(32), &zeros(32), &[0], FaultKind::Undefined);
}
