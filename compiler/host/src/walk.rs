//! The walk over the steps: integers by name, temporaries when they are first given, one launch after the other.

use crate::{Buffer, Cut, Given, Launch, Machine, Outcome, Region};
use std::collections::BTreeMap;
use tile_base::{Diagnostic, Size, TensorParam, signature::ParamKind};
use tile_graph::{Arg, Part, Program, Step};
use tile_tensor::{Argument, Arguments};

/// Runs the host code of a program on what [`whole`] makes of checked arguments; `dims` are the values of its dimensions.
pub fn run(program: &Program, given: &[Given], dims: &[i64], machine: &mut dyn Machine) -> Outcome<()> {
    let names = program.signature.dims.iter().cloned().zip(dims.iter().copied()).collect();
    let temps = program.temps.iter().map(|_| None).collect();
    Walk { program, given, names, temps, machine }.steps(&program.steps)
}

/// The arguments of a program as its host code passes them on: tensors whole, scalars of the parameter's dtype.
pub fn whole(program: &Program, arguments: &Arguments) -> Vec<Given> {
    let given = |(at, (param, argument)): (usize, (&ParamKind, &Argument))| match (param, argument) {
        (ParamKind::Tensor(_), Argument::Tensor(t)) => {
            Given::Tensor(Region::whole(Buffer::Param(at), &t.shape))
        }
        (ParamKind::Scalar(p), Argument::Scalar(s)) => Given::Scalar(s.of_dtype(p.dtype).unwrap_or(*s)),
        _ => Given::Absent,
    };
    program.signature.params.iter().zip(arguments.iter()).enumerate().map(given).collect()
}

struct Walk<'a> {
    program: &'a Program,
    /// By parameter of the program.
    given: &'a [Given],
    /// Dimensions, `let`s, loop variables.
    names: BTreeMap<String, i64>,
    /// Shapes of those that are made.
    temps: Vec<Option<Vec<usize>>>,
    machine: &'a mut dyn Machine,
}

impl Walk<'_> {
    fn steps(&mut self, steps: &[Step]) -> Outcome<()> {
        for step in steps {
            match step {
                Step::Launch { graph, args } => self.launch(*graph, args)?,
                Step::Let { name, value } => {
                    let value = self.size(value)?;
                    self.names.insert(name.clone(), value);
                }
                Step::For { name, lo, hi, body } => {
                    self.repeat(name, self.size(lo)?..self.size(hi)?, body)?
                }
                Step::If { lhs, op, rhs, then, otherwise } => {
                    let holds = op.holds(self.size(lhs)?, self.size(rhs)?);
                    self.steps(if holds { then } else { otherwise })?;
                }
            }
        }
        Ok(())
    }

    fn repeat(&mut self, name: &str, range: std::ops::Range<i64>, body: &[Step]) -> Outcome<()> {
        let outer = self.names.get(name).copied();
        for at in range {
            self.names.insert(name.to_string(), at);
            self.steps(body)?;
        }
        match outer {
            Some(value) => self.names.insert(name.to_string(), value),
            None => self.names.remove(name),
        };
        Ok(())
    }

    fn size(&self, size: &Size) -> Outcome<i64> {
        let mut tiles = BTreeMap::new();
        for name in size.names().into_iter().filter(|n| !self.names.contains_key(*n)) {
            if let Some(value) = self.machine.tile(name)? {
                tiles.insert(name, value);
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
            vec![Diagnostic::global("T0705", format!("{what} is {size} = {value}, which is negative"))]
        })
    }

    fn launch(&mut self, graph: usize, args: &[Arg]) -> Outcome<()> {
        let signature = &self.program.graphs[graph].signature;
        let given: Vec<Given> = args.iter().map(|arg| self.argument(arg)).collect::<Result<_, _>>()?;
        let shapes: Vec<Option<Vec<usize>>> = given
            .iter()
            .map(|g| match g {
                Given::Tensor(region) => Some(region.shape()),
                _ => None,
            })
            .collect();
        let dims = tile_tensor::launch::bind_inner(signature, &|at| shapes.get(at)?.as_deref())?;
        self.check_overlap(&signature.kernel, &signature.params, &given)?;
        self.machine.launch(Launch { graph, given, dims })
    }

    fn argument(&mut self, arg: &Arg) -> Outcome<Given> {
        Ok(match arg {
            Arg::Size(size) => Given::Scalar(tile_tensor::Scalar::Int(self.size(size)?)),
            Arg::Float(x) => Given::Scalar(tile_tensor::Scalar::Float(*x)),
            Arg::Absent => Given::Absent,
            Arg::Param(at) => self.given[*at].clone(),
            Arg::Temp(at) => Given::Tensor(self.temporary(*at)?),
            Arg::Part { of, subscripts } => match self.argument(of)? {
                Given::Tensor(whole) => Given::Tensor(self.part(whole, subscripts)?),
                other => other,
            },
        })
    }

    fn temporary(&mut self, at: usize) -> Outcome<Region> {
        if let Some(shape) = &self.temps[at] {
            return Ok(Region::whole(Buffer::Temp(at), shape));
        }
        let temp = &self.program.temps[at];
        let what = format!("an extent of the temporary `{}`", temp.name);
        let shape: Vec<usize> = temp.shape.iter().map(|s| self.extent(s, &what)).collect::<Result<_, _>>()?;
        self.machine.temporary(at, &shape)?;
        let region = Region::whole(Buffer::Temp(at), &shape);
        self.temps[at] = Some(shape);
        Ok(region)
    }

    fn part(&self, whole: Region, subscripts: &[Part]) -> Outcome<Region> {
        let name = self.name(whole.buffer);
        let what = format!("a subscript of `{name}`");
        let mut cuts = vec![];
        for (axis, extent) in whole.shape().into_iter().enumerate() {
            let cut = match subscripts.get(axis) {
                Some(Part::At(at)) => {
                    let lo = self.extent(at, &what)?;
                    Cut { lo, hi: lo.saturating_add(1), kept: false }
                }
                Some(Part::Range(lo, hi)) => {
                    Cut { lo: self.extent(lo, &what)?, hi: self.extent(hi, &what)?, kept: true }
                }
                Some(Part::All) | None => Cut { lo: 0, hi: extent, kept: true },
            };
            if cut.lo > cut.hi || cut.hi > extent {
                let Cut { lo, hi, .. } = cut;
                let message =
                    format!("the part {lo}..{hi} of `{name}` lies outside of its dimension 0..{extent}");
                return Err(vec![Diagnostic::global("T0705", message).help("narrow the range")]);
            }
            cuts.push(cut);
        }
        Ok(whole.part(&cuts))
    }

    fn name(&self, buffer: Buffer) -> &str {
        match buffer {
            Buffer::Param(at) => self.program.signature.params[at].name(),
            Buffer::Temp(at) => &self.program.temps[at].name,
        }
    }

    /// No two arguments of a launch may share elements if one of them is written.
    fn check_overlap(&self, kernel: &str, params: &[ParamKind], given: &[Given]) -> Outcome<()> {
        let tensors: Vec<(&TensorParam, &Region)> = params
            .iter()
            .zip(given)
            .filter_map(|pair| match pair {
                (ParamKind::Tensor(p), Given::Tensor(region)) => Some((p, region)),
                _ => None,
            })
            .collect();
        for (at, (p, a)) in tensors.iter().enumerate() {
            for (q, b) in &tensors[at + 1..] {
                if (p.mode.writes() || q.mode.writes()) && a.overlaps(b) {
                    let message = format!(
                        "the launch of `{kernel}` is given parts of `{}` that overlap as `{}` and `{}`, and one is written",
                        self.name(a.buffer),
                        p.name,
                        q.name
                    );
                    return Err(vec![Diagnostic::global("T0707", message).help("use another temporary")]);
                }
            }
        }
        Ok(())
    }
}
