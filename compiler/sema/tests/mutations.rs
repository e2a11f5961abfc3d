//! Whatever the text is, checking ends, without a panic: every `.tile` file of the repository with tokens dropped,
//! doubled, swapped or replaced.

mod support;

use std::time::{Duration, Instant};

/// Far beyond what any text needs, so that a machine under load does not fail the test.
const LIMIT: Duration = Duration::from_secs(180);

/// xorshift: the same mutations at every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }
}

/// Words, numbers, blanks and single characters, in order.
fn pieces(text: &str) -> Vec<&str> {
    let mut out = vec![];
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let kind =
            |c: char| if c.is_alphanumeric() || c == '_' { 0 } else { 1 + usize::from(c.is_whitespace()) };
        let end = match kind(first) {
            1 => first.len_utf8(),
            k => rest.find(|c| kind(c) != k).unwrap_or(rest.len()),
        };
        out.push(&rest[..end]);
        rest = &rest[end..];
    }
    out
}

fn mutate<'a>(pieces: &[&'a str], random: &mut Random) -> String {
    let mut p: Vec<&'a str> = pieces.to_vec();
    for _ in 0..1 + random.below(3) {
        let (a, b) = (random.below(p.len()), random.below(p.len()));
        match random.below(5) {
            0 => p[a] = "",
            1 => p[a] = p[b],
            2 => p.swap(a, b),
            3 => p.insert(a, pieces[b % pieces.len()]),
            _ => {
                p[a] = ["0", "-1", "9223372036854775807", ":", "_", "inf", "T", "1e400", "(", "else"]
                    [random.below(10)]
            }
        }
    }
    p.concat()
}

#[test]
fn no_mutation_of_a_file_panics_or_hangs_the_checker() {
    let mut files = support::tile_files(&support::library());
    files.extend(support::tile_files(&support::root().join("dsl-examples")));
    assert!(files.len() > 10);
    let rounds = std::env::var("MUTATIONS").ok().and_then(|v| v.parse().ok()).unwrap_or(40);
    for file in files {
        let text = std::fs::read_to_string(&file).expect("the file is there");
        let pieces = pieces(&text);
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        for _ in 0..rounds {
            let mutant = mutate(&pieces, &mut random);
            let start = Instant::now();
            let result = std::panic::catch_unwind(|| {
                let loaded = support::load("mutant.tile", &mutant);
                tile_sema::check(&loaded.module).len()
            });
            assert!(result.is_ok(), "a panic on this text of {}:\n{mutant}", file.display());
            assert!(start.elapsed() < LIMIT, "too slow on this text of {}:\n{mutant}", file.display());
        }
    }
}

/// Deep nesting and wide expansion have their own code.
#[test]
fn depth_and_expansion_are_bounded() {
    let deep = format!("fn f(x: f32) {{ {}x{} }}", "(".repeat(20_000), ")".repeat(20_000));
    let nested = format!(
        "kernel k(o: out f32[N]) {{ var v: f32 = 0; {} v = v + 1; {} }}",
        "unroll a in 0..64 { ".repeat(8),
        "}".repeat(8)
    );
    let calls: String =
        (1..40).map(|n| format!("fn f{n}(x: f32) {{ f{0}(x) + f{0}(x) }}\n", n - 1)).collect();
    let calls = format!("fn f0(x: f32) {{ x + 1 }}\n{calls}");
    let arrays = "kernel k(o: out f32[N]) { unroll a in 0..4096 { var v: [f32; 4096] = 0; } }".to_string();
    for text in [deep, nested, calls, arrays] {
        let start = Instant::now();
        let loaded = support::load("deep.tile", &text);
        let found = tile_sema::check(&loaded.module);
        let told = loaded.syntax.iter().chain(&found).any(|d| d.is_error());
        assert!(told, "nothing is said of {}…", &text[..60]);
        assert!(start.elapsed() < LIMIT, "too slow on {}…", &text[..60]);
    }
}
