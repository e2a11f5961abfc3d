//! A program rewritten by its schedules.
//!
//! Each kernel gets a *variant* for each schedule that may hold. A variant is a list of graphs that are launched one after the other; all but the last fill workspaces. Every
//! launch of the kernel becomes the launches of a variant, under host `if`s where the guards ask for dimensions.

use super::{
    guard::{self, Condition},
    matching, rows, schedules,
};
use crate::Loaded;
use std::collections::{BTreeMap, BTreeSet};
use tile_base::{Diagnostic, Size};
use tile_graph::{Arg, Graph, Program, Step, Temp, laws};
use tile_plan::{Request, bulk};
use tile_syntax::ast;
use tile_target::Target;

/// A program and what its schedules ask of the planner, by graph.
#[derive(Debug)]
pub struct Scheduled {
    pub program: Program,
    pub requests: Vec<Request>,
}

/// Applies what the schedules of the session say for a target.
pub fn apply(
    loaded: &Loaded,
    program: &Program,
    target: &Target,
    notes: &mut Vec<Diagnostic>,
) -> Result<Scheduled, Vec<Diagnostic>> {
    let mut out = Scheduled::plain(program);
    for at in 0..program.graphs.len() {
        let found = matching(loaded, &program.graphs[at], target, notes);
        out.schedule(at, found, notes)?;
    }
    let mut out = out.pruned();
    for graph in &mut out.program.graphs {
        laws::peel_full(graph);
    }
    Ok(out)
}

/// The program under each schedule alone that changes its launches, whatever its target and as if its guard held: none of
/// them may change a result.
pub fn each_split(loaded: &Loaded, program: &Program) -> Result<Vec<Program>, Vec<Diagnostic>> {
    let mut found = vec![];
    for (at, graph) in program.graphs.iter().enumerate() {
        for schedule in schedules(loaded, &graph.signature.kernel) {
            let fits = schedule
                .guard
                .as_ref()
                .is_none_or(|g| guard::condition(g, graph).is_some_and(|c| c != Condition::Known(false)));
            if fits {
                let mut out = Scheduled::plain(program);
                out.schedule(at, vec![(Condition::Known(true), schedule)], &mut vec![])?;
                let out = out.pruned().program;
                found.extend((out.graphs.len() > program.graphs.len()).then_some(out));
            }
        }
    }
    Ok(found)
}

/// Schedules with what they ask of a launch, in the order in which they are tried.
type Found<'a> = Vec<(Condition, &'a ast::Schedule)>;

/// One way to run a kernel.
struct Variant {
    condition: Condition,
    launches: Vec<Launch>,
}

/// One launch of a variant: its graph, and the workspaces that it takes beyond those of the launches before.
struct Launch {
    graph: usize,
    workspaces: Vec<Workspace>,
}

/// A workspace; its shape over the dimensions of the kernel.
#[derive(Clone)]
struct Workspace {
    of: laws::Workspace,
    shape: Vec<Size>,
}

impl Scheduled {
    /// The program as it stands.
    fn plain(program: &Program) -> Scheduled {
        let requests = program.graphs.iter().map(|_| Request::default()).collect();
        Scheduled { program: program.clone(), requests }
    }

    /// Applies the schedules of one kernel. Its graph stays where it is; those of the variants come behind the others.
    fn schedule(
        &mut self,
        at: usize,
        found: Found,
        notes: &mut Vec<Diagnostic>,
    ) -> Result<(), Vec<Diagnostic>> {
        let mut variants = vec![];
        for (n, (condition, schedule)) in found.into_iter().enumerate() {
            let launches = self.variant(at, n, schedule, notes)?;
            variants.push(Variant { condition, launches });
        }
        if !variants.is_empty() {
            let steps = std::mem::take(&mut self.program.steps);
            self.program.steps = self.rewritten(steps, at, &variants, notes);
        }
        Ok(())
    }

    /// The launches of a kernel under one schedule.
    fn variant(
        &mut self,
        at: usize,
        number: usize,
        schedule: &ast::Schedule,
        notes: &mut Vec<Diagnostic>,
    ) -> Result<Vec<Launch>, Vec<Diagnostic>> {
        let mut graph = self.program.graphs[at].clone();
        let rows = rows::read(schedule, &graph, notes)?;
        if number > 0 {
            graph.name = format!("{}_s{}", graph.name, number + 1);
        }
        let mut launches = vec![];
        for row in &rows.splits {
            match row.launches(&graph, &rows.request) {
                Ok(mut split) => {
                    graph = split.graphs.pop().unwrap_or(graph);
                    launches.extend(self.before_last(split, row, &rows.request));
                }
                Err(why) => {
                    let d = rows.not_split(row, &why.0);
                    if d.is_error() {
                        return Err(vec![d]);
                    }
                    notes.push(d);
                }
            }
        }
        let graph = self.add(graph, rows.request);
        launches.push(Launch { graph, workspaces: vec![] });
        Ok(launches)
    }

    /// All launches of a split kernel but the last one.
    fn before_last(&mut self, split: laws::Launches, row: &rows::SplitRow, request: &Request) -> Vec<Launch> {
        let count = |n: &str| row.parts().filter(|_| Some(n) == split.parts.as_deref()).cloned();
        let shape = |w: &laws::Workspace| w.shape.iter().map(|s| s.substitute(&count)).collect();
        let mut workspaces: Vec<Workspace> =
            split.workspaces.iter().map(|w| Workspace { of: w.clone(), shape: shape(w) }).collect();
        let mut launches = vec![];
        for graph in split.graphs {
            let graph = self.add(graph, request.clone());
            launches.push(Launch { graph, workspaces: std::mem::take(&mut workspaces) });
        }
        launches
    }

    /// A kernel of the compiler's own (what adds ranks up) does not have the tile sizes of the one it comes from, nor its
    /// loads.
    fn add(&mut self, graph: Graph, mut request: Request) -> usize {
        request.tiles.retain(|(name, _)| graph.tile_named(name).is_some());
        request.bulk.retain(|wish| bulk::names_a_load(&graph, &wish.path));
        self.program.graphs.push(graph);
        self.requests.push(request);
        self.program.graphs.len() - 1
    }

    /// Without the graphs that nothing launches any more.
    fn pruned(mut self) -> Scheduled {
        let mut used = BTreeSet::new();
        launched(&mut self.program.steps, &mut |graph| {
            used.insert(*graph);
        });
        let at: BTreeMap<usize, usize> = used.iter().enumerate().map(|(new, &old)| (old, new)).collect();
        launched(&mut self.program.steps, &mut |graph| *graph = at[graph]);
        let kept = |old: &usize| used.contains(old);
        let (graphs, requests) = (self.program.graphs, self.requests);
        self.program.graphs =
            graphs.into_iter().enumerate().filter(|(n, _)| kept(n)).map(|(_, g)| g).collect();
        self.requests = requests.into_iter().enumerate().filter(|(n, _)| kept(n)).map(|(_, r)| r).collect();
        self
    }

    fn rewritten(
        &mut self,
        steps: Vec<Step>,
        at: usize,
        variants: &[Variant],
        notes: &mut Vec<Diagnostic>,
    ) -> Vec<Step> {
        let mut out = vec![];
        for step in steps {
            match step {
                Step::Launch { graph, args } if graph == at => {
                    out.extend(self.launches(at, &args, variants, notes));
                }
                Step::For { name, lo, hi, body } => {
                    let body = self.rewritten(body, at, variants, notes);
                    out.push(Step::For { name, lo, hi, body });
                }
                Step::If { lhs, op, rhs, then, otherwise } => {
                    let then = self.rewritten(then, at, variants, notes);
                    let otherwise = self.rewritten(otherwise, at, variants, notes);
                    out.push(Step::If { lhs, op, rhs, then, otherwise });
                }
                other => out.push(other),
            }
        }
        out
    }

    /// What stands for one launch of a kernel: the variants from the first on, the kernel itself when none holds.
    fn launches(
        &mut self,
        at: usize,
        args: &[Arg],
        variants: &[Variant],
        notes: &mut Vec<Diagnostic>,
    ) -> Vec<Step> {
        let dims = self.program.dims_of_launch(at, args);
        let mut otherwise = vec![Step::Launch { graph: at, args: args.to_vec() }];
        for variant in variants.iter().rev() {
            if let Some(name) = self.unknown(&dims, variant) {
                let (kernel, program) = (&self.program.graphs[at].name, &self.program.signature.kernel);
                let message = format!(
                    "a schedule of `{kernel}` is passed over: it depends on `{name}`, which `{program}` does not fix"
                );
                notes.push(Diagnostic {
                    severity: tile_base::diagnostic::Severity::Note,
                    ..Diagnostic::global("T0867", message).help(
                        "guard with, and split over, dimensions that are extents of the op's parameters",
                    )
                });
                continue;
            }
            let with = |n: &str| dims.get(n).cloned();
            let then = self.of_variant(args, variant, &with);
            otherwise = variant.condition.choose(&with, then, otherwise);
        }
        otherwise
    }

    fn of_variant(
        &mut self,
        args: &[Arg],
        variant: &Variant,
        with: &dyn Fn(&str) -> Option<Size>,
    ) -> Vec<Step> {
        let mut args = args.to_vec();
        let mut steps = vec![];
        for launch in &variant.launches {
            for workspace in &launch.workspaces {
                let graph = &self.program.graphs[launch.graph];
                let temp = Temp {
                    name: format!("{}.{}", graph.signature.kernel, workspace.of.name),
                    dtype: workspace.of.dtype,
                    index: None,
                    shape: workspace.shape.iter().map(|s| s.substitute(with)).collect(),
                    workspace: true,
                };
                args.push(Arg::Temp(self.program.temps.len()));
                self.program.temps.push(temp);
            }
            steps.push(Step::Launch { graph: launch.graph, args: args.clone() });
        }
        steps
    }

    /// A dimension that the variant asks for and that the host does not know before the first launch.
    fn unknown(&self, dims: &BTreeMap<String, Size>, variant: &Variant) -> Option<String> {
        let given = |n: &str| self.program.signature.dims.iter().any(|d| d == n);
        let shapes = variant.launches.iter().flat_map(|l| &l.workspaces).flat_map(|w| &w.shape);
        let mut names = variant.condition.names().into_iter().chain(shapes.flat_map(|s| s.names()));
        let known = |n: &str| dims.get(n).is_some_and(|s| s.names().into_iter().all(given));
        names.find(|n| !known(n)).map(str::to_string)
    }
}

/// Visits the graph of every launch.
fn launched(steps: &mut [Step], f: &mut impl FnMut(&mut usize)) {
    for step in steps {
        match step {
            Step::Launch { graph, .. } => f(graph),
            Step::For { body, .. } => launched(body, f),
            Step::If { then, otherwise, .. } => {
                launched(then, f);
                launched(otherwise, f);
            }
            Step::Let { .. } => {}
        }
    }
}
