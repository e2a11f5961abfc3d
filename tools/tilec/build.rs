//! Links the binary so that LLVM's initialisers run at the first use of the PTX backend (see `tile_ptx::late_init`).

use std::{env, path::Path};

fn main() {
    let set = |name: &str| env::var(name).unwrap_or_default();
    let elf = set("CARGO_CFG_TARGET_OS") == "linux" && set("CARGO_CFG_TARGET_ENV") == "gnu";
    if env::var_os("CARGO_FEATURE_PTX").is_none() || !elf {
        return;
    }
    let script = Path::new(&set("CARGO_MANIFEST_DIR")).join("../../compiler/ptx/native/late_init.ld");
    println!("cargo:rerun-if-changed={}", script.display());
    println!("cargo:rustc-link-arg-bins=-Wl,-T,{}", script.display());
}
