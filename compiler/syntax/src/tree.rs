//! The tree as text, for `--emit ast` and for tests.
//!
//! One line for each item, statement and arm, indented by depth. Expressions stand on one line with every
//! operator in parentheses, so `a + b * c` shows as `(a + (b * c))`; parentheses of the source are not shown,
//! nor are spans and comments. Two trees print alike exactly if they differ in nothing else.

use crate::{
    ast::*,
    format::{expr::sign, stmt::pattern_text},
    lexer::escape,
};

/// Compact, indented text of a tree.
pub fn print_tree(file: &File) -> String {
    let mut tree = Tree { out: String::new(), depth: 0 };
    for item in &file.items {
        tree.item(item);
    }
    tree.out
}

struct Tree {
    out: String,
    depth: usize,
}

fn list<T>(items: &[T], one: impl std::ops::Fn(&T) -> String) -> String {
    items.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn names(all: &[Ident]) -> String {
    list(all, |n| n.name.clone())
}

fn op(op: AssignOp) -> &'static str {
    if op == AssignOp::Set { "=" } else { "+=" }
}

impl Tree {
    fn line(&mut self, text: impl AsRef<str>) {
        self.out.extend(std::iter::repeat_n("  ", self.depth));
        self.out.push_str(text.as_ref());
        self.out.push('\n');
    }

    fn inside(&mut self, print: impl FnOnce(&mut Self)) {
        self.depth += 1;
        print(self);
        self.depth -= 1;
    }

    fn item(&mut self, item: &Item) {
        for doc in &item.docs {
            self.line(format!("/// {doc}").trim_end());
        }
        match &item.kind {
            ItemKind::Use(u) => {
                let path: Vec<&str> = u.path.iter().map(|n| n.name.as_str()).collect();
                let all = u.names.as_ref().map_or("*".into(), |n| format!("{{{}}}", names(n)));
                self.line(format!("use {}::{all}", path.join("::")));
            }
            ItemKind::Kernel(k) => {
                self.head("kernel", &k.name, &k.generics, &k.params, &k.facts);
                self.inside(|t| t.block(&k.body));
            }
            ItemKind::Op(o) => {
                self.head("op", &o.name, &o.generics, &o.params, &o.facts);
                self.inside(|t| t.block(&o.body));
            }
            ItemKind::Fn(f) => self.function(f),
            ItemKind::Spec(s) => {
                self.line(format!("spec {}", s.name.name));
                self.inside(|t| s.stmts.iter().for_each(|s| t.spec(s)));
            }
            ItemKind::Test(t) => {
                self.line(format!("test {}", t.name.name));
                self.inside(|tree| t.items.iter().for_each(|item| tree.line(test_item(item))));
            }
            ItemKind::Schedule(s) => self.schedule(s),
            ItemKind::Grad(g) => {
                self.line(format!("grad {}", g.name.name));
                self.inside(|t| {
                    g.generics.iter().for_each(|g| t.line(format!("generic {}", generic(g))));
                    g.seeds.iter().for_each(|s| t.line(format!("seed {}", gradient(s))));
                    g.results.iter().for_each(|r| t.line(format!("result {}", gradient(r))));
                    t.block(&g.body);
                });
            }
            ItemKind::Broken => self.line("<broken>"),
        }
    }

    fn head(&mut self, word: &str, name: &Ident, generics: &[Generic], params: &[Param], facts: &[Expr]) {
        self.line(format!("{word} {}", name.name));
        self.inside(|t| {
            generics.iter().for_each(|g| t.line(format!("generic {}", generic(g))));
            params.iter().for_each(|p| t.line(format!("param {}", param(p))));
            facts.iter().for_each(|f| t.line(format!("where {}", expr(f))));
        });
    }

    fn function(&mut self, f: &Fn) {
        self.head("fn", &f.name, &f.generics, &f.params, &[]);
        self.inside(|t| {
            f.using.iter().for_each(|p| t.line(format!("using {}", param(p))));
            f.result.iter().for_each(|r| t.line(format!("result {}", ty(r))));
            f.asm.iter().for_each(|a| t.line(format!("asm {}", escape(a))));
            t.block(&f.body);
        });
    }

    fn schedule(&mut self, s: &Schedule) {
        let target = s.target.as_ref().map_or(String::new(), |t| format!(" for {}", t.name));
        let guard = s.guard.as_ref().map_or(String::new(), |g| format!(" where {}", expr(g)));
        self.line(format!("schedule {}{target}{guard}", s.name.name));
        self.inside(|t| {
            for item in &s.items {
                let words: Vec<String> = item.words.iter().map(word).collect();
                t.line(format!("{} {}", item.keyword.name, words.join(" ")).trim_end());
            }
        });
    }

    fn block(&mut self, b: &Block) {
        b.stmts.iter().for_each(|s| self.stmt(s));
        if let Some(value) = &b.value {
            self.line(format!("value {}", expr(value)));
        }
    }

    fn stmt(&mut self, s: &Stmt) {
        let label = s.label.as_ref().map_or(String::new(), |l| format!("'{}: ", l.name));
        if let StmtKind::If(c) = &s.kind {
            return self.conditional(c, &label);
        }
        self.line(label + &head(&s.kind));
        if let Some(body) = body(&s.kind) {
            self.inside(|t| t.block(body));
        }
    }

    fn conditional(&mut self, c: &If, before: &str) {
        self.line(format!("{before}if {}", expr(&c.condition)));
        self.inside(|t| t.block(&c.then));
        match &c.otherwise {
            Some(Else::If(next, _)) => self.conditional(next, "else "),
            Some(Else::Block(b)) => {
                self.line("else");
                self.inside(|t| t.block(b));
            }
            None => {}
        }
    }

    fn spec(&mut self, s: &SpecStmt) {
        match &s.kind {
            SpecStmtKind::Equation { local, name, indices, op: o, value } => {
                let local = if *local { "let " } else { "" };
                let indices = list(indices, spec_index);
                self.line(format!("{local}{}[{indices}] {} {}", name.name, op(*o), expr(value)));
            }
            SpecStmtKind::For { name, range, reverse, body } => {
                let reverse = if *reverse { " reversed" } else { "" };
                self.line(format!("for {} in {}{reverse}", name.name, expr(range)));
                self.inside(|t| body.iter().for_each(|s| t.spec(s)));
            }
            SpecStmtKind::If { condition, then, otherwise } => {
                self.line(format!("if {}", expr(condition)));
                self.inside(|t| then.iter().for_each(|s| t.spec(s)));
                if !otherwise.is_empty() {
                    self.line("else");
                    self.inside(|t| otherwise.iter().for_each(|s| t.spec(s)));
                }
            }
            SpecStmtKind::Broken => self.line("<broken>"),
        }
    }
}

/// A statement without its body.
fn head(kind: &StmtKind) -> String {
    let typed = |t: &Option<Type>| t.as_ref().map_or(String::new(), |t| format!(": {}", ty(t)));
    match kind {
        StmtKind::Tile(decls) => {
            format!("tile {}", list(decls, |d| format!("{}{}", d.name.name, choices(&d.choices))))
        }
        StmtKind::Let { pattern, ty, value } => {
            format!("let {}{} = {}", pattern_text(pattern), typed(ty), expr(value))
        }
        StmtKind::Var { name, ty, value } => format!("var {}{} = {}", name.name, typed(ty), expr(value)),
        StmtKind::View { name, axes, value } => {
            let axes = list(axes, |(n, r)| format!("{} in {}", n.name, expr(r)));
            format!("view {}[{axes}] = {}", name.name, expr(value))
        }
        StmtKind::Assign { place, op: o, value } => format!("{} {} {}", expr(place), op(*o), expr(value)),
        StmtKind::Par { axes, .. } => {
            format!("par {}", list(axes, |a| format!("{} in {}", a.name.name, expr(&a.range))))
        }
        StmtKind::For { pattern, range, claims, .. } => {
            let claims: String = claims.iter().map(|c| " ".to_string() + &claim(c)).collect();
            format!("for {} in {}{claims}", pattern_text(pattern), expr(range))
        }
        StmtKind::Unroll { name, range, .. } => format!("unroll {} in {}", name.name, expr(range)),
        StmtKind::While { condition, .. } => format!("while {}", expr(condition)),
        StmtKind::If(c) => conditional(c),
        StmtKind::Break => "break".into(),
        StmtKind::Assert { condition, message } => {
            let message = message.as_ref().map_or(String::new(), |m| format!(", {}", escape(m)));
            format!("assert {}{message}", expr(condition))
        }
        StmtKind::Run { name, generics, args: a } => {
            let generics = list(generics, |(n, v)| format!("{} = {}", n.name, expr(v)));
            format!("run {}<{generics}>({})", name.name, args(a))
        }
        StmtKind::Temp { name, ty: t } => format!("temp {}: {}", name.name, ty(t)),
        StmtKind::Expr(e) => format!("do {}", expr(e)),
        StmtKind::Broken => "<broken>".into(),
    }
}

fn body(kind: &StmtKind) -> Option<&Block> {
    match kind {
        StmtKind::Par { body, .. }
        | StmtKind::For { body, .. }
        | StmtKind::Unroll { body, .. }
        | StmtKind::While { body, .. } => Some(body),
        _ => None,
    }
}

fn claim(c: &Claim) -> String {
    match c {
        Claim::Skip(e) => format!("skip {}", expr(e)),
        Claim::Merge { function, vars, .. } => format!("merge {}({})", function.name, names(vars)),
        Claim::Affine(n) => format!("affine {}", n.name),
    }
}

fn choices(choices: &[Expr]) -> String {
    if choices.is_empty() { String::new() } else { format!(" in {{{}}}", list(choices, expr)) }
}

fn generic(g: &Generic) -> String {
    let word = |d: &Option<Ident>| d.as_ref().map_or(String::new(), |d| format!(" = {}", d.name));
    match g {
        Generic::Dtype { name, choices, default } => {
            let choices: Vec<&str> = choices.iter().map(|c| c.name.as_str()).collect();
            let colon = if choices.is_empty() { "" } else { ": " };
            format!("{}{colon}{}{}", name.name, choices.join(" | "), word(default))
        }
        Generic::Const { name, ty, choices: c, default } => {
            let ty = ty.as_ref().map_or(String::new(), |t| format!(": {}", t.name));
            let default = default.as_ref().map_or(String::new(), |d| format!(" = {}", expr(d)));
            format!("const {}{ty}{}{default}", name.name, choices(c))
        }
        Generic::Function { name, ty, default } => format!("{}: {}{}", name.name, fn_type(ty), word(default)),
    }
}

fn param(p: &Param) -> String {
    let mode = p.mode.map_or(String::new(), |m| mode(m) + " ");
    format!("{}: {mode}{}", p.name.name, ty(&p.ty))
}

fn mode(m: ParamMode) -> String {
    let access = match m.access {
        Access::In => "in",
        Access::Out => "out",
        Access::InOut => "inout",
        Access::Sum => "sum",
    };
    format!("{access}{}", if m.optional { "?" } else { "" })
}

fn gradient(g: &Gradient) -> String {
    let mode = g.mode.map_or(String::new(), |m| format!(": {}", mode(m)));
    let element = g.element.as_ref().map_or(String::new(), |e| format!(" {}", e.name));
    format!("{}{mode}{element} for {}", g.name.name, g.of.name)
}

fn ty(t: &Type) -> String {
    match &t.kind {
        TypeKind::Scalar(n) => n.name.clone(),
        TypeKind::Tile { element, axes } => format!("{}[{}]", ty(element), list(axes, expr)),
        TypeKind::Index { kind, bound } => {
            let kind = match kind {
                IndexType::Id => "id",
                IndexType::IdOrNone => "id?",
                IndexType::Count => "count",
                IndexType::Offsets => "offsets",
            };
            format!("{kind}<{}>", expr(bound))
        }
        TypeKind::Array { element, len } => format!("[{}; {}]", ty(element), expr(len)),
        TypeKind::Tuple(items) => format!("({})", list(items, ty)),
        TypeKind::Function(f) => fn_type(f),
    }
}

fn fn_type(f: &FnType) -> String {
    format!("fn({}) -> {}", list(&f.params, |(n, t)| format!("{}: {}", n.name, ty(t))), ty(&f.result))
}

fn args(all: &[Arg]) -> String {
    list(all, |a| match &a.name {
        Some(n) => format!("{} = {}", n.name, expr(&a.value)),
        None => expr(&a.value),
    })
}

fn inline(b: &Block) -> String {
    let mut parts: Vec<String> = b
        .stmts
        .iter()
        .map(|s| {
            let label = s.label.as_ref().map_or(String::new(), |l| format!("'{}: ", l.name));
            let inner = body(&s.kind).map_or(String::new(), |b| " ".to_string() + &inline(b));
            label + &head(&s.kind) + &inner
        })
        .collect();
    parts.extend(b.value.as_ref().map(|v| format!("value {}", expr(v))));
    format!("{{{}}}", parts.join("; "))
}

fn conditional(c: &If) -> String {
    let otherwise = match &c.otherwise {
        Some(Else::Block(b)) => format!(" else {}", inline(b)),
        Some(Else::If(next, _)) => format!(" else {}", conditional(next)),
        None => String::new(),
    };
    format!("if {} {}{otherwise}", expr(&c.condition), inline(&c.then))
}

fn expr(e: &Expr) -> String {
    match &e.kind {
        ExprKind::Int(v) => v.to_string(),
        ExprKind::Float(t) => t.clone(),
        ExprKind::Bool(b) => b.to_string(),
        ExprKind::Inf => "inf".into(),
        ExprKind::Nan => "nan".into(),
        ExprKind::Str(s) => escape(s),
        ExprKind::Name(n) => n.clone(),
        ExprKind::Path(p) => p.iter().map(|n| n.name.as_str()).collect::<Vec<_>>().join("::"),
        ExprKind::Unary { op, operand } => {
            format!("({}{})", if *op == UnaryOp::Neg { "-" } else { "!" }, expr(operand))
        }
        ExprKind::Binary { op, lhs, rhs } => format!("({} {} {})", expr(lhs), sign(*op), expr(rhs)),
        ExprKind::Subscript { base, subscripts, otherwise } => {
            let plain = format!("{}[{}]", expr(base), list(subscripts, subscript));
            otherwise.as_ref().map_or(plain.clone(), |o| format!("({plain} else {})", expr(o)))
        }
        ExprKind::Call { function, args: a } => format!("{}({})", expr(function), args(a)),
        ExprKind::Method { receiver, name, args: a } => {
            format!("{}.{}({})", expr(receiver), name.name, args(a))
        }
        ExprKind::To { value, ty: t } => format!("{}.to({})", expr(value), ty(t)),
        ExprKind::Field { base, name } => format!("{}.{}", expr(base), name.name),
        ExprKind::Range { lo, hi } => format!("({}..{})", expr(lo), expr(hi)),
        ExprKind::Tuple(items) => format!("tuple({})", list(items, expr)),
        ExprKind::If(c) => format!("({})", conditional(c)),
        ExprKind::Block(b) => inline(b),
        ExprKind::Reducer { name, binders, body } => {
            let binder = |(n, r): &(Ident, Option<Expr>)| match r {
                Some(r) => format!("{} in {}", n.name, expr(r)),
                None => n.name.clone(),
            };
            format!("{}({}: {})", name.name, list(binders, binder), expr(body))
        }
        ExprKind::List(items) => format!("[{}]", list(items, expr)),
        ExprKind::Paren(inner) => expr(inner),
        ExprKind::Broken => "<broken>".into(),
    }
}

fn subscript(s: &Subscript) -> String {
    match s {
        Subscript::All(_) => ":".into(),
        Subscript::New(_) => "_".into(),
        Subscript::Expr(e) => expr(e),
    }
}

fn spec_index(x: &SpecIndex) -> String {
    match x {
        SpecIndex::Free { name, range: None } => name.name.clone(),
        SpecIndex::Free { name, range: Some(r) } => format!("{} in {}", name.name, expr(r)),
        SpecIndex::All(_) => ":".into(),
        SpecIndex::At(e) => format!("at {}", expr(e)),
    }
}

fn test_item(item: &TestItem) -> String {
    match item {
        TestItem::Set { name, value, .. } => format!("{} = {}", name.name, expr(value)),
        TestItem::Each { name, values, .. } => format!("{} in [{}]", name.name, list(values, expr)),
        TestItem::Tolerance { name, relative, absolute, .. } => {
            let bound = |word: &str, e: &Option<Expr>| {
                e.as_ref().map_or(String::new(), |e| format!(" {word} {}", expr(e)))
            };
            format!("{}:{}{}", name.name, bound("rel", relative), bound("abs", absolute))
        }
        TestItem::Pairs(_) => "pairs".into(),
        TestItem::Rounded(_) => "rounded".into(),
        TestItem::Absent { names: n, .. } => format!("absent {}", names(n)),
    }
}

fn word(w: &ScheduleWord) -> String {
    match w {
        ScheduleWord::Path(p) => p.iter().map(|n| n.name.as_str()).collect::<Vec<_>>().join("."),
        ScheduleWord::Int(v, _) => v.to_string(),
        ScheduleWord::Bind(n, v) => format!("{} = {}", n.name, expr(v)),
        ScheduleWord::Call(n, a) => format!("{}({})", n.name, list(a, expr)),
        ScheduleWord::Comma => ",".into(),
    }
}
