//! The clean kernels on a device, beside the simulator: the same launch, and the same bytes afterwards.
//!
//! A launch of the simulator is carried over address by address: every allocation that a parameter points into becomes a
//! buffer, and tensor maps are made anew by the driver for the buffers' addresses. One test for each kernel, in a process of
//! its own ([`replay`]), so that a kernel that faults or never ends costs its own result only:
//!
//! ```text
//! cargo test -p ptx-sim --test hopper device::gemm_tma -- --nocapture
//! ```

use crate::{
    replay::{self, Outcome, hex},
    support::{self, Parameter, Problem},
};
use ptx_sim::{Geometry, decode, read};
use serde_json::{Value, json};
use tile_machine::{TensorMap, tensor_map::Spec};
use tile_runtime::cuda::{self, Buffer, CudaError, Device, Module};

/// One shape of a kernel.
struct Item {
    name: String,
    ptx: &'static str,
    make: Box<dyn Fn() -> Problem>,
}

/// How often each shape runs: what a device orders by chance may come out well once.
const TIMES: usize = 8;

/// Set where the driver is the simulator: the first shapes only, and once.
const BRIEF: &str = "PTX_SIM_REPLAY_BRIEF";
const FIRST: usize = 3;

/// The kernels with the shapes that the simulator runs them at, and some that fill a device.
fn items(kernel: &str) -> Vec<Item> {
    macro_rules! shapes {
        ($name:ident: $(($($n:expr),*))*) => {
            vec![$(Item {
                name: format!("{} {:?}", stringify!($name), ($($n,)*)),
                ptx: include_str!(concat!("../kernels/", stringify!($name), ".ptx")),
                make: Box::new(|| support::$name($($n),*)),
            }),*]
        };
    }
    match kernel {
        "gemm_tma" => shapes!(gemm_tma: (128, 64, 64) (128, 64, 384) (100, 40, 200) (1, 8, 8) (200, 136, 136)
            (1024, 512, 512)),
        "gemm_cluster" => shapes!(gemm_cluster: (128, 64, 64) (128, 64, 448) (70, 50, 136) (1, 1, 8)
            (300, 100, 200) (1024, 512, 256)),
        "gemm_cp_async" => shapes!(gemm_cp_async: (64, 64, 32) (64, 64, 256) (50, 33, 72) (1, 1, 8)
            (130, 70, 136) (512, 512, 256)),
        "attention" => shapes!(attention: (64, 64) (64, 320) (100, 200) (1, 1) (512, 512)),
        "stream_reduce" => shapes!(stream_reduce: (1, 1024) (5, 2048) (3, 1028) (2, 4) (64, 8192)),
        "split_k" => shapes!(split_k: (8, 128, 4) (10, 300, 3) (1, 1, 1) (3, 130, 5) (64, 2048, 8)),
        "device_map" => shapes!(device_map: (8, 32) (20, 100) (1, 4) (128, 512)),
        "exchange" => shapes!(exchange: ()),
        _ => vec![],
    }
}

/// The bytes that the simulator leaves in the output.
fn simulated(ptx: &str, mut problem: Problem) -> Result<Vec<u8>, String> {
    let module = read::parse(ptx).map_err(|e| e.to_string())?;
    let kernel = decode::kernel(&module, problem.entry).map_err(|e| e.to_string())?;
    let geometry = Geometry { step_limit: 1 << 24, ..problem.geometry };
    ptx_sim::run(&kernel, &mut problem.memory, &geometry, &problem.params.bytes())
        .map_err(|f| f.to_string())?;
    problem.memory.contents(problem.output).ok_or_else(|| "no output".into())
}

/// The buffers of a problem: address in the simulator, length, and the copy on the device.
struct Placed<'d>(Vec<(u64, usize, Buffer<'d>)>);

impl<'d> Placed<'d> {
    fn new(device: &'d Device, problem: &Problem) -> Result<Placed<'d>, CudaError> {
        let mut placed = Placed(vec![]);
        for parameter in &problem.params.0 {
            let address = match parameter {
                Parameter::Address(a) => *a,
                Parameter::Map(map) => map.address(),
                Parameter::U32(_) => continue,
            };
            let found = problem.memory.find(address, 1).expect("parameters point into the memory");
            if placed.0.iter().all(|(at, ..)| *at != found.base) {
                let contents = problem.memory.contents(found.base).expect("an allocation has contents");
                placed.0.push((found.base, found.len, Buffer::of(device, &contents)?));
            }
        }
        Ok(placed)
    }

    fn find(&self, address: u64) -> (&Buffer<'d>, u64) {
        let holds = |(base, length, _): &&(u64, usize, _)| (*base..*base + *length as u64).contains(&address);
        let (base, _, buffer) = self.0.iter().find(holds).expect("every address was placed");
        (buffer, address - base)
    }

    /// The parameter as the device takes it.
    fn parameter(&self, device: &Device, parameter: &Parameter) -> Result<Vec<u8>, CudaError> {
        let moved = |address| {
            let (buffer, offset) = self.find(address);
            buffer.address() + offset
        };
        Ok(match parameter {
            Parameter::U32(v) => v.to_le_bytes().to_vec(),
            Parameter::Address(a) => moved(*a).to_le_bytes().to_vec(),
            Parameter::Map(map) => cuda::encode(device, &at(map, moved(map.address()))?)?.to_vec(),
        })
    }
}

/// A tensor map for another address.
fn at(map: &TensorMap, address: u64) -> Result<TensorMap, CudaError> {
    Ok(TensorMap::new(Spec {
        element: map.element(),
        address,
        dims: map.dims(),
        strides: map.strides(),
        box_dims: map.box_dims(),
        element_strides: map.element_strides(),
        interleave: map.interleave(),
        swizzle: map.swizzle(),
        l2_promotion: map.l2_promotion(),
        fill: map.fill(),
    })?)
}

fn on_device(device: &Device, module: &Module, problem: &Problem) -> Result<Vec<u8>, CudaError> {
    let placed = Placed::new(device, problem)?;
    let parameters: Vec<Vec<u8>> =
        problem.params.0.iter().map(|p| placed.parameter(device, p)).collect::<Result<_, _>>()?;
    let parameters: Vec<&[u8]> = parameters.iter().map(Vec::as_slice).collect();
    let g = &problem.geometry;
    let geometry = tile_runtime::Geometry {
        grid: g.grid,
        block: g.block,
        cluster: g.cluster,
        shared: g.dynamic_shared as u32,
    };
    cuda::run(module, problem.entry, &geometry, &parameters)?;
    placed.find(problem.output).0.read()
}

/// What differs: how many bytes of how many, where first, and how far apart they are as f32.
fn difference(got: &[u8], expected: &[u8]) -> Value {
    let words = |b: &[u8]| -> Vec<u32> {
        b.chunks_exact(4).map(|w| u32::from_le_bytes([w[0], w[1], w[2], w[3]])).collect()
    };
    // Codes of floats in the order of their values.
    let place = |w: u32| if w >> 31 == 1 { -((w & 0x7fff_ffff) as i64) } else { w as i64 };
    let apart = words(got).iter().zip(words(expected)).map(|(&g, e)| place(g).abs_diff(place(e))).max();
    let differing: Vec<usize> = (0..got.len()).filter(|&n| expected.get(n) != Some(&got[n])).collect();
    let first = differing.first().copied().unwrap_or(0) & !15;
    let shown = |b: &[u8]| hex(&b[first.min(b.len())..(first + 64).min(b.len())]);
    json!({
        "bytes": got.len(), "differing": differing.len(), "from": first, "greatest_ulps_as_f32": apart,
        "got": shown(got), "expected": shown(expected),
    })
}

fn judged(device: &Device, item: &Item, times: usize) -> Outcome {
    let expected = match simulated(item.ptx, (item.make)()) {
        Ok(bytes) => bytes,
        Err(fault) => return Outcome::Fault(format!("on the simulator: {fault}")),
    };
    let run = || -> Result<Option<Value>, CudaError> {
        let module = Module::load(device, &item.name, item.ptx)?;
        for time in 0..times {
            let got = on_device(device, &module, &(item.make)())?;
            if got != expected {
                let mut what = difference(&got, &expected);
                what["time"] = json!(time);
                return Ok(Some(what));
            }
        }
        Ok(None)
    };
    match run() {
        Ok(None) => Outcome::Same,
        Ok(Some(what)) => Outcome::Differ(what),
        Err(CudaError::Refused { error, log, .. }) => Outcome::Refused(format!("{error}\n{log}")),
        Err(error) => Outcome::Fault(error.to_string()),
    }
}

#[test]
#[ignore = "started by the other tests, in a process of its own"]
fn replayer() {
    let Some((kernel, from)) = replay::wanted() else { return println!("nobody asked for anything") };
    let device = match Device::open(0) {
        Ok(device) if device.capability == 90 => device,
        Ok(device) => {
            let text = format!("{} has compute capability {}, not 90", device.name, device.capability);
            return replay::say("left-out", &text);
        }
        Err(error) => return replay::say("left-out", &error.to_string()),
    };
    let (mut items, mut times) = (items(&kernel), TIMES);
    if std::env::var_os(BRIEF).is_some() {
        items.truncate(FIRST);
        times = 1;
    }
    let alive = || Buffer::of(&device, &[0; 8]).is_ok();
    replay::each(&items, from, |item| &item.name, |item| judged(&device, item, times), alive);
}

fn check(kernel: &str) {
    let tally = replay::supervise("device::replayer", kernel, &[]);
    match tally.left_out {
        Some(why) => println!("left out: {why}"),
        None => assert!(tally.bad.is_empty() && tally.same > 0, "{} shapes are bad", tally.bad.len()),
    }
}

const KERNELS: [&str; 8] = [
    "gemm_tma",
    "gemm_cluster",
    "gemm_cp_async",
    "attention",
    "stream_reduce",
    "split_k",
    "device_map",
    "exchange",
];

macro_rules! kernels {
    ($($name:ident),*) => {$(
        #[test]
        fn $name() {
            check(stringify!($name));
        }
    )*};
}
kernels!(gemm_tma, gemm_cluster, gemm_cp_async, attention, stream_reduce, split_k, device_map, exchange);

/// Over the driver that stands for a device: what is carried over arrives as it was.
#[test]
fn every_kernel_comes_through_a_driver() {
    let driver = crate::shim::Driver::build();
    for kernel in KERNELS {
        let tally = replay::supervise(
            "device::replayer",
            kernel,
            &[("LD_LIBRARY_PATH", driver.path().to_str().unwrap()), (BRIEF, "1")],
        );
        assert!(tally.bad.is_empty() && tally.same == items(kernel).len().min(FIRST), "{tally:#?}");
    }
}
