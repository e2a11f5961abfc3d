//! What check mode keeps of memory: at most one and a half times the memory that is touched, also where lanes stride.

use ptx_sim::{Geometry, Summary, decode, memory::Memory, read};

/// Runs a body in check mode over two buffers; it has to be clean.
fn summary(shared: usize, body: &str, grid: [u32; 3], block: [u32; 3], bytes: usize) -> Summary {
    let ptx = crate::support::text("", shared, body);
    let module = read::parse(&ptx).unwrap_or_else(|e| panic!("{e}\n{ptx}"));
    let kernel = decode::kernel(&module, "k").unwrap_or_else(|e| panic!("{e}\n{ptx}"));
    let mut memory = Memory::new();
    let places = ["a", "b"].map(|name| memory.allocate(name, &vec![0; bytes]));
    let params: Vec<u8> = places.iter().flat_map(|p| p.to_le_bytes()).collect();
    let geometry = Geometry { grid, block, check: true, ..Geometry::default() };
    let summary = ptx_sim::run(&kernel, &mut memory, &geometry, &params).unwrap_or_else(|f| panic!("{f}"));
    assert!(summary.findings.is_empty(), "{}", summary.findings[0]);
    summary
}

#[track_caller]
fn within(what: &str, most: f64, summary: &Summary, touched: u64) {
    let shadow = summary.shadow;
    let share = shadow.bytes as f64 / shadow.touched as f64;
    println!("{what}: {} bytes for {} touched, {share:.2}", shadow.bytes, shadow.touched);
    assert_eq!(shadow.touched, touched, "{what}");
    assert!(share <= most, "{what}: {} bytes for {} touched", shadow.bytes, shadow.touched);
}

/// Each thread computes b[n] from a[n], elements of so many bytes; `n` is in %r5.
fn elementwise(bytes: u32, load: &str, store: &str) -> String {
    format!(
        "mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x; mad.lo.u32 %r5, %r2, %r3, %r1;
    mul.wide.u32 %rd3, %r5, {bytes};
    add.u64 %rd4, %rd1, %rd3; add.u64 %rd5, %rd2, %rd3;
    {load}
    {store}"
    )
}

#[test]
fn streams() {
    let (grid, block) = ([64, 1, 1], [256, 1, 1]);
    for (what, bytes, load, store) in [
        ("words", 4, "ld.global.u32 %r6, [%rd4];", "st.global.u32 [%rd5], %r6;"),
        ("halves", 2, "ld.global.u16 %r6, [%rd4];", "st.global.u16 [%rd5], %r6;"),
        (
            "quads",
            16,
            "ld.global.v4.u32 {%r6, %r7, %r8, %r9}, [%rd4];",
            "st.global.v4.u32 [%rd5], {%r6, %r7, %r8, %r9};",
        ),
    ] {
        let size = bytes as usize * 64 * 256;
        let summary = summary(0, &elementwise(bytes, load, store), grid, block, size);
        within(what, 1.5, &summary, 2 * size as u64);
    }
}

#[test]
fn a_loop_over_the_grid() {
    let body = "
    mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x; mad.lo.u32 %r5, %r2, %r3, %r1;
L:
    mul.wide.u32 %rd3, %r5, 4;
    add.u64 %rd4, %rd1, %rd3; add.u64 %rd5, %rd2, %rd3;
    ld.global.u32 %r6, [%rd4];
    st.global.u32 [%rd5], %r6;
    add.u32 %r5, %r5, 1024;
    setp.lt.u32 %p1, %r5, 65536;
    @%p1 bra L;";
    let summary = summary(0, body, [4, 1, 1], [256, 1, 1], 4 << 16);
    within("a loop over the grid", 0.75, &summary, 2 * (4 << 16));
}

/// A square matrix of so many words a side, transposed a tile of 32 by 32 at a time; by `threads` of them.
#[test]
fn transposes() {
    let side = 128;
    let places = format!(
        "mov.u32 %r2, %tid.y; mov.u32 %r3, %ctaid.x; mov.u32 %r4, %ctaid.y;
    shl.b32 %r3, %r3, 5; shl.b32 %r4, %r4, 5;
    add.u32 %r5, %r3, %r1; add.u32 %r6, %r4, %r2;
    mad.lo.u32 %r7, %r6, {side}, %r5; mul.wide.u32 %rd3, %r7, 4; add.u64 %rd3, %rd1, %rd3;
    ld.global.u32 %r10, [%rd3];"
    );
    // Straight: lanes of a warp write down a column.
    let straight = format!(
        "{places}
    mad.lo.u32 %r8, %r5, {side}, %r6; mul.wide.u32 %rd4, %r8, 4; add.u64 %rd4, %rd2, %rd4;
    st.global.u32 [%rd4], %r10;"
    );
    // Through shared memory, in rows of 33 words.
    let tiled = format!(
        "{places}
    mov.u32 %r20, smem;
    mad.lo.u32 %r11, %r2, 132, %r20; mad.lo.u32 %r11, %r1, 4, %r11;
    st.shared.u32 [%r11], %r10;
    bar.sync 0;
    mad.lo.u32 %r12, %r1, 132, %r20; mad.lo.u32 %r12, %r2, 4, %r12;
    ld.shared.u32 %r13, [%r12];
    add.u32 %r14, %r4, %r1; add.u32 %r15, %r3, %r2;
    mad.lo.u32 %r8, %r15, {side}, %r14; mul.wide.u32 %rd4, %r8, 4; add.u64 %rd4, %rd2, %rd4;
    st.global.u32 [%rd4], %r13;"
    );
    let (bytes, tiles) = (4 * side * side, (side / 32) as u32);
    for (what, shared, body) in [("down columns", 0, straight), ("by tiles", 33 * 128, tiled)] {
        let summary = summary(shared, &body, [tiles, tiles, 1], [32, 32, 1], bytes);
        let in_shared = shared as u64 * 16;
        within(what, 1.5, &summary, 2 * bytes as u64 + in_shared);
    }
}

/// Thread n of the grid touches word `f(n + 65536 i)` of a buffer in round i; f has no pattern. `%rd3` is its address.
fn scattered(rounds: u32, bits: u32, touch: &str) -> String {
    format!(
        "mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x; mad.lo.u32 %r5, %r2, %r3, %r1;
    mov.u32 %r6, 0;
L:
    mul.lo.u32 %r7, %r5, 2654435761; shr.u32 %r7, %r7, {}; mul.wide.u32 %rd3, %r7, 4; add.u64 %rd3, %rd2, %rd3;
    {touch}
    add.u32 %r5, %r5, 65536; add.u32 %r6, %r6, 1;
    setp.lt.u32 %p1, %r6, {rounds};
    @%p1 bra L;",
        32 - bits
    )
}

#[test]
fn a_word_here_and_there() {
    let update = "ld.global.u32 %r8, [%rd3]; add.u32 %r8, %r8, 1; st.global.u32 [%rd3], %r8;";
    // Of 64 MiB, one word of each line of 128 bytes at most, mostly.
    for (what, most, touch) in [
        ("stores", 1.5, "st.global.u32 [%rd3], %r1;"),
        ("loads", 1.5, "ld.global.u32 %r8, [%rd3];"),
        ("updates", 1.5, update),
        ("ordered", 1.25, "st.global.u32 [%rd3], %r1; bar.sync 0;"),
        ("atomics", 1.25, "red.global.add.u32 [%rd3], %r1;"),
        ("communicating", 1.0, "atom.global.exch.b32 %r8, [%rd3], %r1;"),
    ] {
        for (grid, rounds) in [(1, 1), (1, 16), (8, 16)] {
            // Each lane of an atomic is an access of its own, which shows while there are few.
            let most = if rounds == 1 && most < 1.5 { 3.2 } else { most };
            let words = (128 * grid * rounds) as u64;
            let summary = summary(0, &scattered(rounds, 24, touch), [grid, 1, 1], [128, 1, 1], 64 << 20);
            within(what, most, &summary, 16 * words);
        }
    }
}

#[test]
fn a_word_of_each_line_of_shared_memory() {
    let body = "
    mov.u32 %r2, smem; mad.lo.u32 %r2, %r1, 128, %r2;
    st.shared.u32 [%r2], %r1; bar.sync 0; ld.shared.u32 %r3, [%r2];";
    // One byte of the map of what is defined for each 8 of memory, up to the last: as much as the cells here.
    within("lines", 2.0, &summary(256 * 128, body, [1, 1, 1], [256, 1, 1], 4), 256 * 16);
}

/// However much shared memory there is, and however often the little is written and read.
#[test]
fn machines_that_touch_little() {
    let copy = elementwise(4, "ld.global.u32 %r6, [%rd4];", "st.global.u32 [%rd5], %r6;");
    let turns = "
    mov.u32 %r20, smem; mad.lo.u32 %r20, %r1, 4, %r20; mov.u32 %r6, 0; mov.u32 %r7, smem;
L:
    st.shared.u32 [%r20], %r6; bar.sync 0; ld.shared.u32 %r8, [%r7]; bar.sync 0;
    add.u32 %r6, %r6, 1; setp.lt.u32 %p1, %r6, 200;
    @%p1 bra L;";
    for (threads, most) in [(32, 1.5), (64, 1.0), (256, 1.0)] {
        let summary = summary(0, &copy, [4, 1, 1], [threads, 1, 1], 4096);
        within("copy", most, &summary, 4 * 8 * threads as u64);
    }
    for (threads, most) in [(32, 6.5), (256, 1.6), (1024, 1.5)] {
        let summary = summary(32768, turns, [4, 1, 1], [threads, 1, 1], 4);
        within("turns", most, &summary, 4 * 4 * threads as u64);
    }
}

/// Eight warps that nothing orders read a table at places without a pattern: nearly every cell has a history of its own, of
/// up to eight reads that a later write would have to be compared with.
#[test]
fn a_table_that_warps_read_here_and_there() {
    let body = scattered(64, 14, "ld.global.u32 %r8, [%rd3];").replace("65536", "65537");
    within("table", 9.5, &summary(0, &body, [1, 1, 1], [256, 1, 1], 4 << 14), 4 << 14);
}
