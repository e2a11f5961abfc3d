//! C = A·Bᵀ, three ways.

use super::{Matrix, Params, Problem, bf16_map, grid};
use ptx_sim::{Geometry, memory::Memory};

struct Operands {
    memory: Memory,
    a: u64,
    b: u64,
    c: u64,
    product: Matrix,
}

fn operands(m: usize, n: usize, k: usize, c_bytes: usize) -> Operands {
    let (a, b) = (Matrix::random(m, k, 2, 1), Matrix::random(n, k, 2, 2));
    let mut memory = Memory::new();
    let (at_a, at_b) = (memory.allocate("a", &a.bf16()), memory.allocate("b", &b.bf16()));
    // What the kernel does not write is seen.
    let at_c = memory.allocate("c", &vec![0xcc; m * n * c_bytes]);
    Operands { memory, a: at_a, b: at_b, c: at_c, product: a.times_transposed(&b) }
}

/// Tiles of 128 × 64 by TMA and wgmma; n and k are multiples of 8.
pub fn gemm_tma(m: usize, n: usize, k: usize) -> Problem {
    let o = operands(m, n, k, 2);
    let params = Params::default()
        .map(&bf16_map(o.a, m, k, 128))
        .map(&bf16_map(o.b, n, k, 64))
        .map(&bf16_map(o.c, m, n, 64))
        .u32(k.div_ceil(64) as u32);
    Problem {
        entry: "gemm",
        params,
        geometry: Geometry {
            grid: grid(n.div_ceil(64), m.div_ceil(128)),
            block: [384, 1, 1],
            dynamic_shared: 90112,
            ..Geometry::default()
        },
        output: o.c,
        expected: o.product.bf16(),
        memory: o.memory,
    }
}

/// Two CTAs side by side along m, each 64 × 64, which share B by multicast.
pub fn gemm_cluster(m: usize, n: usize, k: usize) -> Problem {
    let o = operands(m, n, k, 4);
    let params = Params::default()
        .map(&bf16_map(o.a, m, k, 64))
        .map(&bf16_map(o.b, n, k, 32))
        .address(o.c)
        .u32(m as u32)
        .u32(n as u32)
        .u32(k.div_ceil(64) as u32);
    Problem {
        entry: "gemm_cluster",
        params,
        geometry: Geometry {
            grid: grid(m.div_ceil(128) * 2, n.div_ceil(64)),
            block: [160, 1, 1],
            cluster: [2, 1, 1],
            dynamic_shared: 49152,
            ..Geometry::default()
        },
        output: o.c,
        expected: o.product.f32(),
        memory: o.memory,
    }
}

/// Tiles of 64 × 64 by cp.async and mma.sync; k is a multiple of 8.
pub fn gemm_cp_async(m: usize, n: usize, k: usize) -> Problem {
    let o = operands(m, n, k, 4);
    let params =
        Params::default().address(o.a).address(o.b).address(o.c).u32(m as u32).u32(n as u32).u32(k as u32);
    Problem {
        entry: "gemm_cp_async",
        params,
        geometry: Geometry {
            grid: grid(n.div_ceil(64), m.div_ceil(64)),
            block: [128, 1, 1],
            ..Geometry::default()
        },
        output: o.c,
        expected: o.product.f32(),
        memory: o.memory,
    }
}
