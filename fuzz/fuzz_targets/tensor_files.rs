//! Any bytes as `.npy` and as `.safetensors`.
//!
//! What must hold: a tensor or a diagnostic, never a panic; memory bounded by the input; a tensor that was read can be
//! walked, and every element is a value of its dtype.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tile_tensor::{convert, parse_npy, parse_safetensors};

fuzz_target!(|bytes: &[u8]| {
    for result in [parse_npy(bytes), parse_safetensors(bytes, None), parse_safetensors(bytes, Some("x"))] {
        let tensor = match result {
            Ok(tensor) => tensor,
            Err(d) => {
                assert!(d.code.starts_with("T08") && d.help.is_some(), "{d:?}");
                continue;
            }
        };
        assert!(tensor.bytes().len() <= bytes.len());
        let values = tensor.to_f64_vec();
        assert_eq!(values.len(), tensor.len());
        let stored = |v: f64| v.is_nan() || convert::round_to(tensor.dtype, v) == v;
        assert!(tensor.dtype == tile_base::DType::I64 || values.into_iter().all(stored));
    }
});
