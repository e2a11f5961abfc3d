//! Things that serve one request after the other: the port of L1 and shared memory, L2, the device's memory.
//!
//! ```text
//! L2 port, 64 bytes a clock     at 100: 4096 bytes    done at 164
//!                               at 110:  512 bytes    begins at 164, done at 172
//!                               at 300:   64 bytes    the port was idle: done at 301
//! ```

/// A queue with a rate.
#[derive(Clone, Debug, Default)]
pub struct Channel {
    per_unit: f64,
    free: f64,
    /// Clocks in which it was in use.
    pub busy: f64,
}

impl Channel {
    /// So many units a clock.
    pub fn new(rate: f64) -> Channel {
        Channel { per_unit: 1.0 / rate, ..Channel::default() }
    }

    /// Something takes so many units at its leisure: nobody waits for it, nor it for others.
    pub fn use_between(&mut self, units: f64) {
        self.busy += units * self.per_unit;
    }

    /// When all that was asked for so far is served.
    pub fn free(&self) -> u64 {
        self.free.ceil() as u64
    }

    /// When a request that comes now is served.
    pub fn book(&mut self, now: u64, units: f64) -> u64 {
        let takes = units * self.per_unit;
        self.free = self.free.max(now as f64) + takes;
        self.busy += takes;
        self.free.ceil() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worked_example() {
        let mut port = Channel::new(64.0);
        assert_eq!(port.book(100, 4096.0), 164);
        assert_eq!(port.book(110, 512.0), 172);
        assert_eq!(port.book(300, 64.0), 301);
        assert_eq!(port.busy, 73.0);
    }
}
