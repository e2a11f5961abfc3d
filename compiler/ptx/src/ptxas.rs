//! Finds and runs NVIDIA's assembler, where there is one. It is a development tool: nothing a user runs needs it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};
use tile_target::Target;

/// `$TILEC_PTXAS`, then the path, then the cache folder that `./x` fills.
pub fn find() -> Option<PathBuf> {
    tool("ptxas", "TILEC_PTXAS")
}

/// A tool of the CUDA toolkit by name; `variable` names its path.
pub fn tool(name: &str, variable: &str) -> Option<PathBuf> {
    let given = env::var_os(variable).map(PathBuf::from);
    let in_path = env::var_os("PATH").into_iter().flat_map(|p| env::split_paths(&p).collect::<Vec<_>>());
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|h| Path::new(&h).join(".cache")))
        .map(|c| c.join("tilec/cuda/bin").join(name));
    given.into_iter().chain(in_path.map(|p| p.join(name))).chain(cache).find(|p| p.is_file())
}

/// What the assembler reports of one kernel.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Resources {
    pub registers: u32,
    pub spill_stores: u32,
    pub spill_loads: u32,
    pub stack: u32,
    /// Static shared memory; dynamic shared memory is the plan's.
    pub shared: u32,
    pub barriers: u32,
    /// Lines that are neither expected nor harmless.
    pub remarks: Vec<String>,
}

/// Assembles PTX; the error is the assembler's own text.
pub fn assemble(ptxas: &Path, ptx: &str, target: &Target) -> Result<Resources, String> {
    let folder =
        env::temp_dir().join(format!("tilec-ptxas-{}-{:?}", std::process::id(), std::thread::current().id()));
    fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    let (input, output) = (folder.join("k.ptx"), folder.join("k.cubin"));
    fs::write(&input, ptx).map_err(|e| e.to_string())?;
    let run = Command::new(ptxas)
        .args(["-v", "-arch", target.processor, "-o"])
        .args([&output, &input])
        .output()
        .map_err(|e| e.to_string());
    let _ = fs::remove_dir_all(&folder);
    let run = run?;
    let text = String::from_utf8_lossy(&run.stderr).into_owned() + &String::from_utf8_lossy(&run.stdout);
    if !run.status.success() {
        return Err(text);
    }
    Ok(parse(&text))
}

fn parse(text: &str) -> Resources {
    let mut out = Resources::default();
    for line in text.lines() {
        let words: Vec<&str> = line.split([' ', ',']).filter(|w| !w.is_empty()).collect();
        let before = |what: &[&str]| {
            let at = words.windows(what.len()).position(|w| w == what)?;
            words.get(at.checked_sub(1)?)?.parse().ok()
        };
        if line.contains("Used") && line.contains("registers") {
            out.registers = before(&["registers"]).unwrap_or(0);
            out.shared = before(&["bytes", "smem"]).unwrap_or(0);
            out.barriers = before(&["barriers"]).unwrap_or(0);
        } else if line.contains("stack frame") {
            out.stack = before(&["bytes", "stack"]).unwrap_or(0);
            out.spill_stores = before(&["bytes", "spill", "stores"]).unwrap_or(0);
            out.spill_loads = before(&["bytes", "spill", "loads"]).unwrap_or(0);
        } else if line.contains("C75") || line.contains("warning") {
            out.remarks.push(line.to_string());
        }
    }
    out
}
