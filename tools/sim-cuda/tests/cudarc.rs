//! cudarc's safe layer over the library: contexts, streams with events on every buffer, pools, modules, launches,
//! graphs, all dropped in the end.
//!
//! A loader looks at `LD_LIBRARY_PATH` once, when a process starts. So the test starts itself again, with the library in
//! place, and asks for the test that is ignored otherwise.

mod common;

use cudarc::{
    driver::{CudaContext, LaunchConfig, PushKernelArg, sys},
    nvrtc::Ptx,
};
use std::process::Command;

const PTX: &str = r#"
.version 8.0
.target sm_80
.address_size 64
.visible .entry add(.param .u64 x, .param .u64 y, .param .u32 n) {
    .reg .b64 %rd<6>; .reg .b32 %r<6>; .reg .f32 %f<4>; .reg .pred %p<2>;
    ld.param.u64 %rd1, [x];
    ld.param.u64 %rd2, [y];
    ld.param.u32 %r1, [n];
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, %ntid.x;
    mov.u32 %r4, %tid.x;
    mad.lo.s32 %r5, %r2, %r3, %r4;
    setp.ge.u32 %p1, %r5, %r1;
    @%p1 ret;
    mul.wide.u32 %rd3, %r5, 4;
    add.s64 %rd4, %rd1, %rd3;
    add.s64 %rd5, %rd2, %rd3;
    ld.global.f32 %f1, [%rd4];
    ld.global.f32 %f2, [%rd5];
    add.f32 %f3, %f1, %f2;
    st.global.f32 [%rd5], %f3;
    ret;
}
"#;

/// Runs an ignored test of this file in a process of its own; what it writes.
fn again(test: &str, variable: &str, value: &str) -> String {
    let driver = common::Driver::build();
    let out = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--ignored", "--nocapture"])
        .env("LD_LIBRARY_PATH", driver.path())
        .env(variable, value)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && text.contains("1 passed"), "{text}");
    text
}

#[test]
fn kernels_take_their_predicted_time() {
    again("predicted", "SIM_CUDA_TIME", "predicted");
}

/// 64 MiB read and 32 MiB written at some nine tenths of 3.35 TB/s, and a launch.
#[test]
#[ignore = "run by another test, in a process of its own"]
fn predicted() {
    const N: usize = 8 << 20;
    let context = CudaContext::new(0).unwrap();
    let module = context.load_module(Ptx::from_src(PTX)).unwrap();
    let add = module.load_function("add").unwrap();
    let stream = context.default_stream();
    let (x, mut y) = (stream.alloc_zeros::<f32>(N).unwrap(), stream.alloc_zeros::<f32>(N).unwrap());
    let flags = Some(sys::CUevent_flags::CU_EVENT_DEFAULT);
    let before = stream.record_event(flags).unwrap();
    let n = N as u32;
    let mut launch = stream.launch_builder(&add);
    launch.arg(&x).arg(&mut y).arg(&n);
    // SAFETY: as the kernel declares its parameters.
    unsafe { launch.launch(LaunchConfig::for_num_elems(n)) }.unwrap();
    let after = stream.record_event(flags).unwrap();
    // What is touched counts once, so y's 32 MiB are read and written for one.
    let ms = before.elapsed_ms(&after).unwrap();
    assert!((0.018..0.05).contains(&ms), "{ms}");
}

#[test]
fn the_safe_layer_of_cudarc_works() {
    let text = again("inside", "SIM_CUDA_CHECK", "1");
    assert!(!text.contains("not supported"), "cudarc asks for what is only a stub: {text}");
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn inside() {
    const N: usize = 1000;
    let context = CudaContext::new(0).unwrap();
    assert_eq!(context.compute_capability().unwrap(), (9, 0));
    assert!(context.name().unwrap().contains("ptx-sim"));
    let module = context.load_module(Ptx::from_src(PTX)).unwrap();
    let add = module.load_function("add").unwrap();
    let stream = context.default_stream();
    let other = context.new_stream().unwrap();
    let x = stream.clone_htod(&vec![1.5f32; N]).unwrap();
    let mut y = stream.alloc_zeros::<f32>(N).unwrap();
    let (n, config) = (N as u32, LaunchConfig::for_num_elems(N as u32));

    // On two streams: cudarc orders them by events of the buffers.
    for s in [&stream, &other] {
        let mut launch = s.launch_builder(&add);
        launch.arg(&x).arg(&mut y).arg(&n);
        // SAFETY: as the kernel declares its parameters.
        unsafe { launch.launch(config) }.unwrap();
    }
    assert_eq!(stream.clone_dtoh(&y).unwrap(), [3.0; N]);

    // Time by events.
    let flags = Some(sys::CUevent_flags::CU_EVENT_DEFAULT);
    let before = stream.record_event(flags).unwrap();
    let copy = stream.clone_dtod(&y).unwrap();
    let after = stream.record_event(flags).unwrap();
    assert!(before.elapsed_ms(&after).unwrap() > 0.0);
    assert_eq!(stream.clone_dtoh(&copy).unwrap(), [3.0; N]);

    // A graph of two launches, launched twice. Events of buffers would be recorded too, so they are left out.
    // SAFETY: one stream alone uses the buffers from here on.
    unsafe { context.disable_event_tracking() };
    let (x, mut y) = (other.clone_htod(&[1.0f32; N]).unwrap(), other.alloc_zeros::<f32>(N).unwrap());
    other.begin_capture(sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).unwrap();
    for _ in 0..2 {
        let mut launch = other.launch_builder(&add);
        launch.arg(&x).arg(&mut y).arg(&n);
        // SAFETY: as the kernel declares its parameters.
        unsafe { launch.launch(config) }.unwrap();
    }
    let flags = sys::CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH;
    let graph = other.end_capture(flags).unwrap().expect("something was recorded");
    graph.launch().unwrap();
    graph.launch().unwrap();
    other.synchronize().unwrap();
    assert_eq!(other.clone_dtoh(&y).unwrap(), [4.0; N]);
}
