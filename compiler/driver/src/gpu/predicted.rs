//! The time that the launches of a program would take on a device, from the simulator.
//!
//! Of the last launch a few CTAs run, without the values of tensor products; those before it run whole, as what they leave
//! (offsets, lists of tiles) may decide what later ones do.

use super::sim::{self, Code};
use ptx_sim::{Geometry, memory::Memory, time};
use tile_base::{Diagnostic, Sources};
use tile_runtime::{LaunchImage, Sequence, Storage};
use tile_target::Target;
use tile_tensor::Arguments;

/// The predicted times of the launches, in order. `ptx` are the modules that they name.
pub fn predict(
    ptx: &[&str],
    sequence: &Sequence,
    arguments: &Arguments,
    sources: &Sources,
    target: &'static Target,
) -> Result<Vec<time::Prediction>, Vec<Diagnostic>> {
    let mut modules: Vec<Option<Code>> = ptx.iter().map(|_| None).collect();
    let mut memory = Memory::new();
    let place = |s: &Storage| memory.allocate(&s.name, &s.contents(arguments));
    let addresses: Vec<u64> = sequence.storages.iter().map(place).collect();
    let runs = |image: &LaunchImage| !image.geometry.grid.contains(&0);
    let last = sequence.launches.iter().rposition(|l| runs(&l.image));
    let mut out = vec![];
    for (at, launch) in sequence.launches.iter().enumerate().filter(|(_, l)| runs(&l.image)) {
        for (address, bytes) in launch.cleared(&addresses) {
            memory.write(address, &vec![0; bytes]);
        }
        let image = &launch.image;
        let code = match &mut modules[launch.module] {
            Some(read) => read,
            unread => unread.insert(Code::read(ptx[launch.module], image)?),
        };
        let globals = ptx_sim::place_variables(&code.kernel.globals, &mut memory);
        let geometry = Geometry { check: false, ..sim::geometry(image, sim::Purpose::Check) };
        let parameters = sim::parameters(launch, &addresses)?;
        let whole = Some(at) != last;
        let ran = time::launch(&code.kernel, &memory, &globals, &geometry, &parameters, target, whole);
        let (_, time) = ran.map_err(|fault| sim::shown(image, &code.module, &[fault], sources))?;
        out.push(time.map_err(|e| vec![not_predicted(image, &e)])?);
    }
    Ok(out)
}

fn not_predicted(image: &LaunchImage, why: &time::TimeError) -> Diagnostic {
    Diagnostic::global("T0868", format!("no time is predicted for `{}`: {why}", image.entry)).help(
        "the model of time knows sm_80 and sm_90, and keeps a few CTAs' instructions: see docs/simulator.md",
    )
}
