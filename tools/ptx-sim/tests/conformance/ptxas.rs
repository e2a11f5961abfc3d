//! Every kernel of the tables assembles for its target: the tests speak PTX as NVIDIA's assembler understands it.

use super::case::{Case, Target};
use std::{collections::BTreeMap, path::PathBuf, process::Command};

/// `TILEC_PTXAS`, or where `./x setup` puts it.
fn ptxas() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("TILEC_PTXAS") {
        return Some(path.into());
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let path = cache.join("tilec/cuda/bin/ptxas");
    path.exists().then_some(path)
}

#[test]
fn every_kernel_assembles() {
    let Some(ptxas) = ptxas() else {
        println!("left out: no ptxas (`./x setup` fetches it, or set TILEC_PTXAS)");
        return;
    };
    let mut by_target: BTreeMap<Target, Vec<Case>> = BTreeMap::new();
    for (_, cases) in super::FAMILIES {
        for case in cases() {
            by_target.entry(case.target).or_default().push(case);
        }
    }
    let folder = std::env::temp_dir().join(format!("ptx-sim-conformance-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for (target, cases) in by_target {
        let path = folder.join(format!("{}.ptx", target.name()));
        let texts: Vec<&str> = cases.iter().map(|c| c.text.as_str()).collect();
        std::fs::write(&path, target.header() + &texts.concat()).unwrap();
        let done = Command::new(&ptxas)
            .args(["-arch", target.name(), "-O0", "-o", "/dev/null"])
            .arg(&path)
            .output()
            .unwrap();
        let said =
            String::from_utf8_lossy(&done.stderr).into_owned() + &String::from_utf8_lossy(&done.stdout);
        let lines = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = lines.lines().collect();
        let explained: Vec<String> = said
            .lines()
            // Advice is none of ours.
            .filter(|s| !s.contains("; info") && !s.contains("; warning"))
            .take(30)
            .map(|s| {
                let number = s.split("line ").nth(1).and_then(|r| r.split(';').next()?.parse::<usize>().ok());
                let text = number.and_then(|n| lines.get(n - 1)).map_or("", |l| l.trim());
                format!("{s}\n    {text}")
            })
            .collect();
        assert!(done.status.success(), "{}: {}", target.name(), explained.join("\n"));
        println!("{}: {} kernels assemble", target.name(), cases.len());
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
