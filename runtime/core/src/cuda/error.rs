//! What a driver can refuse, as typed errors with the codes of `docs/diagnostics`.

use cudarc::driver::sys::{self, CUresult};
use std::ffi::CStr;
use tile_base::Diagnostic;
use tile_machine::TensorMapError;

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CudaError {
    #[error("there is no CUDA driver: {0}")]
    NoDriver(String),
    #[error("there is no CUDA device {wanted}: {why}")]
    NoDevice { wanted: u32, why: String },
    #[error("the driver does not accept the PTX of `{module}`: {error}")]
    Refused {
        module: String,
        error: String,
        /// What the driver's compiler wrote, as it wrote it.
        log: String,
    },
    #[error("the launch of `{kernel}` failed: {error}")]
    Launch { kernel: String, error: String },
    #[error("the CUDA driver's {call} failed: {error}")]
    Call { call: &'static str, error: String },
    #[error("a tensor map cannot be made: {0}")]
    TensorMap(#[from] TensorMapError),
    #[error("the CUDA driver's cuTensorMapEncodeTiled refuses a tensor map: {0}")]
    RefusedMap(String),
}

impl CudaError {
    pub fn code(&self) -> &'static str {
        match self {
            CudaError::NoDriver(_) => "T0870",
            CudaError::NoDevice { .. } => "T0871",
            CudaError::Refused { .. } => "T0872",
            CudaError::Launch { .. } => "T0873",
            CudaError::Call { .. } => "T0874",
            CudaError::TensorMap(_) | CudaError::RefusedMap(_) => "T0875",
        }
    }

    pub fn diagnostic(&self) -> Diagnostic {
        let d = Diagnostic::global(self.code(), self.to_string());
        match self {
            CudaError::NoDriver(_) => {
                d.help("install NVIDIA's driver, or run with `--device cpu` or `--device sim`")
            }
            CudaError::NoDevice { .. } => d.help("`tilec doctor` says what was found; devices count from 0"),
            CudaError::Refused { log, .. } if log.is_empty() => {
                d.help("this is a fault of the compiler, or the driver is older than the PTX")
            }
            CudaError::Refused { log, .. } => d
                .note(log.clone())
                .help("this is a fault of the compiler, or the driver is older than the PTX"),
            CudaError::Launch { .. } => {
                d.help("`--device sim` runs the same code and says which access or barrier is wrong")
            }
            CudaError::Call { .. } => {
                d.help("smaller dimensions need less memory; `tilec doctor` shows the driver's version")
            }
            CudaError::TensorMap(_) | CudaError::RefusedMap(_) => {
                d.help("without `place … tma` in its schedule the kernel needs no tensor map")
            }
        }
    }
}

/// The name and the sentence that the driver has for a result: `CUDA_ERROR_INVALID_VALUE (invalid argument)`.
pub(super) fn describe(result: CUresult) -> String {
    let text = |f: unsafe fn(CUresult, *mut *const std::ffi::c_char) -> CUresult| {
        let mut at = std::ptr::null();
        // SAFETY: the driver stores a pointer to a string that lives as long as the library, or null.
        unsafe {
            match f(result, &mut at) {
                CUresult::CUDA_SUCCESS if !at.is_null() => CStr::from_ptr(at).to_string_lossy().into_owned(),
                _ => format!("error {}", result as u32),
            }
        }
    };
    format!("{} ({})", text(sys::cuGetErrorName), text(sys::cuGetErrorString))
}

/// The answer of a call that should not fail unless memory or the device does.
pub(super) fn check(call: &'static str, result: CUresult) -> Result<(), CudaError> {
    match result {
        CUresult::CUDA_SUCCESS => Ok(()),
        other => Err(CudaError::Call { call, error: describe(other) }),
    }
}
