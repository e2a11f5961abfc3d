//! What this machine has: for `tilec doctor`, and for finding NVIDIA's assembler.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// One line of the report.
#[derive(Clone, Debug)]
pub struct Fact {
    pub name: &'static str,
    pub found: bool,
    pub value: String,
    /// How to get it, where it is missing.
    pub help: &'static str,
}

fn fact(name: &'static str, found: Option<String>, help: &'static str) -> Fact {
    Fact { name, found: found.is_some(), value: found.unwrap_or_else(|| "not found".into()), help }
}

/// Everything that `doctor` lists.
pub fn all() -> Vec<Fact> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut facts = vec![
        fact("version", Some(env!("CARGO_PKG_VERSION").into()), ""),
        fact("CPU device", Some(format!("{threads} threads, {}", cpu_features())), ""),
        fact(
            "PTX backend",
            ptx_backend(),
            "build the command with the feature `ptx`: cargo build --release -p tilec (needs LLVM and MLIR 22; ./x setup installs them)",
        ),
    ];
    for (name, tool) in [("ptxas", "ptxas"), ("cuobjdump", "cuobjdump"), ("nvdisasm", "nvdisasm")] {
        let found = cuda_tool(tool).map(|path| match version_of(&path) {
            Some(v) => format!("{} ({v})", path.display()),
            None => path.display().to_string(),
        });
        facts.push(fact(
            name,
            found,
            "./x setup fetches it from PyPI (optional: it checks PTX and counts registers)",
        ));
    }
    facts.push(fact("CUDA driver", cuda_device(), "install NVIDIA's driver (only needed to run on a GPU)"));
    facts
}

#[cfg(feature = "ptx")]
fn ptx_backend() -> Option<String> {
    Some("built in (LLVM and MLIR 22)".into())
}

#[cfg(not(feature = "ptx"))]
fn ptx_backend() -> Option<String> {
    None
}

fn cpu_features() -> String {
    let mut list = vec![std::env::consts::ARCH];
    #[cfg(target_arch = "x86_64")]
    for (name, there) in [
        ("sse4.2", is_x86_feature_detected!("sse4.2")),
        ("avx", is_x86_feature_detected!("avx")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("f16c", is_x86_feature_detected!("f16c")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
    ] {
        if there {
            list.push(name);
        }
    }
    list.join(" ")
}

/// Where a tool of the CUDA toolkit is: `$TILEC_PTXAS` (and so on), `PATH`, the folder that `./x setup` fills. As
/// `tile_ptx::ptxas` looks, for a command that is built without it.
pub fn cuda_tool(name: &str) -> Option<PathBuf> {
    let env = |key: &str| std::env::var_os(key).filter(|v| !v.is_empty()).map(PathBuf::from);
    let mut places: Vec<PathBuf> = env(&format!("TILEC_{}", name.to_uppercase())).into_iter().collect();
    if let Some(path) = std::env::var_os("PATH") {
        places.extend(std::env::split_paths(&path).map(|p| p.join(name)));
    }
    let cache = env("XDG_CACHE_HOME").or_else(|| env("HOME").map(|h| h.join(".cache")));
    places.extend(cache.map(|c| c.join("tilec/cuda/bin").join(name)));
    places.into_iter().find(|p| p.is_file())
}

/// `V13.0.88`, from what the tool says of itself.
fn version_of(path: &Path) -> Option<String> {
    let out = Command::new(path).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let word =
        text.split_whitespace().rev().find(|w| w.starts_with('V') && w[1..].starts_with(char::is_numeric))?;
    Some(word.trim_end_matches(',').to_string())
}

/// The first device, with what its driver says of it.
fn cuda_device() -> Option<String> {
    let device = tile_runtime::cuda::Device::open(0).ok()?;
    let (capability, driver) = (device.capability, device.driver);
    Some(format!(
        "{}, compute capability {}.{}, CUDA {}.{}",
        device.name,
        capability / 10,
        capability % 10,
        driver / 1000,
        driver % 1000 / 10
    ))
}
