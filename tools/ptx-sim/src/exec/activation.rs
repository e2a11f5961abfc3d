//! Activations of recursive functions: what a call puts on each lane's stack, and a return takes from it.
//!
//! A warp has one set of registers, so a call saves those of the callee, lane by lane, before the new activation uses them;
//! its return restores them. (Those of the caller need no saving unless the caller is called again, which saves them then.)
//! Lanes have stacks of their own, since they need not be equally deep:
//!
//! ```text
//! fac(n): n < 2 ? 1 : n * fac(n - 1)      lane 0: n = 1      lane 1: n = 3
//! both call fac            depth 1         saved: what was   saved: what was
//! lane 1 calls fac         depth 2         waits at the      saved: n = 3
//! lane 1 calls fac         depth 3         end of depth 1    saved: n = 2
//! lane 1 returns, twice    depth 1         goes on           n = 3 again: both return
//! ```
//!
//! Lanes that wait to be met wait at a position *and* a depth ([`super::divergence`]).
//!
//! What a thread has saved, and its frames in local memory, are bounded; what is deeper is a [`FaultKind::StackOverflow`].

use super::{
    check::defined::Mark,
    divergence::Group,
    rows::lanes,
    warp::{Refused, Warp},
    world::World,
};
use crate::{fault::FaultKind, ir::*};

/// Activations of one thread.
const MOST_ACTIVATIONS: usize = 4096;
/// Bytes of saved registers that the host keeps for the CTAs that run together.
const MOST_SAVED: usize = 1 << 30;

/// The stacks of a warp's lanes; none before the first call.
#[derive(Default)]
pub struct Activations {
    lanes: Vec<Stack>,
}

/// Of one lane.
#[derive(Default)]
struct Stack {
    frames: Vec<Frame>,
    /// Saved rows and predicates, those of the last activation last.
    words: Vec<u32>,
    /// Check mode: how far each of them is defined.
    marks: Vec<Mark>,
    /// End of the last frame in local memory.
    top: usize,
}

/// An activation, as its return needs it.
struct Frame {
    /// Position behind the call.
    back: u32,
    /// Where the stack ended before.
    top: usize,
    /// A number for everything on the stack up to here.
    digest: u64,
}

/// Bytes of the host that an activation of one lane takes.
fn saved_bytes(routine: &Routine, checked: bool) -> usize {
    let words = routine.rows.len() + routine.preds.len();
    size_of::<Frame>() + words * (4 + if checked { size_of::<Mark>() } else { 0 })
}

impl Stack {
    fn digest(&self) -> u64 {
        self.frames.last().map_or(0, |f| f.digest)
    }

    /// Where the frame of a new activation begins.
    fn frame(&self, routine: &Routine, local_bytes: usize) -> Result<usize, String> {
        let (name, deep) = (&routine.name, self.frames.len());
        if deep >= MOST_ACTIVATIONS {
            return Err(format!("`{name}` is called with {deep} activations open, the most there can be"));
        }
        let base = self.top.next_multiple_of(routine.frame_align);
        if base + routine.frame_bytes > local_bytes {
            let bytes = routine.frame_bytes;
            return Err(format!("no {bytes} bytes of stack are left for `{name}`, {deep} activations deep"));
        }
        Ok(base)
    }

    /// Closes the frame whose words were just put there.
    fn push(&mut self, back: u32, words: usize, top: usize) {
        let fresh = &self.words[self.words.len() - words..];
        let mix = |h: u64, w: &u32| (h ^ *w as u64).wrapping_mul(0x100_0000_01b3).rotate_left(29);
        let digest = fresh.iter().chain([&back]).fold(self.digest() ^ 0xcbf2_9ce4_8422_2325, mix);
        self.frames.push(Frame { back, top: self.top, digest });
        self.top = top;
    }
}

impl Activations {
    /// A number for the contents of all stacks; equal contents have equal numbers.
    pub fn digest(&self) -> u64 {
        let mix = |h: u64, s: &Stack| (h ^ s.digest()).wrapping_mul(0x100_0000_01b3).rotate_left(29);
        self.lanes.iter().fold(0, mix)
    }
}

impl Warp {
    /// The lanes of a group call a recursive function.
    pub(super) fn call(
        &mut self,
        number: u32,
        formals: &[Slot],
        group: Group,
        world: &mut World,
    ) -> Result<(), Refused> {
        self.refuse_in_flight()?;
        let kernel = world.launch.kernel;
        let routine = &kernel.routines[number as usize];
        if self.activations.lanes.is_empty() {
            self.activations.lanes.resize_with(32, || Stack { top: kernel.stack_start, ..Stack::default() });
        }
        let bytes = saved_bytes(routine, self.defined.is_some()) * group.mask.count_ones() as usize;
        world.saved += bytes;
        if world.saved > MOST_SAVED {
            let message = format!(
                "registers that calls of `{}` and others save take more than {MOST_SAVED} bytes of the host",
                routine.name
            );
            return Err((FaultKind::StackOverflow, message, None));
        }
        // The caller's registers may be those that the new activation takes.
        let given: Vec<[u64; 32]> =
            formals.iter().map(|&s| std::array::from_fn(|lane| self.rows.wide(s, lane))).collect();
        let mut bases = [0; 32];
        for lane in lanes(group.mask) {
            let base = self.activations.lanes[lane].frame(routine, kernel.local_bytes);
            bases[lane] = base.map_err(|why| (FaultKind::StackOverflow, why, Some(lane as u32)))?;
            self.save(routine, lane, group.pc + 1, bases[lane]);
        }
        self.fresh(routine, group.mask, kernel.local_bytes, &bases);
        for place in &routine.places {
            for lane in lanes(group.mask) {
                let base = match place.block.base {
                    Base::Frame => bases[lane] as u64,
                    Base::Formal(n) => given.get(n as usize).map_or(0, |at| at[lane]),
                };
                let address = base.wrapping_add(place.block.at);
                self.rows.row_mut(place.slot)[lane] = address as u32;
                if place.wide {
                    self.rows.row_mut(place.slot + 1)[lane] = (address >> 32) as u32;
                }
            }
        }
        self.groups.call(routine.start);
        Ok(())
    }

    /// The lanes of a group return. They were called together, so they go back to one place.
    pub(super) fn give_back(&mut self, number: u32, group: Group, world: &mut World) -> Result<(), Refused> {
        self.refuse_in_flight()?;
        let routine = &world.launch.kernel.routines[number as usize];
        let mut back = group.pc;
        for lane in lanes(group.mask) {
            if let Some(frame) = self.restore(routine, lane) {
                back = frame.back;
            }
        }
        world.saved -= saved_bytes(routine, self.defined.is_some()) * group.mask.count_ones() as usize;
        self.groups.give_back(back);
        Ok(())
    }

    /// Lanes exit, perhaps in the midst of calls.
    pub(super) fn forget_activations(&mut self, mask: u32, world: &mut World) {
        if self.activations.lanes.is_empty() {
            return;
        }
        for lane in lanes(mask) {
            let stack = std::mem::take(&mut self.activations.lanes[lane]);
            world.saved -= stack.frames.len() * size_of::<Frame>()
                + stack.words.len() * 4
                + size_of_val(&stack.marks[..]);
        }
    }

    /// Products in flight own registers; which activation's, nobody could say.
    fn refuse_in_flight(&self) -> Result<(), Refused> {
        if self.tensor.idle() {
            return Ok(());
        }
        let message = "a call or return of a recursive function while a `wgmma` is in flight";
        Err((FaultKind::NotSupported, message.into(), None))
    }

    fn save(&mut self, routine: &Routine, lane: usize, back: u32, base: usize) {
        let Warp { rows, defined, activations, .. } = self;
        let stack = &mut activations.lanes[lane];
        stack.words.extend(routine.rows.iter().map(|&s| rows.row(s)[lane]));
        stack.words.extend(routine.preds.iter().map(|&p| rows.pred(p) >> lane & 1));
        if let Some(defined) = defined {
            stack.marks.extend(routine.rows.iter().map(|&s| defined.mark(s, lane)));
            stack.marks.extend(routine.preds.iter().map(|&p| defined.pred_mark(p, lane)));
        }
        stack.push(back, routine.rows.len() + routine.preds.len(), base + routine.frame_bytes);
    }

    fn restore(&mut self, routine: &Routine, lane: usize) -> Option<Frame> {
        let Warp { rows, defined, activations, .. } = self;
        let stack = &mut activations.lanes[lane];
        let frame = stack.frames.pop()?;
        stack.top = frame.top;
        let from = stack.words.len() - routine.rows.len() - routine.preds.len();
        let mut words = stack.words.drain(from..);
        routine.rows.iter().zip(&mut words).for_each(|(&s, word)| rows.row_mut(s)[lane] = word);
        routine.preds.iter().zip(words).for_each(|(&p, bit)| rows.set_pred(p, bit << lane, 1 << lane));
        if let Some(defined) = defined {
            let mut marks = stack.marks.drain(from..);
            routine.rows.iter().zip(&mut marks).for_each(|(&s, mark)| defined.set_mark(s, lane, mark));
            routine.preds.iter().zip(marks).for_each(|(&p, mark)| defined.set_pred_mark(p, lane, mark));
        }
        Some(frame)
    }

    /// Check mode: registers and frame of a new activation are undefined, the addresses that it is given are not.
    fn fresh(&mut self, routine: &Routine, mask: u32, local_bytes: usize, bases: &[usize; 32]) {
        let Some(defined) = &mut self.defined else { return };
        routine.rows.iter().for_each(|&s| defined.set_bytes(s, mask, [0; 4]));
        routine.preds.iter().for_each(|&p| defined.set_pred(p, mask, 0));
        for place in &routine.places {
            (place.slot..=place.slot + place.wide as u32).for_each(|s| defined.set_bytes(s, mask, [mask; 4]));
        }
        for lane in lanes(mask) {
            defined.local.set_all(lane * local_bytes + bases[lane], routine.frame_bytes, false);
        }
    }
}
