//! The syntax of a PTX module, nothing resolved.

/// Text that is not PTX, or not understood; with its line.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ReadError {
    pub line: u32,
    pub message: String,
}

#[derive(Clone, PartialEq, Debug, Default)]
pub struct Module {
    /// Major and minor.
    pub version: (u32, u32),
    pub target: String,
    pub files: Vec<(u32, String)>,
    pub variables: Vec<Variable>,
    pub functions: Vec<Function>,
    /// `.alias name, function;`
    pub aliases: Vec<(String, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Space {
    Reg,
    Param,
    Global,
    Shared,
    Const,
    Local,
    Generic,
}

/// `.b8`, `.f32`, `.pred`, …
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Type {
    pub kind: TypeKind,
    pub bits: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TypeKind {
    Bits,
    Signed,
    Unsigned,
    Float,
    Bf16,
    /// e4m3, e5m2 and smaller formats appear only as qualifiers; see [`crate::decode`].
    Pred,
}

impl Type {
    /// From a dotted word without its dot: `b32`, `f16x2`, `pred`.
    pub fn from_word(word: &str) -> Option<Type> {
        let make = |kind, bits| Some(Type { kind, bits });
        match word {
            "pred" => return make(TypeKind::Pred, 1),
            "bf16" => return make(TypeKind::Bf16, 16),
            "f16x2" | "bf16x2" | "u16x2" | "s16x2" => return make(TypeKind::Bits, 32),
            "f32x2" => return make(TypeKind::Bits, 64),
            _ => {}
        }
        let bits: u32 = word.get(1..)?.parse().ok()?;
        if !matches!(bits, 8 | 16 | 32 | 64 | 128) {
            return None;
        }
        match word.as_bytes().first()? {
            b'b' => make(TypeKind::Bits, bits),
            b's' => make(TypeKind::Signed, bits),
            b'u' => make(TypeKind::Unsigned, bits),
            b'f' => make(TypeKind::Float, bits),
            _ => None,
        }
    }

    pub fn bytes(self) -> usize {
        (self.bits as usize).div_ceil(8)
    }
}

/// A variable of a state space: module scope, function scope, or a parameter.
#[derive(Clone, PartialEq, Debug)]
pub struct Variable {
    pub name: String,
    pub space: Space,
    pub ty: Type,
    pub align: usize,
    /// Elements; 1 for a scalar. `None`: `[]`, sized at launch.
    pub count: Option<usize>,
    /// `%r<10>` declares `%r0` … `%r9`.
    pub numbered: Option<u32>,
    pub init: Vec<Init>,
    pub external: bool,
    pub line: u32,
}

impl Variable {
    pub fn bytes(&self) -> usize {
        self.ty.bytes() * self.count.unwrap_or(0)
    }
}

#[derive(Clone, PartialEq, Debug)]
pub enum Init {
    Int(i64),
    F32(u32),
    F64(u64),
    /// Address of a symbol plus an offset; `generic(sym)` or plain.
    Symbol {
        name: String,
        generic: bool,
        offset: i64,
        /// `0xFF00(sym)` keeps these bits and moves them to the bottom; all ones otherwise.
        mask: u64,
    },
}

#[derive(Clone, PartialEq, Debug)]
pub struct Function {
    pub name: String,
    pub entry: bool,
    pub results: Vec<Variable>,
    pub params: Vec<Variable>,
    pub limits: Limits,
    /// `None`: a declaration.
    pub body: Option<Vec<Stmt>>,
    pub line: u32,
}

/// Performance directives, as written; 0 where absent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    pub max_threads: [u32; 3],
    pub required_threads: [u32; 3],
    pub min_ctas: u32,
    pub max_registers: u32,
    pub required_cluster: [u32; 3],
    pub explicit_cluster: bool,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Stmt {
    Variable(Variable),
    Label(String, u32),
    Instruction(Instruction),
    /// `{ … }`: names declared inside end with it.
    Scope(Vec<Stmt>),
    /// `.loc file line column`
    Location {
        file: u32,
        line: u32,
        column: u32,
    },
    /// `name: .branchtargets a, b;` or `name: .calltargets f, g;`
    Targets {
        name: String,
        labels: Vec<String>,
    },
    /// `name: .callprototype …;`: the call's own operands say the same.
    Prototype {
        name: String,
    },
}

#[derive(Clone, PartialEq, Debug)]
pub struct Instruction {
    /// Guard: register name, and whether negated.
    pub guard: Option<(String, bool)>,
    /// `["ld", "global", "nc", "v4", "f32"]`
    pub words: Vec<String>,
    pub operands: Vec<Operand>,
    pub line: u32,
}

impl Instruction {
    pub fn text(&self) -> String {
        self.words.join(".")
    }
}

#[derive(Clone, PartialEq, Debug)]
pub enum Operand {
    /// A register, special register, symbol or label.
    Name(String),
    /// `!%p`
    Not(String),
    Int(i64),
    F32(u32),
    F64(u64),
    /// `sym + 8`
    Offset(String, i64),
    /// `[base + offset]`, `[base + offset, {coordinates}]`
    Address {
        base: Box<Operand>,
        offset: i64,
        coordinates: Vec<Operand>,
    },
    /// `{a, b}`
    Vector(Vec<Operand>),
    /// `%r|%p`
    Pair(Box<Operand>, Box<Operand>),
    /// `(a, b)` of a call
    List(Vec<Operand>),
    /// `_`
    Sink,
}
