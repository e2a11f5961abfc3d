//! Time per stage, on the wall and on the processor, in order of first use.

use tile_base::time::{Clock, Spent};

#[derive(Clone, Debug, Default)]
pub struct Timer {
    stages: Vec<(&'static str, Spent)>,
}

impl Timer {
    /// Runs a stage and adds its time to the stage's sum.
    pub fn time<T>(&mut self, stage: &'static str, work: impl FnOnce() -> T) -> T {
        let mut clock = Clock::thread();
        let result = work();
        self.add(stage, clock.lap());
        result
    }

    pub fn add(&mut self, stage: &'static str, spent: Spent) {
        match self.stages.iter_mut().find(|(name, _)| *name == stage) {
            Some((_, sum)) => *sum += spent,
            None => self.stages.push((stage, spent)),
        }
    }

    /// Launches are compiled side by side: the sum of a stage's times may be more than has passed.
    pub fn stages(&self) -> &[(&'static str, Spent)] {
        &self.stages
    }
}
