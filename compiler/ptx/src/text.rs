//! A typed emitter of MLIR text: SSA values with types, structured scopes, and two rewrites that come for free.
//!
//! Text because every operation of every dialect has one stable spelling, `--emit mlir` shows exactly what was
//! parsed, and the parser of MLIR checks all of it. The dialects are `llvm` and `nvvm` for what a thread does, `scf`
//! for loops and branches, `arith` for what these need.
//!
//! **Pure operations are numbered.** Equal text is the same value, and a pure operation is placed in the outermost
//! scope that has all its operands. So addresses, predicates and constants that a tile's unrolled registers share
//! are written once, and what a loop does not change stands before it. Scopes are text buffers; an inner one joins
//! its parent when it is closed.
//!
//! ```text
//! scope 0 (function)   %3 = llvm.mul %1, %2 : i64          operands are parameters
//! scope 1 (loop body)  %7 = llvm.add %3, %iv : i64         needs the loop variable
//! ```

use std::{
    collections::HashMap,
    fmt::{self, Write},
};
use tile_base::Span;

/// Types of single values.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ty {
    I1,
    I8,
    I16,
    I32,
    I64,
    F16,
    Bf16,
    F32,
    F64,
    /// A pointer to global memory.
    Global,
    /// A pointer to shared memory.
    Shared,
    /// A pointer to shared memory of any CTA of the cluster.
    Cluster,
    /// A pointer to either, or to constants.
    Generic,
}

impl Ty {
    pub fn name(self) -> &'static str {
        match self {
            Ty::I1 => "i1",
            Ty::I8 => "i8",
            Ty::I16 => "i16",
            Ty::I32 => "i32",
            Ty::I64 => "i64",
            Ty::F16 => "f16",
            Ty::Bf16 => "bf16",
            Ty::F32 => "f32",
            Ty::F64 => "f64",
            Ty::Global => "!llvm.ptr<1>",
            Ty::Shared => "!llvm.ptr<3>",
            Ty::Cluster => "!llvm.ptr<7>",
            Ty::Generic => "!llvm.ptr",
        }
    }

    pub fn is_float(self) -> bool {
        matches!(self, Ty::F16 | Ty::Bf16 | Ty::F32 | Ty::F64)
    }
}

impl fmt::Display for Ty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An SSA value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct V {
    id: u32,
    /// Which result of a loop or branch with several; `WHOLE` for an operation with one.
    part: u16,
    pub ty: Ty,
}

const WHOLE: u16 = u16::MAX;

impl fmt::Display for V {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            WHOLE => write!(f, "%{}", self.id),
            part => write!(f, "%{}#{part}", self.id),
        }
    }
}

#[derive(Default)]
struct Scope {
    text: String,
    numbered: HashMap<String, V>,
    /// The line that opens it, and the values its end gives.
    head: String,
    results: Vec<V>,
}

#[derive(Default)]
pub struct Text {
    scopes: Vec<Scope>,
    /// Scope of each SSA number.
    depth: Vec<u8>,
    ints: HashMap<V, i64>,
    spans: Vec<Span>,
    at: usize,
    /// Operations written, for tests and `--time`.
    pub operations: usize,
}

impl Text {
    pub fn new() -> Text {
        Text { scopes: vec![Scope::default()], spans: vec![Span::default()], ..Text::default() }
    }

    /// Operations written from now on come from this span.
    pub fn at(&mut self, span: Span) {
        if self.spans[self.at] != span {
            self.at = self.spans.iter().rposition(|s| *s == span).unwrap_or_else(|| {
                self.spans.push(span);
                self.spans.len() - 1
            });
        }
    }

    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    fn number(&mut self, depth: usize) -> u32 {
        self.depth.push(depth as u8);
        self.depth.len() as u32 - 1
    }

    fn here(&self) -> usize {
        self.scopes.len() - 1
    }

    /// A block argument or function parameter, as a value of the current scope.
    pub fn argument(&mut self, ty: Ty) -> V {
        let here = self.here();
        V { id: self.number(here), part: WHOLE, ty }
    }

    fn depth_of(&self, v: V) -> usize {
        self.depth[v.id as usize] as usize
    }

    fn line(&mut self, depth: usize, text: &str) {
        self.operations += 1;
        let at = self.at;
        let _ = writeln!(self.scopes[depth].text, "{text} loc(#s{at})");
    }

    /// A pure operation: written once, as far out as its operands allow.
    pub fn pure(&mut self, operation: String, operands: &[V], ty: Ty) -> V {
        let depth = operands.iter().map(|&o| self.depth_of(o)).max().unwrap_or(0);
        if let Some(&found) = self.scopes[depth].numbered.get(&operation) {
            return found;
        }
        let v = V { id: self.number(depth), part: WHOLE, ty };
        self.line(depth, &format!("{v} = {operation}"));
        self.scopes[depth].numbered.insert(operation, v);
        v
    }

    /// An operation that stays where it is (it touches memory, or must not be moved to where it might trap).
    pub fn pinned(&mut self, operation: &str, ty: Ty) -> V {
        let v = self.argument(ty);
        self.line(self.here(), &format!("{v} = {operation}"));
        v
    }

    /// An operation with a structure of `count` equal fields; the fields.
    pub fn pinned_fields(&mut self, operation: &str, ty: Ty, count: usize) -> Vec<V> {
        let whole = self.pinned(operation, ty);
        let fields = vec![ty.name(); count].join(", ");
        (0..count)
            .map(|n| self.pinned(&format!("llvm.extractvalue {whole}[{n}] : !llvm.struct<({fields})>"), ty))
            .collect()
    }

    /// An operation without result.
    pub fn effect(&mut self, operation: &str) {
        self.line(self.here(), operation);
    }

    // ---- constants and integer arithmetic

    pub fn int(&mut self, ty: Ty, value: i64) -> V {
        let value = match ty {
            Ty::I1 => value & 1,
            Ty::I8 => i64::from(value as i8),
            Ty::I16 => i64::from(value as i16),
            Ty::I32 => i64::from(value as i32),
            _ => value,
        };
        let text = match ty {
            Ty::I1 => (if value == 1 { "true" } else { "false" }).to_string(),
            _ => format!("{value} : {ty}"),
        };
        let v = self.pure(format!("llvm.mlir.constant({text}) : {ty}"), &[], ty);
        self.ints.insert(v, value);
        v
    }

    pub fn i32(&mut self, value: i64) -> V {
        self.int(Ty::I32, value)
    }

    pub fn i64(&mut self, value: i64) -> V {
        self.int(Ty::I64, value)
    }

    /// A float constant, by its bits in `ty` so that nothing is rounded twice.
    pub fn float(&mut self, ty: Ty, value: f64) -> V {
        let bits = match ty {
            Ty::F64 => format!("0x{:016X}", value.to_bits()),
            Ty::F32 => format!("0x{:08X}", (value as f32).to_bits()),
            Ty::F16 => format!("0x{:04X}", half::f16::from_f64(value).to_bits()),
            _ => format!("0x{:04X}", half::bf16::from_f64(value).to_bits()),
        };
        self.pure(format!("llvm.mlir.constant({bits} : {ty}) : {ty}"), &[], ty)
    }

    pub fn known(&self, v: V) -> Option<i64> {
        self.ints.get(&v).copied()
    }

    /// `llvm.add`, `sub`, `mul`, `and`, `or`, `xor`, `shl`, `lshr`, `ashr` on integers, folded where both are known.
    pub fn int_op(&mut self, op: &str, a: V, b: V) -> V {
        let (x, y) = (self.known(a), self.known(b));
        if let (Some(x), Some(y)) = (x, y)
            && let Some(value) = fold(op, x, y)
        {
            return self.int(a.ty, value);
        }
        match (op, x, y) {
            ("add" | "or" | "xor", Some(0), _) | ("mul", Some(1), _) => return b,
            ("add" | "sub" | "or" | "xor" | "shl" | "lshr" | "ashr", _, Some(0)) | ("mul", _, Some(1)) => {
                return a;
            }
            ("mul" | "and", Some(0), _) | ("mul" | "and", _, Some(0)) => return self.int(a.ty, 0),
            _ => {}
        }
        self.pure(format!("llvm.{op} {a}, {b} : {}", a.ty), &[a, b], a.ty)
    }

    pub fn add(&mut self, a: V, b: V) -> V {
        self.int_op("add", a, b)
    }

    pub fn sub(&mut self, a: V, b: V) -> V {
        self.int_op("sub", a, b)
    }

    pub fn mul(&mut self, a: V, b: V) -> V {
        self.int_op("mul", a, b)
    }

    pub fn add_const(&mut self, a: V, n: i64) -> V {
        let n = self.int(a.ty, n);
        self.add(a, n)
    }

    pub fn mul_const(&mut self, a: V, n: i64) -> V {
        let n = self.int(a.ty, n);
        self.mul(a, n)
    }

    pub fn icmp(&mut self, predicate: &str, a: V, b: V) -> V {
        if let (Some(x), Some(y)) = (self.known(a), self.known(b)) {
            let holds = match predicate {
                "eq" => Some(x == y),
                "ne" => Some(x != y),
                "slt" => Some(x < y),
                "sle" => Some(x <= y),
                "sgt" => Some(x > y),
                "sge" => Some(x >= y),
                _ => None,
            };
            if let Some(holds) = holds {
                return self.int(Ty::I1, i64::from(holds));
            }
        }
        self.pure(format!("llvm.icmp \"{predicate}\" {a}, {b} : {}", a.ty), &[a, b], Ty::I1)
    }

    /// Both; `None` is true.
    pub fn both(&mut self, a: Option<V>, b: Option<V>) -> Option<V> {
        match (a, b) {
            (Some(a), Some(b)) if self.known(a) != Some(1) && self.known(b) != Some(1) => {
                Some(self.int_op("and", a, b))
            }
            (Some(a), Some(b)) => Some(if self.known(a) == Some(1) { b } else { a }),
            (a, b) => a.or(b),
        }
    }

    pub fn select(&mut self, c: V, a: V, b: V) -> V {
        if a == b {
            return a;
        }
        match self.known(c) {
            Some(1) => a,
            Some(_) => b,
            None => self.pure(format!("llvm.select {c}, {a}, {b} : i1, {}", a.ty), &[c, a, b], a.ty),
        }
    }

    /// One operand, result of another type: `llvm.sext`, `trunc`, `bitcast`, `fpext`, …
    pub fn convert(&mut self, op: &str, a: V, ty: Ty) -> V {
        if a.ty == ty {
            return a;
        }
        if let (Some(x), "sext" | "zext" | "trunc") = (self.known(a), op) {
            return self.int(ty, x);
        }
        self.pure(format!("llvm.{op} {a} : {} to {ty}", a.ty), &[a], ty)
    }

    pub fn float_op(&mut self, op: &str, a: V, b: V) -> V {
        let flags = "{fastmathFlags = #llvm.fastmath<contract>}";
        self.pure(format!("llvm.{op} {a}, {b} {flags} : {}", a.ty), &[a, b], a.ty)
    }

    /// A sum of two rounded numbers, never a part of a multiply-add.
    pub fn rounded_sum(&mut self, a: V, b: V) -> V {
        self.pure(format!("llvm.fadd {a}, {b} : {}", a.ty), &[a, b], a.ty)
    }

    pub fn fma(&mut self, a: V, b: V, c: V) -> V {
        let ty = a.ty;
        self.pure(format!("llvm.intr.fma({a}, {b}, {c}) : ({ty}, {ty}, {ty}) -> {ty}"), &[a, b, c], ty)
    }

    pub fn fcmp(&mut self, predicate: &str, a: V, b: V) -> V {
        self.pure(format!("llvm.fcmp \"{predicate}\" {a}, {b} : {}", a.ty), &[a, b], Ty::I1)
    }

    /// `llvm.intr.name(operands)`, all of one type.
    pub fn intrinsic(&mut self, name: &str, operands: &[V]) -> V {
        let ty = operands[0].ty;
        let (args, types) = lists(operands);
        self.pure(format!("llvm.intr.{name}({args}) : ({types}) -> {ty}"), operands, ty)
    }

    /// `llvm.call_intrinsic "name"`, pure.
    pub fn nvvm(&mut self, name: &str, operands: &[V], ty: Ty) -> V {
        let (args, types) = lists(operands);
        self.pure(format!("llvm.call_intrinsic \"{name}\"({args}) : ({types}) -> {ty}"), operands, ty)
    }

    pub fn offset(&mut self, pointer: V, bytes: V) -> V {
        if self.known(bytes) == Some(0) {
            return pointer;
        }
        let (p, t) = (pointer.ty, bytes.ty);
        let text = match self.known(bytes) {
            Some(n) => format!("llvm.getelementptr {pointer}[{n}] : ({p}) -> {p}, i8"),
            None => format!("llvm.getelementptr {pointer}[{bytes}] : ({p}, {t}) -> {p}, i8"),
        };
        self.pure(text, &[pointer, bytes], p)
    }

    // ---- structure

    /// Opens a loop; its variable and the carried values.
    pub fn open_for(&mut self, (lo, hi, step): (V, V, V), initial: &[V]) -> (V, Vec<V>) {
        let outer = self.here();
        let id = self.number(outer);
        self.scopes.push(Scope::default());
        let variable = self.argument(lo.ty);
        let carried: Vec<V> = initial.iter().map(|v| self.argument(v.ty)).collect();
        let types: Vec<&str> = initial.iter().map(|v| v.ty.name()).collect();
        let mut head = result_prefix(id, initial.len());
        let _ = write!(head, "scf.for {variable} = {lo} to {hi} step {step}");
        if !initial.is_empty() {
            let pairs: Vec<String> = carried.iter().zip(initial).map(|(c, i)| format!("{c} = {i}")).collect();
            let _ = write!(head, " iter_args({}) -> ({})", pairs.join(", "), types.join(", "));
        }
        let _ = write!(head, " : {} {{", lo.ty);
        self.finish_open(head, id, initial).map_or((variable, vec![]), |()| (variable, carried))
    }

    fn finish_open(&mut self, head: String, id: u32, like: &[V]) -> Option<()> {
        let scope = self.scopes.last_mut()?;
        scope.head = head;
        scope.results = results(id, like.iter().map(|v| v.ty));
        Some(())
    }

    /// Ends a loop with what it carries on; its results.
    pub fn close_for(&mut self, next: &[V]) -> Vec<V> {
        self.yields(next);
        self.close("}")
    }

    /// Opens a loop that asks before each trip; the carried values, as the question sees them.
    pub fn open_while(&mut self, initial: &[V]) -> Vec<V> {
        let outer = self.here();
        let id = self.number(outer);
        self.scopes.push(Scope::default());
        let carried: Vec<V> = initial.iter().map(|v| self.argument(v.ty)).collect();
        let types: Vec<&str> = initial.iter().map(|v| v.ty.name()).collect();
        let types = types.join(", ");
        let mut head = result_prefix(id, initial.len());
        head.push_str("scf.while");
        if !initial.is_empty() {
            let pairs: Vec<String> = carried.iter().zip(initial).map(|(c, i)| format!("{c} = {i}")).collect();
            let _ = write!(head, " ({})", pairs.join(", "));
        }
        let _ = write!(head, " : ({types}) -> ({types}) {{");
        self.finish_open(head, id, initial);
        carried
    }

    /// Ends the question and opens the body; the carried values, as the body sees them.
    pub fn does(&mut self, holds: V, carried: &[V]) -> Vec<V> {
        match carried {
            [] => self.effect(&format!("scf.condition({holds})")),
            _ => {
                let (args, types) = lists(carried);
                self.effect(&format!("scf.condition({holds}) {args} : {types}"));
            }
        }
        let Some(asked) = self.scopes.pop() else { return vec![] };
        self.scopes.push(Scope::default());
        let inside: Vec<V> = carried.iter().map(|v| self.argument(v.ty)).collect();
        let typed: Vec<String> = inside.iter().map(|v| format!("{v}: {}", v.ty)).collect();
        let mut head = format!("{}\n{}}} do {{", asked.head, asked.text);
        if !typed.is_empty() {
            let _ = write!(head, "\n^bb0({}):", typed.join(", "));
        }
        if let Some(scope) = self.scopes.last_mut() {
            (scope.head, scope.results) = (head, asked.results);
        }
        inside
    }

    /// Ends the body with what it carries on; the loop's results.
    pub fn close_while(&mut self, next: &[V]) -> Vec<V> {
        self.close_for(next)
    }

    /// Opens the first arm of a branch with results of these types.
    pub fn open_if(&mut self, condition: V, types: &[Ty]) {
        let outer = self.here();
        let id = self.number(outer);
        let mut head = result_prefix(id, types.len());
        let _ = write!(head, "scf.if {condition}");
        if !types.is_empty() {
            let names: Vec<&str> = types.iter().map(|t| t.name()).collect();
            let _ = write!(head, " -> ({})", names.join(", "));
        }
        head.push_str(" {");
        self.scopes.push(Scope { head, results: results(id, types.iter().copied()), ..Scope::default() });
    }

    /// Ends the first arm and opens the second.
    pub fn otherwise(&mut self, values: &[V]) {
        self.yields(values);
        let Some(arm) = self.scopes.pop() else { return };
        let head = format!("{}\n{}}} else {{", arm.head, arm.text);
        self.scopes.push(Scope { head, results: arm.results, ..Scope::default() });
    }

    pub fn close_if(&mut self, values: &[V]) -> Vec<V> {
        self.yields(values);
        self.close("}")
    }

    fn yields(&mut self, values: &[V]) {
        if values.is_empty() {
            self.effect("scf.yield");
        } else {
            let (args, types) = lists(values);
            self.effect(&format!("scf.yield {args} : {types}"));
        }
    }

    fn close(&mut self, end: &str) -> Vec<V> {
        let Some(scope) = self.scopes.pop() else { return vec![] };
        let depth = self.here();
        let text = format!("{}\n{}{end}", scope.head, scope.text);
        self.line(depth, &text);
        scope.results
    }

    /// The function's body.
    pub fn finish(mut self) -> (String, Vec<Span>) {
        let body = self.scopes.pop().map(|s| s.text).unwrap_or_default();
        (body, self.spans)
    }
}

fn result_prefix(id: u32, count: usize) -> String {
    match count {
        0 => String::new(),
        n => format!("%{id}:{n} = "),
    }
}

fn results(id: u32, types: impl Iterator<Item = Ty>) -> Vec<V> {
    types.enumerate().map(|(n, ty)| V { id, part: n as u16, ty }).collect()
}

/// `%1, %2` and `i32, f32`.
pub fn lists(values: &[V]) -> (String, String) {
    let (mut args, mut types) = (String::new(), String::new());
    for (n, v) in values.iter().enumerate() {
        let comma = if n > 0 { ", " } else { "" };
        let _ = write!(args, "{comma}{v}");
        let _ = write!(types, "{comma}{}", v.ty);
    }
    (args, types)
}

fn fold(op: &str, a: i64, b: i64) -> Option<i64> {
    Some(match op {
        "add" => a.wrapping_add(b),
        "sub" => a.wrapping_sub(b),
        "mul" => a.wrapping_mul(b),
        "and" => a & b,
        "or" => a | b,
        "xor" => a ^ b,
        "shl" if (0..31).contains(&b) => a.wrapping_shl(b as u32),
        _ => return None,
    })
}

// ---- vectors: an element's type stands for the vector's, whose length the text says

impl Text {
    /// `vector<n x ty>` of these.
    pub fn vector(&mut self, values: &[V]) -> V {
        let (n, ty) = (values.len(), values[0].ty);
        let mut whole = self.pure(format!("llvm.mlir.undef : vector<{n}x{ty}>"), &[], ty);
        for (at, &v) in values.iter().enumerate() {
            let index = self.i32(at as i64);
            let text = format!("llvm.insertelement {v}, {whole}[{index} : i32] : vector<{n}x{ty}>");
            whole = self.pure(text, &[v, whole], ty);
        }
        whole
    }

    /// The elements of a `vector<n x ty>`.
    pub fn lanes(&mut self, whole: V, ty: Ty, n: usize) -> Vec<V> {
        (0..n)
            .map(|at| {
                let index = self.i32(at as i64);
                self.pure(
                    format!("llvm.extractelement {whole}[{index} : i32] : vector<{n}x{ty}>"),
                    &[whole],
                    ty,
                )
            })
            .collect()
    }

    /// A word as elements of a smaller type, lowest first.
    pub fn word_lanes(&mut self, word: V, ty: Ty) -> Vec<V> {
        let bits = |t: Ty| match t {
            Ty::I1 | Ty::I8 => 8,
            Ty::I16 | Ty::F16 | Ty::Bf16 => 16,
            Ty::I32 | Ty::F32 => 32,
            _ => 64,
        };
        let n = bits(word.ty) / bits(ty);
        let whole = self.pure(format!("llvm.bitcast {word} : {} to vector<{n}x{ty}>", word.ty), &[word], ty);
        self.lanes(whole, ty, n)
    }
}
