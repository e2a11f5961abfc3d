//! Single rules of happens-before, and what is only noted.

use crate::support::*;
use ptx_sim::{FaultKind, Severity};

#[test]
fn lanes_of_one_store() {
    let different = text("", 64, "mov.u32 %r2, smem;\nst.shared.u32 [%r2], %r1;");
    refuted(&different, &threads(32), &[0], &[0], FaultKind::LaneConflict);
    let equal = text("", 64, "mov.u32 %r2, smem;\nst.shared.u32 [%r2], 7;");
    assert!(faults(&equal, &threads(32), &[0], &[0]).is_empty());
    let notes = notes(&equal, &threads(32), &[0], &[0]);
    assert!(notes.iter().any(|n| n.kind == FaultKind::LaneConflict && n.severity == Severity::Note));
}

#[test]
fn replicas_that_differ_by_rounding() {
    // The lane's number in the last bits of 1.0.
    let floats = |base: &str| {
        text(
            "",
            64,
            &format!(
                "mov.u32 %r2, smem;
or.b32 %r3, %r1, {base};\nst.shared.u32 [%r2], %r3;"
            ),
        )
    };
    let close = floats("0x3f800000");
    assert!(faults(&close, &threads(32), &[0], &[0]).is_empty());
    let notes = notes(&close, &threads(32), &[0], &[0]);
    assert!(notes.iter().any(|n| n.message.contains("all but equal")), "{notes:#?}");
    // As integers they differ, small ones.
    refuted(&floats("0x1000"), &threads(32), &[0], &[0], FaultKind::LaneConflict);
}

#[test]
fn two_byte_stores_into_one_cell_are_apart() {
    let ptx = text(
        "",
        256,
        "
    mov.u32 %r2, smem;
    mad.lo.u32 %r3, %r1, 2, %r2;
    st.shared.u16 [%r3], %r1;
    bar.sync 0;
    xor.b32 %r4, %r1, 32;
    mad.lo.u32 %r4, %r4, 2, %r2;
    ld.shared.u16 %r5, [%r4];
    mul.wide.u32 %rd3, %r1, 4;
    add.s64 %rd3, %rd1, %rd3;
    st.global.u32 [%rd3], %r5;",
    );
    let want: Vec<u32> = (0..64).map(|n| n ^ 32).collect();
    assert_eq!(clean(&ptx, &threads(64), &zeros(64), &[0]).a, want);
    // Warps that write different halves of the same 16 bytes.
    let halves = text(
        "",
        256,
        "
    mov.u32 %r2, smem;
    and.b32 %r3, %r1, 31;
    shr.u32 %r4, %r1, 5;
    shl.b32 %r3, %r3, 2;
    shl.b32 %r4, %r4, 1;
    add.u32 %r3, %r3, %r4;
    add.u32 %r3, %r3, %r2;
    st.shared.u16 [%r3], %r1;",
    );
    clean(&halves, &threads(64), &[0], &[0]);
}

#[test]
fn strong_accesses_of_sufficient_scope_do_not_race() {
    let body = |access: &str| text("", 64, &format!("mov.u32 %r2, smem;\n{access}"));
    clean(&body("st.relaxed.cta.shared.u32 [%r2], 1;"), &threads(64), &[0], &[0]);
    clean(&body("red.shared.add.u32 [%r2], 1;"), &threads(64), &[0], &[0]);
    refuted(
        &body("shr.u32 %r5, %r1, 5;\nst.shared.u32 [%r2], %r5;"),
        &threads(64),
        &[0],
        &[0],
        FaultKind::SharedRace,
    );
}

#[test]
fn a_generic_read_before_an_async_write_is_noted() {
    let ptx = text(
        "",
        1024,
        "
    mov.u32 %r2, smem;
    setp.eq.u32 %p1, %r1, 0;
    mad.lo.u32 %r3, %r1, 4, %r2;
    st.shared.u32 [%r3+128], %r1;
    @!%p1 bra READY;
    mbarrier.init.shared::cta.b64 [%r2], 1;
READY:
    fence.proxy.async;
    bar.sync 0;
    xor.b32 %r4, %r1, 32;
    mad.lo.u32 %r4, %r4, 4, %r2;
    ld.shared.u32 %r5, [%r4+128];
    bar.sync 0;
    @!%p1 bra END;
    mbarrier.arrive.expect_tx.shared::cta.b64 %rd5, [%r2], 256;
    add.u32 %r8, %r2, 128;
    cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r8], [%rd1], 256, [%r2];
W:
    mbarrier.try_wait.parity.shared::cta.b64 %p9, [%r2], 0;
    @!%p9 bra W;
END:",
    );
    assert!(faults(&ptx, &threads(64), &counting(64), &[0]).is_empty());
    let notes = notes(&ptx, &threads(64), &counting(64), &[0]);
    assert!(notes.iter().any(|n| n.kind == FaultKind::ProxyFence), "{notes:?}");
}
