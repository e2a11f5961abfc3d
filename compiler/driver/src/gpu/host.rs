//! Host code of a program: every launch with its own arguments, before the first one runs.
//!
//! Host code computes integers and launches; it never reads device data (language rule 19). So it can be run ahead:
//!
//! ```text
//! op layers(x: inout f32[M], w: in f32[L, M]) { for l in 0..L { run scale(w[l], x); } }     L = 2, M = 5
//!
//! scale(w at element 0, strides [1], shape [5];  x)      M = 5
//! scale(w at element 5, strides [1], shape [5];  x)      M = 5
//! ```
//!
//! Arguments of a launch are tensors that share the storage of the program's, so whoever asks about strides, offsets and
//! overlaps asks the same way as for a kernel alone. The storage of a temporary is never touched on the host: the system
//! gives no memory for zeros that nobody reads.
//!
//! The CPU backend evaluates the same steps while it runs them, since its launches need no code for other strides
//! beforehand; the codes of what may be wrong (T0705 to T0708) are the same.

use std::collections::BTreeMap;
use tile_base::{Diagnostic, Size, TensorParam, signature::ParamKind};
use tile_graph::{Arg, Part, Program, Step};
use tile_runtime::Owner;
use tile_tensor::{Argument, Arguments, Scalar, Tensor};

type Outcome<T> = Result<T, Vec<Diagnostic>>;

/// One launch.
#[derive(Debug)]
pub struct Call {
    /// Which of the program's graphs.
    pub graph: usize,
    pub arguments: Arguments,
    /// Whose storage each argument shares.
    pub owners: Vec<Option<Owner>>,
    pub dims: Vec<i64>,
}

/// What host code comes to.
#[derive(Debug, Default)]
pub struct Calls {
    pub calls: Vec<Call>,
    /// Position, name and bytes of each temporary that is used.
    pub temps: Vec<(usize, String, usize)>,
}

/// Runs the host code of a program on checked arguments. `tile` gives the value of a tile size, which the shape of a
/// temporary may name.
pub fn calls(
    program: &Program,
    arguments: &Arguments,
    dims: &[i64],
    tile: &dyn Fn(&str) -> Outcome<Option<i64>>,
) -> Outcome<Calls> {
    let names = program.signature.dims.iter().cloned().zip(dims.iter().copied()).collect();
    let temps = program.temps.iter().map(|_| None).collect();
    let mut host = Host { program, arguments, tile, names, temps, out: Calls::default() };
    host.steps(&program.steps)?;
    Ok(host.out)
}

struct Host<'a> {
    program: &'a Program,
    arguments: &'a Arguments,
    tile: &'a dyn Fn(&str) -> Outcome<Option<i64>>,
    /// Dimensions, `let`s, loop variables.
    names: BTreeMap<String, i64>,
    temps: Vec<Option<Tensor>>,
    out: Calls,
}

impl Host<'_> {
    fn steps(&mut self, steps: &[Step]) -> Outcome<()> {
        for step in steps {
            match step {
                Step::Launch { graph, args } => self.launch(*graph, args)?,
                Step::Let { name, value } => {
                    let value = self.size(value)?;
                    self.names.insert(name.clone(), value);
                }
                Step::For { name, lo, hi, body } => {
                    let outer = self.names.get(name).copied();
                    for at in self.size(lo)?..self.size(hi)? {
                        self.names.insert(name.clone(), at);
                        self.steps(body)?;
                    }
                    match outer {
                        Some(v) => self.names.insert(name.clone(), v),
                        None => self.names.remove(name),
                    };
                }
                Step::If { lhs, op, rhs, then, otherwise } => {
                    let holds = op.holds(self.size(lhs)?, self.size(rhs)?);
                    self.steps(if holds { then } else { otherwise })?;
                }
            }
        }
        Ok(())
    }

    fn size(&self, size: &Size) -> Outcome<i64> {
        let mut tiles = BTreeMap::new();
        for name in size.names() {
            if !self.names.contains_key(name)
                && let Some(value) = (self.tile)(name)?
            {
                tiles.insert(name.to_string(), value);
            }
        }
        size.eval(&|n| self.names.get(n).or_else(|| tiles.get(n)).copied()).map_err(|e| {
            let message = format!("a host integer of `{}` has no value: {e}", self.program.signature.kernel);
            vec![Diagnostic::global("T0705", message).help("use smaller dimensions")]
        })
    }

    fn extent(&self, size: &Size, what: &str) -> Outcome<usize> {
        let value = self.size(size)?;
        usize::try_from(value).map_err(|_| {
            let message = format!("{what} is {size} = {value}, which is negative");
            vec![Diagnostic::global("T0705", message)]
        })
    }

    fn launch(&mut self, graph: usize, args: &[Arg]) -> Outcome<()> {
        let signature = &self.program.graphs[graph].signature;
        let (mut arguments, mut owners) = (vec![], vec![]);
        for arg in args {
            let (argument, owner) = self.argument(arg)?;
            arguments.push(argument);
            owners.push(owner);
        }
        let shape_of =
            |at: usize| arguments.get(at).and_then(Argument::tensor).map(|t: &Tensor| &t.shape[..]);
        let dims = tile_tensor::launch::bind_inner(signature, &shape_of)?;
        let arguments = Arguments(arguments);
        check_overlap(&signature.params, &arguments, &signature.kernel)?;
        self.out.calls.push(Call { graph, arguments, owners, dims });
        Ok(())
    }

    fn argument(&mut self, arg: &Arg) -> Outcome<(Argument, Option<Owner>)> {
        Ok(match arg {
            Arg::Size(size) => (Argument::Scalar(Scalar::Int(self.size(size)?)), None),
            Arg::Float(x) => (Argument::Scalar(Scalar::Float(*x)), None),
            Arg::Absent => (Argument::Absent, None),
            Arg::Param(at) => match (&self.program.signature.params[*at], &self.arguments[*at]) {
                (_, Argument::Tensor(t)) => (Argument::Tensor(t.share()), Some(Owner::Param(*at))),
                (ParamKind::Scalar(p), Argument::Scalar(s)) => {
                    (Argument::Scalar(s.of_dtype(p.dtype).unwrap_or(*s)), None)
                }
                _ => (Argument::Absent, None),
            },
            Arg::Temp(at) => (Argument::Tensor(self.temp(*at)?), Some(Owner::Temp(*at))),
            Arg::Part { of, subscripts } => match self.argument(of)? {
                (Argument::Tensor(whole), owner) => (Argument::Tensor(self.part(&whole, subscripts)?), owner),
                other => other,
            },
        })
    }

    /// Another view of a temporary; its storage is made when it is first asked for.
    fn temp(&mut self, at: usize) -> Outcome<Tensor> {
        if let Some(made) = &self.temps[at] {
            return Ok(made.share());
        }
        let temp = &self.program.temps[at];
        let what = format!("an extent of the temporary `{}`", temp.name);
        let shape: Vec<usize> = temp.shape.iter().map(|s| self.extent(s, &what)).collect::<Result<_, _>>()?;
        let tensor = Tensor::try_zeros(temp.dtype, &shape).map_err(|e| {
            let message = format!("the temporary `{}` cannot be made: {e}", temp.name);
            vec![Diagnostic::global("T0706", message).help("use smaller dimensions")]
        })?;
        self.out.temps.push((at, temp.name.clone(), tensor.bytes().len()));
        let view = tensor.share();
        self.temps[at] = Some(tensor);
        Ok(view)
    }

    fn part(&self, whole: &Tensor, subscripts: &[Part]) -> Outcome<Tensor> {
        let what = "a subscript of a launch's argument";
        let (mut shape, mut strides, mut offset) = (vec![], vec![], whole.offset() as i64);
        for (axis, &extent) in whole.shape.iter().enumerate() {
            let (lo, hi, kept) = match subscripts.get(axis) {
                Some(Part::At(at)) => {
                    let at = self.extent(at, what)?;
                    (at, at.saturating_add(1), false)
                }
                Some(Part::Range(lo, hi)) => (self.extent(lo, what)?, self.extent(hi, what)?, true),
                Some(Part::All) | None => (0, extent, true),
            };
            if lo > hi || hi > extent {
                let message =
                    format!("the part {lo}..{hi} of a launch's argument lies outside of 0..{extent}");
                return Err(vec![Diagnostic::global("T0705", message).help("narrow the range")]);
            }
            offset += lo as i64 * whole.strides[axis];
            if kept {
                shape.push(hi - lo);
                strides.push(whole.strides[axis]);
            }
        }
        whole.view(&shape, &strides, offset.max(0) as usize).map_err(|e| {
            vec![
                Diagnostic::global("T0705", format!("a part of a launch's argument: {e}"))
                    .help("narrow the range"),
            ]
        })
    }
}

/// No two arguments of a launch may share elements if one of them is written.
fn check_overlap(params: &[ParamKind], arguments: &Arguments, kernel: &str) -> Outcome<()> {
    let tensors: Vec<(&TensorParam, &Tensor)> = params
        .iter()
        .zip(arguments.iter())
        .filter_map(|pair| match pair {
            (ParamKind::Tensor(p), Argument::Tensor(t)) => Some((p, t)),
            _ => None,
        })
        .collect();
    for (at, (p, t)) in tensors.iter().enumerate() {
        for (q, u) in &tensors[at + 1..] {
            if (p.mode.writes() || q.mode.writes()) && t.overlaps(u) {
                let message = format!(
                    "the launch of `{kernel}` is given parts that overlap as `{}` and `{}`, and one is written",
                    p.name, q.name
                );
                return Err(vec![Diagnostic::global("T0707", message).help("use another temporary")]);
            }
        }
    }
    Ok(())
}
