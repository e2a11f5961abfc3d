//! A program rewritten by its schedules.
//!
//! Each kernel gets one or more *variants*: one for each schedule that may hold, and the kernel as it stands when none
//! has to. A variant is a list of graphs that are launched one after the other; all but the last fill workspaces. Every
//! launch of the kernel becomes the launches of a variant, under host `if`s where the guards ask for dimensions.

use super::{
    guard::{self, Condition},
    matching, rows, schedules,
};
use crate::Loaded;
use std::collections::BTreeMap;
use tile_base::{Diagnostic, Size};
use tile_graph::{Arg, Graph, Program, Step, Temp, laws};
use tile_plan::Request;
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
                found.extend((out.program.graphs.len() > program.graphs.len()).then_some(out.program));
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

    /// Applies the schedules of one kernel.
    fn schedule(
        &mut self,
        at: usize,
        found: Found,
        notes: &mut Vec<Diagnostic>,
    ) -> Result<(), Vec<Diagnostic>> {
        let variants = self.variants(at, found, notes)?;
        let steps = std::mem::take(&mut self.program.steps);
        self.program.steps = self.rewritten(steps, at, &variants)?;
        Ok(())
    }

    fn variants(
        &mut self,
        at: usize,
        found: Found,
        notes: &mut Vec<Diagnostic>,
    ) -> Result<Vec<Variant>, Vec<Diagnostic>> {
        let plain = self.program.graphs[at].clone();
        let always = matches!(found.last(), Some((Condition::Known(true), _)));
        let several = found.len() + usize::from(!always) > 1;
        let mut variants = vec![];
        for (n, (condition, schedule)) in found.into_iter().enumerate() {
            let rows = rows::read(schedule, &plain, notes)?;
            let mut graph = plain.clone();
            if several && n > 0 {
                graph.name = format!("{}_s{}", plain.name, n + 1);
            }
            let mut launches = vec![];
            for row in &rows.splits {
                match self.split(&graph, row, &rows.request) {
                    Ok((part, combine)) => {
                        launches.push(part);
                        graph = combine;
                    }
                    Err(why) => {
                        let d = rows.not_split(row, &why);
                        if tile_base::diagnostic::any_error(std::slice::from_ref(&d)) {
                            return Err(vec![d]);
                        }
                        notes.push(d);
                    }
                }
            }
            let graph = self.place(at, n == 0, graph, rows.request);
            launches.push(Launch { graph, workspaces: vec![] });
            variants.push(Variant { condition, launches });
        }
        if several && !always {
            let name = format!("{}_s{}", plain.name, variants.len() + 1);
            let mut graph = plain;
            graph.name = name;
            let graph = self.place(at, false, graph, Request::default());
            let launches = vec![Launch { graph, workspaces: vec![] }];
            variants.push(Variant { condition: Condition::Known(true), launches });
        }
        Ok(variants)
    }

    /// The first launch of a split kernel, and the kernel that is left.
    fn split(
        &mut self,
        graph: &Graph,
        row: &rows::SplitRow,
        request: &Request,
    ) -> Result<(Launch, Graph), String> {
        let node = rows::loop_of(graph, &row.path).ok_or("is no loop of the kernel any more")?;
        let split = laws::split_launches(graph, node).map_err(|refused| refused.0)?;
        let count = |n: &str| (n == split.parts).then(|| row.parts.clone());
        let workspaces = split
            .workspaces
            .iter()
            .map(|w| Workspace {
                of: w.clone(),
                shape: w.shape.iter().map(|s| s.substitute(&count)).collect(),
            })
            .collect();
        self.program.graphs.push(split.part);
        self.requests.push(request.clone());
        Ok((Launch { graph: self.program.graphs.len() - 1, workspaces }, split.combine))
    }

    /// Puts the last graph of a variant in the kernel's place, or at the end.
    fn place(&mut self, at: usize, first: bool, graph: Graph, request: Request) -> usize {
        if first {
            self.program.graphs[at] = graph;
            self.requests[at] = request;
            return at;
        }
        self.program.graphs.push(graph);
        self.requests.push(request);
        self.program.graphs.len() - 1
    }

    fn rewritten(
        &mut self,
        steps: Vec<Step>,
        at: usize,
        variants: &[Variant],
    ) -> Result<Vec<Step>, Vec<Diagnostic>> {
        let mut out = vec![];
        for step in steps {
            match step {
                Step::Launch { graph, args } if graph == at && !variants.is_empty() => {
                    out.extend(self.launches(at, &args, variants)?);
                }
                Step::For { name, lo, hi, body } => {
                    let body = self.rewritten(body, at, variants)?;
                    out.push(Step::For { name, lo, hi, body });
                }
                Step::If { lhs, op, rhs, then, otherwise } => {
                    let then = self.rewritten(then, at, variants)?;
                    let otherwise = self.rewritten(otherwise, at, variants)?;
                    out.push(Step::If { lhs, op, rhs, then, otherwise });
                }
                other => out.push(other),
            }
        }
        Ok(out)
    }

    /// What stands for one launch of a kernel.
    fn launches(
        &mut self,
        at: usize,
        args: &[Arg],
        variants: &[Variant],
    ) -> Result<Vec<Step>, Vec<Diagnostic>> {
        let dims = self.program.dims_of_launch(at, args);
        let mut otherwise = vec![];
        for variant in variants.iter().rev() {
            let asked = variant.condition.names();
            let shapes = variant.launches.iter().flat_map(|l| &l.workspaces).flat_map(|w| &w.shape);
            let names = asked.into_iter().chain(shapes.flat_map(|s| s.names()));
            self.known(at, &dims, names)?;
            let with = |n: &str| dims.get(n).cloned();
            let then = self.of_variant(args, variant, &with);
            otherwise = variant.condition.choose(&with, then, otherwise);
        }
        Ok(otherwise)
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

    /// Whether the host knows these dimensions of a launch, before the first one.
    fn known<'n>(
        &self,
        at: usize,
        dims: &BTreeMap<String, Size>,
        names: impl Iterator<Item = &'n str>,
    ) -> Result<(), Vec<Diagnostic>> {
        let signature = &self.program.signature;
        let given = |n: &str| signature.dims.iter().any(|d| d == n);
        for name in names {
            let size = dims.get(name);
            if size.is_none_or(|s| !s.names().into_iter().all(given)) {
                let kernel = &self.program.graphs[at].signature.kernel;
                let message = format!(
                    "a schedule of `{kernel}` depends on `{name}`, which changes while `{}` runs",
                    signature.kernel
                );
                return Err(vec![Diagnostic::global("T0867", message).help(
                    "guard with, and split over, dimensions that are extents of the op's parameters",
                )]);
            }
        }
        Ok(())
    }
}
