//! Running a body, and looking at what came of it.

use ptx_sim::{Fault, FaultKind, Geometry, Summary, decode, memory::Memory, read};

pub fn text(directives: &str, shared: usize, body: &str) -> String {
    let shared = if shared == 0 { String::new() } else { format!(".shared .align 1024 .b8 smem[{shared}];") };
    format!(
        ".version 8.6\n.target sm_90a\n.address_size 64\n{shared}
.visible .entry k(.param .u64 pa, .param .u64 pb) {directives}
{{
    .reg .b32 %r<64>; .reg .b64 %rd<64>; .reg .pred %p<16>; .reg .f32 %f<200>;
    ld.param.u64 %rd1, [pa]; ld.param.u64 %rd2, [pb];
    mov.u32 %r1, %tid.x;
{body}
    ret;
}}"
    )
}

pub struct Run {
    pub result: Result<Summary, Fault>,
    pub a: Vec<u32>,
    pub b: Vec<u32>,
}

/// One run with buffers of words.
pub fn once(ptx: &str, geometry: &Geometry, a: &[u32], b: &[u32]) -> Run {
    let module = read::parse(ptx).unwrap_or_else(|e| panic!("{e}\n{ptx}"));
    let kernel = decode::kernel(&module, "k").unwrap_or_else(|e| panic!("{e}\n{ptx}"));
    let mut memory = Memory::new();
    let mut place = |name, words: &[u32]| {
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        memory.allocate(name, &bytes)
    };
    let (pa, pb) = (place("a", a), place("b", b));
    let params: Vec<u8> = [pa, pb].iter().flat_map(|p| p.to_le_bytes()).collect();
    let result = ptx_sim::run(&kernel, &mut memory, geometry, &params);
    let words = |at| {
        let bytes = memory.contents(at).expect("an allocation");
        bytes.chunks(4).map(|w| u32::from_le_bytes(w.try_into().expect("four bytes"))).collect()
    };
    Run { result, a: words(pa), b: words(pb) }
}

pub fn threads(n: u32) -> Geometry {
    Geometry { block: [n, 1, 1], step_limit: 1 << 20, ..Geometry::default() }
}

pub fn cluster(ctas: u32, threads: u32) -> Geometry {
    Geometry { grid: [ctas, 1, 1], cluster: [ctas, 1, 1], ..self::threads(threads) }
}

/// Runs a right program in both modes with several seeds; it has to be clean and to give the same each time.
pub fn clean(ptx: &str, geometry: &Geometry, a: &[u32], b: &[u32]) -> Run {
    let mut last: Option<Run> = None;
    for seed in [0, 1, 2, 3] {
        for check in [false, true] {
            let g = Geometry { seed, check, ..geometry.clone() };
            let run = once(ptx, &g, a, b);
            match &run.result {
                Ok(s) if s.findings.is_empty() => {}
                Ok(s) => panic!("seed {seed}: {}", s.findings[0]),
                Err(f) => panic!("seed {seed}, check {check}: {f}"),
            }
            if let Some(last) = &last {
                assert_eq!((&last.a, &last.b), (&run.a, &run.b), "seed {seed}, check {check}");
            }
            last = Some(run);
        }
    }
    last.expect("a run")
}

/// All that check mode says about a program: the fault that ended it, or its findings.
pub fn faults(ptx: &str, geometry: &Geometry, a: &[u32], b: &[u32]) -> Vec<Fault> {
    let g = Geometry { check: true, ..geometry.clone() };
    match once(ptx, &g, a, b).result {
        Ok(s) => s.findings,
        Err(f) => f.before.iter().cloned().chain([f.clone()]).collect(),
    }
}

/// A wrong program: check mode finds this class. The finding.
pub fn refuted(ptx: &str, geometry: &Geometry, a: &[u32], b: &[u32], kind: FaultKind) -> Fault {
    let found = faults(ptx, geometry, a, b);
    let said: Vec<String> = found.iter().map(|f| f.to_string()).collect();
    found.into_iter().find(|f| f.kind == kind).unwrap_or_else(|| panic!("{kind:?} expected, found {said:#?}"))
}

/// Notes of check mode.
pub fn notes(ptx: &str, geometry: &Geometry, a: &[u32], b: &[u32]) -> Vec<Fault> {
    let g = Geometry { check: true, ..geometry.clone() };
    once(ptx, &g, a, b).result.expect("a clean run").notes
}

pub fn zeros(n: usize) -> Vec<u32> {
    vec![0; n]
}

pub fn counting(n: u32) -> Vec<u32> {
    (0..n).collect()
}

/// The line of the text on which the words stand (the last such line).
pub fn line_of(ptx: &str, words: &str) -> u32 {
    let found = ptx.lines().enumerate().filter(|(_, l)| l.contains(words)).last().map(|(n, _)| n);
    found.unwrap_or_else(|| panic!("`{words}` is not in the text")) as u32 + 1
}
