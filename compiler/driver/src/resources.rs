//! What the text of PTX shows of a kernel's needs, without an assembler.

/// Facts of one module.
#[derive(Clone, Debug)]
pub struct Shown {
    /// `.target` and `.version`.
    pub target: String,
    /// Threads of a block (`.reqntid` or `.maxntid`).
    pub threads: Option<u32>,
    /// Bytes of `.shared` declarations.
    pub shared_bytes: u64,
    /// Instructions by what they are.
    pub counts: Vec<(&'static str, usize)>,
}

/// Reads a module of PTX.
pub fn shown(ptx: &str) -> Shown {
    let directive = |name: &str| {
        ptx.lines().map(str::trim).find_map(|l| l.strip_prefix(name)).map(|r| r.trim().to_string())
    };
    let threads = directive(".reqntid").or_else(|| directive(".maxntid"));
    let threads = threads.map(|t| t.split(',').filter_map(|n| n.trim().parse::<u32>().ok()).product());
    let shared_bytes = ptx
        .lines()
        .filter(|l| l.contains(".shared") && l.contains(".b8") && l.contains('['))
        .filter_map(|l| l.split('[').nth(1)?.split(']').next()?.parse::<u64>().ok())
        .sum();
    let kinds: [(&'static str, &str); 7] = [
        ("mma.sync", "mma.sync"),
        ("ldmatrix", "ldmatrix"),
        ("cp.async", "cp.async"),
        ("ld.global.v4", "ld.global.v4"),
        ("bar.sync", "bar.sync"),
        ("fma.rn.f32", "fma.rn.f32"),
        ("ex2.approx", "ex2.approx"),
    ];
    let counts = kinds
        .into_iter()
        .map(|(name, text)| (name, ptx.lines().filter(|l| l.contains(text)).count()))
        .filter(|(_, n)| *n > 0)
        .collect();
    let target = format!(
        "{}, PTX {}",
        directive(".target").unwrap_or_default(),
        directive(".version").unwrap_or_default()
    );
    Shown { target, threads, shared_bytes, counts }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_ptx_shows() {
        let s = shown(
            ".version 7.1\n.target sm_80\n.entry k()\n.reqntid 128, 1, 1\n{\n.shared .align 16 .b8 buf[4096];\nmma.sync.aligned x;\n}",
        );
        assert_eq!((s.threads, s.shared_bytes), (Some(128), 4096));
        assert_eq!(s.counts, [("mma.sync", 1)]);
    }
}
