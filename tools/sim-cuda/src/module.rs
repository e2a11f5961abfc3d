//! Modules and libraries, both from PTX: loading, the log of the driver's compiler, functions and variables by name.

use crate::{
    entry::{Answer, give, offer},
    errors::{Error, FILE_NOT_FOUND, INVALID_VALUE, NOT_FOUND},
    function::Function,
    handles::Handle,
    log, ptx,
    state::{Driver, current, ready},
};
use std::{
    collections::BTreeMap,
    ffi::{CStr, c_char, c_void},
    sync::Arc,
};

pub struct Module {
    /// 0 for a library, which is of no context.
    pub context: Handle,
    /// By name.
    pub functions: BTreeMap<String, Handle>,
    /// Address and size of each variable.
    pub variables: BTreeMap<String, (u64, usize)>,
}

impl Driver {
    fn load(&mut self, context: Handle, image: ptx::Image) -> Handle {
        let sizes: Vec<(String, usize)> =
            image.variables.iter().map(|v| (v.name.clone(), v.bytes())).collect();
        let globals = Arc::new(ptx_sim::place_variables(&image.variables, &mut self.memory));
        let variables =
            sizes.into_iter().filter_map(|(n, b)| Some((n.clone(), (*globals.get(&n)?, b)))).collect();
        let module = self.modules.insert(Module { context, functions: BTreeMap::new(), variables });
        let mut functions = BTreeMap::new();
        for kernel in image.kernels {
            let name = kernel.name.clone();
            let function = Function {
                module,
                kernel,
                globals: globals.clone(),
                max_dynamic: None,
                non_portable: false,
                carveout: -1,
                name: std::ffi::CString::new(name.clone()).unwrap_or_default(),
            };
            functions.insert(name, self.functions.insert(function));
        }
        if let Ok(m) = self.modules.get_mut(module) {
            m.functions = functions;
        }
        module
    }

    fn unload(&mut self, module: Handle) -> Answer {
        let gone = self.modules.remove(module)?;
        for function in gone.functions.values() {
            self.functions.remove(*function)?;
        }
        for (address, _) in gone.variables.values() {
            self.memory.release(*address);
        }
        Ok(())
    }
}

/// Places for the log of the driver's compiler: `CU_JIT_ERROR_LOG_BUFFER` and its size.
struct JitLog {
    buffer: *mut c_char,
    bytes: usize,
}

impl JitLog {
    /// # Safety
    /// Both arrays have `count` entries, as the client promises.
    unsafe fn find(count: u32, options: *const u32, values: *const *mut c_void) -> JitLog {
        let mut log = JitLog { buffer: std::ptr::null_mut(), bytes: 0 };
        if options.is_null() || values.is_null() {
            return log;
        }
        for n in 0..count as usize {
            // SAFETY: as the caller promises.
            let (option, value) = unsafe { (*options.add(n), *values.add(n)) };
            match option {
                5 => log.buffer = value.cast(),
                // The size is a number in a pointer's place.
                6 => log.bytes = value.addr() & 0xffff_ffff,
                _ => {}
            }
        }
        log
    }

    fn write(&self, text: &str) {
        if self.buffer.is_null() || self.bytes == 0 {
            return;
        }
        let text = &text.as_bytes()[..text.len().min(self.bytes - 1)];
        // SAFETY: the client says that the buffer has so many bytes.
        unsafe {
            std::ptr::copy_nonoverlapping(text.as_ptr().cast(), self.buffer, text.len());
            self.buffer.add(text.len()).write(0);
        }
    }
}

/// Loads an image and gives its handle; what is refused is written to the client's log and to the library's.
unsafe fn load(place: *mut Handle, image: *const c_void, own: bool, jit: JitLog) -> Answer {
    let read = |driver: &mut Driver, context: Handle| {
        // SAFETY: as the client promises.
        let image = unsafe { ptx::load(image.cast()) }.map_err(|refused| {
            jit.write(&refused.why);
            log::line(&format!("sim-cuda: a module is refused: {}", refused.why));
            refused.error
        })?;
        if place.is_null() {
            return Err(INVALID_VALUE);
        }
        let module = driver.load(context, image);
        unsafe { give(place, module) }
    };
    match own {
        true => current(read),
        false => ready(|driver| read(driver, 0)),
    }
}

/// A file with its zero at the end.
unsafe fn file(path: *const c_char) -> Result<Vec<u8>, Error> {
    if path.is_null() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: a C string, as the client promises.
    let path = unsafe { CStr::from_ptr(path) }.to_string_lossy().into_owned();
    let mut bytes = std::fs::read(path).map_err(|_| FILE_NOT_FOUND)?;
    bytes.extend([0; 4]);
    Ok(bytes)
}

unsafe fn text<'a>(name: *const c_char) -> Result<&'a str, Error> {
    if name.is_null() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: a C string, as the client promises.
    unsafe { CStr::from_ptr(name) }.to_str().map_err(|_| NOT_FOUND)
}

unsafe fn function(place: *mut Handle, module: Handle, name: *const c_char) -> Answer {
    // SAFETY: as the client promises.
    let name = unsafe { text(name)? };
    ready(|driver| {
        let found = driver.modules.get(module)?.functions.get(name).copied().ok_or(NOT_FOUND)?;
        unsafe { give(place, found) }
    })
}

unsafe fn variable(address: *mut u64, bytes: *mut usize, module: Handle, name: *const c_char) -> Answer {
    // SAFETY: as the client promises.
    let name = unsafe { text(name)? };
    ready(|driver| {
        let (at, size) = driver.modules.get(module)?.variables.get(name).copied().ok_or(NOT_FOUND)?;
        unsafe {
            offer(address, at);
            offer(bytes, size);
        }
        Ok(())
    })
}

entries! {
    fn cuModuleLoadData(module: *mut Handle, image: *const c_void) {
        unsafe { load(module, image, true, JitLog::find(0, std::ptr::null(), std::ptr::null())) }
    }

    fn cuModuleLoadDataEx(
        module: *mut Handle,
        image: *const c_void,
        count: u32,
        options: *const u32,
        values: *const *mut c_void,
    ) {
        unsafe { load(module, image, true, JitLog::find(count, options, values)) }
    }

    fn cuModuleLoadFatBinary(module: *mut Handle, image: *const c_void) {
        unsafe { load(module, image, true, JitLog::find(0, std::ptr::null(), std::ptr::null())) }
    }

    fn cuModuleLoad(module: *mut Handle, path: *const c_char) {
        let bytes = unsafe { file(path)? };
        unsafe { load(module, bytes.as_ptr().cast(), true, JitLog::find(0, std::ptr::null(), std::ptr::null())) }
    }

    fn cuModuleUnload(module: Handle) {
        ready(|driver| driver.unload(module))
    }

    fn cuModuleGetLoadingMode(mode: *mut u32) {
        // Eager: kernels are decoded when their module is loaded.
        unsafe { give(mode, 1) }
    }

    fn cuModuleGetFunction(place: *mut Handle, module: Handle, name: *const c_char) {
        unsafe { function(place, module, name) }
    }

    fn cuModuleGetFunctionCount(count: *mut u32, module: Handle) {
        ready(|driver| {
            let n = driver.modules.get(module)?.functions.len() as u32;
            unsafe { give(count, n) }
        })
    }

    fn cuModuleGetGlobal_v2(address: *mut u64, bytes: *mut usize, module: Handle, name: *const c_char) {
        unsafe { variable(address, bytes, module, name) }
    }

    fn cuLibraryLoadData(
        library: *mut Handle,
        image: *const c_void,
        jit_options: *const u32,
        jit_values: *const *mut c_void,
        jit_count: u32,
        _options: *const u32,
        _values: *const *mut c_void,
        _count: u32,
    ) {
        unsafe { load(library, image, false, JitLog::find(jit_count, jit_options, jit_values)) }
    }

    fn cuLibraryLoadFromFile(
        library: *mut Handle,
        path: *const c_char,
        jit_options: *const u32,
        jit_values: *const *mut c_void,
        jit_count: u32,
        _options: *const u32,
        _values: *const *mut c_void,
        _count: u32,
    ) {
        let bytes = unsafe { file(path)? };
        unsafe { load(library, bytes.as_ptr().cast(), false, JitLog::find(jit_count, jit_options, jit_values)) }
    }

    fn cuLibraryUnload(library: Handle) {
        ready(|driver| driver.unload(library))
    }

    fn cuLibraryGetKernel(kernel: *mut Handle, library: Handle, name: *const c_char) {
        unsafe { function(kernel, library, name) }
    }

    fn cuLibraryGetModule(module: *mut Handle, library: Handle) {
        ready(|driver| {
            driver.modules.get(library)?;
            unsafe { give(module, library) }
        })
    }

    fn cuLibraryGetGlobal(address: *mut u64, bytes: *mut usize, library: Handle, name: *const c_char) {
        unsafe { variable(address, bytes, library, name) }
    }

    fn cuLibraryGetKernelCount(count: *mut u32, library: Handle) {
        ready(|driver| {
            let n = driver.modules.get(library)?.functions.len() as u32;
            unsafe { give(count, n) }
        })
    }

    fn cuLibraryEnumerateKernels(kernels: *mut Handle, count: u32, library: Handle) {
        ready(|driver| {
            let functions = &driver.modules.get(library)?.functions;
            for (n, handle) in functions.values().take(count as usize).enumerate() {
                // SAFETY: the client has room for so many.
                unsafe { give(kernels.wrapping_add(n), *handle)? };
            }
            Ok(())
        })
    }
}
