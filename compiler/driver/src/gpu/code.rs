//! Device code for a program and its arguments, made once for each set of stride classes.

use super::classes;
use crate::{Loaded, emit, schedule};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};
use tile_base::{Diagnostic, Sources};
use tile_graph::{Graph, Program};
use tile_plan::{Plan, TensorClass};
use tile_runtime::{Geometry, LaunchImage};
use tile_target::Target;
use tile_tensor::Arguments;

/// The greatest extent of a grid in x.
const MAX_GRID: i64 = (1 << 31) - 1;

/// The code of one launch.
#[derive(Debug)]
pub struct Code {
    pub plan: Plan,
    pub ptx: String,
    /// Of the schedule, and T0860 where this is not the default code.
    pub notes: Vec<Diagnostic>,
}

impl Code {
    /// The launch of this code on checked arguments. A grid of 0 blocks is one that must not be launched.
    pub fn image(
        &self,
        program: &Program,
        arguments: &Arguments,
        dims: &[i64],
    ) -> Result<LaunchImage, Vec<Diagnostic>> {
        let signature = &program.signature;
        let dim = |n: &str| signature.dims.iter().position(|d| d == n).and_then(|at| dims.get(at).copied());
        let mut blocks: i64 = 1;
        for axis in &self.plan.grid {
            let count = axis.count.eval(&dim).map_err(|e| vec![too_many(signature, &e.to_string())])?.max(0);
            blocks = blocks
                .checked_mul(count)
                .filter(|&n| n <= MAX_GRID)
                .ok_or_else(|| vec![too_many(signature, "the product of its axes is above 2^31 - 1")])?;
        }
        let geometry = Geometry {
            grid: [blocks as u32, 1, 1],
            block: [self.plan.threads(), 1, 1],
            cluster: [1; 3],
            shared: self.plan.shared_bytes(),
        };
        LaunchImage::new(&self.plan.kernel, signature, arguments, dims, geometry)
    }
}

fn too_many(signature: &tile_base::Signature, why: &str) -> Diagnostic {
    Diagnostic::global("T0862", format!("the grid of `{}` cannot be launched: {why}", signature.kernel))
        .help("use smaller dimensions, or larger tile sizes in a schedule")
}

/// The one launch of a program.
fn single(program: &Program) -> Result<&Graph, Vec<Diagnostic>> {
    match &program.graphs[..] {
        [one] if program.temps.is_empty() && program.steps.len() == 1 => Ok(one),
        _ => {
            let name = &program.signature.kernel;
            let message = format!("`{name}` is an op of several launches, which no GPU device runs yet");
            Err(vec![
                Diagnostic::global("T0861", message)
                    .help("run it with `--device cpu`, or its kernels one by one"),
            ])
        }
    }
}

/// Made once; who asks meanwhile waits.
type Made = Arc<OnceLock<Result<Arc<Code>, Vec<Diagnostic>>>>;

/// Code that was made, by what it was made for.
#[derive(Default)]
pub struct Codes(Mutex<HashMap<String, Made>>);

impl Codes {
    /// Code for a program on a target that suits the arguments. `instance` tells programs of one file apart.
    pub fn of(
        &self,
        loaded: &Loaded,
        sources: &Sources,
        (program, instance): (&Program, &str),
        target: &'static Target,
        arguments: &Arguments,
    ) -> Result<Arc<Code>, Vec<Diagnostic>> {
        emit::backend_there()?;
        let graph = single(program)?;
        let mut notes = vec![];
        let request = schedule::request(loaded, graph, target, &mut notes)?;
        let (plan, special) = classes::plan(graph, target, request, arguments)?;
        let key = format!("{instance} {} {:?}", target.name, plan.classes);
        let made = self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone();
        let make = || {
            notes.extend(special.iter().filter_map(|name| specialised(graph, &plan, name)));
            let ptx = emit::ptx(graph, &plan, sources)?;
            Ok(Arc::new(Code { plan, ptx, notes }))
        };
        made.get_or_init(make).clone()
    }
}

/// Says that a tensor's strides or extents took the code away from the default.
fn specialised(graph: &Graph, plan: &Plan, name: &str) -> Option<Diagnostic> {
    if classes::is_default(graph, plan, name) {
        return None;
    }
    let at = graph.objects.iter().position(|o| o.name == name)?;
    let class = match plan.classes[at] {
        TensorClass::Strided => "with any strides, element by element".to_string(),
        TensorClass::Unit { .. } => "element by element".to_string(),
        TensorClass::Vector { unit, .. } => format!("contiguous along dimension {unit}"),
    };
    Some(Diagnostic {
        severity: tile_base::diagnostic::Severity::Note,
        ..Diagnostic::global("T0860", format!("`{name}` is read and written as {class}"))
            .help("vectors need a unit stride, and other strides and the extent along it in whole vectors")
    })
}
