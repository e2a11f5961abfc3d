//! `setmaxnreg`: the pool, its rules, and the deadlock that ptxas does not see.

use crate::support::*;
use ptx_sim::FaultKind;

const DIRECTIVES: &str = ".reqntid 384, 1, 1 .minnctapersm 1";

fn roles(producer: u32, consumer: u32) -> String {
    text(
        DIRECTIVES,
        0,
        &format!(
            "
    setp.lt.u32 %p1, %r1, 128;
    @%p1 bra PRODUCER;
    setmaxnreg.inc.sync.aligned.u32 {consumer};
    bra END;
PRODUCER:
    setmaxnreg.dec.sync.aligned.u32 {producer};
END:"
        ),
    )
}

#[test]
fn shares_that_add_up() {
    clean(&roles(24, 240), &threads(384), &[0], &[0]);
    clean(&roles(40, 232), &threads(384), &[0], &[0]);
}

#[test]
fn over_subscription_waits_for_ever() {
    let fault = refuted(&roles(24, 248), &threads(384), &[0], &[0], FaultKind::Deadlock);
    assert!(fault.message.contains("setmaxnreg.inc from 168 to 248"), "{fault}");
}

#[test]
fn rules() {
    for (producer, consumer) in [(176, 240), (24, 160)] {
        refuted(&roles(producer, consumer), &threads(384), &[0], &[0], FaultKind::Registers);
    }
    // Without a known number at launch ptxas ignores it, and says so in a message nobody reads.
    let plain = text("", 0, "setmaxnreg.dec.sync.aligned.u32 24;");
    assert!(notes(&plain, &threads(128), &[0], &[0]).iter().any(|n| n.kind == FaultKind::Registers));
    let split = text(DIRECTIVES, 0, "setp.lt.u32 %p1, %r1, 16;\n@%p1 setmaxnreg.dec.sync.aligned.u32 24;");
    refuted(&split, &threads(384), &[0], &[0], FaultKind::SyncMask);
}
