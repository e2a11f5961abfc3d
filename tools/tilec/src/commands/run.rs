//! `tilec run`: a kernel on inputs from files, its outputs into files.

use super::{data::read_data, given, show, show_times, taken, times_json, twice};
use crate::{
    cli::{Device, Run},
    json, output,
};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tile_base::{
    Diagnostic,
    diagnostic::any_error,
    time::{Clock, Spent},
};
use tile_driver::{
    Session,
    choose::{Given, choose, name_taken},
    compile, emit, functions, run,
};
use tile_tensor::{Argument, Tensor, files};

pub fn run(args: Run) -> bool {
    let mut session = Session::new();
    let mut choice = Chosen::default();
    let result = execute(&mut session, &args, &mut choice);
    if let Some(line) = taken(&choice.taken, &choice.test).filter(|_| !args.json) {
        output::tell(&line);
    }
    let (found, mut more) = match result {
        Ok(done) => {
            if !args.json {
                done.tell();
            }
            (done.notes.clone(), done.json(&session))
        }
        Err(mut found) => {
            name_taken(&mut found, &choice.taken, &choice.test);
            (found, Map::new())
        }
    };
    more.insert("taken".into(), pairs(&choice.taken));
    if args.json {
        json::print(&found, &session.sources, more);
    } else {
        show(&session, &found);
        if args.time {
            show_times(&session);
        }
    }
    !any_error(&found)
}

/// What was decided before anything ran: told also when the launch is refused.
#[derive(Default)]
struct Chosen {
    /// The name of the test block whose first case decided something.
    test: String,
    /// What it decided.
    taken: Vec<(String, String)>,
}

/// What a run did.
struct Done {
    kernel: String,
    device: &'static str,
    random: Vec<String>,
    consts: Vec<(String, String)>,
    dims: Vec<(String, i64)>,
    outputs: Vec<Output>,
    notes: Vec<Diagnostic>,
}

struct Output {
    name: String,
    dtype: &'static str,
    shape: Vec<usize>,
    file: Option<String>,
    summary: Summary,
}

/// Enough to see at a glance that a result is not rubbish.
struct Summary {
    min: f64,
    max: f64,
    mean: f64,
    nan: usize,
}

impl Summary {
    fn of(t: &Tensor) -> Summary {
        let values = t.to_f64_vec();
        let finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
        let of = |f: fn(f64, f64) -> f64| finite.iter().copied().reduce(f).unwrap_or(f64::NAN);
        Summary {
            min: of(f64::min),
            max: of(f64::max),
            mean: finite.iter().sum::<f64>() / finite.len().max(1) as f64,
            nan: values.iter().filter(|v| v.is_nan()).count(),
        }
    }
}

impl Done {
    fn tell(&self) {
        if !self.random.is_empty() {
            output::tell(&format!("note: random data for {}", self.random.join(", ")));
        }
        let dims: Vec<String> = self.dims.iter().map(|(n, v)| format!("{n} = {v}")).collect();
        output::tell(&format!("{} on {}: {}", self.kernel, self.device, dims.join(", ")));
        for o in &self.outputs {
            let s = &o.summary;
            let mut line = format!(
                "{}: {}{:?}  min {:.6} max {:.6} mean {:.6}",
                o.name, o.dtype, o.shape, s.min, s.max, s.mean
            );
            if s.nan > 0 {
                line += &format!("  NaN {}", s.nan);
            }
            if let Some(file) = &o.file {
                line += &format!("  -> {file}");
            }
            output::tell(&line);
        }
    }

    fn json(&self, session: &Session) -> Map<String, Value> {
        let outputs: Map<String, Value> = self
            .outputs
            .iter()
            .map(|o| {
                let number = |v: f64| if v.is_finite() { json!(v) } else { Value::Null };
                let s = &o.summary;
                let value = json!({
                    "dtype": o.dtype, "shape": o.shape, "file": o.file,
                    "min": number(s.min), "max": number(s.max), "mean": number(s.mean), "nan": s.nan,
                });
                (o.name.clone(), value)
            })
            .collect();
        let mut map = Map::new();
        map.insert("kernel".into(), json!(self.kernel));
        map.insert("device".into(), json!(self.device));
        map.insert("consts".into(), pairs(&self.consts));
        map.insert(
            "dims".into(),
            self.dims.iter().map(|(n, v)| (n.clone(), json!(v))).collect::<Map<_, _>>().into(),
        );
        map.insert("random".into(), json!(self.random));
        map.insert("outputs".into(), outputs.into());
        map.insert("time_ms".into(), times_json(session));
        map
    }
}

fn pairs(list: &[(String, String)]) -> Value {
    list.iter().map(|(n, v)| (n.clone(), json!(v))).collect::<Map<_, _>>().into()
}

fn execute(session: &mut Session, args: &Run, chosen: &mut Chosen) -> Result<Done, Vec<Diagnostic>> {
    let mut given = inputs(session, args)?;
    let loaded = session.load_with(&args.file, &functions::modules(&given))?;
    let picked = compile::pick(session, &loaded, args.choose.kernel.as_deref())?;
    let case = compile::first_case(&loaded, &picked);
    chosen.test = case.as_ref().map_or(String::new(), |c| c.test.clone());
    let choice = choose(&loaded.module, picked.callable(&loaded), &given, case.as_ref())?;
    chosen.taken = choice.taken;
    let mut compiled = compile::compile(session, &loaded, &picked, &choice.instance)?;
    let signature = compiled.program.signature.clone();
    let wanted = args.outputs.iter().map(|(n, _)| n.clone()).collect::<BTreeSet<_>>();
    check_outputs(&signature, &wanted)?;
    let mut clock = Clock::process();
    let mut launch = run::prepare(&signature, &mut given, case.as_ref(), args.random, &mut chosen.taken)?;
    session.timer.add("bind", clock.lap());
    let device = match args.device {
        Device::Cpu => run::Device::Cpu,
        Device::Oracle => run::Device::Oracle,
        Device::Cuda(ordinal) => run::Device::Cuda(ordinal),
        Device::Sim => run::Device::Sim(emit::find_target(&args.target)?),
    };
    let seconds = run::execute(session, &loaded, &mut compiled, device, &mut launch, args.threads)?;
    // On a device it is the device's clock that counts.
    let wall = std::time::Duration::from_secs_f64(seconds);
    session.timer.add("run", Spent { wall, ..clock.lap() });
    let places: BTreeMap<&String, &String> = args.outputs.iter().map(|(n, f)| (n, f)).collect();
    let mut outputs = vec![];
    for p in run::outputs(&signature) {
        let Some(Argument::Tensor(t)) = launch.arguments.get(&signature, &p.name) else { continue };
        let file = places.get(&p.name).map(|f| f.to_string());
        let summary = Summary::of(t);
        outputs.push(Output {
            name: p.name.clone(),
            dtype: t.dtype.name(),
            shape: t.shape.clone(),
            file,
            summary,
        });
    }
    session.timer.time("write", || write(&signature, &launch, &args.outputs))?;
    Ok(Done {
        kernel: signature.kernel.clone(),
        device: device.name(),
        random: launch.random,
        consts: signature.consts.clone(),
        dims: signature.dims.iter().cloned().zip(launch.dims).collect(),
        outputs,
        notes: compiled.notes,
    })
}

/// What the command line gives; several faults are reported at once.
fn inputs(session: &mut Session, args: &Run) -> Result<Given, Vec<Diagnostic>> {
    let mut found = vec![];
    let mut given = given(&args.choose).unwrap_or_else(|more| {
        found.extend(more);
        Given::default()
    });
    read_data(session, &args.data, &mut given, &mut found);
    let mut places = BTreeMap::new();
    for (name, file) in &args.outputs {
        twice(!given.outputs.insert(name.clone()), "--out", name, &mut found);
        let place = match files::split_place(file) {
            (path, tensor) if path.ends_with(".safetensors") => (path, Some(tensor.unwrap_or(name))),
            place => place,
        };
        if let Some(other) = places.insert(place, name) {
            let message = format!("`--out {name}` and `--out {other}` write to the same place `{file}`");
            found.push(Diagnostic::global("T0809", message).help("name different files or tensors"));
        }
    }
    given.optionals_as_given = true;
    if any_error(&found) { Err(found) } else { Ok(given) }
}

fn check_outputs(signature: &tile_base::Signature, wanted: &BTreeSet<String>) -> Result<(), Vec<Diagnostic>> {
    let known: Vec<&str> = run::outputs(signature).map(|p| p.name.as_str()).collect();
    let unknown: Vec<Diagnostic> = wanted
        .iter()
        .filter(|w| !known.contains(&w.as_str()))
        .map(|w| {
            Diagnostic::global("T0811", format!("`{}` has no output `{w}`", signature.kernel))
                .help(format!("its outputs are {}", known.join(", ")))
        })
        .collect();
    if unknown.is_empty() { Ok(()) } else { Err(unknown) }
}

/// Tensors of one `.safetensors` file are written together.
fn write(
    signature: &tile_base::Signature,
    launch: &run::Launch,
    places: &[(String, String)],
) -> Result<(), Vec<Diagnostic>> {
    let mut together: BTreeMap<&str, Vec<(&str, &Tensor)>> = BTreeMap::new();
    let mut found = vec![];
    for (name, place) in places {
        let Some(Argument::Tensor(t)) = launch.arguments.get(signature, name) else { continue };
        match files::split_place(place) {
            (path, tensor) if path.ends_with(".safetensors") => {
                together.entry(path).or_default().push((tensor.unwrap_or(name), t));
            }
            _ => found.extend(files::write_tensor(place, name, t).err()),
        }
    }
    for (path, tensors) in together {
        found.extend(files::write_safetensors(path, &tensors).err());
    }
    if any_error(&found) { Err(found) } else { Ok(()) }
}
