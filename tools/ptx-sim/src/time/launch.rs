//! One launch, run and predicted: the way for callers that want a time and do not care how it comes about.
//!
//! A few CTAs without the values of tensor products are quick; where they will not do (CTAs that may see each other's effects,
//! branches on a product, results that somebody wants) the whole grid runs with its values, and a few CTAs are traced.

use super::{Prediction, TimeError, predict, sample};
use crate::{
    Fault, FaultKind, Geometry, Summary,
    exec::grid::{communicates, run_in_module},
    ir::Kernel,
    memory::Memory,
};
use std::collections::HashMap;
use tile_target::Target;

/// Runs a launch and predicts its time. `whole`: its results are wanted.
pub fn launch(
    kernel: &Kernel,
    memory: &Memory,
    globals: &HashMap<String, u64>,
    geometry: &Geometry,
    params: &[u8],
    target: &'static Target,
    whole: bool,
) -> Result<(Summary, Result<Prediction, TimeError>), Fault> {
    let run = |only: bool| {
        let sample = sample(kernel, geometry, target, only);
        let geometry = Geometry { count: true, sample: Some(sample), ..geometry.clone() };
        run_in_module(kernel, memory, globals.clone(), &geometry, params).map(|s| (s, geometry))
    };
    let only = !whole && !communicates(kernel);
    let ran = match run(only) {
        Err(fault) if only && fault.kind == FaultKind::LeftOut => run(false),
        ran => ran,
    };
    let (summary, geometry) = ran?;
    let time = match &summary.counters {
        Some(counters) => predict(kernel, &geometry, counters, memory, target),
        None => Err(TimeError::NothingTraced),
    };
    Ok((summary, time))
}
