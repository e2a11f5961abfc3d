//! The list of all functions, and stubs for those that are not written. Made by build.rs from `data/functions.txt`.

/// A form of a function of the API.
pub struct Function {
    /// As cuGetProcAddress is asked for it.
    pub name: &'static str,
    /// The CUDA version from which the name means this form.
    pub since: i32,
    /// Whether there is more than a stub.
    #[cfg(test)]
    pub implemented: bool,
    pub entry: Entry,
}

/// The address of a function, which is the same for every thread.
pub struct Entry(pub *const ());

// SAFETY: a function's address may be used from anywhere.
unsafe impl Sync for Entry {}

include!(concat!(env!("OUT_DIR"), "/functions.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_need_at_start_up_is_more_than_a_stub() {
        for name in [
            "cuInit",
            "cuDeviceGet",
            "cuDevicePrimaryCtxRetain",
            "cuDevicePrimaryCtxRelease",
            "cuDeviceGetAttribute",
            "cuCtxGetCurrent",
            "cuCtxSetCurrent",
            "cuMemAllocAsync",
            "cuMemFreeAsync",
            "cuModuleLoadData",
            "cuFuncSetAttribute",
            "cuLaunchKernel",
            "cuLaunchKernelEx",
            "cuModuleUnload",
            "cuStreamDestroy",
            "cuEventDestroy",
            "cuGetProcAddress",
        ] {
            assert!(FUNCTIONS.iter().any(|f| f.name == name && f.implemented), "{name}");
        }
    }
}
