//! Functions of a module ("kernels" of a library, which is the same here): limits, attributes, parameters.

use crate::{
    device::{CAPABILITY, SHARED, shared_room},
    entry::{Answer, give, offer},
    errors::INVALID_VALUE,
    handles::Handle,
    state::ready,
};
use ptx_sim::ir::Kernel;
use std::{collections::HashMap, ffi::c_char, sync::Arc};

pub struct Function {
    pub module: Handle,
    pub kernel: Arc<Kernel>,
    /// Addresses of the module's variables.
    pub globals: Arc<HashMap<String, u64>>,
    /// Dynamic shared memory that was asked for.
    pub max_dynamic: Option<usize>,
    /// Clusters of more than 8 CTAs are allowed.
    pub non_portable: bool,
    pub carveout: i32,
    /// The name, for the client.
    pub name: std::ffi::CString,
}

impl Function {
    pub fn max_threads(&self) -> u32 {
        let limits = &self.kernel.limits;
        let product = |t: [u32; 3]| t.iter().map(|&n| n.max(1)).product::<u32>();
        match (limits.required_threads, limits.max_threads) {
            ([0, ..], [0, ..]) => 1024,
            ([0, ..], most) => product(most).min(1024),
            (exactly, _) => product(exactly).min(1024),
        }
    }

    /// Registers are not allocated here; what the kernel may use at most stands for what it uses.
    pub fn registers(&self) -> u32 {
        match self.kernel.limits.max_registers {
            0 => (65_536 / self.max_threads().max(256)).min(255),
            most => most.min(255),
        }
    }

    /// Dynamic shared memory that a launch may use.
    pub fn dynamic_limit(&self) -> usize {
        self.max_dynamic.unwrap_or_else(|| SHARED.saturating_sub(self.kernel.static_shared))
    }

    fn attribute(&self, number: u32) -> Option<i32> {
        let limits = &self.kernel.limits;
        Some(match number {
            0 => self.max_threads() as i32,
            1 => self.kernel.static_shared as i32,
            2 | 7 => 0,
            3 => self.kernel.local_bytes as i32,
            4 => self.registers() as i32,
            5 | 6 => CAPABILITY as i32,
            8 => self.dynamic_limit() as i32,
            9 => self.carveout,
            10 => (limits.required_cluster != [0; 3]) as i32,
            11..=13 => limits.required_cluster[number as usize - 11] as i32,
            14 => self.non_portable as i32,
            15 => 0,
            _ => return None,
        })
    }

    fn set(&mut self, number: u32, value: i32) -> Answer {
        match number {
            8 => {
                let wanted = usize::try_from(value).map_err(|_| INVALID_VALUE)?;
                let room = shared_room(self.kernel.static_shared).ok_or(INVALID_VALUE)?;
                if wanted > room {
                    return Err(INVALID_VALUE);
                }
                self.max_dynamic = Some(wanted);
            }
            9 if (-1..=100).contains(&value) => self.carveout = value,
            14 if value == 0 || value == 1 => self.non_portable = value == 1,
            15 => {}
            _ => return Err(INVALID_VALUE),
        }
        Ok(())
    }
}

unsafe fn get_attribute(value: *mut i32, number: u32, function: Handle) -> Answer {
    ready(|driver| {
        let found = driver.functions.get(function)?.attribute(number).ok_or(INVALID_VALUE)?;
        unsafe { give(value, found) }
    })
}

unsafe fn parameter(function: Handle, at: usize, offset: *mut usize, bytes: *mut usize) -> Answer {
    ready(|driver| {
        let kernel = &driver.functions.get(function)?.kernel;
        let p = kernel.params.get(at).ok_or(INVALID_VALUE)?;
        unsafe {
            offer(bytes, p.bytes);
            give(offset, p.offset)
        }
    })
}

entries! {
    fn cuKernelGetFunction(function: *mut Handle, kernel: Handle) {
        ready(|driver| {
            driver.functions.get(kernel)?;
            unsafe { give(function, kernel) }
        })
    }

    fn cuKernelGetLibrary(library: *mut Handle, kernel: Handle) {
        ready(|driver| {
            let module = driver.functions.get(kernel)?.module;
            unsafe { give(library, module) }
        })
    }

    fn cuKernelGetName(name: *mut *const c_char, kernel: Handle) {
        ready(|driver| unsafe { give(name, driver.functions.get(kernel)?.name.as_ptr()) })
    }

    fn cuKernelGetAttribute(value: *mut i32, number: u32, kernel: Handle, _device: i32) {
        unsafe { get_attribute(value, number, kernel) }
    }

    fn cuKernelSetAttribute(number: u32, value: i32, kernel: Handle, _device: i32) {
        ready(|driver| driver.functions.get_mut(kernel)?.set(number, value))
    }

    fn cuKernelSetCacheConfig(kernel: Handle, _config: u32, _device: i32) {
        ready(|driver| driver.functions.get(kernel).map(drop))
    }

    fn cuKernelGetParamInfo(kernel: Handle, at: usize, offset: *mut usize, bytes: *mut usize) {
        unsafe { parameter(kernel, at, offset, bytes) }
    }

    fn cuFuncGetModule(module: *mut Handle, function: Handle) {
        ready(|driver| {
            let own = driver.functions.get(function)?.module;
            unsafe { give(module, own) }
        })
    }

    fn cuFuncGetName(name: *mut *const c_char, function: Handle) {
        ready(|driver| unsafe { give(name, driver.functions.get(function)?.name.as_ptr()) })
    }

    fn cuFuncGetAttribute(value: *mut i32, number: u32, function: Handle) {
        unsafe { get_attribute(value, number, function) }
    }

    fn cuFuncSetAttribute(function: Handle, number: u32, value: i32) {
        ready(|driver| driver.functions.get_mut(function)?.set(number, value))
    }

    fn cuFuncSetCacheConfig(function: Handle, _config: u32) {
        ready(|driver| driver.functions.get(function).map(drop))
    }

    fn cuFuncGetParamInfo(function: Handle, at: usize, offset: *mut usize, bytes: *mut usize) {
        unsafe { parameter(function, at, offset, bytes) }
    }

    fn cuFuncIsLoaded(state: *mut u32, function: Handle) {
        ready(|driver| {
            driver.functions.get(function)?;
            unsafe { give(state, 1) }
        })
    }

    fn cuFuncLoad(function: Handle) {
        ready(|driver| driver.functions.get(function).map(drop))
    }
}
