//! Where the lanes of a warp stand: a tree of groups.
//!
//! A branch that splits a group leaves the group waiting at the point where both ways meet again (the immediate
//! post-dominator) with one child for each way; a child that gets there goes up into its parent, and the parent runs on
//! when the last one has. Only leaves run, in turn, so that a lane that spins lets its siblings run:
//!
//! ```text
//! @p bra A   lanes 0-15 to A, lanes 16-31 go on      parent {0-31} at M    leaf {0-15} at A    leaf {16-31} at +1
//! leaf {0-15} arrives at M                           parent {0-31} at M                        leaf {16-31}
//! leaf {16-31} waits for what lanes 0-15 do after M: it would wait for ever, so the parent is *split*:
//!                                                    group {0-15} runs on from M,              leaf {16-31}
//! ```
//!
//! Splitting is for code that relies on independent thread scheduling, like a spin lock whose owner leaves the loop first;
//! it happens only once a warp is seen to repeat itself, so other code keeps its lanes together.

use crate::flow::NEVER;

/// What a group waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// For other lanes of its warp to reach the same instruction.
    Converge {
        members: u32,
    },
    /// For a barrier of the CTA to open after this round.
    Barrier {
        id: usize,
        round: u64,
    },
    Cluster {
        round: u64,
        acquire: bool,
    },
    /// For a phase of an mbarrier; the instruction runs again then.
    Mbarrier {
        cta: usize,
        at: usize,
        goal: Goal,
    },
    /// For the pool of registers to hold enough.
    Registers {
        count: u32,
    },
}

/// Which phase is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Goal {
    Parity(u32),
    Token(u64),
}

#[derive(Clone, Copy, Debug)]
pub struct Group {
    pub pc: u32,
    pub mask: u32,
    /// Activations of recursive functions its lanes are in.
    depth: u32,
    /// Where it goes up into its parent: position, and depth.
    meet: u32,
    meet_depth: u32,
    parent: u32,
    children: u32,
    used: bool,
    pub wait: Option<Wait>,
    /// A wait that may give up has been told to.
    pub give_up: bool,
}

const NONE: u32 = u32::MAX;

impl Group {
    /// Whether it is where it goes up into its parent.
    #[inline]
    fn has_met(&self) -> bool {
        self.pc == self.meet && self.depth == self.meet_depth
    }
}

pub struct Groups {
    all: Vec<Group>,
    current: usize,
    leaves: usize,
}

impl Groups {
    pub fn new(mask: u32) -> Groups {
        let root = Group {
            pc: 0,
            mask,
            depth: 0,
            meet: NEVER,
            meet_depth: 0,
            parent: NONE,
            children: 0,
            used: true,
            wait: None,
            give_up: false,
        };
        Groups { all: vec![root], current: 0, leaves: 1 }
    }

    /// Whether lanes of the warp stand at different places.
    pub fn diverged(&self) -> bool {
        self.leaves > 1 || self.all.iter().filter(|g| g.used).count() > 1
    }

    #[inline]
    pub fn current(&mut self) -> &mut Group {
        &mut self.all[self.current]
    }

    pub fn position(&self) -> u32 {
        self.all[self.current].pc
    }

    /// The leaf that runs, after groups that are empty or have met are gone; `None` when no lane is left.
    #[inline]
    pub fn settle(&mut self, exited: u32) -> Option<Group> {
        loop {
            let g = &self.all[self.current];
            if g.mask & !exited != 0 && !g.has_met() {
                return Some(Group { mask: g.mask & !exited, ..*g });
            }
            let at = self.current;
            if !self.remove(at) {
                return None;
            }
        }
    }

    /// Removes a leaf and makes another one current; false when none is left.
    fn remove(&mut self, at: usize) -> bool {
        let parent = self.all[at].parent;
        self.all[at].used = false;
        self.leaves -= 1;
        if parent != NONE {
            let p = &mut self.all[parent as usize];
            p.children -= 1;
            if p.children == 0 {
                self.leaves += 1;
                self.current = parent as usize;
                self.trim();
                return true;
            }
        }
        self.trim();
        match self.leaf_indices().last() {
            Some(leaf) => {
                self.current = leaf;
                true
            }
            None => false,
        }
    }

    fn trim(&mut self) {
        while self.all.last().is_some_and(|g| !g.used) {
            self.all.pop();
        }
    }

    fn leaf_indices(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.all.len()).filter(|&n| self.all[n].used && self.all[n].children == 0)
    }

    pub fn leaves(&mut self) -> impl Iterator<Item = &mut Group> {
        self.all.iter_mut().filter(|g| g.used && g.children == 0)
    }

    /// Goes on with the next leaf that need not wait, if there is one.
    pub fn rotate(&mut self) -> bool {
        let n = self.all.len();
        for step in 1..=n {
            let at = (self.current + step) % n;
            let g = &self.all[at];
            if g.used && g.children == 0 && g.wait.is_none() {
                self.current = at;
                return true;
            }
        }
        false
    }

    fn add(&mut self, group: Group) -> usize {
        self.leaves += 1;
        let parent = group.parent;
        if parent != NONE {
            let p = &mut self.all[parent as usize];
            p.children += 1;
            if p.children == 1 {
                self.leaves -= 1;
            }
        }
        match self.all.iter().position(|g| !g.used) {
            Some(at) => {
                self.all[at] = group;
                at
            }
            None => {
                self.all.push(group);
                self.all.len() - 1
            }
        }
    }

    /// The current group branches: the lanes `taken` to the target, the others on.
    #[inline]
    pub fn branch(&mut self, taken: u32, target: u32, meet: u32, exited: u32) {
        let at = self.current;
        let g = self.all[at];
        let rest = g.mask & !exited & !taken;
        if taken == 0 || target == g.pc + 1 {
            self.all[at].pc += 1;
        } else if rest == 0 {
            self.all[at].pc = target;
        } else {
            self.split(at, [(g.pc + 1, rest), (target, taken)], meet);
        }
    }

    /// The current group calls a recursive function, which begins here.
    pub fn call(&mut self, start: u32) {
        let g = self.current();
        (g.pc, g.depth) = (start, g.depth + 1);
    }

    /// The current group returns from one.
    pub fn give_back(&mut self, back: u32) {
        let g = self.current();
        (g.pc, g.depth) = (back, g.depth.saturating_sub(1));
    }

    fn split(&mut self, at: usize, ways: [(u32, u32); 2], meet: u32) {
        let g = self.all[at];
        let parent = if (g.meet, g.meet_depth) == (meet, g.depth) && g.parent != NONE {
            // The parent already waits there; the two ways become its children instead of this group.
            self.all[at].used = false;
            self.leaves -= 1;
            self.all[g.parent as usize].children -= 1;
            if self.all[g.parent as usize].children == 0 {
                self.leaves += 1;
            }
            g.parent
        } else {
            self.all[at].pc = meet;
            at as u32
        };
        for (pc, mask) in ways.into_iter().filter(|(pc, _)| *pc != meet) {
            let group = Group {
                pc,
                mask,
                depth: g.depth,
                meet,
                meet_depth: g.depth,
                parent,
                children: 0,
                used: true,
                wait: None,
                give_up: false,
            };
            self.current = self.add(group);
        }
        self.trim();
    }

    /// Lets lanes that wait for others to meet them run on by themselves. Whether there were any.
    pub fn release_met(&mut self, exited: u32) -> bool {
        let mut any = false;
        for at in 0..self.all.len() {
            let g = self.all[at];
            if !g.used || g.children == 0 {
                continue;
            }
            let below: u32 =
                self.all.iter().filter(|c| c.used && c.parent == at as u32).fold(0, |m, c| m | c.mask);
            let met = g.mask & !below & !exited;
            if met == 0 || g.pc == NEVER || g.has_met() {
                continue;
            }
            self.all[at].mask &= !met;
            self.add(Group { mask: met, children: 0, wait: None, give_up: false, ..g });
            any = true;
        }
        any
    }

    /// Lanes of the leaves that wait to converge at one of these positions.
    pub fn converging(&self, here: impl Fn(u32) -> bool, exited: u32) -> u32 {
        let at = |g: &&Group| g.used && g.children == 0 && here(g.pc);
        let waits = |g: &&Group| matches!(g.wait, Some(Wait::Converge { .. }));
        self.all.iter().filter(at).filter(waits).fold(0, |m, g| m | g.mask) & !exited
    }

    /// The leaves that converged at these positions go on behind them, or wait there for something else.
    pub fn pass_together(&mut self, here: impl Fn(u32) -> bool, wait: Option<Wait>) {
        for g in self.all.iter_mut().filter(|g| g.used && g.children == 0 && here(g.pc)) {
            if matches!(g.wait, Some(Wait::Converge { .. })) {
                g.wait = wait;
                g.pc += 1;
            }
        }
    }

    /// The leaves that converged at a position wait for something, and run it again then.
    pub fn wait_together(&mut self, pc: u32, wait: Wait) {
        for g in self.all.iter_mut().filter(|g| g.used && g.children == 0 && g.pc == pc) {
            if matches!(g.wait, Some(Wait::Converge { .. })) {
                g.wait = Some(wait);
            }
        }
    }

    /// Words that say where every group stands, to recognise a state.
    pub fn state(&self) -> impl Iterator<Item = u64> + '_ {
        let words = |g: &Group| [(g.pc as u64) << 32 | g.mask as u64, g.depth as u64];
        self.all.iter().filter(|g| g.used).flat_map(words).chain([self.current as u64])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_meet_again() {
        let mut g = Groups::new(u32::MAX);
        g.branch(0xffff, 5, 9, 0);
        let first = g.settle(0).unwrap();
        assert_eq!((first.pc, first.mask), (5, 0xffff));
        g.current().pc = 9;
        let second = g.settle(0).unwrap();
        assert_eq!((second.pc, second.mask), (1, 0xffff_0000));
        g.current().pc = 9;
        let whole = g.settle(0).unwrap();
        assert_eq!((whole.pc, whole.mask), (9, u32::MAX));
        assert!(!g.diverged());
    }

    #[test]
    fn a_loop_left_lane_by_lane_does_not_grow() {
        let mut g = Groups::new(u32::MAX);
        for lane in 0..31 {
            let here = g.settle(0).unwrap();
            g.branch(here.mask & !(1 << lane), 0, 1, 0);
            assert!(g.all.len() <= 3, "{}", g.all.len());
        }
        g.settle(0);
        g.current().pc = 1;
        assert_eq!(g.settle(0).unwrap().mask, u32::MAX);
    }

    #[test]
    fn lanes_that_met_can_be_let_go() {
        let mut g = Groups::new(u32::MAX);
        g.branch(!1, 0, 1, 0);
        assert_eq!(g.settle(0).unwrap().mask, !1);
        assert!(g.release_met(0));
        assert!(g.rotate());
        let free = g.settle(0).unwrap();
        assert_eq!((free.pc, free.mask), (1, 1));
    }

    #[test]
    fn exited_lanes_end_their_groups() {
        let mut g = Groups::new(0xf);
        g.branch(0x3, 7, NEVER, 0);
        assert!(g.settle(0x3).is_some_and(|l| l.mask == 0xc));
        assert!(g.settle(0xf).is_none());
    }
}
