//! An `op`: each kernel it runs becomes a graph, its host code the program's steps.

use crate::lower_graph;
use tile_base::{Diagnostic, Mode, signature::ParamKind};
use tile_graph::{Arg, Check, Claim, Graph, Op, Part, Program, Status, Step, Temp};
use tile_sema::typed::{HostArg, HostPart, HostStep, TypedProgram};

/// A program of several launches.
pub fn lower_op(op: &TypedProgram) -> Result<Program, Vec<Diagnostic>> {
    let (mut graphs, mut found) = (vec![], vec![]);
    for kernel in &op.kernels {
        match lower_graph(kernel) {
            Ok(graph) => graphs.push(graph),
            Err(faults) => found.extend(faults),
        }
    }
    if !found.is_empty() {
        return Err(found);
    }
    let program = Program {
        signature: op.signature.clone(),
        temps: op
            .temps
            .iter()
            .map(|t| Temp {
                name: t.name.clone(),
                dtype: t.dtype,
                index: t.index.clone(),
                shape: t.shape.clone(),
                workspace: false,
            })
            .collect(),
        steps: op.steps.iter().map(step).collect(),
        graphs,
    };
    Ok(distrust_temps(ask_for_distinct(program)))
}

/// An index tensor of the op that a launch is given whole, for one in which no position may repeat, must not repeat one
/// either. Launches that may not happen ask for nothing.
fn ask_for_distinct(mut program: Program) -> Program {
    for step in &program.steps {
        let Step::Launch { graph, args } = step else { continue };
        for (arg, asked) in args.iter().zip(&program.graphs[*graph].signature.params) {
            if let (Arg::Param(at), ParamKind::Tensor(asked)) = (arg, asked)
                && let ParamKind::Tensor(own) = &mut program.signature.params[*at]
            {
                own.distinct |= asked.distinct && own.mode == Mode::In;
            }
        }
    }
    program
}

fn step(s: &HostStep) -> Step {
    match s {
        HostStep::Launch { kernel, args, .. } => {
            Step::Launch { graph: *kernel, args: args.iter().map(arg).collect() }
        }
        HostStep::Let { name, value } => Step::Let { name: name.clone(), value: value.clone() },
        HostStep::For { name, lo, hi, body } => Step::For {
            name: name.clone(),
            lo: lo.clone(),
            hi: hi.clone(),
            body: body.iter().map(step).collect(),
        },
        HostStep::If { lhs, op, rhs, then, otherwise } => Step::If {
            lhs: lhs.clone(),
            op: *op,
            rhs: rhs.clone(),
            then: then.iter().map(step).collect(),
            otherwise: otherwise.iter().map(step).collect(),
        },
    }
}

fn arg(a: &HostArg) -> Arg {
    match a {
        HostArg::Param(p) => Arg::Param(*p),
        HostArg::Temp(t) => Arg::Temp(*t),
        HostArg::Part { of, subscripts } => Arg::Part {
            of: Box::new(arg(of)),
            subscripts: subscripts
                .iter()
                .map(|s| match s {
                    HostPart::At(v) => Part::At(v.clone()),
                    HostPart::All => Part::All,
                    HostPart::Range(lo, hi) => Part::Range(lo.clone(), hi.clone()),
                })
                .collect(),
        },
        HostArg::Size(s) => Arg::Size(s.clone()),
        HostArg::Float(v) => Arg::Float(*v),
        HostArg::Absent => Arg::Absent,
    }
}

/// The host never sees what a temporary holds, so bounds that rest on index tensors checked at launch are checked in
/// place in every graph that is given a temporary (or a tensor that the program writes) for one.
fn distrust_temps(mut program: Program) -> Program {
    let mut unseen = vec![false; program.graphs.len()];
    let steps = program.steps.clone();
    visit_launches(&steps, &mut |graph, args| {
        let params = &program.graphs[graph].signature.params;
        unseen[graph] |= args.iter().zip(params).any(|(arg, param)| {
            matches!(param, ParamKind::Tensor(t) if t.index.is_some() && t.mode == Mode::In)
                && made_on_device(arg, &program)
        });
    });
    for (graph, _) in program.graphs.iter_mut().zip(&unseen).filter(|(_, u)| **u) {
        check_in_place(graph);
    }
    program
}

fn visit_launches(steps: &[Step], f: &mut impl FnMut(usize, &[Arg])) {
    for step in steps {
        match step {
            Step::Launch { graph, args } => f(*graph, args),
            Step::For { body, .. } => visit_launches(body, f),
            Step::If { then, otherwise, .. } => {
                visit_launches(then, f);
                visit_launches(otherwise, f);
            }
            Step::Let { .. } => {}
        }
    }
}

fn made_on_device(arg: &Arg, program: &Program) -> bool {
    match arg {
        Arg::Temp(_) => true,
        Arg::Param(p) => {
            matches!(program.signature.params.get(*p), Some(ParamKind::Tensor(t)) if t.mode.writes())
        }
        Arg::Part { of, .. } => made_on_device(of, program),
        Arg::Size(_) | Arg::Float(_) | Arg::Absent => false,
    }
}

fn check_in_place(graph: &mut Graph) {
    for node in graph.node_ids().collect::<Vec<_>>() {
        let access = match &mut graph.node_mut(node).op {
            Op::Load(a) | Op::Accumulate(a) | Op::Store { access: a, .. } => a,
            _ => continue,
        };
        for coord in access.coords.iter_mut().filter(|c| c.check == Check::AtLaunch) {
            coord.check = Check::InPlace;
        }
    }
    for o in &mut graph.obligations {
        if o.status == Status::AtLaunch {
            o.status = if matches!(o.claim, Claim::Bounds { .. }) { Status::InPlace } else { Status::Tested };
            o.reason = "rests on an index tensor that the host does not see".into();
        }
    }
}
