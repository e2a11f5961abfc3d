//! The first guess of a compare-and-swap loop: a weak read that races with atomics, and may.
//!
//! ```text
//! seen = *x;                                         weak: may be old, may be torn for all the rules say
//! do { old = seen; seen = atomicCAS(x, old, f(old)) } while (seen != old);     finds out, and tries again
//! ```
//!
//! So a weak read against an atomic is held back until its warp has done a compare-and-swap on the same bytes, and
//! reported at the end if it never does.

use super::{Access, Check, Finding, Region, cell::Entry, shadow::flag};

pub struct Held {
    region: Region,
    granule: u64,
    mask: u16,
    /// The agent that read.
    reader: u32,
    finding: Finding,
}

/// The reader, if one of the two is a weak read and the other an atomic.
pub fn first_guess(x: Access, e: &Entry) -> Option<u32> {
    let atomic = flag::WRITE | flag::STRONG;
    match (x.flags, e.flags) {
        (0, other) if other & atomic == atomic => Some(x.agent),
        (other, 0) if other & atomic == atomic => Some(e.agent),
        _ => None,
    }
}

impl Check<'_> {
    pub fn hold(&mut self, region: Region, granule: u64, mask: u16, reader: u32, finding: Finding) {
        let alike = |h: &&Held| (h.finding.at, h.finding.other) == (finding.at, finding.other);
        let twice = |h: &Held| (h.region, h.granule, h.mask, h.reader) == (region, granule, mask, reader);
        if !self.held.iter().filter(alike).any(twice) {
            self.held.push(Held { region, granule, mask, reader, finding });
        }
    }

    /// A warp does a compare-and-swap.
    pub fn excuse(&mut self, warp: usize, region: Region, addr: u64, bytes: u64) {
        let mask = (((1u32 << bytes) - 1) << (addr % 16)) as u16;
        self.held.retain(|h| {
            (h.region, h.granule, h.reader) != (region, addr / 16, warp as u32) || h.mask & !mask != 0
        });
    }

    pub fn report_held(&mut self) {
        std::mem::take(&mut self.held).into_iter().for_each(|h| self.findings.report(h.finding));
    }
}
