//! The kernels are PTX as NVIDIA's assembler understands it, and it has nothing to remark on: no serialised `wgmma` (C7510 to
//! C7519), no ignored `setmaxnreg` (C7508).

use std::{path::PathBuf, process::Command};

const KERNELS: [(&str, &str); 8] = [
    ("gemm_tma", include_str!("../kernels/gemm_tma.ptx")),
    ("attention", include_str!("../kernels/attention.ptx")),
    ("gemm_cluster", include_str!("../kernels/gemm_cluster.ptx")),
    ("gemm_cp_async", include_str!("../kernels/gemm_cp_async.ptx")),
    ("stream_reduce", include_str!("../kernels/stream_reduce.ptx")),
    ("split_k", include_str!("../kernels/split_k.ptx")),
    ("device_map", include_str!("../kernels/device_map.ptx")),
    ("exchange", include_str!("../kernels/exchange.ptx")),
];

/// `TILEC_PTXAS`, or where `./x setup` puts it.
fn ptxas() -> Option<PathBuf> {
    let cache = || {
        let folder = std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
        Some(folder.join("tilec/cuda/bin/ptxas"))
    };
    let named = std::env::var_os("TILEC_PTXAS").map(PathBuf::from);
    named.or_else(cache).filter(|path| path.exists())
}

#[test]
fn every_kernel_assembles_without_a_remark() {
    let Some(ptxas) = ptxas() else {
        println!("left out: no ptxas (`./x setup` fetches it, or set TILEC_PTXAS)");
        return;
    };
    let path = std::env::temp_dir().join(format!("ptx-sim-assemble-{}.ptx", std::process::id()));
    for (name, text) in KERNELS {
        let target = text.lines().find_map(|l| l.strip_prefix(".target ")).unwrap_or("sm_90a");
        std::fs::write(&path, text).unwrap();
        let done =
            Command::new(&ptxas).args(["-arch", target, "-o", "/dev/null"]).arg(&path).output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success() && !said.contains("C75"), "{name}: {said}");
    }
    let _ = std::fs::remove_file(path);
}
