//! Predictions against published measurements.

use crate::kernels::{Launch, flash_mma, flash_wgmma, gemm_wgmma};
use ptx_sim::{Geometry, decode, memory::Memory, read, time};

/// T operations/s.
fn predicted(l: &Launch, target: &str) -> f64 {
    let target = tile_target::find(target).unwrap();
    let kernel = decode::kernel(&read::parse(&l.ptx).unwrap(), l.entry).unwrap();
    let sample = time::sample(&kernel, &l.geometry, target, true);
    let geometry = Geometry { count: true, sample: Some(sample), ..l.geometry.clone() };
    let start = std::time::Instant::now();
    let summary =
        ptx_sim::run_in_module(&kernel, &l.memory, Default::default(), &geometry, &l.params).unwrap();
    let ran = start.elapsed();
    let p = time::predict(&kernel, &geometry, &summary.counters.unwrap(), &l.memory, target).unwrap();
    println!(
        "{:?} {:?} us {:.1} clocks {:.0} {} shares {:?}",
        ran,
        start.elapsed(),
        p.seconds * 1e6,
        p.clocks,
        p.bound,
        p.shares
    );
    for u in &p.uses {
        print!("{} {:.2}; ", u.of, u.share);
    }
    println!();
    for u in p.lost.iter().take(8) {
        print!("{} {:?} {:.2}; ", u.line, u.why, u.share);
    }
    println!();
    l.operations / p.seconds / 1e12
}

#[test]
fn cublas() {
    for n in [4096, 6144, 8192] {
        let mut memory = Memory::new();
        let [a, b] = ["a", "b"].map(|x| memory.reserve(x, n * n * 2).unwrap());
        let (launch, _) = gemm_wgmma::launch(n, n, n, memory, a, b);
        println!("{n} {}", predicted(&launch, "sm_90"));
    }
}

#[test]
fn flash3() {
    for (d, heads) in [(128usize, 16usize), (64, 32)] {
        for (b, s) in [(32, 512), (16, 1024), (8, 2048), (4, 4096), (2, 8192), (1, 16384)] {
            let mut memory = Memory::new();
            let at = ["q", "k", "v"].map(|x| memory.reserve(x, b * heads * s * d * 2).unwrap());
            let (launch, _) = flash_wgmma::launch(flash_wgmma::published(d), b * heads, s, memory, at);
            println!("{d} {s} {}", predicted(&launch, "sm_90"));
        }
    }
}

#[test]
fn flash2() {
    for target in ["sm_80", "sm_90"] {
        for (d, heads) in [(128usize, 16usize), (64, 32)] {
            for (b, s) in [(32, 512), (16, 1024), (8, 2048), (4, 4096), (2, 8192), (1, 16384)] {
                let mut memory = Memory::new();
                let at = ["q", "k", "v"].map(|x| memory.reserve(x, b * heads * s * d * 2).unwrap());
                let (launch, _) = flash_mma::launch(flash_mma::published(d), b * heads, s, memory, at);
                println!("{target} {d} {s} {}", predicted(&launch, target));
            }
        }
    }
}
