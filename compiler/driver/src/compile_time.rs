//! How long kernels take from source to PTX, in one process: the way of a program that compiles as it goes.
//!
//! Nothing is kept between repetitions: the file is read, parsed and checked again, and every launch is planned and
//! compiled again. The first one is told apart, because the first of a process also fills LLVM's tables. Whole
//! processes are measured by `tilec bench` without `--compile`.
//!
//! A kernel with schedules has launches of which a call needs some: `gated_delta` is six kernels, and no shape runs more
//! than four of them. Where every dimension is given, it is the launches of such a call that are compiled, as before a
//! run; else all that there are.

use crate::{Given, Loaded, Session, choose, compile, emit, functions, run, testing};
use std::time::Duration;
use tile_base::{
    Diagnostic,
    time::{Clock, Spent},
};

/// One kernel or op.
#[derive(Clone, Debug)]
pub struct CompileTime {
    pub kernel: String,
    /// Modules of PTX.
    pub launches: usize,
    /// The first repetition.
    pub first: Spent,
    /// Medians of the others, each by itself, of all threads.
    pub spent: Spent,
    /// Medians by stage, of the threads that did it, summed over launches.
    pub stages: Vec<(&'static str, Spent)>,
    pub ptx_bytes: usize,
}

/// Kernels and ops of a file that have a test, whose first case says what nobody gives. What has none is a part of an op
/// and is measured with it.
pub fn names(session: &mut Session, path: &str) -> Result<Vec<String>, Vec<Diagnostic>> {
    let loaded = session.load(path)?;
    let names = choose::measured(&loaded.module);
    Ok(names.filter(|n| testing::first_case(&loaded.module, n).is_some()).collect())
}

/// Measures one kernel or op. What is wrong with it shows in the first repetition, of which the sources are the
/// session's.
pub fn measure(
    session: &mut Session,
    path: &str,
    name: &str,
    given: &Given,
    target: &str,
    repetitions: usize,
) -> Result<CompileTime, Vec<Diagnostic>> {
    let (first, built) = once(session, path, name, given, target)?;
    let mut samples = vec![];
    for _ in 0..repetitions.max(1) {
        let mut fresh = Session::new();
        let (spent, _) = once(&mut fresh, path, name, given, target)?;
        samples.push((spent, fresh.timer));
    }
    let whole = samples.iter().map(|(spent, _)| *spent).collect();
    let stages = samples[0].1.stages().iter().enumerate().map(|(at, (stage, _))| {
        let of_stage = samples.iter().filter_map(|(_, timer)| timer.stages().get(at)).map(|(_, s)| *s);
        (*stage, median(of_stage.collect()))
    });
    Ok(CompileTime {
        kernel: built.kernel,
        launches: built.sizes.len(),
        first,
        spent: median(whole),
        stages: stages.collect(),
        ptx_bytes: built.sizes.iter().sum(),
    })
}

/// What was compiled.
struct Built {
    kernel: String,
    /// Bytes of each module of PTX.
    sizes: Vec<usize>,
}

/// One compilation.
fn once(
    session: &mut Session,
    path: &str,
    name: &str,
    given: &Given,
    target: &str,
) -> Result<(Spent, Built), Vec<Diagnostic>> {
    let mut clock = Clock::process();
    let loaded = session.load_with(path, &functions::modules(given))?;
    if let Some((spent, built)) = launched(session, &loaded, name, given, target, &mut clock)? {
        return Ok((spent, built));
    }
    let built = emit::build(session, &loaded, Some(name), given, target, &[emit::Stage::Ptx])?;
    let sizes = built.modules.iter().map(|(_, ptx)| ptx.len()).collect();
    Ok((clock.lap(), Built { kernel: built.kernel, sizes }))
}

/// The code of one call, where every dimension is given. Its arguments are made in time that does not count.
fn launched(
    session: &mut Session,
    loaded: &Loaded,
    name: &str,
    given: &Given,
    target: &str,
    clock: &mut Clock,
) -> Result<Option<(Spent, Built)>, Vec<Diagnostic>> {
    if given.dims.is_empty() {
        return Ok(None);
    }
    let target = emit::find_target(target)?;
    let picked = compile::pick(session, loaded, Some(name))?;
    let case = compile::first_case(loaded, &picked);
    let choice = choose::choose(&loaded.module, picked.callable(loaded), given, case.as_ref())?;
    let mut compiled = compile::compile(session, loaded, &picked, &choice.instance)?;
    let signature = compiled.signature().clone();
    if !signature.dims.iter().all(|d| given.dims.contains_key(d)) {
        return Ok(None);
    }
    let mut spent = clock.lap();
    let launch = run::prepare(&signature, &mut given.clone(), case.as_ref(), Some(1), &mut vec![])?;
    clock.lap();
    let program = run::device_program(session, loaded, &mut compiled, target, &launch)?;
    spent += clock.lap();
    let sizes = program.codes.iter().map(|c| c.ptx.len()).collect();
    Ok(Some((spent, Built { kernel: signature.kernel, sizes })))
}

fn median(samples: Vec<Spent>) -> Spent {
    let middle = |of: fn(&Spent) -> Duration| {
        let mut times: Vec<Duration> = samples.iter().map(of).collect();
        times.sort();
        times.get(times.len() / 2).copied().unwrap_or_default()
    };
    Spent { wall: middle(|s| s.wall), cpu: middle(|s| s.cpu) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_taken_of_each_clock_by_itself() {
        let spent = |wall, cpu| Spent { wall: Duration::from_millis(wall), cpu: Duration::from_millis(cpu) };
        assert_eq!(median(vec![spent(9, 1), spent(2, 7), spent(5, 3)]), spent(5, 3));
        assert_eq!(median(vec![]), Spent::default());
    }
}
