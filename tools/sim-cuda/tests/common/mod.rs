//! The library, built and put where a loader finds it under the driver's two names.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// A folder for `LD_LIBRARY_PATH`, removed afterwards.
pub struct Driver(tempfile::TempDir);

impl Driver {
    /// Builds the library as the test itself was built.
    pub fn build() -> Driver {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(["build", "--quiet", "-p", "sim-cuda", "--message-format=json"]);
        if !cfg!(debug_assertions) {
            command.arg("--release");
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let out = command.current_dir(root).output().expect("cargo runs");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        // One message of the build names the file, in quotes.
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let library = text.split('"').rfind(|t| t.ends_with("libsim_cuda.so")).map(PathBuf::from);
        let library = library.expect("cargo names the library");
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["libcuda.so", "libcuda.so.1"] {
            std::os::unix::fs::symlink(&library, folder.path().join(name)).expect("a link");
        }
        Driver(folder)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}
