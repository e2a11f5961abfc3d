//! How much one multiprocessor does per clock, and the device per second: peak rates, for bounds on time.
//!
//! Per clock and multiprocessor, in lanes: the throughput table of the CUDA programming guide ("Arithmetic
//! Instructions"). Clocks and memory from the vendor's data sheets (A100 SXM 80 GB, H100 SXM); the tensor rate is the one
//! that the sheet's dense 16-bit figure implies:
//!
//! ```text
//! H100: 989.4 T operations/s = 2 · 132 multiprocessors · 1.83 GHz · 2048 multiply-adds per clock
//! ```

use crate::Target;

/// Peaks. What a kernel reaches of them is another matter.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rates {
    /// Boost clock in Hz.
    pub clock: f64,
    /// Warp instructions issued.
    pub issue: f64,
    /// Lanes of f32 add, multiply, fma.
    pub f32: f64,
    /// Of 16-bit floats, two to a lane counted as one.
    pub f16: f64,
    pub f64: f64,
    /// Of 32-bit integer and logic.
    pub int: f64,
    pub convert: f64,
    /// Of rcp, sqrt, ex2, lg2, sin, cos, tanh.
    pub special: f64,
    /// Multiply-adds of dense 16-bit operands on the tensor cores.
    pub tensor: f64,
    /// Wavefronts of 128 bytes of shared memory.
    pub shared: f64,
    /// Bytes per second of the device's memory.
    pub memory: f64,
}

const A100: Rates = Rates {
    clock: 1.41e9,
    issue: 4.0,
    f32: 64.0,
    f16: 128.0,
    f64: 32.0,
    int: 64.0,
    convert: 64.0,
    special: 16.0,
    tensor: 1024.0,
    shared: 1.0,
    memory: 2.039e12,
};

const H100: Rates = Rates {
    clock: 1.83e9,
    issue: 4.0,
    f32: 128.0,
    f16: 128.0,
    f64: 64.0,
    int: 64.0,
    convert: 64.0,
    special: 16.0,
    tensor: 2048.0,
    shared: 1.0,
    memory: 3.35e12,
};

/// Of the targets whose rates are recorded.
pub fn rates(target: &Target) -> Option<&'static Rates> {
    match target.name {
        "sm_80" => Some(&A100),
        "sm_90" => Some(&H100),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tensor rates give the figures of the data sheets: 312 and 989 T operations/s.
    #[test]
    fn tensor_rates_are_those_of_the_data_sheets() {
        for (name, figure) in [("sm_80", 312e12), ("sm_90", 989.4e12)] {
            let target = crate::find(name).unwrap();
            let r = rates(target).unwrap();
            let peak = 2.0 * target.sms as f64 * r.clock * r.tensor;
            assert!((peak / figure - 1.0).abs() < 0.01, "{name}: {peak:e}");
        }
        assert!(rates(crate::find("sm_120").unwrap()).is_none());
    }
}
