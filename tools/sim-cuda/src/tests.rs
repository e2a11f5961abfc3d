//! The library as a client sees it: through its exported functions, with C's types.
//!
//! All tests share the one driver of the process; each makes a context of its own, so that a fault stays with it.

use crate::{
    context::*, copy::*, device::*, errors::*, event::*, function::*, graph::*, handles::Handle, launch::*,
    memory::*, module::*, node::*, occupancy::*, pool::*, stream::*, stubs,
};
use std::ffi::{CStr, CString, c_char, c_void};

const NONE: *const *const c_void = std::ptr::null();

/// `y[i] = a * x[i] + y[i]`, a counter in a module variable, and one store past every end.
const PTX: &str = r#"
.version 8.0
.target sm_80
.address_size 64
.visible .global .align 4 .u32 calls;
.visible .entry axpy(.param .u64 x, .param .u64 y, .param .f32 a, .param .u32 n) {
    .reg .b64 %rd<6>; .reg .b32 %r<8>; .reg .f32 %f<5>; .reg .pred %p<3>;
    ld.param.u64 %rd1, [x];
    ld.param.u64 %rd2, [y];
    ld.param.f32 %f1, [a];
    ld.param.u32 %r1, [n];
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, %ntid.x;
    mov.u32 %r4, %tid.x;
    mad.lo.s32 %r5, %r2, %r3, %r4;
    setp.ge.u32 %p1, %r5, %r1;
    @%p1 bra DONE;
    mul.wide.u32 %rd3, %r5, 4;
    add.s64 %rd4, %rd1, %rd3;
    add.s64 %rd5, %rd2, %rd3;
    ld.global.f32 %f2, [%rd4];
    ld.global.f32 %f3, [%rd5];
    fma.rn.f32 %f4, %f1, %f2, %f3;
    st.global.f32 [%rd5], %f4;
DONE:
    setp.ne.u32 %p2, %r5, 0;
    @%p2 bra END;
    mov.u64 %rd3, calls;
    atom.global.add.u32 %r6, [%rd3], 1;
END:
    ret;
}
.visible .entry stray(.param .u64 y) {
    .reg .b64 %rd<2>;
    ld.param.u64 %rd1, [y];
    st.global.u32 [%rd1+1073741824], 1;
    ret;
}
.visible .entry block(.param .u32 first, .param .align 64 .b8 map[128], .param .u64 y) {
    .reg .b64 %rd<3>;
    ld.param.u64 %rd1, [y];
    ld.param.u64 %rd2, [map+120];
    st.global.u64 [%rd1], %rd2;
    ret;
}
.visible .entry shared_user(.param .u64 y) {
    ret;
}
"#;

/// A context, a module, and what is freed with neither.
struct Client {
    context: Handle,
    module: Handle,
}

impl Client {
    fn new() -> Client {
        let (mut context, mut module) = (0, 0);
        unsafe {
            assert_eq!(cuInit(0), 0);
            assert_eq!(cuCtxCreate_v2(&mut context, 0, 0), 0);
            let text = CString::new(PTX).unwrap();
            assert_eq!(cuModuleLoadData(&mut module, text.as_ptr().cast()), 0);
        }
        Client { context, module }
    }

    fn function(&self, name: &CStr) -> Handle {
        let mut function = 0;
        assert_eq!(unsafe { cuModuleGetFunction(&mut function, self.module, name.as_ptr()) }, 0);
        function
    }

    fn buffer(&self, values: &[f32]) -> u64 {
        let mut address = 0;
        unsafe {
            assert_eq!(cuMemAlloc_v2(&mut address, size_of_val(values)), 0);
            assert_eq!(cuMemcpyHtoD_v2(address, values.as_ptr().cast(), size_of_val(values)), 0);
        }
        address
    }

    fn read(&self, address: u64, count: usize) -> Vec<f32> {
        let mut out = vec![0f32; count];
        assert_eq!(unsafe { cuMemcpyDtoH_v2(out.as_mut_ptr().cast(), address, count * 4) }, 0);
        out
    }

    fn axpy(&self, x: u64, y: u64, a: f32, n: u32, stream: Handle) -> u32 {
        let params: [*const c_void; 4] =
            [(&raw const x).cast(), (&raw const y).cast(), (&raw const a).cast(), (&raw const n).cast()];
        let f = self.function(c"axpy");
        unsafe { cuLaunchKernel(f, n.div_ceil(32), 1, 1, 32, 1, 1, 0, stream, params.as_ptr(), NONE) }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        assert_eq!(unsafe { cuCtxDestroy_v2(self.context) }, 0);
    }
}

#[test]
fn a_kernel_runs_and_a_module_variable_lasts() {
    let c = Client::new();
    let (x, y) = (c.buffer(&[1.0; 50]), c.buffer(&[3.0; 50]));
    assert_eq!(c.axpy(x, y, 2.0, 50, 0), 0);
    assert_eq!(c.axpy(x, y, 2.0, 49, 0), 0);
    let mut expected = vec![7.0; 49];
    expected.push(5.0);
    assert_eq!(c.read(y, 50), expected);
    let (mut address, mut bytes, mut calls) = (0, 0, 0u32);
    unsafe {
        assert_eq!(cuModuleGetGlobal_v2(&mut address, &mut bytes, c.module, c"calls".as_ptr()), 0);
        assert_eq!(cuMemcpyDtoH_v2((&raw mut calls).cast(), address, 4), 0);
    }
    assert_eq!((bytes, calls), (4, 2));
}

#[test]
fn parameters_come_in_a_block_too_and_by_value_at_their_alignment() {
    let c = Client::new();
    let y = c.buffer(&[0.0; 2]);
    // first at 0, the map at 64, y at 192.
    let mut block = [0u8; 200];
    block[64 + 120..192].copy_from_slice(&0x0123_4567_89ab_cdefu64.to_le_bytes());
    block[192..].copy_from_slice(&y.to_le_bytes());
    let size = block.len();
    let extra: [*const c_void; 5] = [
        std::ptr::without_provenance(1),
        block.as_ptr().cast(),
        std::ptr::without_provenance(2),
        (&raw const size).cast(),
        std::ptr::null(),
    ];
    let f = c.function(c"block");
    let (mut offset, mut bytes, mut back) = (0, 0, 0u64);
    unsafe {
        assert_eq!(cuFuncGetParamInfo(f, 1, &mut offset, &mut bytes), 0);
        assert_eq!(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, 0, NONE, extra.as_ptr()), 0);
        assert_eq!(cuMemcpyDtoH_v2((&raw mut back).cast(), y, 8), 0);
    }
    assert_eq!((offset, bytes, back), (64, 128, 0x0123_4567_89ab_cdef));
}

#[test]
fn a_fault_stays_with_its_context() {
    let c = Client::new();
    let y = c.buffer(&[0.0]);
    let params: [*const c_void; 1] = [(&raw const y).cast()];
    let f = c.function(c"stray");
    unsafe {
        assert_eq!(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, 0, params.as_ptr(), NONE), 0, "told later");
        assert_eq!(cuCtxSynchronize(), ILLEGAL_ADDRESS.0);
        let mut other = 0;
        assert_eq!(cuMemAlloc_v2(&mut other, 4), ILLEGAL_ADDRESS.0, "and by every call");
        let d = Client::new();
        assert_eq!(d.read(d.buffer(&[4.0]), 1), [4.0]);
    }
}

#[test]
fn shared_memory_above_48_kib_is_asked_for_first() {
    let c = Client::new();
    let y = 0u64;
    let params: [*const c_void; 1] = [(&raw const y).cast()];
    let f = c.function(c"shared_user");
    let launch = |bytes| unsafe { cuLaunchKernel(f, 1, 1, 1, 32, 1, 1, bytes, 0, params.as_ptr(), NONE) };
    assert_eq!(launch(48 << 10), 0);
    assert_eq!(launch(64 << 10), INVALID_VALUE.0);
    unsafe {
        assert_eq!(cuFuncSetAttribute(f, 8, 228 << 10), INVALID_VALUE.0, "more than there is");
        assert_eq!(cuFuncSetAttribute(f, 8, 64 << 10), 0);
    }
    assert_eq!(launch(64 << 10), 0);
    let mut ctas = 0;
    assert_eq!(unsafe { cuOccupancyMaxActiveBlocksPerMultiprocessor(&mut ctas, f, 128, 64 << 10) }, 0);
    assert_eq!(ctas, 3, "65 KiB each of 228");
}

#[test]
fn impossible_launches_are_refused() {
    let c = Client::new();
    let y = 0u64;
    let params: [*const c_void; 1] = [(&raw const y).cast()];
    let f = c.function(c"shared_user");
    let launch = |grid: [u32; 3], block: [u32; 3], params| unsafe {
        cuLaunchKernel(f, grid[0], grid[1], grid[2], block[0], block[1], block[2], 0, 0, params, NONE)
    };
    assert_eq!(launch([1, 1, 1], [1025, 1, 1], params.as_ptr()), INVALID_VALUE.0);
    assert_eq!(launch([0, 1, 1], [1, 1, 1], params.as_ptr()), INVALID_VALUE.0);
    assert_eq!(launch([1, 70_000, 1], [1, 1, 1], params.as_ptr()), INVALID_VALUE.0);
    assert_eq!(launch([1, 1, 1], [1, 1, 1], NONE), INVALID_VALUE.0, "no parameters");
    let mut wide = u32::MAX;
    wide -= 1;
    assert_eq!(launch([wide; 3], [wide; 3], params.as_ptr()), INVALID_VALUE.0);
}

#[test]
fn two_streams_are_recorded_and_launched_as_a_graph() {
    let c = Client::new();
    let (x, y) = (c.buffer(&[1.0; 32]), c.buffer(&[0.0; 32]));
    let (mut a, mut b, mut e, mut f, mut graph, mut exec) = (0, 0, 0, 0, 0, 0);
    unsafe {
        assert_eq!(cuStreamCreate(&mut a, 1) | cuStreamCreate(&mut b, 1), 0);
        assert_eq!(cuEventCreate(&mut e, 2) | cuEventCreate(&mut f, 2), 0);
        assert_eq!(cuStreamBeginCapture_v2(a, 0), 0);
        assert_eq!(c.axpy(x, y, 1.0, 32, a), 0);
        assert_eq!(cuEventRecord(e, a) | cuStreamWaitEvent(b, e, 0), 0);
        assert_eq!(c.axpy(x, y, 2.0, 32, b), 0);
        assert_eq!(cuStreamSynchronize(b), STREAM_CAPTURE_UNSUPPORTED.0);
        assert_eq!(cuEventRecord(f, b) | cuStreamWaitEvent(a, f, 0), 0);
        assert_eq!(cuStreamEndCapture(a, &mut graph), 0);
        assert_eq!(c.read(y, 1), [0.0], "recorded, not run");
        let mut nodes = 0;
        assert_eq!(cuGraphGetNodes(graph, std::ptr::null_mut(), &mut nodes), 0);
        assert_eq!(nodes, 2);
        assert_eq!(cuGraphInstantiateWithFlags(&mut exec, graph, 0), 0);
        assert_eq!(cuGraphDestroy(graph), 0);
        assert_eq!(cuGraphLaunch(exec, a) | cuGraphLaunch(exec, a), 0);
        assert_eq!(cuGraphExecDestroy(exec), 0);
    }
    assert_eq!(c.read(y, 2), [6.0, 6.0]);
}

#[test]
fn a_recording_that_is_not_joined_is_refused() {
    let c = Client::new();
    let (x, y) = (c.buffer(&[1.0; 32]), c.buffer(&[0.0; 32]));
    let (mut a, mut b, mut e, mut graph) = (0, 0, 0, 0);
    unsafe {
        assert_eq!(cuStreamCreate(&mut a, 1) | cuStreamCreate(&mut b, 1) | cuEventCreate(&mut e, 0), 0);
        assert_eq!(cuStreamBeginCapture_v2(a, 0), 0);
        assert_eq!(cuEventRecord(e, a) | cuStreamWaitEvent(b, e, 0), 0);
        assert_eq!(c.axpy(x, y, 2.0, 32, b), 0);
        assert_eq!(cuStreamEndCapture(a, &mut graph), STREAM_CAPTURE_UNJOINED.0);
        assert_eq!(cuStreamBeginCapture_v2(0, 0), STREAM_CAPTURE_UNSUPPORTED.0);
    }
}

#[test]
fn nodes_run_in_the_order_of_their_edges_and_a_circle_is_refused() {
    let c = Client::new();
    let y = c.buffer(&[0.0]);
    let (mut graph, mut first, mut second, mut exec) = (0, 0, 0, 0);
    let value = |v: f32| MemsetParams::of(y, v.to_bits());
    let null = std::ptr::null();
    unsafe {
        assert_eq!(cuGraphCreate(&mut graph, 0), 0);
        assert_eq!(cuGraphAddMemsetNode(&mut second, graph, null, 0, &value(2.0), 0), 0);
        assert_eq!(cuGraphAddMemsetNode(&mut first, graph, null, 0, &value(1.0), 0), 0);
        assert_eq!(cuGraphAddDependencies(graph, &first, &second, 1), 0);
        assert_eq!(cuGraphInstantiateWithFlags(&mut exec, graph, 0), 0);
        assert_eq!(cuGraphLaunch(exec, 0), 0);
        assert_eq!(c.read(y, 1), [2.0]);
        assert_eq!(cuGraphAddDependencies(graph, &second, &first, 1), 0);
        assert_eq!(cuGraphInstantiateWithFlags(&mut exec, graph, 0), INVALID_VALUE.0);
    }
}

#[test]
fn time_goes_on_with_the_work() {
    let c = Client::new();
    let (x, y) = (c.buffer(&[1.0; 4096]), c.buffer(&[0.0; 4096]));
    let time = |n: u32| unsafe {
        let (mut from, mut to, mut ms) = (0, 0, 0f32);
        assert_eq!(cuEventCreate(&mut from, 0) | cuEventCreate(&mut to, 0), 0);
        assert_eq!(cuEventElapsedTime(&mut ms, from, to), INVALID_HANDLE.0, "not recorded yet");
        assert_eq!(cuEventRecord(from, 0), 0);
        assert_eq!(c.axpy(x, y, 1.0, n, 0), 0);
        assert_eq!(cuEventRecord(to, 0) | cuEventSynchronize(to), 0);
        assert_eq!(cuEventElapsedTime_v2(&mut ms, from, to), 0);
        ms
    };
    let (small, large) = (time(32), time(4096));
    assert!(0.0 < small && small < large, "{small} {large}");
}

#[test]
fn memory_is_set_copied_in_rows_and_told_about() {
    let c = Client::new();
    let mut address = 0;
    unsafe {
        assert_eq!(cuMemAllocAsync(&mut address, 64, 0), 0);
        assert_eq!(cuMemsetD32_v2(address, 7, 16), 0);
        assert_eq!(cuMemsetD8_v2(address + 60, 0, 5), INVALID_VALUE.0, "past the end");
        assert_eq!(cuMemsetD8_v2(address, 0, usize::MAX), INVALID_VALUE.0);
        assert_eq!(cuMemsetD16_v2(address + 1, 0, 1), INVALID_VALUE.0, "between elements");
        let mut host = [0u32; 16];
        let (mut kind, mut base, mut bytes) = (0u32, 0, 0);
        assert_eq!(cuMemcpy(host.as_mut_ptr().expose_provenance() as u64, address, 64), 0);
        assert_eq!(host, [7; 16]);
        assert_eq!(cuPointerGetAttribute((&raw mut kind).cast(), 2, address + 3), 0);
        assert_eq!(cuMemGetAddressRange_v2(&mut base, &mut bytes, address + 9), 0);
        assert_eq!((kind, base, bytes), (2, address, 64));
        assert_eq!(cuMemFreeAsync(address, 0), 0);
        assert_eq!(cuMemFree_v2(address), INVALID_VALUE.0, "twice");
        assert_eq!(cuMemAlloc_v2(&mut address, 0), INVALID_VALUE.0);
        assert_eq!(cuMemAlloc_v2(&mut address, usize::MAX), OUT_OF_MEMORY.0);
    }
    drop(c);
}

#[test]
fn the_host_has_no_rights_to_device_addresses() {
    let c = Client::new();
    let address = c.buffer(&[1.0]);
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let holds = |line: &&str| {
        let (from, to) = line.split_whitespace().next().unwrap().split_once('-').unwrap();
        let number = |t| u64::from_str_radix(t, 16).unwrap();
        (number(from)..number(to)).contains(&address)
    };
    let line = maps.lines().find(holds).expect("the range is reserved");
    assert!(line.contains(" ---p "), "{line}");
}

#[test]
fn what_is_not_there_says_so() {
    let c = Client::new();
    unsafe {
        let missing = stubs::FUNCTIONS.iter().find(|f| f.name == "cuTexObjectCreate").unwrap();
        let call: unsafe extern "C" fn() -> u32 = std::mem::transmute(missing.entry.0);
        assert_eq!(call(), NOT_SUPPORTED.0);
        let mut name: *const c_char = std::ptr::null();
        assert_eq!(cuGetErrorName(NOT_SUPPORTED.0, &mut name), 0);
        assert_eq!(CStr::from_ptr(name), c"CUDA_ERROR_NOT_SUPPORTED");
        assert_eq!(cuGetErrorString(12345, &mut name), INVALID_VALUE.0);
        let mut function = 0;
        assert_eq!(cuModuleGetFunction(&mut function, c.module, c"nobody".as_ptr()), NOT_FOUND.0);
        assert_eq!(cuModuleGetFunction(&mut function, 0xdead_beef, c"axpy".as_ptr()), INVALID_HANDLE.0);
        assert_eq!(cuStreamDestroy_v2(c.module), INVALID_HANDLE.0, "of another kind");
        assert_eq!(cuDeviceGetAttribute(&mut 0, 75, 1), INVALID_DEVICE.0);
    }
}

/// Null for every pointer and handle, 0 for every number: an answer, and no crash.
#[test]
fn every_function_takes_nothing_at_all() {
    type Any = unsafe extern "C" fn(u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64) -> u32;
    let c = Client::new();
    let known = |code| crate::errors::RESULTS.iter().any(|(n, ..)| *n == code);
    // Other tests hold the primary context.
    let all = stubs::FUNCTIONS.iter().filter(|f| f.implemented && !f.name.starts_with("cuDevicePrimaryCtx"));
    for f in all {
        unsafe {
            assert_eq!(cuCtxSetCurrent(c.context), 0);
            let call: Any = std::mem::transmute(f.entry.0);
            let code = call(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
            assert!(known(code) && code != UNKNOWN.0, "{}: {code}", f.name);
        }
    }
}

#[test]
fn a_refused_module_says_why_in_the_clients_log() {
    let c = Client::new();
    let mut log = [1 as c_char; 256];
    let options = [5u32, 6];
    let values: [*mut c_void; 2] = [log.as_mut_ptr().cast(), std::ptr::without_provenance_mut(256)];
    let mut module = 0;
    let text = CString::new(PTX.replace("fma.rn.f32", "frob.f32")).unwrap();
    unsafe {
        let result =
            cuModuleLoadDataEx(&mut module, text.as_ptr().cast(), 2, options.as_ptr(), values.as_ptr());
        assert_eq!(result, INVALID_PTX.0);
        let said = CStr::from_ptr(log.as_ptr()).to_string_lossy();
        assert!(said.contains("frob") && said.contains("line 23"), "{said}");
    }
    drop(c);
}

#[test]
fn contexts_are_counted_and_stacked() {
    let c = Client::new();
    let (mut primary, mut again, mut top, mut active) = (0, 0, 0, 0);
    unsafe {
        assert_eq!(cuDevicePrimaryCtxRetain(&mut primary, 0) | cuDevicePrimaryCtxRetain(&mut again, 0), 0);
        assert_eq!(primary, again);
        assert_eq!(cuCtxPushCurrent_v2(primary) | cuCtxGetCurrent(&mut top), 0);
        assert_eq!(top, primary);
        assert_eq!(cuCtxPopCurrent_v2(&mut top) | cuCtxGetCurrent(&mut top), 0);
        assert_eq!(top, c.context);
        assert_eq!(cuDevicePrimaryCtxRelease_v2(0), 0);
        assert_eq!(cuDevicePrimaryCtxGetState(0, std::ptr::null_mut(), &mut active), 0);
        assert_eq!(active, 1);
        assert_eq!(cuDevicePrimaryCtxRelease_v2(0), 0);
        assert_eq!(cuDevicePrimaryCtxRelease_v2(0), INVALID_CONTEXT.0);
    }
}

/// Reads what another kernel wrote: `hasty` at once, `patient` when that is over.
const DEPENDENT: &str = r#"
.version 8.0
.target sm_90
.address_size 64
.visible .entry hasty(.param .u64 y) {
    .reg .b64 %rd<2>; .reg .b32 %r<2>;
    ld.param.u64 %rd1, [y];
    ld.global.u32 %r1, [%rd1];
    griddepcontrol.wait;
    ret;
}
.visible .entry patient(.param .u64 y) {
    .reg .b64 %rd<2>; .reg .b32 %r<2>;
    ld.param.u64 %rd1, [y];
    griddepcontrol.wait;
    ld.global.u32 %r1, [%rd1];
    ret;
}
"#;

/// Runs a kernel that writes y, something in between, and a kernel of [`DEPENDENT`], at once or out of a graph; the status.
fn dependent(name: &CStr, programmatic: u32, between: impl FnOnce(u64, Handle), in_graph: bool) -> u32 {
    let c = Client::new();
    let (x, y) = (c.buffer(&[1.0; 32]), c.buffer(&[0.0; 32]));
    let (mut module, mut function, mut stream, mut graph, mut exec) = (0, 0, 0, 0, 0);
    let text = CString::new(DEPENDENT).unwrap();
    let params: [*const c_void; 1] = [(&raw const y).cast()];
    let mut value = [0; 16];
    value[0] = programmatic;
    let attribute = Attribute { id: 6, pad: 0, value };
    unsafe {
        assert_eq!(cuModuleLoadData(&mut module, text.as_ptr().cast()), 0);
        assert_eq!(cuModuleGetFunction(&mut function, module, name.as_ptr()), 0);
        assert_eq!(cuStreamCreate(&mut stream, 1), 0);
        if in_graph {
            assert_eq!(cuStreamBeginCapture_v2(stream, 0), 0);
        }
        assert_eq!(c.axpy(x, y, 1.0, 32, stream), 0);
        between(y, stream);
        let config =
            Config { grid: [1; 3], block: [32, 1, 1], shared: 0, stream, attributes: &attribute, count: 1 };
        assert_eq!(cuLaunchKernelEx(&config, function, params.as_ptr(), NONE), 0);
        if in_graph {
            assert_eq!(cuStreamEndCapture(stream, &mut graph), 0);
            assert_eq!(cuGraphInstantiateWithFlags(&mut exec, graph, 0) | cuGraphLaunch(exec, stream), 0);
        }
        cuCtxSynchronize()
    }
}

#[test]
fn a_launch_that_may_begin_early_has_to_wait_by_itself() {
    let out = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["tests::dependent_launches", "--exact", "--ignored", "--nocapture"])
        .env("SIM_CUDA_CHECK", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && text.contains("1 passed"), "{text}");
    assert!(text.contains("`hasty` reads") && text.contains("the launch ahead, of `axpy`"), "{text}");
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn dependent_launches() {
    let nothing = |_, _| {};
    for in_graph in [false, true] {
        assert_eq!(dependent(c"hasty", 1, nothing, in_graph), LAUNCH_FAILED.0);
        assert_eq!(dependent(c"patient", 1, nothing, in_graph), 0);
        assert_eq!(dependent(c"hasty", 0, nothing, in_graph), 0, "begins when the other has ended");
    }
    // Nothing begins before a copy ends.
    let set = |y, stream| assert_eq!(unsafe { cuMemsetD32Async(y, 7, 32, stream) }, 0);
    assert_eq!(dependent(c"hasty", 1, set, false), 0);
}
