//! The tables on a real device, compared as the simulator is: bit for bit, approximations within their error.
//!
//! One test for each family, each case of it judged even when an earlier one breaks the device's context ([`replay`]):
//!
//! ```text
//! cargo test -p ptx-sim --test conformance device::integer -- --nocapture
//! ```
//!
//! A case that differs is a line of its own with the bytes that came and those that were expected, so that what the
//! hardware does can be taken over into the tables.

use super::{
    case::{Case, Target},
    replay::{self, Outcome, hex},
    run::difference,
};
use serde_json::json;
use std::collections::HashMap;
use tile_runtime::{
    Geometry,
    cuda::{self, Buffer, CudaError, Device, Module},
};

/// Cases of one module: few enough that a driver compiles them quickly again after a fault.
const TOGETHER: usize = 64;

const TARGETS: [Target; 4] = [Target::Sm80, Target::Sm89, Target::Sm90a, Target::Sm100a];

/// Whether a device runs code for a target; the `a` targets are of one generation only.
fn runs(capability: u32, target: Target) -> bool {
    match target {
        Target::Sm80 => capability >= 80,
        Target::Sm89 => capability >= 89,
        Target::Sm90a => capability == 90,
        Target::Sm100a => capability == 100,
    }
}

/// Modules of the cases, loaded when the first of them is wanted.
struct Modules<'d> {
    device: &'d Device,
    /// Names and texts of modules.
    texts: Vec<(String, String)>,
    /// By its entry: the module of a case.
    of: HashMap<String, usize>,
    loaded: HashMap<usize, Result<Module<'d>, CudaError>>,
}

impl<'d> Modules<'d> {
    fn new(device: &'d Device, family: &str, cases: &[Case]) -> Modules<'d> {
        let (mut texts, mut of) = (vec![], HashMap::new());
        for target in TARGETS {
            let cases: Vec<&Case> = cases.iter().filter(|c| c.target == target).collect();
            for some in cases.chunks(TOGETHER) {
                of.extend(some.iter().map(|c| (c.entry.clone(), texts.len())));
                let text: String = some.iter().map(|c| c.text.as_str()).collect();
                texts.push((format!("{family} {}", texts.len()), target.header() + &text));
            }
        }
        Modules { device, texts, of, loaded: HashMap::new() }
    }

    /// Runs a case from the module that it shares, or from one of its own where the driver does not load the shared one.
    fn run(&mut self, case: &Case) -> Result<Vec<u8>, CudaError> {
        let at = self.of[&case.entry];
        let (name, text) = &self.texts[at];
        let shared = self.loaded.entry(at).or_insert_with(|| Module::load(self.device, name, text));
        match shared {
            Ok(module) => launch(self.device, module, case),
            Err(_) => {
                let text = case.target.header() + &case.text;
                launch(self.device, &Module::load(self.device, &case.name, &text)?, case)
            }
        }
    }
}

fn launch(device: &Device, module: &Module, case: &Case) -> Result<Vec<u8>, CudaError> {
    // An allocation of nothing has no address.
    let input = if case.input.is_empty() { &[0; 8][..] } else { &case.input };
    let (input, output) = (Buffer::of(device, input)?, Buffer::of(device, &case.before)?);
    let geometry =
        Geometry { grid: [case.blocks, 1, 1], block: [case.threads, 1, 1], cluster: [1; 3], shared: 0 };
    let addresses = [input.address(), output.address()].map(u64::to_le_bytes);
    cuda::run(module, &case.entry, &geometry, &addresses.each_ref().map(|a| &a[..]))?;
    output.read()
}

fn judged(case: &Case, got: Result<Vec<u8>, CudaError>) -> Outcome {
    match got {
        Ok(got) => match difference(case, &got) {
            None => Outcome::Same,
            Some(what) => Outcome::Differ(json!({
                "target": case.target.name(), "first": what, "got": hex(&got), "expected": hex(&case.expected),
            })),
        },
        Err(refused @ CudaError::Refused { .. }) => {
            let CudaError::Refused { log, .. } = &refused else { unreachable!() };
            Outcome::Refused(format!("{refused}\n{log}"))
        }
        Err(error) => Outcome::Fault(error.to_string()),
    }
}

/// Cases that a device must not be able to run, between such that it has to.
pub fn broken() -> Vec<Case> {
    let good = |name: &str| {
        Case::new(name, Target::Sm80, 1, "mov.u32 %r1, 7; st.global.u32 [%out], %r1;").expect(&[7u32])
    };
    let bad = |name: &str, body: &str| Case::new(name, Target::Sm80, 1, body).expect(&[0u32]);
    vec![
        good("before"),
        bad("no such address", "st.global.u32 [16], %t;"),
        good("between"),
        bad("no such instruction", "frobnicate.u32 %r1;"),
        bad("other bytes", "mov.u32 %r1, 9; st.global.u32 [%out], %r1;"),
        good("after"),
    ]
}

#[test]
#[ignore = "started by the other tests, in a process of its own"]
fn replayer() {
    let Some((family, from)) = replay::wanted() else { return println!("nobody asked for anything") };
    let device = match Device::open(0) {
        Ok(device) => device,
        Err(error) => return replay::say("left-out", &error.to_string()),
    };
    let make = super::FAMILIES.iter().find(|(name, _)| *name == family).map_or(broken as fn() -> _, |f| f.1);
    let mut cases = make();
    cases.retain(|c| runs(device.capability, c.target));
    let mut modules = Modules::new(&device, &family, &cases);
    replay::each(
        &cases,
        from,
        |case| &case.name,
        |case| judged(case, modules.run(case)),
        || Buffer::of(&device, &[0; 8]).is_ok(),
    );
}

fn check(family: &str) {
    let tally = replay::supervise("device::replayer", family, &[]);
    match tally.left_out {
        Some(why) => println!("left out: {why}"),
        None => assert!(tally.bad.is_empty() && tally.same > 0, "{} cases are bad", tally.bad.len()),
    }
}

a_test_for_each_family!();

/// Over the driver that stands for a device: what is broken costs its own result only.
#[test]
fn a_fault_ends_its_own_case_only() {
    let driver = super::shim::Driver::build();
    let tally = replay::supervise(
        "device::replayer",
        "broken",
        &[("LD_LIBRARY_PATH", driver.path().to_str().unwrap()), ("SIM_CUDA_LOG", "/dev/null")],
    );
    let words: Vec<&str> = tally.bad.iter().map(|l| l.split(' ').next().unwrap()).collect();
    assert_eq!((tally.same, &words[..]), (3, &["FAULT", "REFUSED", "DIFFER"][..]), "{tally:#?}");
    assert!(tally.bad[0].contains("no such address") && tally.bad[1].contains("no such instruction"));
    assert!(
        tally.bad[2].contains(r#""expected":"00000000","first":"at byte 0: 0x9, not 0x0","got":"09000000""#)
    );
}
