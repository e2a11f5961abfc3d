//! How long a piece of work took: on the clock on the wall, and on the processor.
//!
//! On a busy machine a stage of 10 ms may take 50 ms on the wall, and several threads that work side by side share out the
//! wall between them. What the thread itself computed is the steadier measure, so both are kept.

use std::{
    ops::AddAssign,
    time::{Duration, Instant},
};

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Spent {
    pub wall: Duration,
    /// Of one thread, or of all threads of the process; says who measured.
    pub cpu: Duration,
}

impl AddAssign for Spent {
    fn add_assign(&mut self, more: Spent) {
        self.wall += more.wall;
        self.cpu += more.cpu;
    }
}

/// What a clock counts on the processor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Of {
    Thread,
    Process,
}

/// A clock that runs from its start, and from lap to lap.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    of: Of,
    wall: Instant,
    cpu: Duration,
}

impl Clock {
    /// For work of the calling thread.
    pub fn thread() -> Clock {
        Clock::start(Of::Thread)
    }

    /// For work of all threads of the process.
    pub fn process() -> Clock {
        Clock::start(Of::Process)
    }

    fn start(of: Of) -> Clock {
        Clock { of, wall: Instant::now(), cpu: cpu(of) }
    }

    /// Since the start or the last lap.
    pub fn lap(&mut self) -> Spent {
        let now = Clock::start(self.of);
        let spent = Spent { wall: now.wall - self.wall, cpu: now.cpu.saturating_sub(self.cpu) };
        *self = now;
        spent
    }
}

/// 0 where the system does not tell.
#[cfg(unix)]
fn cpu(of: Of) -> Duration {
    let id = match of {
        Of::Thread => libc::CLOCK_THREAD_CPUTIME_ID,
        Of::Process => libc::CLOCK_PROCESS_CPUTIME_ID,
    };
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a timespec that the call may write.
    match unsafe { libc::clock_gettime(id, &mut time) } {
        0 => Duration::new(time.tv_sec as u64, time.tv_nsec as u32),
        _ => Duration::ZERO,
    }
}

#[cfg(not(unix))]
fn cpu(_: Of) -> Duration {
    Duration::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeping_takes_the_wall_and_not_the_processor() {
        let mut clock = Clock::thread();
        std::thread::sleep(Duration::from_millis(20));
        let spent = clock.lap();
        assert!(spent.wall >= Duration::from_millis(20));
        assert!(spent.cpu < Duration::from_millis(10), "{spent:?}");
    }

    #[test]
    fn a_process_counts_its_threads() {
        let (mut mine, mut all) = (Clock::thread(), Clock::process());
        let busy = || {
            let mut clock = Clock::thread();
            let (mut sum, mut spent) = (0u64, Spent::default());
            while spent.cpu < Duration::from_millis(20) && spent.wall < Duration::from_secs(20) {
                sum = (0..10_000).fold(sum, |s, n| s.wrapping_mul(31).wrapping_add(n));
                spent += clock.lap();
            }
            std::hint::black_box(sum);
        };
        assert!(std::thread::spawn(busy).join().is_ok());
        assert!(all.lap().cpu >= Duration::from_millis(20));
        assert!(mine.lap().cpu < Duration::from_millis(20));
    }
}
