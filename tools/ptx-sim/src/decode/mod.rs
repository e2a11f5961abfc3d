//! Module syntax to a [`Kernel`]: names to rows, words to operations, labels to positions.
//!
//! One file per family of instructions; each takes an [`Instruction`] whose first word it knows and returns an
//! operation or says what it does not understand. No qualifier is skipped: [`Words`] keeps count of those that were
//! looked at, and what is left over is an error that names the instruction.
//!
//! Most instructions become one operation. Some become several (*lowering*): `set` is a comparison and a selection,
//! a vector atomic one atomic an element, a call the callee's body (see [`calls`]). [`Decoder::push`] emits the earlier ones, under
//! the guard of the instruction; only the last may change what the guard reads.

mod arith;
mod atomic;
mod bits;
mod calls;
mod compare;
mod control;
mod convert;
mod float;
mod frames;
mod hopper;
mod matrix;
mod memory;
mod names;
mod recursion;
mod warp;
mod wmma;

use crate::{
    ir::*,
    read::{Function, Instruction, Module, Operand, ReadError, Stmt, Type},
};
use names::Names;
pub(crate) use names::masked;
pub use names::variables;
use std::collections::HashMap;

type Decode<T> = Result<T, ReadError>;

/// Decodes one entry function.
pub fn kernel(module: &Module, entry: &str) -> Decode<Kernel> {
    let function = module.functions.iter().find(|f| f.entry && f.name == entry).ok_or_else(|| ReadError {
        line: 0,
        message: format!(
            "no entry `{entry}`; there are: {}",
            module
                .functions
                .iter()
                .filter(|f| f.entry)
                .map(|f| f.name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        ),
    })?;
    let Some(body) = &function.body else {
        return Err(ReadError { line: function.line, message: format!("`{entry}` is only declared") });
    };
    let mut decoder = Decoder::new(module, function)?;
    decoder.statements(body)?;
    decoder.finish(function)
}

pub(crate) struct Decoder<'a> {
    pub(crate) names: Names<'a>,
    code: Vec<Inst>,
    labels: HashMap<String, u32>,
    /// Branches to patch: position, scope path of the label, line.
    branches: Vec<(usize, String, u32)>,
    loc: (u32, u32),
    line: u32,
    /// Guard of the instruction at hand.
    guard: Option<(Pred, bool)>,
    module: &'a Module,
    calls: calls::Calls,
    recursion: recursion::Recursion,
    /// `.branchtargets` and `.calltargets` by the path of their name.
    tables: HashMap<String, Vec<String>>,
    /// The carry flag: one for each lane, as `add.cc` leaves it.
    carry: Option<Pred>,
}

/// Operations a kernel may have, with everything inlined.
const MAX_CODE: usize = 1 << 21;

impl<'a> Decoder<'a> {
    fn new(module: &'a Module, function: &Function) -> Decode<Self> {
        Ok(Decoder {
            names: Names::new(module, function)?,
            code: vec![],
            labels: HashMap::new(),
            branches: vec![],
            loc: (0, 0),
            line: 0,
            guard: None,
            module,
            calls: calls::Calls::default(),
            recursion: recursion::Recursion::new(module),
            tables: HashMap::new(),
            carry: None,
        })
    }

    fn statements(&mut self, stmts: &[Stmt]) -> Decode<()> {
        // A table may stand after the instruction that names it.
        for stmt in stmts {
            if let Stmt::Targets { name, labels } = stmt {
                self.tables.insert(self.names.label_key(name), labels.clone());
            }
        }
        for stmt in stmts {
            match stmt {
                Stmt::Variable(v) => self.names.declare(v)?,
                Stmt::Label(name, line) => {
                    let key = self.names.label_key(name);
                    if self.labels.insert(key, self.code.len() as u32).is_some() {
                        return Err(ReadError {
                            line: *line,
                            message: format!("label `{name}` stands twice"),
                        });
                    }
                }
                Stmt::Scope(inner) => {
                    self.names.enter(inner);
                    self.statements(inner)?;
                    self.names.leave();
                }
                Stmt::Location { file, line, .. } => self.loc = (*file, *line),
                Stmt::Targets { .. } | Stmt::Prototype { .. } => {}
                Stmt::Instruction(i) => self.instruction(i)?,
            }
        }
        Ok(())
    }

    fn instruction(&mut self, i: &Instruction) -> Decode<()> {
        self.line = i.line;
        let guard = match &i.guard {
            None => None,
            Some((name, negated)) => Some((self.names.pred(name, i.line)?, *negated)),
        };
        self.guard = guard;
        let mut words = Words::new(i);
        let op = self.operation(i, &mut words)?;
        words.finish()?;
        self.push(op);
        if self.code.len() > MAX_CODE {
            return Err(self.error(format!("more than {MAX_CODE} operations after inlining")));
        }
        Ok(())
    }

    /// Emits an operation under the guard of the instruction at hand.
    pub(crate) fn push(&mut self, op: Op) {
        let guard = self.guard;
        self.push_guarded(guard, op);
    }

    pub(crate) fn push_guarded(&mut self, guard: Option<(Pred, bool)>, op: Op) {
        self.code.push(Inst { guard, op, line: self.line, loc: self.loc });
    }

    /// A branch to a label that is placed later, by its path (see [`Names::label_key`]).
    pub(crate) fn push_branch(&mut self, guard: Option<(Pred, bool)>, key: &str) {
        self.branches.push((self.code.len(), key.to_string(), self.line));
        self.push_guarded(guard, Op::Branch { target: u32::MAX });
    }

    pub(crate) fn place_label(&mut self, key: &str) {
        self.labels.insert(key.to_string(), self.code.len() as u32);
    }

    /// The labels of a table, looked up from the innermost scope outwards.
    pub(crate) fn table(&self, name: &str) -> Option<Vec<String>> {
        let key = self.names.label_key(name);
        let (mut path, name) = key.rsplit_once('/')?;
        loop {
            if let Some(found) = self.tables.get(&format!("{path}/{name}")) {
                return Some(found.clone());
            }
            path = path.rsplit_once('/')?.0;
        }
    }

    fn operation(&mut self, i: &Instruction, w: &mut Words) -> Decode<Op> {
        let families = [
            Self::hopper,
            Self::arithmetic,
            Self::float_arithmetic,
            Self::bit_arithmetic,
            Self::conversion,
            Self::comparison,
            Self::memory_access,
            Self::atomic_access,
            Self::warp_wide,
            Self::matrix_product,
            Self::warp_matrix,
            Self::control_flow,
            Self::call,
        ];
        for family in families {
            if let Some(op) = family(self, i, w)? {
                return Ok(op);
            }
        }
        Err(self.error(format!("unknown instruction `{}`", i.text())))
    }

    pub(crate) fn error(&self, message: impl Into<String>) -> ReadError {
        ReadError { line: self.line, message: message.into() }
    }

    fn finish(mut self, function: &Function) -> Decode<Kernel> {
        // Falling off the end is a return.
        self.guard = None;
        self.push(Op::Exit);
        let routines = self.routines()?;
        for (at, label, line) in &self.branches {
            let target =
                Names::label_lookup(label, |key| self.labels.get(key).copied()).ok_or_else(|| ReadError {
                    line: *line,
                    message: format!("no label `{}`", label.rsplit('/').next().unwrap_or(label)),
                })?;
            self.code[*at].op = Op::Branch { target };
        }
        Ok(self.names.into_kernel(function, self.code, routines))
    }

    // ---- operands

    pub(crate) fn operand<'i>(&self, i: &'i Instruction, at: usize) -> Decode<&'i Operand> {
        i.operands.get(at).ok_or_else(|| self.error(format!("`{}` needs more operands", i.text())))
    }

    pub(crate) fn operand_count(&self, i: &Instruction, allowed: &[usize]) -> Decode<()> {
        if allowed.contains(&i.operands.len()) {
            Ok(())
        } else {
            Err(self.error(format!("`{}` with {} operands", i.text(), i.operands.len())))
        }
    }

    /// A source of `bits` bits, read as the given type (which decides what a float literal means).
    pub(crate) fn source(&mut self, operand: &Operand, bits: u32, float: bool) -> Decode<Slot> {
        let line = self.line;
        match operand {
            Operand::Name(name) => self.names.source(name, bits, line),
            // An integer where 16 bits of float are read is their pattern (ptxas knows no literal of these).
            Operand::Int(v) if float && bits > 16 => {
                Ok(self.names.constant(float_bits(*v as f64, bits), bits))
            }
            Operand::Int(v) => Ok(self.names.constant(*v as u64, bits)),
            Operand::F32(b) if bits == 64 => {
                Ok(self.names.constant((f32::from_bits(*b) as f64).to_bits(), 64))
            }
            Operand::F32(b) => Ok(self.names.constant(*b as u64, bits)),
            Operand::F64(b) if bits == 64 => Ok(self.names.constant(*b, 64)),
            Operand::F64(b) => Ok(self.names.constant(float_bits(f64::from_bits(*b), bits), bits)),
            Operand::Offset(name, offset) => self.names.address_of(name, *offset, bits, line),
            other => Err(self.error(format!("unexpected operand {other:?}"))),
        }
    }

    /// A destination register; `_` is a row that nobody reads.
    pub(crate) fn dest(&mut self, operand: &Operand, bits: u32) -> Decode<Slot> {
        match operand {
            Operand::Name(name) => self.names.dest(name, bits, self.line),
            Operand::Sink => Ok(self.names.scratch(bits)),
            other => Err(self.error(format!("`{other:?}` is not a register"))),
        }
    }

    /// The operands of `{a, b}`, or the one operand.
    pub(crate) fn vector<'i>(&self, operand: &'i Operand) -> Vec<&'i Operand> {
        match operand {
            Operand::Vector(v) => v.iter().collect(),
            other => vec![other],
        }
    }

    pub(crate) fn predicate(&mut self, operand: &Operand) -> Decode<(Pred, bool)> {
        match operand {
            Operand::Name(n) => Ok((self.names.pred(n, self.line)?, false)),
            Operand::Not(n) => Ok((self.names.pred(n, self.line)?, true)),
            Operand::Int(v) => Ok((self.names.constant_pred(*v != 0), false)),
            other => Err(self.error(format!("`{other:?}` is not a predicate"))),
        }
    }

    /// The type word of an instruction: the first word that names one.
    pub(crate) fn ty(&self, w: &mut Words) -> Decode<Type> {
        w.take_type().ok_or_else(|| self.error(format!("`{}` has no type", w.text())))
    }
}

/// A number as the bits of a float of a width.
fn float_bits(value: f64, bits: u32) -> u64 {
    match bits {
        64 => value.to_bits(),
        32 => (value as f32).to_bits() as u64,
        _ => half::f16::from_f64(value).to_bits() as u64,
    }
}

/// The words of an opcode, each of which has to be taken.
pub(crate) struct Words<'i> {
    instruction: &'i Instruction,
    left: Vec<&'i str>,
}

impl<'i> Words<'i> {
    fn new(instruction: &'i Instruction) -> Self {
        Words { instruction, left: instruction.words[1..].iter().map(String::as_str).collect() }
    }

    pub(crate) fn name(&self) -> &'i str {
        &self.instruction.words[0]
    }

    pub(crate) fn text(&self) -> String {
        self.instruction.text()
    }

    pub(crate) fn has(&self, word: &str) -> bool {
        self.left.contains(&word)
    }

    /// Whether the word stands there; takes it.
    pub(crate) fn take(&mut self, word: &str) -> bool {
        let found = self.left.iter().position(|w| *w == word);
        found.map(|at| self.left.remove(at)).is_some()
    }

    /// Takes the first of these that stands there.
    pub(crate) fn take_one<T: Copy>(&mut self, table: &[(&str, T)]) -> Option<T> {
        let (at, value) = self
            .left
            .iter()
            .enumerate()
            .find_map(|(at, w)| table.iter().find(|(name, _)| name == w).map(|&(_, v)| (at, v)))?;
        self.left.remove(at);
        Some(value)
    }

    /// Takes the first word that fits.
    pub(crate) fn take_if(&mut self, fits: impl Fn(&str) -> bool) -> Option<&'i str> {
        let at = self.left.iter().position(|w| fits(w))?;
        Some(self.left.remove(at))
    }

    pub(crate) fn take_type(&mut self) -> Option<Type> {
        let at = self.left.iter().position(|w| Type::from_word(w).is_some())?;
        Type::from_word(self.left.remove(at))
    }

    /// The type word as written (`f16x2`), not taken apart.
    pub(crate) fn take_type_word(&mut self) -> Option<&'i str> {
        self.take_if(|w| Type::from_word(w).is_some())
    }

    /// Hints that change no value.
    pub(crate) fn take_hints(&mut self) {
        self.left.retain(|w| !is_hint(w));
    }

    fn finish(&self) -> Decode<()> {
        if self.left.is_empty() {
            return Ok(());
        }
        Err(ReadError {
            line: self.instruction.line,
            message: format!("`{}`: `.{}` is not understood", self.text(), self.left.join(".")),
        })
    }
}

fn is_hint(word: &str) -> bool {
    matches!(word, "nc" | "ca" | "cg" | "cs" | "lu" | "cv" | "wb" | "wt" | "uni")
        || word.starts_with("L1::")
        || word.starts_with("L2::")
}
