//! NVIDIA's own Python client over the library: `client.py` with `cuda-bindings` from PyPI.
//!
//! The packages go into a folder of their own below the user's cache, once. Where PyPI cannot be reached, or there is no
//! Python, the test says so and passes; but not where `CI=true`, which has to have them.

mod common;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

const PACKAGES: [&str; 2] = ["cuda-bindings==13.5.0", "numpy>=2"];

/// The folder with the packages, for `PYTHONPATH`; or why there is none.
fn packages() -> Result<PathBuf, String> {
    let env = |key: &str| std::env::var_os(key).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = env("XDG_CACHE_HOME").or_else(|| env("HOME").map(|h| h.join(".cache")));
    let folder = cache.ok_or("neither XDG_CACHE_HOME nor HOME is set")?.join("tilec");
    // Compiled packages are for one version of Python.
    let asked = "import sys; print('%d.%d' % sys.version_info[:2])";
    let version =
        Command::new("python3").args(["-c", asked]).output().map_err(|e| format!("python3: {e}"))?;
    let version = String::from_utf8_lossy(&version.stdout).trim().to_string();
    let place = folder.join(format!("cuda-bindings-13.5-py{version}"));
    if place.is_dir() {
        return Ok(place);
    }
    if env("TILEC_INSTALL").is_some_and(|v| v.as_os_str() == "no") {
        return Err("it is not installed (TILEC_INSTALL=no)".into());
    }
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    // Whole or not at all: what is installed half is never found.
    let part = folder.join(format!("cuda-bindings.{}.part", std::process::id()));
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]);
    let done = pip.arg(&part).args(PACKAGES).output().map_err(|e| format!("pip: {e}"))?;
    if !done.status.success() {
        let _ = std::fs::remove_dir_all(&part);
        return Err(format!("pip: {}", String::from_utf8_lossy(&done.stderr).trim()));
    }
    match std::fs::rename(&part, &place) {
        Err(e) if !place.is_dir() => Err(format!("{}: {e}", place.display())),
        _ => Ok(place),
    }
}

fn run(driver: &common::Driver, packages: &Path, variables: &[(&str, &str)]) -> Output {
    Command::new("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/client.py"))
        .env("LD_LIBRARY_PATH", driver.path())
        .env("PYTHONPATH", packages)
        .env_remove("SIM_CUDA_CHECK")
        .envs(variables.iter().copied())
        .output()
        .expect("python3 starts")
}

#[test]
fn cuda_bindings_works_with_this_driver_alone() {
    let packages = match packages() {
        Ok(packages) => packages,
        Err(why) if std::env::var("CI").as_deref() == Ok("true") => panic!("cuda-bindings: {why}"),
        Err(why) => return eprintln!("left out, because there is no cuda-bindings: {why}"),
    };
    let driver = common::Driver::build();
    let log = driver.path().join("log");
    for (check, fault, finding) in [("", "stray", "OutOfBounds"), ("1", "race", "Race")] {
        let variables = [("SIM_CUDA_CHECK", check), ("SIM_CUDA_LOG", log.to_str().unwrap())];
        let out = run(&driver, &packages, &variables);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (said, errors) = (text(&out.stdout), text(&out.stderr));
        assert!(out.status.success(), "{said}{errors}");
        assert!(said.contains(&format!("faults: {fault}")) && said.ends_with("done\n"), "{said}{errors}");
        let log = std::fs::read_to_string(&log).unwrap();
        assert!(log.contains(finding), "what the kernel did is told: {log}");
        assert!(
            log.contains("cuTexObjectGetResourceDesc is not supported"),
            "so is what is not there: {log}"
        );
    }
}
