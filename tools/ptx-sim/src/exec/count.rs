//! What a run did, instruction by instruction, for whoever asks how fast it would be.
//!
//! Every instruction of the kernel is a *site* with its sums. Global accesses are counted in sectors of 32 bytes, which is what
//! moves between L1 and L2; accesses to shared memory in wavefronts, of which each takes a clock:
//!
//! ```text
//! ld.global.f32, lane l at base + 4·l     32 lanes, 128 bytes, 4 sectors
//!                lane l at base + 128·l   32 lanes, 128 bytes, 32 sectors: an eighth of the traffic is used
//! ld.shared.f32, lane l at 4·l            32 banks, one word each: 1 wavefront
//!                lane l at 128·l          32 words of bank 0: 32 wavefronts where 1 would do
//! ld.shared.v4   lane l at 16·l           4 groups of 8 lanes, 128 bytes each: 4 wavefronts, and no fewer are possible
//! ```
//!
//! Counting is off unless asked for; it changes nothing of what a run does.

use super::{
    access::{address, rows_of},
    rows::{Rows, lanes},
    world::{GENERIC_LOCAL, GENERIC_SHARED, Me, WINDOW},
};
use crate::{ir::*, memory::Memory, time::trace::Recorder};
use std::collections::HashMap;

/// Bytes of a sector, and of the page that one mask of `touched` stands for.
pub const SECTOR: u64 = 32;
const PAGE: u64 = 128 * SECTOR;

/// The sums of one instruction.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Site {
    /// Warps that executed it, and lanes of them that took part.
    pub warps: u64,
    pub lanes: u64,
    /// How often a warp had to wait there.
    pub waits: u64,
    /// Bytes of global memory that were asked for, and the sectors they lie in.
    pub global_bytes: u64,
    pub sectors: u64,
    /// Wavefronts of shared memory, and how few could have done.
    pub wavefronts: u64,
    pub least_wavefronts: u64,
}

impl Site {
    pub fn add(&mut self, o: &Site) {
        self.warps += o.warps;
        self.lanes += o.lanes;
        self.waits += o.waits;
        self.global_bytes += o.global_bytes;
        self.sectors += o.sectors;
        self.wavefronts += o.wavefronts;
        self.least_wavefronts += o.least_wavefronts;
    }
}

#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// One for each instruction.
    pub sites: Vec<Site>,
    /// CTAs that were counted: all of the grid, but for a sample.
    pub ctas: u64,
    /// Sectors of global memory that were touched at all: a page's number, and a bit for each of its 128 sectors.
    touched: HashMap<u64, u128>,
    /// The steps of the warps that are traced, if any are to be.
    pub trace: Option<Recorder>,
}

impl Counters {
    pub fn new(instructions: usize) -> Counters {
        Counters { sites: vec![Site::default(); instructions], ..Counters::default() }
    }

    /// Bytes of all sectors that were touched: what has to come from or go to the device's memory at least once.
    pub fn touched_bytes(&self) -> u64 {
        self.touched.values().map(|m| m.count_ones() as u64 * SECTOR).sum()
    }

    /// For each allocation: its size, and the bytes of it that were touched.
    pub fn touched_of(&self, memory: &Memory) -> Vec<(u64, u64)> {
        let mut sums: HashMap<u64, (u64, u64)> = HashMap::new();
        for (page, mask) in &self.touched {
            for sector in (0..128).filter(|s| mask >> s & 1 == 1) {
                let at = page * PAGE + sector * SECTOR;
                let Some(a) = memory.find(at, 1) else { continue };
                sums.entry(a.base).or_insert((a.len as u64, 0)).1 += SECTOR;
            }
        }
        sums.into_values().collect()
    }

    pub fn merge(&mut self, mut other: Counters) {
        if let Some(trace) = other.trace.take() {
            self.trace.get_or_insert_default().append(trace);
        }
        self.ctas += other.ctas;
        if self.sites.is_empty() {
            self.sites = vec![Site::default(); other.sites.len()];
        }
        self.sites.iter_mut().zip(&other.sites).for_each(|(a, b)| a.add(b));
        for (page, mask) in other.touched {
            *self.touched.entry(page).or_default() |= mask;
        }
    }

    /// A warp is about to execute an instruction.
    pub fn instruction(&mut self, op: &Op, me: Me, active: u32, rows: &Rows) {
        let at = me.at;
        let Some(site) = self.sites.get_mut(at as usize) else { return };
        let before = *site;
        site.warps += 1;
        site.lanes += active.count_ones() as u64;
        for (space, addr, bytes, mask) in accesses(op, active) {
            let spread: Vec<u64> = lanes(mask).map(|l| address(rows, addr, l)).collect();
            let Some(&first) = spread.first() else { continue };
            match kind(space, first) {
                MemSpace::Global => self.global(at, spread.into_iter().map(|a| (a, bytes))),
                MemSpace::Shared => self.shared(at, &spread, bytes),
                _ => {}
            }
        }
        let site = &self.sites[at as usize];
        let moved = (site.sectors - before.sectors, site.wavefronts - before.wavefronts);
        if let Some(trace) = &mut self.trace {
            trace.step(me, op, active, rows, moved);
        }
    }

    /// It has to wait, and will try again.
    pub fn waited(&mut self, me: Me, active: u32) {
        if let Some(trace) = &mut self.trace {
            trace.undo(me);
        }
        let Some(site) = self.sites.get_mut(me.at as usize) else { return };
        site.warps -= 1;
        site.lanes -= active.count_ones() as u64;
        site.waits += 1;
    }

    /// Stretches of global memory (address, bytes) that one instruction touches together.
    pub fn global(&mut self, at: u32, runs: impl Iterator<Item = (u64, u64)>) {
        let mut bytes = 0;
        let mut sectors = vec![];
        for (address, length) in runs {
            bytes += length;
            sectors.extend(units(address, length, SECTOR));
        }
        sectors.sort_unstable();
        sectors.dedup();
        for s in &sectors {
            let page = s * SECTOR / PAGE;
            *self.touched.entry(page).or_default() |= 1 << (s % (PAGE / SECTOR));
        }
        if let Some(site) = self.sites.get_mut(at as usize) {
            site.global_bytes += bytes;
            site.sectors += sectors.len() as u64;
        }
    }

    /// 32 lanes at once for up to 4 bytes, 16 for 8, 8 for 16.
    fn shared(&mut self, at: u32, addresses: &[u64], bytes: u64) {
        let together = (128 / bytes.max(4)).max(1) as usize;
        for group in addresses.chunks(together) {
            let (wavefronts, least) = wavefronts(group, bytes);
            if let Some(site) = self.sites.get_mut(at as usize) {
                site.wavefronts += wavefronts;
                site.least_wavefronts += least;
            }
        }
    }
}

/// The numbers of the units of `size` bytes that a stretch overlaps.
fn units(address: u64, bytes: u64, size: u64) -> std::ops::Range<u64> {
    address / size..address.saturating_add(bytes).div_ceil(size)
}

/// The most words that any of the 32 banks has to give; and what an even spread would need.
fn wavefronts(addresses: &[u64], bytes: u64) -> (u64, u64) {
    let mut words: Vec<u64> = addresses.iter().flat_map(|a| units(*a, bytes, 4)).collect();
    words.sort_unstable();
    words.dedup();
    let mut banks = [0u64; 32];
    words.iter().for_each(|w| banks[(w % 32) as usize] += 1);
    (banks.into_iter().max().unwrap_or(0), (words.len() as u64).div_ceil(32))
}

/// Global, shared, or of no interest.
fn kind(space: MemSpace, address: u64) -> MemSpace {
    let window = |start: u64| (start..start + WINDOW).contains(&address);
    match space {
        MemSpace::SharedCluster => MemSpace::Shared,
        MemSpace::Generic if window(GENERIC_SHARED) => MemSpace::Shared,
        MemSpace::Generic if window(GENERIC_LOCAL) => MemSpace::Local,
        MemSpace::Generic => MemSpace::Global,
        other => other,
    }
}

/// What an instruction touches: space, address, bytes of each lane, lanes.
fn accesses(op: &Op, active: u32) -> Vec<(MemSpace, Addr, u64, u32)> {
    match op {
        Op::Load { space, bytes, d, addr, .. } => {
            vec![(*space, *addr, *bytes as u64 * d.len() as u64, active)]
        }
        Op::Store { space, bytes, a, addr, .. } => {
            vec![(*space, *addr, *bytes as u64 * a.len() as u64, active)]
        }
        Op::Atomic { space, ty, addr, .. } => {
            vec![(*space, *addr, super::access::scalar_bytes(*ty) as u64, active)]
        }
        // Each matrix is eight rows of 16 bytes, named by eight lanes.
        Op::LoadMatrix(load) => vec![(MemSpace::Shared, load.addr, 16, active & rows_of(load.rows()))],
        Op::StoreMatrix { count, addr, .. } => {
            vec![(MemSpace::Shared, *addr, 16, active & rows_of(8 * *count as usize))]
        }
        Op::CopyAsync { size, to, from, .. } => {
            vec![
                (MemSpace::Shared, *to, *size as u64, active),
                (MemSpace::Global, *from, *size as u64, active),
            ]
        }
        _ => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(step: u64) -> Vec<u64> {
        (0..32).map(|l| l * step).collect()
    }

    #[test]
    fn the_worked_example() {
        let mut c = Counters::new(2);
        c.global(0, spread(4).into_iter().map(|a| (a, 4)));
        c.global(1, spread(128).into_iter().map(|a| (a, 4)));
        assert_eq!((c.sites[0].sectors, c.sites[1].sectors), (4, 32));
        assert_eq!(c.sites[0].global_bytes, 128);
        assert_eq!(c.touched_bytes(), (4 + 32 - 1) * 32);
        let mut c = Counters::new(3);
        c.shared(0, &spread(4), 4);
        c.shared(1, &spread(128), 4);
        c.shared(2, &spread(16), 16);
        let of = |n: usize| (c.sites[n].wavefronts, c.sites[n].least_wavefronts);
        assert_eq!((of(0), of(1), of(2)), ((1, 1), (32, 1), (4, 4)));
    }

    #[test]
    fn one_word_for_all_is_no_conflict() {
        assert_eq!(wavefronts(&[64; 32], 4), (1, 1));
        assert_eq!(wavefronts(&spread(8), 8), (2, 2));
        // A pad of one word between rows takes the conflict away.
        assert_eq!(wavefronts(&spread(132), 4), (1, 1));
    }

    #[test]
    fn sums_of_two_machines() {
        let mut a = Counters::default();
        for _ in 0..2 {
            let mut b = Counters::new(1);
            b.global(0, [(0x1000, 64)].into_iter());
            a.merge(b);
        }
        assert_eq!((a.sites[0].sectors, a.touched_bytes()), (4, 64));
    }
}
