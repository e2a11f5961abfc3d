//! One launch: the list of instances, their run on several threads, and what has to hold at the end.
//!
//! Instances run in waves; within a wave in any order on any thread, and after it their sums are added in the order of
//! the instances. If anything goes wrong, the launch is run once more from the start, one instance after the other, so
//! that the error that is reported is always the same one.

use super::{
    Options,
    code::Code,
    eval::{Shared, Tested, Trip, Worker},
    fault::{Fault, Run, coordinate, counted},
    io::{INSTANCE, name_instances},
    memory::{self, Memory, Storage, SumLog, Who},
    number,
    random::Random,
    value::Val,
};
use rayon::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tile_base::{Diagnostic, IndexKind, Mode};
use tile_graph::{Graph, Op, ParOp, ROOT};

/// Instances per wave where sums are logged: bounds the memory of the logs.
const WAVE: usize = 64;

/// A launch with everything bound but its memory.
pub struct Launch<'a> {
    pub graph: &'a Graph,
    pub code: &'a Code,
    pub dims: &'a [i64],
    pub params: &'a [Val],
    pub steps: &'a [u64],
    pub options: &'a Options,
    pub rounded: bool,
}

/// What a launch leaves behind.
#[derive(Default)]
pub struct Done {
    /// Bits of each object that was written, dense.
    pub written: Vec<Option<Vec<u64>>>,
    pub prints: Vec<String>,
    pub tested: Tested,
    pub instances: u64,
}

/// What one instance leaves behind beside its stores.
#[derive(Default)]
struct Trace {
    log: SumLog,
    prints: Vec<String>,
    tested: Tested,
}

impl Launch<'_> {
    /// Runs with memory made by `fresh` (again, should there be an error to look for).
    pub fn run<'m>(&self, fresh: &dyn Fn() -> Vec<Memory<'m>>) -> Result<Done, Vec<Diagnostic>> {
        match self.attempt(&fresh(), true) {
            Ok(done) => Ok(done),
            Err(first) => match self.attempt(&fresh(), false) {
                Err(in_order) => Err(in_order),
                Ok(_) => Err(first),
            },
        }
    }

    fn attempt(&self, memory: &[Memory<'_>], parallel: bool) -> Result<Done, Vec<Diagnostic>> {
        let shared = Shared {
            graph: self.graph,
            code: self.code,
            dims: self.dims,
            params: self.params,
            memory,
            steps: self.steps,
            options: self.options,
            rounded: self.rounded,
        };
        let instances = Instances::list(&shared)?;
        let mut done = Done { instances: instances.count as u64, ..Done::default() };
        instances.run(&shared, parallel, &mut done)?;
        let problems: Vec<Diagnostic> = memory
            .iter()
            .enumerate()
            .filter_map(|(at, m)| self.at_the_end(at, m, &shared, &instances))
            .collect();
        if !problems.is_empty() {
            return Err(problems);
        }
        done.written = memory.iter().map(|m| self.written(m)).collect();
        Ok(done)
    }

    fn written(&self, memory: &Memory<'_>) -> Option<Vec<u64>> {
        let Storage::Own(own) = &memory.storage else { return None };
        let round = self.rounded && memory.mode == Mode::Sum && memory.is_float();
        let of = |at| match (own.get(at), round) {
            // A sum is a real sum, rounded once.
            (bits, true) => number::round(memory.dtype, f64::from_bits(bits)).to_bits(),
            (bits, false) => bits,
        };
        Some((0..own.len()).map(of).collect())
    }

    /// Cover, reads of another instance's writes, offsets that decrease.
    fn at_the_end(
        &self,
        at: usize,
        memory: &Memory<'_>,
        shared: &Shared<'_>,
        instances: &Instances<'_>,
    ) -> Option<Diagnostic> {
        let Storage::Own(own) = &memory.storage else { return None };
        let name = memory.name;
        if let Some((first, missing)) = own.uncovered() {
            let place = coordinate(&memory.coordinates(first));
            let message = format!("`{name}` is not written at {place}");
            return Some(
                Diagnostic::error("T0458", memory.declared, message)
                    .label("every element of an `out` tensor is written exactly once")
                    .note(format!("{} of {} have no value", missing, counted(own.len(), "element")))
                    .help("let the `par` domain cover the tensor, or make it `inout` or `sum`"),
            );
        }
        if let Some((element, writer, reader)) = own.read_elsewhere() {
            let place = coordinate(&memory.coordinates(element));
            let who = |w: Who| format!("{INSTANCE}{w}{INSTANCE}");
            let readers = reader.map_or("several instances".into(), who);
            let note = format!("{} writes it, {readers} reads it", who(writer));
            let note = name_instances(&Worker::new(shared), &note, &|w| instances.of(w));
            return Some(
                Diagnostic::error(
                    "T0459",
                    memory.declared,
                    format!("`{name}` is read at {place} by another instance than the one that writes it"),
                )
                .label("no instance reads what another one writes: there is no order between them")
                .note(note)
                .help("write to another tensor, or let one instance own the element"),
            );
        }
        self.bad_offsets(at, memory)
    }

    fn bad_offsets(&self, at: usize, memory: &Memory<'_>) -> Option<Diagnostic> {
        let (Storage::Own(own), Some(IndexKind::Offsets(_))) =
            (&memory.storage, &self.graph.objects[at].index)
        else {
            return None;
        };
        let values: Vec<i64> = (0..own.len()).map(|n| own.get(n) as i64).collect();
        let end = memory.limits?.1;
        let fault = match values.windows(2).position(|w| w[0] > w[1]) {
            Some(n) => format!("{} at {n} is followed by {}", values[n], values[n + 1]),
            None if values.first() != Some(&0) => "they do not start at 0".to_string(),
            None if values.last() != Some(&end) => format!("they do not end at {end}"),
            None => return None,
        };
        let message = format!("`{}` holds no offsets: {fault}", memory.name);
        Some(
            Diagnostic::error("T0452", memory.declared, message)
                .label("offsets do not decrease, from 0 to their bound"),
        )
    }
}

/// The `par` domain of a launch, listed.
struct Instances<'a> {
    outer: Option<&'a ParOp>,
    levels: usize,
    count: usize,
    trips: Vec<Trip>,
}

impl<'a> Instances<'a> {
    fn list(shared: &Shared<'a>) -> Result<Instances<'a>, Vec<Diagnostic>> {
        let nest = shared.graph.par_nest();
        let outer = nest.first().and_then(|&n| match &shared.graph.node(n).op {
            Op::Par(p) => Some(p),
            _ => None,
        });
        if outer.is_none() {
            return Ok(Instances { outer, levels: 0, count: 1, trips: vec![] });
        }
        let mut worker = Worker::new(shared);
        worker.listing = Some(vec![]);
        worker.region(ROOT).map_err(|f| vec![*f.diagnostic])?;
        let trips = worker.listing.take().unwrap_or_default();
        Ok(Instances { outer, levels: nest.len(), count: trips.len() / nest.len(), trips })
    }

    /// The coordinates of an instance.
    fn of(&self, who: Who) -> Option<Vec<Trip>> {
        let at = (who as usize).checked_sub(1)? * self.levels;
        self.trips.get(at..at + self.levels).map(<[Trip]>::to_vec)
    }

    fn run(&self, shared: &Shared<'a>, parallel: bool, done: &mut Done) -> Result<(), Vec<Diagnostic>> {
        let mut order: Vec<Who> = (1..=self.count as Who).collect();
        if let Some(seed) = shared.options.order_seed.filter(|_| parallel) {
            Random::new(seed).shuffle(&mut order);
        }
        let sums = shared.graph.node_ids().any(|n| matches!(shared.graph.node(n).op, Op::Accumulate(_)));
        let wave = match (parallel, sums) {
            (true, false) => order.len(),
            _ => WAVE,
        };
        // In a shuffled order prints still come in the order of the instances.
        let mut prints: Vec<(Who, Vec<String>)> = vec![];
        for who in order.chunks(wave.max(1)) {
            for (&who, trace) in who.iter().zip(self.wave(shared, who, parallel)?) {
                for entry in &trace.log.entries {
                    self.add(shared, who, entry)?;
                }
                trace.tested.into_iter().for_each(|(key, n)| *done.tested.entry(key).or_default() += n);
                if !trace.prints.is_empty() {
                    prints.push((who, trace.prints));
                }
            }
        }
        prints.sort_by_key(|p| p.0);
        done.prints = prints.into_iter().flat_map(|p| p.1).collect();
        Ok(())
    }

    fn wave(&self, shared: &Shared<'a>, wave: &[Who], parallel: bool) -> Result<Vec<Trace>, Vec<Diagnostic>> {
        let stop = AtomicBool::new(false);
        let one = |worker: &mut Result<Worker<'_>, Fault>, who: Who| -> Result<Trace, Vec<Diagnostic>> {
            if stop.load(Relaxed) {
                return Ok(Trace::default());
            }
            let ran = match worker {
                Ok(worker) => self.instance(worker, who),
                // The root region failed: every instance fails so.
                Err(fault) => return Err(vec![(*fault.diagnostic).clone()]),
            };
            ran.map_err(|fault| {
                stop.store(true, Relaxed);
                vec![self.diagnostic(shared, fault)]
            })
        };
        if parallel && wave.len() > 1 {
            return wave.par_iter().map_init(|| self.worker(shared), |w, &who| one(w, who)).collect();
        }
        let mut worker = self.worker(shared);
        wave.iter().map(|&who| one(&mut worker, who)).collect()
    }

    /// A worker that has run the root region (where there is a `par`, that has no effects).
    fn worker<'s>(&self, shared: &'s Shared<'a>) -> Run<Worker<'s>> {
        let mut worker = Worker::new(shared);
        if self.outer.is_some() {
            worker.dry = 1;
            worker.region(ROOT)?;
            worker.dry = 0;
        }
        Ok(worker)
    }

    fn instance(&self, worker: &mut Worker<'_>, who: Who) -> Run<Trace> {
        worker.me = who;
        worker.level = 0;
        worker.loops.clear();
        (worker.dry, worker.in_skipped) = (0, 0);
        worker.coordinates = self.of(who).unwrap_or_default();
        match self.outer {
            Some(par) => worker.enter(par)?,
            None => worker.region(ROOT)?,
        }
        Ok(Trace {
            log: std::mem::take(&mut worker.log),
            prints: std::mem::take(&mut worker.prints),
            tested: std::mem::take(&mut worker.tested),
        })
    }

    fn add(&self, shared: &Shared<'a>, who: Who, entry: &memory::SumEntry) -> Result<(), Vec<Diagnostic>> {
        let memory = &shared.memory[entry.object as usize];
        memory::apply(entry, memory).map_err(|at| {
            let at = coordinate(&memory.coordinates(at));
            let message = format!("the sum `{}`{at} overflows {}", memory.name, memory.dtype);
            let note = format!("when {INSTANCE}{who}{INSTANCE} adds to it");
            vec![self.diagnostic(shared, Fault::new("T0451", entry.span, message).note(note))]
        })
    }

    fn diagnostic(&self, shared: &Shared<'a>, fault: Fault) -> Diagnostic {
        let mut diagnostic = *fault.diagnostic;
        let worker = Worker::new(shared);
        for note in &mut diagnostic.notes {
            if note.contains(INSTANCE) {
                *note = name_instances(&worker, note, &|w| self.of(w));
            }
        }
        diagnostic
    }
}
