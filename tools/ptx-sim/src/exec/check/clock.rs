//! Vector clocks: what an agent knows of every other agent's past.
//!
//! Each agent counts its own *intervals*; an access is stamped with the agent and its interval. Whoever synchronises
//! hands on a copy of its clock and begins a new interval; whoever learns joins that copy into its own. An access
//! (agent a, interval n) happened before everything that an agent does whose clock says at least n for a.
//!
//! ```text
//! warp 0: write x (0, 1)   arrive: gives {0: 1}, goes on in interval 2
//! warp 1:                  leaves the barrier: joins {0: 1}      read x: 1 >= 1, ordered
//! ```
//!
//! Agents are the warps, numbered by place in the machine, and after them *slots* for asynchronous operations. A slot
//! is used again by the warp that owns it once that warp knows of its last operation; so whoever knows of the new
//! operation knows of the old one.

pub type Agent = u32;

#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Clock(Vec<u32>);

impl Clock {
    #[inline]
    pub fn get(&self, agent: Agent) -> u32 {
        self.0.get(agent as usize).copied().unwrap_or(0)
    }

    pub fn raise(&mut self, agent: Agent, interval: u32) {
        let at = agent as usize;
        if at >= self.0.len() {
            self.0.resize(at + 1, 0);
        }
        self.0[at] = self.0[at].max(interval);
    }

    pub fn join(&mut self, other: &Clock) {
        if other.0.len() > self.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (a, b) in self.0.iter_mut().zip(&other.0) {
            *a = (*a).max(*b);
        }
    }

    /// Whether everything that `other` says is known here.
    pub fn covers(&self, other: &Clock) -> bool {
        other.0.iter().enumerate().all(|(n, interval)| self.get(n as Agent) >= *interval)
    }
}

/// What was seen, and what of it lies behind a fence between the generic and the async proxy, for shared memory and for
/// global memory.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Knowledge {
    pub seen: Clock,
    pub fenced_shared: Clock,
    pub fenced_global: Clock,
}

impl Knowledge {
    pub fn join(&mut self, other: &Knowledge) {
        self.seen.join(&other.seen);
        self.fenced_shared.join(&other.fenced_shared);
        self.fenced_global.join(&other.fenced_global);
    }

    pub fn covers(&self, other: &Knowledge) -> bool {
        self.seen.covers(&other.seen)
            && self.fenced_shared.covers(&other.fenced_shared)
            && self.fenced_global.covers(&other.fenced_global)
    }
}
