//! Sums over the rows of a matrix, and a plain copy.

use super::{Matrix, Params, Problem, grid};
use ptx_sim::{Geometry, memory::Memory};

fn column_sums(x: &Matrix, scale: i32) -> Vec<u8> {
    let sum = |j: usize| (0..x.rows).map(|i| x.at(i, j)).sum::<i32>() * scale;
    (0..x.columns).flat_map(|j| (sum(j) as f32).to_le_bytes()).collect()
}

/// y = 2 · column sums of x, by bulk copies and bulk reductions; columns are a multiple of 4.
pub fn stream_reduce(rows: usize, columns: usize) -> Problem {
    let x = Matrix::random(rows, columns, 9, 3);
    let mut memory = Memory::new();
    let at_x = memory.allocate("x", &x.f32());
    let at_y = memory.allocate("y", &vec![0; columns * 4]);
    Problem {
        entry: "stream_reduce",
        params: Params::default().address(at_x).address(at_y).u32(columns as u32),
        geometry: Geometry {
            grid: grid(columns.div_ceil(1024), rows),
            block: [128, 1, 1],
            ..Geometry::default()
        },
        output: at_y,
        expected: column_sums(&x, 2),
        memory,
    }
}

/// y = column sums of x, rows in `pieces` that take turns.
pub fn split_k(rows: usize, columns: usize, pieces: usize) -> Problem {
    let x = Matrix::random(rows, columns, 9, 4);
    let mut memory = Memory::new();
    let at_x = memory.allocate("x", &x.f32());
    let at_y = memory.allocate("y", &vec![0xcc; columns * 4]);
    let blocks = columns.div_ceil(128);
    let semaphores = memory.allocate("semaphores", &vec![0; blocks * 4]);
    let params = Params::default()
        .address(at_x)
        .address(at_y)
        .address(semaphores)
        .u32(rows as u32)
        .u32(columns as u32)
        .u32(rows.div_ceil(pieces) as u32);
    Problem {
        entry: "split_k",
        params,
        geometry: Geometry { grid: grid(blocks, pieces), block: [128, 1, 1], ..Geometry::default() },
        output: at_y,
        expected: column_sums(&x, 1),
        memory,
    }
}

/// y = x through tensor maps made on the device; columns are a multiple of 4.
pub fn device_map(rows: usize, columns: usize) -> Problem {
    let x = Matrix::random(rows, columns, 99, 8);
    let grid = grid(columns.div_ceil(32), rows.div_ceil(8));
    let mut memory = Memory::new();
    let at_x = memory.allocate("x", &x.f32());
    let at_y = memory.allocate("y", &vec![0xcc; rows * columns * 4]);
    let maps = memory.allocate("maps", &vec![0; grid.iter().product::<u32>() as usize * 128]);
    Problem {
        entry: "device_map",
        params: Params::default()
            .address(at_x)
            .address(at_y)
            .address(maps)
            .u32(rows as u32)
            .u32(columns as u32),
        geometry: Geometry { grid, block: [128, 1, 1], ..Geometry::default() },
        output: at_y,
        expected: x.f32(),
        memory,
    }
}

/// Row sums of 128 × 128 and how many half rows have a positive one, by two CTAs that exchange their halves.
pub fn exchange() -> Problem {
    let x = Matrix::random(128, 128, 9, 9);
    let half = |i: usize, from: usize| (from..from + 64).map(|j| x.at(i, j)).sum::<i32>();
    let sums = (0..128).map(|i| half(i, 0) + half(i, 64));
    let positives = (0..128).flat_map(|i| [half(i, 0), half(i, 64)]).filter(|&s| s > 0).count() as u32;
    let mut expected: Vec<u8> = sums.flat_map(|s| (s as f32).to_le_bytes()).collect();
    expected.extend(positives.to_le_bytes());
    let mut memory = Memory::new();
    let at_x = memory.allocate("x", &x.f32());
    // The count lies behind the sums, in one buffer.
    let mut start = vec![0xcc; 512];
    start.extend([0; 4]);
    let at_y = memory.allocate("y", &start);
    Problem {
        entry: "exchange",
        params: Params::default().address(at_x).address(at_y).address(at_y + 512),
        geometry: Geometry { grid: [2, 1, 1], block: [128, 1, 1], ..Geometry::default() },
        output: at_y,
        expected,
        memory,
    }
}
