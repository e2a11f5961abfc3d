//! A typed emitter of MLIR text: SSA values with types, structured scopes, and two rewrites that come for free.
//!
//! Text because every operation of every dialect has one stable spelling, `--emit mlir` shows exactly what was
//! parsed, and the parser of MLIR checks all of it. The dialects are `llvm` and `nvvm`; loops and branches become
//! blocks of `llvm` when their scope is closed ([`flow`]).
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

mod flow;

use flow::Frame;
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
    pub ty: Ty,
}

impl fmt::Display for V {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.id)
    }
}

#[derive(Default)]
struct Scope {
    text: String,
    numbered: HashMap<String, V>,
    /// What its end needs to know.
    frame: Frame,
}

#[derive(Default)]
pub struct Text {
    scopes: Vec<Scope>,
    /// Scope of each SSA number.
    depth: Vec<u8>,
    /// Blocks named so far.
    blocks: u32,
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
        V { id: self.number(here), ty }
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
        let v = V { id: self.number(depth), ty };
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

    /// The function's body.
    pub fn finish(mut self) -> (String, Vec<Span>) {
        let body = self.scopes.pop().map(|s| s.text).unwrap_or_default();
        (body, self.spans)
    }
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
