//! The prelude's random numbers against the published ones.

use tile_driver::{Session, choose, compile};
use tile_tensor::{Argument, Arguments, Scalar, Tensor};

/// Philox4x32-10 as Salmon et al. 2011 define it, first word of the counter (n, 0).
fn philox(seed: u64, n: u64) -> u32 {
    let wide = |a: u32, x: u32| (((a as u64 * x as u64) >> 32) as u32, a.wrapping_mul(x));
    let mut c = [n as u32, (n >> 32) as u32, 0, 0];
    let mut k = [seed as u32, (seed >> 32) as u32];
    for _ in 0..10 {
        let (high0, low0) = wide(0xD251_1F53, c[0]);
        let (high1, low1) = wide(0xCD9E_8D57, c[2]);
        c = [high1 ^ c[1] ^ k[0], low1, high0 ^ c[3] ^ k[1], low0];
        k = [k[0].wrapping_add(0x9E37_79B9), k[1].wrapping_add(0xBB67_AE85)];
    }
    c[0]
}

#[test]
fn random_numbers_are_those_of_philox() {
    // The known answer that its authors publish for counter 0 under key 0.
    assert_eq!(philox(0, 0), 0x6627_E8D5);
    let text = "kernel draw(x: in i64[N], y: out i64[N], u: out f32[N], seed: i64) {
        tile B;
        par i in tiles(N, B) { y[i] = philox(seed, x[i]); u[i] = uniform01(seed, x[i]); }
    }";
    let mut session = Session::new();
    let loaded = session.load_text("draw.tile", text.into());
    let picked = compile::pick(&mut session, &loaded, None).unwrap();
    let choice = choose::choose(&loaded.module, picked.callable(&loaded), &Default::default(), None).unwrap();
    let mut compiled = compile::compile(&mut session, &loaded, &picked, &choice.instance).unwrap();
    let counters = [0u64, 1, 2, 0xFFFF_FFFF, 0x1_0000_0000, 0x7FFF_FFFF_FFFF_FFFF, 12_345_678_901_234];
    for seed in [0u64, 1, 0xFFFF_FFFF, 0x1234_5678_9ABC_DEF0] {
        let x = Tensor::from_i64(&[counters.len()], &counters.map(|n| n as i64));
        let y = Tensor::zeros(tile_base::DType::I64, &[counters.len()]);
        let u = Tensor::zeros(tile_base::DType::F32, &[counters.len()]);
        let scalar = Argument::Scalar(Scalar::Int(seed as i64));
        let mut arguments = Arguments(vec![x.into(), y.into(), u.into(), scalar]);
        compiled.cpu().unwrap().run(&mut arguments, 1).unwrap();
        let found = arguments.0[1].tensor().unwrap().to_i64_vec();
        let uniform = arguments.0[2].tensor().unwrap().to_f64_vec();
        for (at, &n) in counters.iter().enumerate() {
            let wanted = philox(seed, n);
            assert_eq!(found[at], wanted as i64, "seed {seed:x}, counter {n:x}");
            assert_eq!(uniform[at], ((wanted >> 9) as f64 + 0.5) / (1u32 << 23) as f64);
        }
    }
}
