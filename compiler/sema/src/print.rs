//! The text form of typed kernels and programs, for `--emit typed`, tests and bug reports.

use crate::typed::*;
use std::fmt::Write;
use tile_base::op::Literal;
use tile_syntax::ast::BinaryOp;

pub(crate) fn binary_name(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::OrOr => "||",
        BinaryOp::AndAnd => "&&",
        BinaryOp::Eq => "==",
        BinaryOp::Ne => "!=",
        BinaryOp::Lt => "<",
        BinaryOp::Le => "<=",
        BinaryOp::Gt => ">",
        BinaryOp::Ge => ">=",
        BinaryOp::Or => "|",
        BinaryOp::Xor => "^",
        BinaryOp::And => "&",
        BinaryOp::Shl => "<<",
        BinaryOp::Shr => ">>",
        BinaryOp::Add => "+",
        BinaryOp::Sub => "-",
        BinaryOp::Mul => "*",
        BinaryOp::Div => "/",
        BinaryOp::Rem => "%",
        BinaryOp::Dot => "@",
    }
}

struct Printer<'a> {
    k: &'a TypedKernel,
    out: String,
    depth: usize,
}

impl TypedKernel {
    /// One line for each statement; locals as `path%number`.
    pub fn print(&self) -> String {
        let mut p = Printer { k: self, out: String::new(), depth: 0 };
        p.kernel();
        p.out
    }
}

impl Printer<'_> {
    fn line(&mut self, text: impl AsRef<str>) {
        for _ in 0..self.depth {
            self.out.push_str("    ");
        }
        self.out.push_str(text.as_ref());
        self.out.push('\n');
    }

    fn nested(&mut self, f: impl FnOnce(&mut Self)) {
        self.depth += 1;
        f(self);
        self.depth -= 1;
    }

    fn kernel(&mut self) {
        let k = self.k;
        self.line(format!("kernel {}", k.name));
        self.nested(|p| {
            for (n, v) in &k.signature.consts {
                p.line(format!("const {n} = {v}"));
            }
            if !k.signature.dims.is_empty() {
                p.line(format!("dims {}", k.signature.dims.join(", ")));
            }
            for f in &k.signature.facts {
                p.line(format!("where {}", f.text));
            }
            for o in &k.objects {
                let shape: Vec<String> = o.shape.iter().map(|s| s.to_string()).collect();
                let elem = match &o.index {
                    Some(i) => format!("{i:?} as {}", o.dtype),
                    None => o.dtype.name().into(),
                };
                p.line(format!("{} {}: {elem}[{}]", o.mode.name(), o.name, shape.join(", ")));
            }
            for s in k.signature.scalars() {
                p.line(format!("scalar {}: {}", s.name, s.dtype));
            }
            for t in &k.tiles {
                let among = if t.allowed.is_empty() { String::new() } else { format!(" in {:?}", t.allowed) };
                p.line(format!("tile {}{among}", t.name));
            }
            p.stmts(&k.before);
            for a in &k.par {
                p.stmts(&a.setup);
                let range = p.iter(&a.iter, &a.lo, &a.hi, false);
                p.line(format!("par {range}"));
            }
            p.stmts(&k.body);
            for c in &k.claims {
                let state = if c.proven { "proven" } else { "tested" };
                p.line(format!("claim {} {} ({state}): {}", c.kind, c.path, c.reason));
            }
        });
    }

    fn local(&self, l: LocalId) -> String {
        match self.k.locals.get(l.index()) {
            Some(info) => format!("{}%{}", info.path, l.0),
            None => format!("?%{}", l.0),
        }
    }

    fn span(&self, s: SpanId) -> String {
        match self.k.spans.get(s.index()) {
            Some(info) if !info.path.is_empty() => format!("{}#{}", info.path, s.0),
            _ => format!("#{}", s.0),
        }
    }

    fn axis(&self, a: &Axis) -> String {
        match a {
            Axis::One => "1".into(),
            Axis::Fixed { size, .. } => size.to_string(),
            Axis::Span { span, times: 1 } => self.span(*span),
            Axis::Span { span, times } => format!("{}*{times}", self.span(*span)),
        }
    }

    fn ty(&self, ty: &Type) -> String {
        if ty.is_scalar() {
            return ty.elem.name().into();
        }
        let axes: Vec<String> = ty.axes.iter().map(|a| self.axis(a)).collect();
        format!("{}[{}]", ty.elem.name(), axes.join(", "))
    }

    fn typed(&self, l: LocalId) -> String {
        let ty = self.k.locals.get(l.index()).map_or(String::new(), |i| self.ty(&i.ty));
        format!("{}: {ty}", self.local(l))
    }

    fn locals(&self, list: &[LocalId]) -> String {
        list.iter().map(|l| self.local(*l)).collect::<Vec<_>>().join(", ")
    }

    fn iter(&self, iter: &Iter, lo: &TExpr, hi: &TExpr, reverse: bool) -> String {
        let rev = if reverse { " reversed" } else { "" };
        let (lo, hi) = (self.expr(lo), self.expr(hi));
        match iter {
            Iter::Each { index } => format!("{} in {lo}..{hi}{rev}", self.local(*index)),
            Iter::Tiles { span, step } => {
                let step = match step {
                    Step::Tile(t) => self.k.tiles.get(t.index()).map_or("?".into(), |t| t.name.clone()),
                    Step::Fixed(n) => n.to_string(),
                    Step::Hidden => "_".into(),
                };
                format!("{} in tiles({lo}..{hi}, {step}){rev}", self.span(*span))
            }
        }
    }

    fn stmts(&mut self, stmts: &[TStmt]) {
        for s in stmts {
            self.stmt(s);
        }
    }

    fn block(&mut self, head: &str, b: &TBlock) {
        if b.stmts.is_empty() && b.values.is_empty() {
            return;
        }
        self.line(head);
        self.nested(|p| {
            p.stmts(&b.stmts);
            if !b.values.is_empty() {
                let values: Vec<String> = b.values.iter().map(|v| p.expr(v)).collect();
                p.line(format!("=> {}", values.join(", ")));
            }
        });
    }

    fn combiner(&mut self, head: &str, c: &Combiner) {
        let head = format!("{head} ({})", self.locals(&c.params));
        self.block(&head, &c.body);
    }

    fn stmt(&mut self, s: &TStmt) {
        match &s.kind {
            TStmtKind::Let { local, value } => {
                let text = format!("let {} = {}", self.typed(*local), self.expr(value));
                self.line(text);
            }
            TStmtKind::Var { local, value } => {
                let text = format!("var {} = {}", self.typed(*local), self.expr(value));
                self.line(text);
            }
            TStmtKind::Assign { local, value } => {
                let text = format!("{} = {}", self.local(*local), self.expr(value));
                self.line(text);
            }
            TStmtKind::LetMany { locals, op } => self.many(locals, op),
            TStmtKind::MakeSpan { span, lo, hi } => {
                let text = format!("span {} = {}..{}", self.span(*span), self.expr(lo), self.expr(hi));
                self.line(text);
            }
            TStmtKind::Store { access, value, unique } => {
                let unique = if *unique { "unique " } else { "" };
                let text = format!("store {unique}{} = {}", self.access(access), self.expr(value));
                self.line(text);
            }
            TStmtKind::Accumulate { access, value } => {
                let text = format!("store {} += {}", self.access(access), self.expr(value));
                self.line(text);
            }
            TStmtKind::For(f) => self.for_loop(f),
            TStmtKind::While { condition, body, carried } => {
                let text = format!("while carried ({})", self.locals(carried));
                self.line(text);
                self.nested(|p| {
                    p.block("condition", condition);
                    p.stmts(body);
                });
            }
            TStmtKind::If { condition, then, otherwise, results, carried } => {
                let results: Vec<String> = results.iter().map(|r| self.typed(*r)).collect();
                let to =
                    if results.is_empty() { String::new() } else { format!("let {} = ", results.join(", ")) };
                let text = format!("{to}if {} carried ({})", self.expr(condition), self.locals(carried));
                self.line(text);
                self.nested(|p| {
                    p.block("then", then);
                    p.block("else", otherwise);
                });
            }
            TStmtKind::Break => self.line("break"),
            TStmtKind::Assert { condition, message } => {
                let text = format!("assert {}, {message:?}", self.expr(condition));
                self.line(text);
            }
        }
    }

    fn many(&mut self, locals: &[LocalId], op: &ManyOp) {
        let to: Vec<String> = locals.iter().map(|l| self.typed(*l)).collect();
        let what = match op {
            ManyOp::TopK { x, axis, k } => format!("topk {k} axis {axis} of {}", self.expr(x)),
            ManyOp::Sort { x, axis, descending } => {
                format!("sort{} axis {axis} of {}", if *descending { " falling" } else { "" }, self.expr(x))
            }
            ManyOp::Reduce { xs, axis, .. } => {
                let xs: Vec<String> = xs.iter().map(|x| self.expr(x)).collect();
                format!("reduce axis {axis} of ({})", xs.join(", "))
            }
        };
        self.line(format!("let {} = {what}", to.join(", ")));
        if let ManyOp::Reduce { combine, .. } = op {
            self.nested(|p| p.combiner("combine", combine));
        }
    }

    fn for_loop(&mut self, f: &TFor) {
        let list = if f.origin == ForOrigin::List { "list " } else { "" };
        let range = self.iter(&f.iter, &f.lo, &f.hi, f.reverse);
        let combine = match &f.combine {
            LoopCombine::Ordered => String::new(),
            LoopCombine::Sum => " sum".into(),
            LoopCombine::Merge { vars, .. } => format!(" merge ({})", self.locals(vars)),
            LoopCombine::Affine { var } => format!(" affine {}", self.local(*var)),
        };
        let text = format!("for {list}{range} carried ({}){combine}", self.locals(&f.carried));
        self.line(text);
        self.nested(|p| {
            if let Some(b) = &f.skip {
                p.block("skip", b);
            }
            if let LoopCombine::Merge { combine, .. } = &f.combine {
                p.combiner("combine", combine);
            }
            p.stmts(&f.body);
        });
    }

    fn access(&self, a: &Access) -> String {
        let name = self.k.objects.get(a.object.index()).map_or("?", |o| o.name.as_str());
        let coords: Vec<String> = a.coords.iter().map(|c| self.coord(c)).collect();
        let mut text = format!("{name}[{}]", coords.join(", "));
        if let Some(o) = &a.otherwise {
            let _ = write!(text, " else {}", self.expr(o));
        }
        if let Some(m) = &a.mask {
            let _ = write!(text, " where {}", self.expr(m));
        }
        text
    }

    fn coord(&self, c: &Coord) -> String {
        let mut text = match &c.index {
            CoordIndex::Affine { base, terms } => {
                let mut parts: Vec<String> = base.iter().map(|b| self.expr(b)).collect();
                parts.extend(
                    terms.iter().map(|(n, s)| if *s == 1 { format!("p{n}") } else { format!("{s}*p{n}") }),
                );
                if parts.is_empty() { "0".into() } else { parts.join(" + ") }
            }
            CoordIndex::Gather { index, axes } => {
                let axes: Vec<String> = axes.iter().map(|n| format!("p{n}")).collect();
                format!("{{{}}}({})", self.expr(index), axes.join(", "))
            }
        };
        if let (Some(lo), Some(hi)) = (&c.lo, &c.hi) {
            let _ = write!(text, " in {}..{}", self.expr(lo), self.expr(hi));
        }
        if !c.inside {
            text.push_str(if c.outside_meant { " ~" } else { " ?" });
        }
        text
    }

    fn expr(&self, e: &TExpr) -> String {
        let x = |e: &TExpr| self.expr(e);
        match &e.kind {
            TExprKind::Literal(Literal::Float(v)) => format!("{v:?}:{}", e.ty.elem.name()),
            TExprKind::Literal(Literal::Int(v)) if e.ty.elem == Elem::Index => v.to_string(),
            TExprKind::Literal(Literal::Int(v)) => format!("{v}:{}", e.ty.elem.name()),
            TExprKind::Literal(Literal::Bool(v)) => v.to_string(),
            TExprKind::Local(l) => self.local(*l),
            TExprKind::Dim(n) => self.k.signature.dims.get(*n as usize).cloned().unwrap_or_default(),
            TExprKind::Param(n) => {
                self.k.signature.params.get(*n as usize).map_or("?".into(), |p| p.name().to_string())
            }
            TExprKind::SpanField(s, f) => format!("{}.{}", self.span(*s), format!("{f:?}").to_lowercase()),
            TExprKind::Positions(s) => format!("{}.at", self.span(*s)),
            TExprKind::Iota => format!("iota {}", self.ty(&e.ty)),
            TExprKind::Elem { op, args } => {
                let args: Vec<String> = args.iter().map(x).collect();
                format!("{}({})", op.name(), args.join(", "))
            }
            TExprKind::Cast(v) => format!("{}({})", e.ty.elem.name(), x(v)),
            TExprKind::Broadcast(v) => format!("broadcast({})", x(v)),
            TExprKind::Reshape { x: v, axes } => {
                let axes: Vec<String> =
                    axes.iter().map(|a| a.map_or("_".into(), |n| n.to_string())).collect();
                format!("{}[{}]", x(v), axes.join(", "))
            }
            TExprKind::Permute { x: v, order } => format!("permute({}, {order:?})", x(v)),
            TExprKind::Merge { x: v, axis } => format!("merge({}, {axis})", x(v)),
            TExprKind::Split { x: v, axis, minor } => format!("split({}, {axis}, {minor})", x(v)),
            TExprKind::Slice { x: v, axis, lo } => {
                format!("slice({}, {axis}, {lo} as {})", x(v), self.ty(&e.ty))
            }
            TExprKind::Concat { parts, axis } => {
                let parts: Vec<String> = parts.iter().map(x).collect();
                format!("concat({}, {axis})", parts.join(", "))
            }
            TExprKind::Take { x: v, index, axis } => format!("take({}, {}, {axis})", x(v), x(index)),
            TExprKind::Dot { lhs, rhs, .. } => format!("dot({}, {})", x(lhs), x(rhs)),
            TExprKind::StreamDot { span, lo, hi, lhs, rhs, .. } => {
                format!("stream {} in {}..{} dot({}, {})", self.span(*span), x(lo), x(hi), x(lhs), x(rhs))
            }
            TExprKind::Reduce { x: v, axis, kind } => {
                format!("{}({}, {axis})", format!("{kind:?}").to_lowercase(), x(v))
            }
            TExprKind::Scan { x: v, axis, kind, reverse, exclusive } => {
                let flags = format!(
                    "{}{}",
                    if *reverse { " rev" } else { "" },
                    if *exclusive { " exclusive" } else { "" }
                );
                format!("scan {}({}, {axis}{flags})", format!("{kind:?}").to_lowercase(), x(v))
            }
            TExprKind::Histogram { x: v, bins } => format!("histogram({}, {bins})", x(v)),
            TExprKind::UnitLowerInv(v) => format!("unit_lower_inv({})", x(v)),
            TExprKind::Load(a) => format!("load {}", self.access(a)),
        }
    }
}
