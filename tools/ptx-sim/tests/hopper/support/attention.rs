//! O = (Q·Kᵀ)·V, the two products of attention without the softmax between.

use super::{Matrix, Params, Problem, bf16_map, grid};
use ptx_sim::{Geometry, memory::Memory};

/// 64 queries to a CTA, heads of 64. The scores stay below 2^8, which bf16 holds exactly.
pub fn attention(queries: usize, keys: usize) -> Problem {
    let q = Matrix::random(queries, 64, 1, 5);
    let (k, v) = (Matrix::random(keys, 64, 1, 6), Matrix::random(keys, 64, 2, 7));
    let mut memory = Memory::new();
    let at_q = memory.allocate("q", &q.bf16());
    let at_k = memory.allocate("k", &k.bf16());
    let at_v = memory.allocate("v", &v.bf16());
    let at_o = memory.allocate("o", &vec![0xcc; queries * 64 * 4]);
    let params = Params::default()
        .map(&bf16_map(at_q, queries, 64, 64))
        .map(&bf16_map(at_k, keys, 64, 64))
        .map(&bf16_map(at_v, keys, 64, 64))
        .address(at_o)
        .u32(queries as u32)
        .u32(keys.div_ceil(64) as u32);
    Problem {
        entry: "attention",
        params,
        geometry: Geometry {
            grid: grid(queries.div_ceil(64), 1),
            block: [160, 1, 1],
            dynamic_shared: 40960,
            ..Geometry::default()
        },
        output: at_o,
        expected: q.times_transposed(&k).times(&v).f32(),
        memory,
    }
}
