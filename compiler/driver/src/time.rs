//! Wall-clock time per stage, in order of first use.

use std::time::{Duration, Instant};

#[derive(Clone, Debug, Default)]
pub struct Timer {
    stages: Vec<(&'static str, Duration)>,
}

impl Timer {
    /// Runs a stage and adds its time to the stage's sum.
    pub fn time<T>(&mut self, stage: &'static str, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.add(stage, start.elapsed());
        result
    }

    pub fn add(&mut self, stage: &'static str, spent: Duration) {
        match self.stages.iter_mut().find(|(name, _)| *name == stage) {
            Some((_, sum)) => *sum += spent,
            None => self.stages.push((stage, spent)),
        }
    }

    /// Stage and milliseconds.
    pub fn milliseconds(&self) -> impl Iterator<Item = (&'static str, f64)> + '_ {
        self.stages.iter().map(|(name, d)| (*name, d.as_secs_f64() * 1e3))
    }
}
