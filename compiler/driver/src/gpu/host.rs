//! Launches of a program for a GPU: every one with its own arguments, before the first one runs.
//!
//! Host code never reads device data, so it can be run ahead ([`tile_host`]). Here the parts that a launch is given become
//! tensors that share the storage of the program's, so whoever asks about strides and offsets asks the same way as for a
//! kernel alone:
//!
//! ```text
//! op layers(x: inout f32[M], w: in f32[L, M]) { for l in 0..L { run scale(w[l], x); } }     L = 2, M = 5
//!
//! scale(w at element 0, strides [1], shape [5];  x)      M = 5
//! scale(w at element 5, strides [1], shape [5];  x)      M = 5
//! ```
//!
//! The storage of a temporary is never touched on the host: the system gives no memory for zeros that nobody reads.

use tile_base::Diagnostic;
use tile_graph::Program;
use tile_host::{Buffer, Given, Launch, Machine, Outcome, Region};
use tile_runtime::Owner;
use tile_tensor::{Argument, Arguments, Tensor};

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
    let temps = program.temps.iter().map(|_| None).collect();
    let mut gather = Gather { program, arguments, tile, temps, out: Calls::default() };
    tile_host::run(program, &tile_host::whole(program, arguments), dims, &mut gather)?;
    Ok(gather.out)
}

/// Keeps launches instead of running them.
struct Gather<'a> {
    program: &'a Program,
    arguments: &'a Arguments,
    tile: &'a dyn Fn(&str) -> Outcome<Option<i64>>,
    temps: Vec<Option<Tensor>>,
    out: Calls,
}

impl Machine for Gather<'_> {
    fn tile(&self, name: &str) -> Outcome<Option<i64>> {
        (self.tile)(name)
    }

    fn temporary(&mut self, at: usize, shape: &[usize]) -> Outcome<()> {
        let temp = &self.program.temps[at];
        let tensor = Tensor::try_zeros(temp.dtype, shape).map_err(|e| {
            let message = format!("the temporary `{}` cannot be made: {e}", temp.name);
            vec![Diagnostic::global("T0706", message).help("use smaller dimensions")]
        })?;
        self.out.temps.push((at, temp.name.clone(), tensor.bytes().len()));
        self.temps[at] = Some(tensor);
        Ok(())
    }

    fn launch(&mut self, launch: Launch) -> Outcome<()> {
        let (mut arguments, mut owners) = (vec![], vec![]);
        for given in &launch.given {
            let (argument, owner) = match given {
                Given::Tensor(region) => (Argument::Tensor(self.view(region)?), Some(owner(region.buffer))),
                Given::Scalar(s) => (Argument::Scalar(*s), None),
                Given::Absent => (Argument::Absent, None),
            };
            arguments.push(argument);
            owners.push(owner);
        }
        let Launch { graph, dims, .. } = launch;
        self.out.calls.push(Call { graph, arguments: Arguments(arguments), owners, dims });
        Ok(())
    }
}

impl Gather<'_> {
    /// A tensor that is the part, on the storage of the whole.
    fn view(&self, region: &Region) -> Outcome<Tensor> {
        let whole = match region.buffer {
            Buffer::Param(at) => self.arguments[at].tensor(),
            Buffer::Temp(at) => self.temps[at].as_ref(),
        };
        let whole = whole.ok_or_else(|| vec![not_a_tensor()])?;
        let (begin, strides) = region.place(&whole.strides);
        let offset = whole.offset() as i64 + begin;
        whole.view(&region.shape(), &strides, offset.max(0) as usize).map_err(|e| {
            let message = format!("a part of a launch's argument: {e}");
            vec![Diagnostic::global("T0705", message).help("narrow the range")]
        })
    }
}

fn owner(buffer: Buffer) -> Owner {
    match buffer {
        Buffer::Param(at) => Owner::Param(at),
        Buffer::Temp(at) => Owner::Temp(at),
    }
}

fn not_a_tensor() -> Diagnostic {
    Diagnostic::global("T0705", "a part of what is no tensor is given to a launch")
        .help("this is a fault of the compiler")
}
