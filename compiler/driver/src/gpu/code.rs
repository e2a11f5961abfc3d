//! Device code for a program and its arguments, made once for each launch and set of stride classes.
//!
//! The launches of an op differ in their arguments: `scale(w[l], x)` begins at another element of `w` for each `l`, which
//! may or may not be where 16-byte vectors begin. Each gets code that suits it, and launches with equal classes share it.
//!
//! The shape of a temporary may name a tile size of a kernel (`temp part: f32[cdiv(K, BK), N]`). Then the size that the
//! kernel has by default is fixed for all of its code.

use super::{classes, host};
use crate::{
    Loaded, emit,
    schedule::{self, Scheduled},
};
use rayon::prelude::*;
use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};
use tile_base::{Diagnostic, Signature, Sources};
use tile_graph::{Graph, Program, laws::adds_in_no_order};
use tile_plan::{Plan, Request, TensorClass};
use tile_runtime::{Geometry, LaunchImage, Sequence};
use tile_target::Target;
use tile_tensor::{Argument, Arguments, Tensor};

/// The greatest extent of a grid in x.
const MAX_GRID: i64 = (1 << 31) - 1;

/// The code of one launch.
#[derive(Debug)]
pub struct Code {
    pub plan: Plan,
    pub ptx: String,
    /// T0860 where this is not the default code.
    pub notes: Vec<Diagnostic>,
}

impl Code {
    /// The launch of this code. A grid of 0 blocks is one that must not be launched.
    fn image(
        &self,
        signature: &Signature,
        arguments: &Arguments,
        dims: &[i64],
    ) -> Result<LaunchImage, Vec<Diagnostic>> {
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
        let maps = self.plan.maps.iter().map(|m| (m.param, &m.template));
        LaunchImage::new(&self.plan.kernel, signature, arguments, dims, geometry)?.with_maps(maps, arguments)
    }
}

/// A program on its way to a device: its launches, and their code by [`tile_runtime::Launch::module`].
#[derive(Debug)]
pub struct DeviceProgram {
    pub sequence: Sequence,
    pub codes: Vec<Arc<Code>>,
    /// Whether the same arguments give the same bytes each time: no launch adds floating-point numbers in no order.
    pub deterministic: bool,
    /// Of the schedules.
    notes: Vec<Diagnostic>,
}

impl DeviceProgram {
    pub fn ptx(&self) -> Vec<&str> {
        self.codes.iter().map(|c| &c.ptx[..]).collect()
    }

    /// What making the code has to say.
    pub fn notes(&self) -> impl Iterator<Item = &Diagnostic> {
        self.notes.iter().chain(self.codes.iter().flat_map(|c| &c.notes))
    }
}

fn too_many(signature: &Signature, why: &str) -> Diagnostic {
    Diagnostic::global("T0862", format!("the grid of `{}` cannot be launched: {why}", signature.kernel))
        .help("use smaller dimensions, or larger tile sizes in a schedule")
}

/// Made once; who asks meanwhile waits.
type Made = Arc<OnceLock<Result<Arc<Code>, Vec<Diagnostic>>>>;

/// Code that was made, by what it was made for.
#[derive(Default)]
pub struct Codes(Mutex<HashMap<String, Made>>);

/// A program for which code is wanted.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    pub loaded: &'a Loaded,
    pub sources: &'a Sources,
    pub program: &'a Program,
    /// Tells programs of one file apart.
    pub instance: &'a str,
    pub target: &'static Target,
}

impl Codes {
    /// A program on checked arguments, with code for each launch that suits the launch's own.
    pub fn of(
        &self,
        wanted: Wanted,
        arguments: &Arguments,
        dims: &[i64],
    ) -> Result<DeviceProgram, Vec<Diagnostic>> {
        emit::backend_there()?;
        let mut notes = vec![];
        let scheduled = schedule::apply(wanted.loaded, wanted.program, wanted.target, &mut notes)?;
        let program = &scheduled.program;
        let fixed = Fixed { scheduled: &scheduled, target: wanted.target, tiles: RefCell::default() };
        let host::Calls { calls, temps } = host::calls(program, arguments, dims, &|name| fixed.tile(name))?;
        let mut sequence = Sequence::new(&program.signature, arguments);
        for (at, name, bytes) in &temps {
            sequence.temporary(*at, name, *bytes);
        }
        let (kinds, firsts) = by_looks(&calls);
        let mut codes: Vec<Arc<Code>> = vec![];
        let mut modules = vec![];
        for code in self.all(wanted, &fixed, &firsts)? {
            let known = codes.iter().position(|c| Arc::ptr_eq(c, &code));
            modules.push(known.unwrap_or(codes.len()));
            if known.is_none() {
                codes.push(code);
            }
        }
        for (call, kind) in calls.iter().zip(kinds) {
            let module = modules[kind];
            let signature = &program.graphs[call.graph].signature;
            let image = codes[module].image(signature, &call.arguments, &call.dims)?;
            if !sequence.push(module, image, &call.owners) {
                let message =
                    format!("a launch of `{}` points into memory that is not there", signature.kernel);
                return Err(vec![
                    Diagnostic::global("T0864", message).help("this is a fault of the compiler"),
                ]);
            }
        }
        let deterministic = !calls.iter().any(|call| adds_in_no_order(&program.graphs[call.graph]));
        Ok(DeviceProgram { sequence, codes, deterministic, notes })
    }

    /// Code for each of these launches, made side by side.
    fn all(
        &self,
        wanted: Wanted,
        fixed: &Fixed,
        calls: &[&host::Call],
    ) -> Result<Vec<Arc<Code>>, Vec<Diagnostic>> {
        let Scheduled { program, requests } = fixed.scheduled;
        let request = |call: &&host::Call| {
            let mut request = requests[call.graph].clone();
            fixed.fix(call.graph, &mut request);
            request
        };
        let requests: Vec<Request> = calls.iter().map(request).collect();
        let made = calls.par_iter().zip(requests);
        let made = made.map(|(call, request)| self.code(wanted, &program.graphs[call.graph], request, call));
        // Of several that fail the first one is told, whichever failed first.
        made.collect::<Vec<_>>().into_iter().collect()
    }

    fn code(
        &self,
        wanted: Wanted,
        graph: &Graph,
        request: Request,
        call: &host::Call,
    ) -> Result<Arc<Code>, Vec<Diagnostic>> {
        let Wanted { sources, instance, target, .. } = wanted;
        let (plan, special) = classes::plan(graph, target, request, &call.arguments)?;
        let maps: Vec<usize> = plan.maps.iter().map(|m| m.param).collect();
        let key = format!("{instance} {} {} {:?} {maps:?}", call.graph, target.name, plan.classes);
        let made = self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone();
        let make = || {
            let mut notes = plan.notes.clone();
            notes.extend(special.iter().filter_map(|name| specialised(graph, &plan, name)));
            let ptx = emit::ptx(graph, &plan, sources)?;
            Ok(Arc::new(Code { plan, ptx, notes }))
        };
        made.get_or_init(make).clone()
    }
}

/// The kind of each call, by what decides over its code, and the first call of each kind.
fn by_looks(calls: &[host::Call]) -> (Vec<usize>, Vec<&host::Call>) {
    let (mut known, mut firsts) = (BTreeMap::new(), vec![]);
    let kind = |call| {
        *known.entry(looks(call)).or_insert_with(|| {
            firsts.push(call);
            firsts.len() - 1
        })
    };
    (calls.iter().map(kind).collect(), firsts)
}

/// What decides over the code of a launch: launches that look the same share it.
fn looks(call: &host::Call) -> String {
    let tensor = |t: &Tensor| {
        // No vector is longer than 16 bytes.
        let start = t.offset() * t.dtype.bits() % 128;
        format!("{:?} {:?} {start}", t.shape, t.strides)
    };
    let tensors: Vec<String> = call.arguments.iter().filter_map(Argument::tensor).map(tensor).collect();
    format!("{} {}", call.graph, tensors.join(", "))
}

/// Tile sizes that host code has asked for.
struct Fixed<'a> {
    scheduled: &'a Scheduled,
    target: &'static Target,
    /// By kernel.
    tiles: RefCell<BTreeMap<String, Vec<(String, u64)>>>,
}

impl Fixed<'_> {
    /// The value of a tile size by name; none of the program's kernels may have it.
    fn tile(&self, name: &str) -> Result<Option<i64>, Vec<Diagnostic>> {
        let Scheduled { program, requests } = self.scheduled;
        let Some(at) = program.graphs.iter().position(|g| g.tile_named(name).is_some()) else {
            return Ok(None);
        };
        let graph = &program.graphs[at];
        let mut known = self.tiles.borrow_mut();
        if let std::collections::btree_map::Entry::Vacant(new) = known.entry(graph.signature.kernel.clone()) {
            let plan = tile_plan::plan(graph, self.target, &requests[at])?;
            let sizes = graph
                .tiles
                .iter()
                .filter_map(|t| Some((t.name.clone(), plan.binding.get(graph.tile_named(&t.name)?)?)));
            new.insert(sizes.collect());
        }
        let size = known.get(&graph.signature.kernel).and_then(|sizes| sizes.iter().find(|(n, _)| n == name));
        Ok(size.map(|(_, v)| *v as i64))
    }

    fn fix(&self, graph: usize, request: &mut Request) {
        let kernel = &self.scheduled.program.graphs[graph].signature.kernel;
        if let Some(sizes) = self.tiles.borrow().get(kernel) {
            request.tiles = sizes.clone();
        }
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
        ..Diagnostic::global("T0860", format!("`{name}` of `{}` is read and written as {class}", graph.name))
            .help("vectors need a unit stride, and other strides and the extent along it in whole vectors")
    })
}
