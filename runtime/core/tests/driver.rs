//! The CUDA layer over the driver library that runs on the simulator: the very calls that a GPU would get.
//!
//! A loader looks at `LD_LIBRARY_PATH` once, when a process starts. So the test starts itself again, with the library
//! in place, and asks for the one test that is ignored otherwise.

#[path = "../../../tools/sim-cuda/tests/common/mod.rs"]
mod shim;

use std::process::Command;
use tile_base::{
    DType, Mode, Signature, Size,
    signature::{ParamKind, TensorParam},
};
use tile_machine::{
    Swizzle, TensorMap,
    tensor_map::{ElementType, Fill, L2Promotion, Spec},
};
use tile_runtime::{
    Geometry, LaunchImage, Sequence,
    cuda::{Buffer, CudaError, Device, Module, Prepared, encode},
};
use tile_tensor::{Argument, Arguments, Tensor};

#[test]
fn without_the_library_there_is_an_error_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["libcuda.so", "libcuda.so.1"] {
        std::fs::write(folder.path().join(name), "no library").unwrap();
    }
    again("inside_without", folder.path());
}

#[test]
fn everything_works_over_the_simulator() {
    again("inside_with", shim::Driver::build().path());
}

/// Runs one of the ignored tests in a new process.
fn again(test: &str, libraries: &std::path::Path) {
    let out = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--ignored", "--nocapture"])
        .env("LD_LIBRARY_PATH", libraries)
        .env("SIM_CUDA_LOG", "/dev/null")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn inside_without() {
    let refused = Device::open(0).unwrap_err();
    assert!(matches!(refused, CudaError::NoDriver(_)) && refused.code() == "T0870", "{refused}");
}

const PTX: &str = r#"
.version 8.0
.target sm_80
.address_size 64
.visible .entry twice(.param .u64 x, .param .u64 xs, .param .u64 y, .param .u64 ys, .param .u64 m) {
    .reg .b64 %rd<8>; .reg .b32 %r<4>; .reg .f32 %f<3>;
    ld.param.u64 %rd1, [x];
    ld.param.u64 %rd2, [xs];
    ld.param.u64 %rd3, [y];
    mov.u32 %r1, %tid.x;
    cvt.u64.u32 %rd4, %r1;
    mul.lo.s64 %rd5, %rd4, %rd2;
    shl.b64 %rd5, %rd5, 2;
    add.s64 %rd5, %rd1, %rd5;
    ld.global.f32 %f1, [%rd5];
    add.f32 %f2, %f1, %f1;
    shl.b64 %rd6, %rd4, 2;
    add.s64 %rd7, %rd3, %rd6;
    st.global.f32 [%rd7], %f2;
    ret;
}
"#;

/// Element n of `y` is the rank in its cluster of CTA n.
const RANKS: &str = r#"
.version 8.0
.target sm_90
.address_size 64
.visible .entry ranks(.param .u64 y, .param .u64 ys, .param .u64 m) {
    .reg .b64 %rd<4>; .reg .b32 %r<3>; .reg .f32 %f<2>;
    ld.param.u64 %rd1, [y];
    mov.u32 %r1, %ctaid.x;
    mov.u32 %r2, %cluster_ctarank;
    cvt.rn.f32.u32 %f1, %r2;
    mul.wide.u32 %rd2, %r1, 4;
    add.s64 %rd3, %rd1, %rd2;
    st.global.f32 [%rd3], %f1;
    ret;
}
"#;

fn ranks(cluster: u32) -> (Sequence, Arguments) {
    let signature = Signature {
        kernel: "ranks".into(),
        params: vec![tensor("y", Mode::Out)],
        dims: vec!["M".into()],
        consts: vec![],
        facts: vec![],
    };
    let arguments = Arguments(vec![Argument::Tensor(Tensor::zeros(DType::F32, &[8]))]);
    let geometry = Geometry { grid: [8, 1, 1], block: [1; 3], cluster: [cluster, 1, 1], shared: 0 };
    let image = LaunchImage::new("ranks", &signature, &arguments, &[8], geometry).unwrap();
    (Sequence::single(&signature, &arguments, image), arguments)
}

fn tensor(name: &str, mode: Mode) -> ParamKind {
    let shape = vec![Size::name("M")];
    let (name, dtype) = (name.to_string(), DType::F32);
    ParamKind::Tensor(TensorParam {
        name,
        mode,
        optional: false,
        present: true,
        dtype,
        index: None,
        distinct: false,
        shape,
    })
}

/// `y = 2 x`, where x is every other element of its storage.
fn launch(threads: u32) -> (Sequence, Arguments) {
    let signature = Signature {
        kernel: "twice".into(),
        params: vec![tensor("x", Mode::In), tensor("y", Mode::Out)],
        dims: vec!["M".into()],
        consts: vec![],
        facts: vec![],
    };
    let values: Vec<f32> = (0..64).map(|n| n as f32).collect();
    let x = Tensor::from_f32(&[64], &values).view(&[32], &[2], 0).unwrap();
    let y = Tensor::zeros(DType::F32, &[32]);
    let arguments = Arguments(vec![Argument::Tensor(x), Argument::Tensor(y)]);
    let geometry = Geometry { grid: [1; 3], block: [threads, 1, 1], cluster: [1; 3], shared: 0 };
    let image = LaunchImage::new("twice", &signature, &arguments, &[32], geometry).unwrap();
    (Sequence::single(&signature, &arguments, image), arguments)
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn inside_with() {
    assert_eq!(Device::open(9).unwrap_err().code(), "T0871");
    let device = Device::open(0).unwrap();
    assert_eq!(device.capability, 90);

    // A launch, twice, with times and results.
    let (sequence, mut arguments) = launch(32);
    let module = [Module::load(&device, "twice", PTX).unwrap()];
    let mut prepared = Prepared::new(&device, &module, &sequence, &arguments).unwrap();
    assert!(prepared.launch().unwrap() > 0.0 && prepared.launch().unwrap() > 0.0);
    prepared.fetch(&mut arguments).unwrap();
    let expected: Vec<f64> = (0..32).map(|n| 4.0 * n as f64).collect();
    assert_eq!(arguments[1].tensor().unwrap().to_f64_vec(), expected);

    // With clusters.
    let module_of_ranks = [Module::load(&device, "ranks", RANKS).unwrap()];
    let (sequence, mut arguments) = ranks(4);
    let mut launched = Prepared::new(&device, &module_of_ranks, &sequence, &arguments).unwrap();
    launched.launch().unwrap();
    launched.fetch(&mut arguments).unwrap();
    assert_eq!(arguments[0].tensor().unwrap().to_f64_vec(), [0., 1., 2., 3., 0., 1., 2., 3.]);
    let (sequence, arguments) = ranks(3);
    let refused =
        Prepared::new(&device, &module_of_ranks, &sequence, &arguments).unwrap().launch().unwrap_err();
    assert!(refused.code() == "T0873" && refused.to_string().contains("CLUSTER_SIZE"), "{refused}");

    // What the driver's compiler says of bad text is in the error.
    let refused = Module::load(&device, "twice", &PTX.replace("add.f32", "frob.f32")).unwrap_err();
    let d = refused.diagnostic();
    assert_eq!(d.code, "T0872");
    assert!(d.message.contains("CUDA_ERROR_INVALID_PTX") && d.notes[0].contains("frob"), "{d:?}");

    // A tensor map of every kind comes through the driver as it is: this one's encoding is the simulator's.
    let buffer = Buffer::of(&device, &[0; 4096]).unwrap();
    for element in ElementType::ALL {
        let map = TensorMap::new(Spec {
            address: buffer.address(),
            dims: &[16, 32],
            strides: &[128],
            box_dims: &[16, 8],
            element_strides: &[1, 2],
            swizzle: Swizzle::B128,
            l2_promotion: L2Promotion::B256,
            fill: if element.is_float() { Fill::Nan } else { Fill::Zero },
            ..Spec::new(element)
        })
        .unwrap();
        assert_eq!(encode(&device, &map).unwrap(), map.encode(), "{element:?}");
    }
    drop((buffer, prepared));

    // A fault is for good: 64 threads write 32 elements.
    let (sequence, arguments) = launch(64);
    let mut prepared = Prepared::new(&device, &module, &sequence, &arguments).unwrap();
    let failed = prepared.launch().unwrap_err();
    assert!(failed.code() == "T0873" && failed.to_string().contains("ILLEGAL_ADDRESS"), "{failed}");
    assert!(prepared.launch().is_err());
}
