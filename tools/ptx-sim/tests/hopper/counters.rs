//! What is counted, on kernels whose counts are known.

use crate::support::{self, Problem};
use ptx_sim::{
    Geometry, decode,
    profile::{Pipe, Profile},
    read,
};

fn profile(problem: Problem, ptx: &str) -> Profile {
    let Problem { entry, mut memory, params, geometry, expected, output } = problem;
    let kernel = decode::kernel(&read::parse(ptx).unwrap(), entry).unwrap();
    let geometry = Geometry { count: true, ..geometry };
    let summary = ptx_sim::run(&kernel, &mut memory, &geometry, &params.bytes()).unwrap();
    assert_eq!(memory.contents(output), Some(expected), "counting changes no result");
    Profile::new(&kernel, &summary.counters.unwrap(), summary.ctas)
}

fn warps(p: &Profile, pipe: Pipe) -> u64 {
    p.pipes.iter().find(|x| x.0 == pipe).map_or(0, |x| x.1)
}

#[test]
fn a_matrix_product_by_the_copy_engine() {
    let (m, n, k) = (256, 128, 192);
    let p = profile(support::gemm_tma(m, n, k), include_str!("../kernels/gemm_tma.ptx"));
    assert_eq!(p.ctas, 4);
    assert_eq!(p.tensor, (m * n * k) as u64);
    // 12 k-steps by 8 consumer warps by 4 CTAs.
    assert_eq!(warps(&p, Pipe::Tensor), 12 * 8 * 4);
    // Each CTA reads its rows of A and B once and writes its tile.
    let moved = 4 * (128 * k + 64 * k + 128 * 64) * 2;
    assert_eq!((p.total.global_bytes, p.total.sectors * 32), (moved as u64, moved as u64));
    assert_eq!(p.touched_bytes, ((m * k + n * k + m * n) * 2) as u64);
    // The epilogue's swizzle keeps it free of bank conflicts.
    assert_eq!(p.total.wavefronts, p.total.least_wavefronts);
    assert!(p.total.waits > 0, "somebody waits for the first tile");
}

#[test]
fn a_forgotten_pad_shows_as_bank_conflicts() {
    let ptx = include_str!("../kernels/gemm_cp_async.ptx");
    let padded = profile(support::gemm_cp_async(64, 64, 64), ptx);
    let reads = |p: &Profile| -> (u64, u64) {
        let loads = p.hot.iter().filter(|h| h.site.global_bytes == 0 && h.site.wavefronts > 0);
        loads.fold((0, 0), |s, h| (s.0 + h.site.wavefronts, s.1 + h.site.least_wavefronts))
    };
    let (took, least) = reads(&padded);
    assert_eq!(took, least, "rows 80 bytes apart");
    // Rows 64 bytes apart: of eight rows at one column every other one lies in the same banks.
    let packed = ptx.replace(", 80;", ", 64;").replace("+2560]", "+2048]").replace("+7680]", "+7168]");
    let packed = [1280, 2560, 3840]
        .iter()
        .fold(packed, |t, n| t.replace(&format!("[at_b+{n}]"), &format!("[at_b+{}]", n / 80 * 64)))
        .replace("[at_b+1312]", "[at_b+1056]")
        .replace("[at_b+2592]", "[at_b+2080]")
        .replace("[at_b+3872]", "[at_b+3104]");
    let (took, least) = reads(&profile(support::gemm_cp_async(64, 64, 64), &packed));
    assert!(took >= 3 * least, "{took} wavefronts where {least} would do");
}

#[test]
fn sums_by_pipe_and_by_line() {
    let p = profile(support::split_k(8, 128, 2), include_str!("../kernels/split_k.ptx"));
    // Two pieces of four rows, four warps each: four additions for x and one for y.
    // (Counted in lanes: a lane that has waited for its turn may go on beside the others of its warp.)
    let lanes = p.pipes.iter().find(|x| x.0 == Pipe::F32).map(|x| x.2);
    assert_eq!(lanes, Some(32 * 2 * 4 * (4 + 1)));
    let loads = p.hot.iter().find(|h| h.site.warps == 2 * 4 * 4 && h.pipe == Pipe::Memory).unwrap();
    assert_eq!((loads.site.sectors, loads.site.global_bytes), (32 * 4, 32 * 128));
    assert!(p.hot.windows(2).all(|w| w[0].line < w[1].line));
}
