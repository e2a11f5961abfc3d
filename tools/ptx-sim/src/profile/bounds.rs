//! At least how long a device takes: each pipe's work by its rate, and the largest of them.
//!
//! CTAs are spread over the multiprocessors in rounds; when they do not come out even, the last round costs as much as a
//! full one. Global memory is counted by the bytes that have to move at least once; what L2 has to give again is not.
//!
//! ```text
//! 1024 × 1024 × 1024 in bf16 on 132 multiprocessors at 1.83 GHz, 128 CTAs of 128 × 64:
//!     tensor   2^30 multiply-adds / 128 CTAs = 2^23 on each of 128 busy multiprocessors, 2048 a clock: 4096 clocks = 2.2 µs
//!     memory   3 · 2 MiB touched / 3.35 TB/s = 1.9 µs
//! ```
//!
//! These are bounds: a kernel that reaches 70 % of the larger one is a good one. Of a sample, what was counted stands for the
//! rest; its bytes do not, as many CTAs may touch the same.

use super::{Pipe, Profile};
use tile_target::{Target, rates::Rates};

/// One bound, in seconds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Bound {
    pub by: &'static str,
    pub seconds: f64,
}

/// The bounds of all pipes, largest first.
pub fn bounds(p: &Profile, target: &Target, rates: &Rates) -> Vec<Bound> {
    let sms = target.sms as u64;
    // What the busiest multiprocessor does of work that is even over the CTAs.
    let share = p.ctas.div_ceil(sms).max(1) as f64 / p.counted.max(1) as f64;
    let clocks = |work: f64, rate: f64| work * share / rate / rates.clock;
    let warps = |pipe: Pipe| p.pipes.iter().filter(|x| x.0 == pipe).map(|x| x.1).sum::<u64>() as f64;
    let lanes = |pipe: Pipe, rate: f64| clocks(warps(pipe) * 32.0, rate);
    let mut out = vec![
        Bound { by: "issue", seconds: clocks(p.warp_instructions as f64, rates.issue) },
        Bound { by: "f32", seconds: lanes(Pipe::F32, rates.f32) },
        Bound { by: "f16", seconds: lanes(Pipe::F16, rates.f16) },
        Bound { by: "f64", seconds: lanes(Pipe::F64, rates.f64) },
        Bound { by: "int", seconds: lanes(Pipe::Int, rates.int) },
        Bound { by: "convert", seconds: lanes(Pipe::Convert, rates.convert) },
        Bound { by: "special", seconds: lanes(Pipe::Special, rates.special) },
        Bound { by: "tensor", seconds: clocks(p.tensor_weighed, rates.tensor) },
        Bound { by: "shared memory", seconds: clocks(p.total.wavefronts as f64, rates.shared) },
        Bound { by: "global memory", seconds: p.touched_bytes as f64 / rates.memory },
    ];
    out.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worked_example() {
        let target = tile_target::find("sm_90").unwrap();
        let rates = tile_target::rates::rates(target).unwrap();
        let p = Profile {
            ctas: 128,
            counted: 128,
            tensor_weighed: (1u64 << 30) as f64,
            touched_bytes: 3 << 21,
            ..Profile::default()
        };
        let all = bounds(&p, target, rates);
        assert_eq!((all[0].by, all[1].by), ("tensor", "global memory"));
        assert!((all[0].seconds * 1e6 - 2.238).abs() < 0.01, "{:?}", all[0]);
        assert!((all[1].seconds * 1e6 - 1.878).abs() < 0.01, "{:?}", all[1]);
        // Five more CTAs than multiprocessors: two rounds.
        let uneven = Profile { ctas: 137, counted: 137, ..p };
        let ratio = bounds(&uneven, target, rates)[0].seconds / all[0].seconds;
        assert!((ratio - 2.0 * 128.0 / 137.0).abs() < 1e-9);
    }
}
