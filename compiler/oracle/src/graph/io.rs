//! `Load`, `Store`, `Accumulate`: accesses against the memory of the launch.

use super::{
    access::{Mask, Outside, Place, Sink, walk},
    code::NodeCode,
    eval::{TestedClaim, Worker, describe_instance},
    fault::{Fault, Run, coordinate},
    memory::{Conflict, Data, Memory, Owned, Storage, SumEntry, Who},
    value::{MAX_RANK, Shape, Val},
};
use tile_base::{Mode, Span};
use tile_graph::{Access, Check, CoordIndex, Node};

/// What stops a walk over an access.
enum Stop {
    Outside(Outside),
    Conflict {
        at: usize,
        conflict: Conflict,
    },
    /// A value that an index tensor may not have.
    Limits {
        at: usize,
        value: i64,
    },
    /// A skipped body writes.
    Skipped {
        at: usize,
    },
}

impl From<Outside> for Stop {
    fn from(outside: Outside) -> Stop {
        Stop::Outside(outside)
    }
}

impl Worker<'_> {
    pub fn load(&mut self, code: &NodeCode, node: &Node, access: &Access) -> Run<Val> {
        let shape = self.shape_of(&node.outputs[0], node.span)?;
        let memory = &self.shared.memory[access.object.index()];
        let ports = Ports::read(self, code, shape, access);
        let otherwise = access.otherwise.map(|p| &self.slots[code.inputs[p as usize].slot as usize]);
        let result = match &memory.storage {
            Storage::Absent => return Err(absent(memory, node.span)),
            Storage::Read { data: Data::Floats(data), offset } => {
                let otherwise = otherwise.and_then(|v| v.float_slice().first().copied()).unwrap_or(0.0);
                let mut sink =
                    Reading { data: &data[*offset..], otherwise, out: Vec::with_capacity(shape.count()) };
                walk(shape, &ports.places(self, memory, access), ports.mask(self), &mut sink)
                    .map(|()| Val::floats(shape, sink.out))
            }
            Storage::Read { data: Data::Ints(data), offset } => {
                let otherwise = otherwise.and_then(|v| v.int_slice().first().copied()).unwrap_or(0);
                let mut sink =
                    Reading { data: &data[*offset..], otherwise, out: Vec::with_capacity(shape.count()) };
                walk(shape, &ports.places(self, memory, access), ports.mask(self), &mut sink)
                    .map(|()| Val::ints(shape, sink.out))
            }
            Storage::Own(_) if memory.mode == Mode::Sum => {
                return Err(Fault::internal(node.span, format!("`{}` is a sum and is read", memory.name)));
            }
            Storage::Own(own) => {
                let otherwise = otherwise.map_or(0, bits_of_first);
                let mut sink =
                    ReadingOwn { own, me: self.me, otherwise, out: Vec::with_capacity(shape.count()) };
                walk(shape, &ports.places(self, memory, access), ports.mask(self), &mut sink)
                    .map(|()| from_bits(shape, sink.out, memory.is_float()))
            }
        };
        result.map_err(|stop| self.stopped(stop, memory, access, node.span, "read"))
    }

    pub fn store(&mut self, code: &NodeCode, node: &Node, access: &Access, unique: bool) -> Run<()> {
        if self.dry > 0 || self.listing.is_some() {
            return Ok(());
        }
        let value = self.input(code, 0);
        let shape = value.shape();
        let memory = &self.shared.memory[access.object.index()];
        let ports = Ports::read(self, code, shape, access);
        let own = match &memory.storage {
            Storage::Own(own) => own,
            Storage::Absent => return Err(absent(memory, node.span)),
            Storage::Read { .. } => {
                return Err(Fault::internal(
                    node.span,
                    format!("`{}` is read only and is written", memory.name),
                ));
            }
        };
        let mut sink = Writing {
            own,
            me: self.me,
            value: &value,
            next: 0,
            limits: memory.limits,
            skipped: self.in_skipped > 0,
            seen: unique.then(Vec::new),
        };
        let walked = walk(shape, &ports.places(self, memory, access), ports.mask(self), &mut sink);
        let seen = sink.seen.take();
        walked.map_err(|stop| self.stopped(stop, memory, access, node.span, "written"))?;
        match seen {
            Some(seen) => self.check_unique(code, node.span, memory, seen),
            None => Ok(()),
        }
    }

    fn check_unique(
        &mut self,
        code: &NodeCode,
        span: Span,
        memory: &Memory<'_>,
        mut seen: Vec<usize>,
    ) -> Run<()> {
        *self.tested.entry((code.id, TestedClaim::Unique)).or_default() += 1;
        seen.sort_unstable();
        let Some(twice) = seen.windows(2).find(|w| w[0] == w[1]) else { return Ok(()) };
        let at = coordinate(&memory.coordinates(twice[0]));
        Err(Fault::new(
            "T0465",
            span,
            format!("a store claimed `unique` writes `{}` twice at {at}", memory.name),
        )
        .label("positions repeat here")
        .help("drop the claim, or make the positions distinct"))
    }

    pub fn accumulate(&mut self, code: &NodeCode, node: &Node, access: &Access) -> Run<()> {
        if self.dry > 0 || self.listing.is_some() {
            return Ok(());
        }
        let value = self.input(code, 0);
        let shape = value.shape();
        let memory = &self.shared.memory[access.object.index()];
        if matches!(memory.storage, Storage::Absent) {
            return Err(absent(memory, node.span));
        }
        let ports = Ports::read(self, code, shape, access);
        let mut sink = Summing { runs: vec![], kept: vec![], next: 0 };
        walk(shape, &ports.places(self, memory, access), ports.mask(self), &mut sink)
            .map_err(|stop| self.stopped(stop, memory, access, node.span, "added to"))?;
        let Summing { runs, kept, next } = sink;
        // Elements that are masked off or outside are left out of the entry.
        let value = if kept.len() == next { value } else { pick(&value, &kept) };
        if self.in_skipped > 0 {
            let nothing =
                value.float_slice().iter().all(|&x| x == 0.0) && value.int_slice().iter().all(|&x| x == 0);
            if !nothing {
                let at = runs.first().map_or(0, |r| r.0);
                return Err(self.stopped(Stop::Skipped { at }, memory, access, node.span, "added to"));
            }
            return Ok(());
        }
        self.log.entries.push(SumEntry { object: access.object.0, span: node.span, runs, value });
        Ok(())
    }

    fn stopped(&self, stop: Stop, memory: &Memory<'_>, access: &Access, span: Span, done: &str) -> Fault {
        let name = memory.name;
        match stop {
            Stop::Outside(outside) => self.outside(outside, memory, access, span, done),
            Stop::Conflict { at, conflict } => conflict_fault(conflict, memory, at, span, self.me),
            Stop::Limits { at, value } => {
                let at = coordinate(&memory.coordinates(at));
                let (lo, hi) = memory.limits.unwrap_or_default();
                Fault::new(
                    "T0452",
                    span,
                    format!("`{name}`{at} is given {value}, and its type allows {lo}..={hi}"),
                )
                .also(memory.declared, "declared here")
            }
            Stop::Skipped { at } => {
                let at = coordinate(&memory.coordinates(at));
                Fault::new(
                    "T0453",
                    span,
                    format!("`skip` is refuted: the body it passes over changes `{name}` at {at}"),
                )
                .label(format!("`{name}` is {done} in an iteration whose `skip` holds"))
                .help("make the condition of `skip` hold only where the body changes nothing")
            }
        }
    }

    fn outside(&self, o: Outside, memory: &Memory<'_>, access: &Access, span: Span, done: &str) -> Fault {
        let name = memory.name;
        let extent = memory.shape[o.dim];
        let message = format!(
            "`{name}` is {done} at {} in dimension {}, whose positions are 0..{extent}",
            o.coordinate, o.dim
        );
        match access.coords[o.dim].check {
            Check::Proven => Fault::internal(span, message).note("the access had been proven to be inside"),
            _ => Fault::new("T0450", span, message)
                .label("outside")
                .also(memory.declared, format!("`{name}` has shape {}", coordinate(&memory.shape)))
                .help("narrow the range, or say what outside means with `else`"),
        }
    }
}

/// A store or a read that another instance's work forbids. Instances are named by number here; the launch turns the
/// numbers into coordinates.
pub fn conflict_fault(conflict: Conflict, memory: &Memory<'_>, at: usize, span: Span, me: Who) -> Fault {
    let place = coordinate(&memory.coordinates(at));
    let name = memory.name;
    match conflict {
        Conflict::WrittenBy(other) => {
            Fault::new("T0456", span, format!("two instances touch `{name}` at {place}, and one writes it"))
                .label("the second of them")
                .also(memory.declared, format!("`{name}` is `{}`", memory.mode.name()))
                .note(format!("{INSTANCE}{other}{INSTANCE} and {INSTANCE}{me}{INSTANCE}"))
                .help("let one instance own each element, or make the tensor `sum` and use `+=`")
        }
        Conflict::WrittenTwice => {
            Fault::new("T0457", span, format!("`{name}` is written twice at {place} by one instance"))
                .label("the second time")
                .also(memory.declared, "every element of an `out` tensor is written exactly once")
        }
        Conflict::NotWritten => {
            Fault::new("T0469", span, format!("`{name}` is read at {place} before anything is written there"))
        }
    }
}

/// Marks an instance's number in a note until the launch puts its coordinates there.
pub const INSTANCE: char = '\u{1}';

/// Replaces instance numbers between marks by coordinates.
pub fn name_instances(
    worker: &Worker<'_>,
    text: &str,
    of: &dyn Fn(Who) -> Option<Vec<super::eval::Trip>>,
) -> String {
    let nest = worker.graph().par_nest();
    let mut out = String::new();
    for (n, piece) in text.split(INSTANCE).enumerate() {
        match piece.parse().ok().filter(|_| n % 2 == 1).and_then(of) {
            Some(trips) => {
                out.push_str(&format!("the instance {}", describe_instance(worker.graph(), &nest, &trips)))
            }
            None => out.push_str(piece),
        }
    }
    out
}

fn absent(memory: &Memory<'_>, span: Span) -> Fault {
    Fault::internal(span, format!("`{}` is left out of this call and is used", memory.name))
}

/// The integers an access needs from its ports, read once per execution.
struct Ports {
    /// Per dimension: base, steps, gather slot with strides, lo, hi.
    dims: Vec<PortDim>,
    mask: Option<(u32, [usize; MAX_RANK])>,
}

struct PortDim {
    base: i64,
    steps: [i64; MAX_RANK],
    gather: Option<(u32, [usize; MAX_RANK])>,
    lo: i64,
    hi: i64,
}

impl Ports {
    fn read(worker: &Worker<'_>, code: &NodeCode, tile: Shape, access: &Access) -> Ports {
        let slot = |port: u32| code.inputs[port as usize].slot;
        let dims = access.coords.iter().map(|coord| {
            let mut dim = PortDim {
                base: 0,
                steps: [0; MAX_RANK],
                gather: None,
                lo: coord.lo.map_or(i64::MIN, |p| worker.int(slot(p))),
                hi: coord.hi.map_or(i64::MAX, |p| worker.int(slot(p))),
            };
            match &coord.index {
                CoordIndex::Affine { base, terms } => {
                    dim.base = base.map_or(0, |p| worker.int(slot(p)));
                    for &(axis, step) in terms {
                        dim.steps[axis as usize] += step;
                    }
                }
                CoordIndex::Gather { index, axes } => {
                    let from = worker.slots[slot(*index) as usize].shape().stretching_strides();
                    let mut strides = [0; MAX_RANK];
                    for (&axis, stride) in axes.iter().zip(from) {
                        strides[axis as usize] = stride;
                    }
                    dim.gather = Some((slot(*index), strides));
                }
            }
            dim
        });
        let mask = access.mask.map(|p| {
            let shape = worker.slots[slot(p) as usize].shape();
            let strides =
                if shape.rank() == tile.rank() { shape.stretching_strides() } else { [0; MAX_RANK] };
            (slot(p), strides)
        });
        Ports { dims: dims.collect(), mask }
    }

    fn places<'v>(&self, worker: &'v Worker<'_>, memory: &Memory<'_>, access: &Access) -> Vec<Place<'v>> {
        let dims = self.dims.iter().zip(&access.coords).enumerate();
        dims.map(|(d, (dim, coord))| Place {
            base: dim.base,
            steps: dim.steps,
            gather: dim.gather.map(|(slot, strides)| (worker.slots[slot as usize].int_slice(), strides)),
            lo: dim.lo.max(0),
            hi: dim.hi.min(memory.shape[d] as i64),
            check: coord.check,
            stride: memory.strides[d],
        })
        .collect()
    }

    fn mask<'v>(&self, worker: &'v Worker<'_>) -> Mask<'v> {
        self.mask.map(|(slot, strides)| (worker.slots[slot as usize].int_slice(), strides))
    }
}

struct Reading<'d, T> {
    data: &'d [T],
    otherwise: T,
    out: Vec<T>,
}

impl<T: Copy> Sink for Reading<'_, T> {
    type Error = Stop;

    fn run(&mut self, first: usize, step: isize, len: usize) -> Result<(), Stop> {
        match step {
            1 => self.out.extend_from_slice(&self.data[first..first + len]),
            _ => self.out.extend((0..len as isize).map(|n| self.data[(first as isize + n * step) as usize])),
        }
        Ok(())
    }

    fn one(&mut self, place: Option<usize>) -> Result<(), Stop> {
        self.out.push(place.map_or(self.otherwise, |p| self.data[p]));
        Ok(())
    }
}

struct ReadingOwn<'d> {
    own: &'d Owned,
    me: Who,
    otherwise: u64,
    out: Vec<u64>,
}

impl Sink for ReadingOwn<'_> {
    type Error = Stop;

    fn run(&mut self, first: usize, step: isize, len: usize) -> Result<(), Stop> {
        (0..len as isize).try_for_each(|n| self.one(Some((first as isize + n * step) as usize)))
    }

    fn one(&mut self, place: Option<usize>) -> Result<(), Stop> {
        self.out.push(match place {
            Some(at) => self.own.read(at, self.me).map_err(|conflict| Stop::Conflict { at, conflict })?,
            None => self.otherwise,
        });
        Ok(())
    }
}

struct Writing<'d> {
    own: &'d Owned,
    me: Who,
    value: &'d Val,
    /// The next element of the value.
    next: usize,
    limits: Option<(i64, i64)>,
    skipped: bool,
    /// Offsets written, where they are claimed not to repeat.
    seen: Option<Vec<usize>>,
}

impl Sink for Writing<'_> {
    type Error = Stop;

    fn run(&mut self, first: usize, step: isize, len: usize) -> Result<(), Stop> {
        (0..len as isize).try_for_each(|n| self.one(Some((first as isize + n * step) as usize)))
    }

    fn one(&mut self, place: Option<usize>) -> Result<(), Stop> {
        let n = self.next;
        self.next += 1;
        let Some(at) = place else { return Ok(()) };
        let bits = match self.value {
            v if v.is_float() => v.float_slice()[n].to_bits(),
            v => {
                let x = v.int_slice()[n];
                if let Some((lo, hi)) = self.limits
                    && !(lo..=hi).contains(&x)
                {
                    return Err(Stop::Limits { at, value: x });
                }
                x as u64
            }
        };
        if self.skipped {
            let same = self.own.get(at) == bits;
            return if same { Ok(()) } else { Err(Stop::Skipped { at }) };
        }
        if let Some(seen) = &mut self.seen {
            seen.push(at);
        }
        self.own.write(at, bits, self.me).map_err(|conflict| Stop::Conflict { at, conflict })
    }
}

struct Summing {
    runs: Vec<(usize, usize, usize)>,
    /// Positions of the value that have a place.
    kept: Vec<usize>,
    next: usize,
}

impl Sink for Summing {
    type Error = Stop;

    fn run(&mut self, first: usize, step: isize, len: usize) -> Result<(), Stop> {
        if step < 0 {
            return (0..len as isize).try_for_each(|n| self.one(Some((first as isize + n * step) as usize)));
        }
        self.runs.push((first, step as usize, len));
        self.kept.extend(self.next..self.next + len);
        self.next += len;
        Ok(())
    }

    fn one(&mut self, place: Option<usize>) -> Result<(), Stop> {
        if let Some(at) = place {
            self.runs.push((at, 0, 1));
            self.kept.push(self.next);
        }
        self.next += 1;
        Ok(())
    }
}

fn bits_of_first(v: &Val) -> u64 {
    match v.float_slice().first() {
        Some(x) => x.to_bits(),
        None => v.int_slice().first().map_or(0, |&x| x as u64),
    }
}

fn from_bits(shape: Shape, bits: Vec<u64>, float: bool) -> Val {
    if float {
        Val::floats(shape, bits.into_iter().map(f64::from_bits).collect())
    } else {
        Val::ints(shape, bits.into_iter().map(|b| b as i64).collect())
    }
}

/// The elements at some positions, as a list.
fn pick(value: &Val, kept: &[usize]) -> Val {
    let shape = Shape::new(&[kept.len()]);
    if value.is_float() {
        Val::floats(shape, kept.iter().map(|&k| value.float_slice()[k]).collect())
    } else {
        Val::ints(shape, kept.iter().map(|&k| value.int_slice()[k]).collect())
    }
}
