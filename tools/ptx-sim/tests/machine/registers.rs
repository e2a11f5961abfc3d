//! `setmaxnreg`: the pool, its rules, and the deadlock that ptxas does not see.

use crate::support::*;
use ptx_sim::FaultKind;

const DIRECTIVES: &str = ".reqntid 384, 1, 1 .minnctapersm 1";

fn roles(producer: u32, consumer: u32) -> String {
    roles_in(DIRECTIVES, producer, consumer)
}

fn roles_in(directives: &str, producer: u32, consumer: u32) -> String {
    text(
        directives,
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

/// What `__launch_bounds__(threads, 1)` becomes. 256 threads could have 256 each, and start with what is asked for.
#[test]
fn a_bound_fixes_the_number_too() {
    let bound = |threads: u32| format!(".maxntid {threads}, 1, 1 .minnctapersm 1");
    for consumer in [232, 240] {
        let ptx = roles_in(&bound(256), 24, consumer);
        clean(&ptx, &threads(256), &[0], &[0]);
        assert!(notes(&ptx, &threads(256), &[0], &[0]).is_empty());
    }
    refuted(&roles_in(&bound(384), 24, 248), &threads(384), &[0], &[0], FaultKind::Deadlock);
    // Two CTAs on a multiprocessor halve the share: 128 for each of 256 threads.
    let two = ".maxntid 256, 1, 1 .minnctapersm 2";
    clean(&roles_in(two, 24, 232), &threads(256), &[0], &[0]);
    refuted(&roles_in(two, 24, 240), &threads(256), &[0], &[0], FaultKind::Deadlock);
}

#[test]
fn rules() {
    refuted(&roles(176, 240), &threads(384), &[0], &[0], FaultKind::Registers);
    // Fewer than there are: 168, since others ask for 240. Alone, 160 would be what all start with.
    clean(&roles(24, 160), &threads(384), &[0], &[0]);
    let fewer = roles(24, 160).replace(
        "    setmaxnreg.inc",
        "    setp.lt.u32 %p2, %r1, 256;\n    @%p2 bra MORE;\n    setmaxnreg.inc",
    );
    let fewer = fewer.replace("END:", "    bra END;\nMORE:\n    setmaxnreg.inc.sync.aligned.u32 240;\nEND:");
    refuted(&fewer, &threads(384), &[0], &[0], FaultKind::Registers);
    // Without a known number at launch ptxas ignores it, and says so in a message nobody reads.
    let plain = text("", 0, "setmaxnreg.dec.sync.aligned.u32 24;");
    assert!(notes(&plain, &threads(128), &[0], &[0]).iter().any(|n| n.kind == FaultKind::Registers));
    let split = text(DIRECTIVES, 0, "setp.lt.u32 %p1, %r1, 16;\n@%p1 setmaxnreg.dec.sync.aligned.u32 24;");
    refuted(&split, &threads(384), &[0], &[0], FaultKind::SyncMask);
}
