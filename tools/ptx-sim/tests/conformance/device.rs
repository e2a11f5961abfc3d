//! The tables on a real device, compared as the simulator is: bit for bit, approximations within their error.

use super::{
    case::{Case, Target},
    run::difference,
};
use tile_runtime::{
    Geometry,
    cuda::{self, Buffer, CudaError, Device, Module},
};

/// Whether a device runs code for a target; the `a` targets are of one generation only.
fn runs(capability: u32, target: Target) -> bool {
    match target {
        Target::Sm80 => capability >= 80,
        Target::Sm89 => capability >= 89,
        Target::Sm90a => capability == 90,
        Target::Sm100a => capability == 100,
    }
}

fn launch(device: &Device, module: &Module, case: &Case) -> Result<Vec<u8>, CudaError> {
    // An allocation of nothing has no address.
    let input = if case.input.is_empty() { &[0; 8][..] } else { &case.input };
    let (input, output) = (Buffer::of(device, input)?, Buffer::of(device, &case.before)?);
    let geometry =
        Geometry { grid: [case.blocks, 1, 1], block: [case.threads, 1, 1], cluster: [1; 3], shared: 0 };
    cuda::run(module, &case.entry, &geometry, &[input.address(), output.address()])?;
    output.read()
}

#[test]
fn device_gives_what_the_tables_say() {
    let device = match Device::open(0) {
        Ok(device) => device,
        Err(error) => return println!("left out: {error}"),
    };
    let (mut failures, mut count, mut skipped) = (vec![], 0, 0);
    for (family, cases) in super::FAMILIES {
        for target in [Target::Sm80, Target::Sm89, Target::Sm90a, Target::Sm100a] {
            let cases: Vec<Case> = cases().into_iter().filter(|c| c.target == target).collect();
            if !runs(device.capability, target) {
                skipped += cases.len();
                continue;
            }
            let text = target.header() + &cases.iter().map(|c| c.text.as_str()).collect::<String>();
            let module = Module::load(&device, family, &text).unwrap_or_else(|e| panic!("{family}: {e}"));
            for case in &cases {
                count += 1;
                match launch(&device, &module, case) {
                    Ok(got) => failures.extend(difference(case, &got).map(|d| format!("{}: {d}", case.name))),
                    Err(error) => failures.push(format!("{}: {error}", case.name)),
                }
            }
        }
    }
    println!("{}: {count} cases, {skipped} left out", device.name);
    let shown = failures.iter().take(60).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} of {count} cases differ\n{shown}", failures.len());
}
