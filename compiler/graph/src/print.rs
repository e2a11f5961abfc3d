//! The text form of a graph and of a program: exact, indented by region, in the user's names.
//!
//! ```text
//! par i in tiles(0..M, BM) {
//!   par j in tiles(0..N, BN) {
//!     %14: f32[i, j] = broadcast 0.0
//!     %20: f32[i, j] = for s in tiles(0..K, s) stream sum carried (%15.3 = %14) {
//!       %16: f16[i, s] = load a[i.start + @0, s.start + @1]
//! ```
//!
//! In an access `@n` is the position along axis `n` of the tile. After a coordinate `?` says outside is meant, `!`
//! that it is checked in place, `~` that it is checked at launch; nothing, that it is proven. `{lo..hi}` are narrower
//! limits. Names are those of [`crate::names`].

use crate::{access::*, ir::*, names::Names, op::*, program::*};
use std::fmt::Write;
use tile_base::{IndexKind, signature::ParamKind};

/// The text form of one graph.
pub fn print(graph: &Graph) -> String {
    let mut p = Printer { graph, names: Names::new(graph), out: String::new() };
    p.header();
    p.region(ROOT, 0);
    p.obligations();
    p.out
}

struct Printer<'a> {
    graph: &'a Graph,
    names: Names<'a>,
    out: String,
}

impl Printer<'_> {
    fn line(&mut self, depth: usize, text: &str) {
        let _ = writeln!(self.out, "{:1$}{text}", "", depth * 2);
    }

    fn header(&mut self) {
        let g = self.graph;
        self.line(0, &format!("graph {}", g.name));
        let consts: Vec<String> = g.signature.consts.iter().map(|(n, v)| format!("{n} = {v}")).collect();
        if !consts.is_empty() {
            self.line(1, &format!("const {}", consts.join(", ")));
        }
        if !g.signature.dims.is_empty() {
            self.line(1, &format!("dim {}", g.signature.dims.join(", ")));
        }
        for param in &g.signature.params {
            self.line(1, &param_text(param));
        }
        for fact in &g.signature.facts {
            self.line(1, &format!("where {}", fact.text));
        }
        for tile in &g.tiles {
            let allowed = match tile.allowed.is_empty() {
                true => String::new(),
                false => format!(" in {:?}", tile.allowed),
            };
            let hidden = if tile.hidden { " (hidden)" } else { "" };
            self.line(1, &format!("tile {}{allowed}{hidden}", tile.name));
        }
    }

    fn region(&mut self, region: RegionId, depth: usize) {
        for &node in &self.graph.region(region).nodes {
            self.node(node, depth);
        }
    }

    fn node(&mut self, node: NodeId, depth: usize) {
        let g = self.graph;
        let n = g.node(node);
        match &n.op {
            // Inline wherever they are used.
            Op::Const(_) | Op::Dim(_) | Op::Param(_) | Op::RegionArgs => {}
            Op::Yield => {
                let values = self.values(&g.inputs(node));
                if !values.is_empty() {
                    self.line(depth, &format!("yield {values}"));
                }
            }
            Op::Par(p) => {
                let head = format!(
                    "par {} in {} {{",
                    self.names.of_loop(node),
                    self.names.range(p.iter, &g.inputs(node))
                );
                self.line(depth, &head);
                self.region(p.body, depth + 1);
                self.line(depth, "}");
            }
            Op::For(f) => self.for_loop(node, f, depth),
            Op::While { condition, body } => {
                let head =
                    format!("{}while carried ({})", self.results(node), self.carried(node, *body, 0, 0));
                self.line(depth, &format!("{head} {{"));
                self.region(*condition, depth + 1);
                self.line(depth, &format!("}} do ({}) {{", self.arguments(*body, 0)));
                self.region(*body, depth + 1);
                self.line(depth, "}");
            }
            Op::If { then, otherwise } => {
                let condition = self.values(&g.inputs(node));
                self.line(depth, &format!("{}if {condition} {{", self.results(node)));
                self.region(*then, depth + 1);
                self.line(depth, "} else {");
                self.region(*otherwise, depth + 1);
                self.line(depth, "}");
            }
            Op::ReduceWith { axis, combine } => {
                let text = format!("reduce.with {} axis {axis}", self.values(&g.inputs(node)));
                self.line(
                    depth,
                    &format!("{}{text} ({}) {{", self.results(node), self.arguments(*combine, 0)),
                );
                self.region(*combine, depth + 1);
                self.line(depth, "}");
            }
            op => {
                let text = self.plain(node, op);
                let path = n.path.as_ref().map_or(String::new(), |p| format!("  // {p}"));
                self.line(depth, &format!("{}{text}{path}", self.results(node)));
            }
        }
    }

    fn for_loop(&mut self, node: NodeId, f: &ForOp, depth: usize) {
        let g = self.graph;
        let inputs = g.inputs(node);
        let mut head = format!(
            "{}for {} in {}",
            self.results(node),
            self.names.of_loop(node),
            self.names.range(f.iter, &inputs)
        );
        match f.origin {
            LoopOrigin::Written => {}
            LoopOrigin::Stream => head += " stream",
            LoopOrigin::List => head += " list",
        }
        match &f.combine {
            LoopCombine::Ordered => {}
            LoopCombine::Sum => head += " sum",
            LoopCombine::Merge { vars, .. } => {
                let _ = write!(head, " merge {vars:?}");
            }
            LoopCombine::Affine { var } => {
                let _ = write!(head, " affine {var}");
            }
        }
        if f.early_exit {
            head += " break";
        }
        if inputs.len() > 2 {
            let _ = write!(head, " carried ({})", self.carried(node, f.body, 2, f.iter.variables()));
        }
        self.line(depth, &format!("{head} {{"));
        self.region(f.body, depth + 1);
        if let Some(skip) = f.skip {
            self.line(depth, "} skip {");
            self.region(skip, depth + 1);
        }
        if let LoopCombine::Merge { combine, .. } = &f.combine {
            self.line(depth, &format!("}} combine ({}) {{", self.arguments(*combine, 0)));
            self.region(*combine, depth + 1);
        }
        self.line(depth, "}");
    }

    /// `%4: f32[i], %5.1: i64 = `; nothing for a node without outputs.
    fn results(&self, node: NodeId) -> String {
        let text: Vec<String> = self.graph.outputs(node).map(|v| self.typed(v)).collect();
        if text.is_empty() { String::new() } else { text.join(", ") + " = " }
    }

    fn typed(&self, value: Value) -> String {
        format!("{}: {}", self.names.value(value), self.names.ty(self.graph.type_of(value)))
    }

    fn values(&self, values: &[Value]) -> String {
        values.iter().map(|&v| self.names.value(v)).collect::<Vec<_>>().join(", ")
    }

    fn arguments(&self, region: RegionId, from: usize) -> String {
        let args = self.graph.region_args(region);
        args.iter().skip(from).map(|&v| self.typed(v)).collect::<Vec<_>>().join(", ")
    }

    fn carried(&self, node: NodeId, body: RegionId, input: usize, arg: usize) -> String {
        let (args, inputs) = (self.graph.region_args(body), self.graph.inputs(node));
        let pairs = args.iter().skip(arg).zip(inputs.iter().skip(input));
        pairs
            .map(|(&a, &i)| format!("{} = {}", self.names.value(a), self.names.value(i)))
            .collect::<Vec<_>>()
            .join(", ")
    }

    fn plain(&self, node: NodeId, op: &Op) -> String {
        let inputs = self.graph.inputs(node);
        let (name, all) = (op.name(), self.values(&inputs));
        match op {
            Op::MakeSpan { span } => {
                let step = self.names.step(self.graph.span(*span).step);
                format!("span({}, {step}, {})", self.names.value(inputs[0]), self.names.value(inputs[1]))
            }
            Op::Reshape { axes } => {
                let axes: Vec<String> =
                    axes.iter().map(|a| a.map_or("_".into(), |a| a.to_string())).collect();
                format!("{name} {all} [{}]", axes.join(", "))
            }
            Op::Permute { order } => format!("{name} {all} {order:?}"),
            Op::Merge { axis } | Op::Concat { axis } | Op::Take { axis } => {
                format!("{name} {all} axis {axis}")
            }
            Op::Split { axis, minor } => format!("{name} {all} axis {axis} by {minor}"),
            Op::Slice { axis, lo } => format!("{name} {all} axis {axis} from {lo}"),
            Op::Dot(d) => match d.lhs_batch.is_empty() {
                true => format!("{name} {all} over {}, {}", d.lhs_k, d.rhs_k),
                false => {
                    format!(
                        "{name} {all} over {}, {} batch {:?}, {:?}",
                        d.lhs_k, d.rhs_k, d.lhs_batch, d.rhs_batch
                    )
                }
            },
            Op::Reduce { axis, .. } => format!("{name} {all} axis {axis}"),
            Op::Scan { axis, reverse, exclusive, .. } => {
                let reverse = if *reverse { " reverse" } else { "" };
                let exclusive = if *exclusive { " exclusive" } else { "" };
                format!("{name} {all} axis {axis}{reverse}{exclusive}")
            }
            Op::TopK { axis, k } => format!("{name} {all} axis {axis} k {k}"),
            Op::Sort { axis, descending } => {
                format!("{name} {all} axis {axis}{}", if *descending { " descending" } else { "" })
            }
            Op::Histogram { bins } => format!("{name} {all} bins {bins}"),
            Op::Load(access) => format!("{name} {}", access_text(self.graph, &self.names, access, &inputs)),
            Op::Store { access, unique } => {
                let unique = if *unique { " unique" } else { "" };
                format!(
                    "{name} {} = {}{unique}",
                    access_text(self.graph, &self.names, access, &inputs),
                    self.names.value(inputs[0])
                )
            }
            Op::Accumulate(access) => {
                format!(
                    "{name} {} += {}",
                    access_text(self.graph, &self.names, access, &inputs),
                    self.names.value(inputs[0])
                )
            }
            Op::Assert { message } => format!("{name} {all} {message:?}"),
            Op::Print { label } => format!("{name} {all} {label:?}"),
            _ if all.is_empty() => name,
            _ => format!("{name} {all}"),
        }
    }

    fn obligations(&mut self) {
        if self.graph.obligations.is_empty() {
            return;
        }
        self.line(0, "obligations");
        for o in &self.graph.obligations {
            let text = match o.claim {
                Claim::Bounds { dim } => {
                    let access =
                        self.graph.contains(o.node).then(|| self.graph.node(o.node).op.access()).flatten();
                    match access {
                        Some(a) => format!("bounds of {}, dimension {dim}", self.graph.object(a.object).name),
                        None => format!("bounds of dimension {dim}"),
                    }
                }
                Claim::Overflow => "range".into(),
                Claim::Cover { object } => format!("cover of {}", self.graph.object(object).name),
                Claim::NoRace { object } => format!("no race on {}", self.graph.object(object).name),
                Claim::Unique => "unique".into(),
                Claim::Skip => "skip".into(),
                Claim::Merge => "merge".into(),
                Claim::Affine { carried } => format!("affine {carried}"),
            };
            let status = match o.status {
                Status::Proven => "proven",
                Status::AtLaunch => "at launch",
                Status::InPlace => "in place",
                Status::Tested => "tested",
            };
            self.line(1, &format!("%{} {text}: {status}, {}", o.node.0, o.reason));
        }
    }
}

/// `k[b, j.start + @0, %11, @1] mask %5 else 0.0`
pub(crate) fn access_text(graph: &Graph, names: &Names, access: &Access, inputs: &[Value]) -> String {
    let port = |p: Port| names.value(inputs[p as usize]);
    let mut coords = vec![];
    for coord in &access.coords {
        let mut text = match &coord.index {
            CoordIndex::Affine { base, terms } => {
                let mut parts: Vec<String> = base.iter().map(|&b| port(b)).collect();
                parts.extend(terms.iter().map(|&(axis, stride)| match stride {
                    1 => format!("@{axis}"),
                    _ => format!("{stride}*@{axis}"),
                }));
                if parts.is_empty() { "0".into() } else { parts.join(" + ") }
            }
            CoordIndex::Gather { index, axes } => {
                let axes: Vec<String> = axes.iter().map(|a| format!("@{a}")).collect();
                format!("{}[{}]", port(*index), axes.join(", "))
            }
        };
        if coord.lo.is_some() || coord.hi.is_some() {
            let limit = |p: Option<Port>| p.map_or(String::new(), port);
            let _ = write!(text, " {{{}..{}}}", limit(coord.lo), limit(coord.hi));
        }
        text += match coord.check {
            Check::Proven => "",
            Check::AtLaunch => " ~",
            Check::InPlace => " !",
            Check::Else => " ?",
        };
        coords.push(text);
    }
    let mut text = format!("{}[{}]", graph.object(access.object).name, coords.join(", "));
    if let Some(p) = access.mask {
        let _ = write!(text, " mask {}", port(p));
    }
    if let Some(p) = access.otherwise {
        let _ = write!(text, " else {}", port(p));
    }
    text
}

fn param_text(param: &ParamKind) -> String {
    match param {
        ParamKind::Scalar(s) => format!("{}: {}", s.name, s.dtype),
        ParamKind::Tensor(t) => {
            let shape: Vec<String> = t.shape.iter().map(|s| s.to_string()).collect();
            let optional = if t.optional { "?" } else { "" };
            let absent = if t.present { "" } else { " (absent)" };
            let mode = t.mode.name();
            format!(
                "{}: {mode}{optional} {}[{}]{absent}",
                t.name,
                element(&t.index, t.dtype),
                shape.join(", ")
            )
        }
    }
}

fn element(index: &Option<IndexKind>, dtype: tile_base::DType) -> String {
    match index {
        None => dtype.to_string(),
        Some(IndexKind::Id(n)) => format!("id<{n}>"),
        Some(IndexKind::IdOrNone(n)) => format!("id?<{n}>"),
        Some(IndexKind::Count(n)) => format!("count<{n}>"),
        Some(IndexKind::Offsets(n)) => format!("offsets<{n}>"),
    }
}

/// The text form of a program: parameters, temporaries, host steps, then each graph.
pub fn print_program(program: &Program) -> String {
    let graphs: Vec<String> = program.graphs.iter().map(print).collect();
    if program.temps.is_empty() && matches!(program.steps[..], [Step::Launch { graph: 0, .. }]) {
        return graphs.concat();
    }
    let mut out = format!("program {}\n", program.signature.kernel);
    for param in &program.signature.params {
        let _ = writeln!(out, "  {}", param_text(param));
    }
    for temp in &program.temps {
        let shape: Vec<String> = temp.shape.iter().map(|s| s.to_string()).collect();
        let _ =
            writeln!(out, "  temp {}: {}[{}]", temp.name, element(&temp.index, temp.dtype), shape.join(", "));
    }
    steps(&mut out, program, &program.steps, 1);
    for graph in graphs {
        out.push('\n');
        out.push_str(&graph);
    }
    out
}

fn steps(out: &mut String, program: &Program, list: &[Step], depth: usize) {
    let pad = "  ".repeat(depth);
    for step in list {
        match step {
            Step::Launch { graph, args } => {
                let name = program.graphs.get(*graph).map_or("?", |g| g.name.as_str());
                let args: Vec<String> = args.iter().map(|a| arg_text(program, a)).collect();
                let _ = writeln!(out, "{pad}launch {name}({})", args.join(", "));
            }
            Step::Let { name, value } => {
                let _ = writeln!(out, "{pad}let {name} = {value}");
            }
            Step::For { name, lo, hi, body } => {
                let _ = writeln!(out, "{pad}for {name} in {lo}..{hi} {{");
                steps(out, program, body, depth + 1);
                let _ = writeln!(out, "{pad}}}");
            }
            Step::If { lhs, op, rhs, then, otherwise } => {
                let _ = writeln!(out, "{pad}if {lhs} {} {rhs} {{", relation(*op));
                steps(out, program, then, depth + 1);
                if !otherwise.is_empty() {
                    let _ = writeln!(out, "{pad}}} else {{");
                    steps(out, program, otherwise, depth + 1);
                }
                let _ = writeln!(out, "{pad}}}");
            }
        }
    }
}

fn relation(op: tile_base::signature::Relation) -> &'static str {
    use tile_base::signature::Relation::*;
    match op {
        Eq => "==",
        Ne => "!=",
        Lt => "<",
        Le => "<=",
        Gt => ">",
        Ge => ">=",
    }
}

fn arg_text(program: &Program, arg: &Arg) -> String {
    match arg {
        Arg::Param(p) => program.signature.params.get(*p).map_or(format!("param{p}"), |p| p.name().into()),
        Arg::Temp(t) => program.temps.get(*t).map_or(format!("temp{t}"), |t| t.name.clone()),
        Arg::Part { of, subscripts } => {
            let subs: Vec<String> = subscripts
                .iter()
                .map(|s| match s {
                    Part::At(v) => v.to_string(),
                    Part::All => ":".into(),
                    Part::Range(lo, hi) => format!("{lo}..{hi}"),
                })
                .collect();
            format!("{}[{}]", arg_text(program, of), subs.join(", "))
        }
        Arg::Size(s) => s.to_string(),
        Arg::Float(v) => format!("{v:?}"),
        Arg::Absent => "absent".into(),
    }
}

#[cfg(test)]
mod tests {
    use crate::samples;
    use tile_base::DType;

    #[test]
    fn matmul() {
        insta::assert_snapshot!(super::print(&samples::matmul(DType::F16)));
    }

    #[test]
    fn flash() {
        insta::assert_snapshot!(super::print(&samples::flash(DType::F16, 64, true)));
    }

    #[test]
    fn softmax() {
        insta::assert_snapshot!(super::print(&samples::softmax(DType::F32, 100)));
    }
}
