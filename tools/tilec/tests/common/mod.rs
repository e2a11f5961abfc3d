//! Running the built command and looking at what it says.

#![allow(dead_code)]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

pub struct Output {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Runs `tilec` in a folder; a panic or a signal fails the test, whatever the test looks at.
pub fn tilec_in(folder: &Path, args: &[&str]) -> Output {
    tilec_with(folder, args, &[])
}

/// The same with variables of the environment set.
pub fn tilec_with(folder: &Path, args: &[&str], variables: &[(&str, &str)]) -> Output {
    let done = Command::new(env!("CARGO_BIN_EXE_tilec"))
        .args(args)
        .current_dir(folder)
        .env_remove("RUST_BACKTRACE")
        .env("NO_COLOR", "1")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
    let out = Output {
        status: done.status.code().unwrap_or(-1),
        stdout: text(done.stdout),
        stderr: text(done.stderr),
    };
    assert!(matches!(out.status, 0..=2), "{args:?}: status {}\n{}", out.status, out.stderr);
    assert!(!out.stderr.contains("panicked") && !out.stderr.contains("T09"), "{args:?}: {}", out.stderr);
    out
}

/// Runs `tilec` in the root of the repository.
pub fn tilec(args: &[&str]) -> Output {
    tilec_in(&root(), args)
}

impl Output {
    /// Asserts success and gives standard output.
    pub fn good(self) -> String {
        assert_eq!(self.status, 0, "{}\n{}", self.stdout, self.stderr);
        self.stdout
    }

    /// Asserts status 1 and that the code is named.
    #[track_caller]
    pub fn refused(self, code: &str) -> String {
        assert_eq!(self.status, 1, "expected {code}:\n{}\n{}", self.stdout, self.stderr);
        assert!(self.stderr.contains(code), "expected {code}:\n{}", self.stderr);
        self.stderr
    }
}

/// A folder for files, removed afterwards.
pub struct Folder(pub tempfile::TempDir);

impl Folder {
    pub fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_string()
    }

    /// Writes a file and gives its path.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub fn run(&self, args: &[&str]) -> Output {
        tilec_in(self.0.path(), args)
    }
}
