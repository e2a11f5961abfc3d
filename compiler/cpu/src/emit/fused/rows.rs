//! A pass along a row as a call of a row program (see `runtime::rows`), where the machine has vectors of 512 bits
//! and the pass is made of what row programs know.
//!
//! The program is built by the same walk over expressions that `values` makes, with chunks in the place of registers:
//! first without emitting anything, since the walk may find something that row programs do not have (integers,
//! strided tiles, `sin`); then the words of the call are emitted, one for each address, row value and result. The walk
//! names every value ([`Line`]); [`accumulate`] makes steps of that.

use super::super::{
    Emit, Reg, Result,
    buffers::{Stride, Tile},
};
use super::{
    Job, Map, Nest,
    accumulate::{Line, Name, accumulate},
    positions::Bound,
};
use crate::runtime::{
    Class,
    rows::{self, Binary, Logic, MASKS, MaskId, Order, REGISTERS, Reduction, RowProgram, Unary, Word},
};
use cranelift_codegen::ir::{self, InstBuilder, condcodes::IntCC, types};
use std::collections::HashMap;
use tile_base::DType;
use tile_graph::{Axis, ElemOp, Literal, Op, ReduceKind, Value};

/// Shorter rows are not worth a call.
const SHORTEST: u64 = 32;
/// Words before those that the program names: the program and the length.
const FIRST: u32 = 2;

/// What a word of the call holds.
enum Source {
    /// The first element of the row in a tile.
    Address(Tile, Map),
    /// A value that does not move along the row.
    Float(Value, Map),
    /// A bool that does not move along the row.
    Truth(Value, Map),
    Limit(Bound),
    /// Room for the result of a reduction.
    Result,
}

pub(super) struct RowCall {
    program: RowProgram,
    words: Vec<Source>,
}

/// The walk: what has been computed already, and what it needs.
struct Walk<'e, 'a, 'f> {
    emit: &'e Emit<'a, 'f>,
    nest: &'e Nest,
    lines: Vec<Line>,
    words: Vec<Source>,
    reductions: Vec<Reduction>,
    chunks: HashMap<(Value, Map), Name>,
    conditions: HashMap<(Value, Map), MaskId>,
    names: Name,
    masks: usize,
}

impl Emit<'_, '_> {
    /// The job as a row program; `None` if it holds something that row programs have not.
    pub(super) fn row_program(&self, axis: Axis, nest: &Nest, job: &Job) -> Option<RowCall> {
        if !rows::available() || self.capacity(axis) < SHORTEST || axis == Axis::One {
            return None;
        }
        let mut walk = Walk {
            emit: self,
            nest,
            lines: vec![],
            words: vec![],
            reductions: vec![],
            chunks: HashMap::new(),
            conditions: HashMap::new(),
            names: 0,
            masks: 0,
        };
        for (value, tile) in &job.values {
            let map = self.straight(*value);
            let a = walk.chunk(*value, &map)?;
            if let Some(tile) = tile {
                let to = walk.row_of(tile, &map)?;
                walk.line(Line::Store { a, to });
            }
        }
        for &(node, kind) in &job.sums {
            walk.reduction(node, kind)?;
        }
        let program = RowProgram { steps: vec![], reductions: walk.reductions };
        Some(RowCall { program: accumulate(&walk.lines, program)?, words: walk.words })
    }

    pub(super) fn call_row(
        &mut self,
        nest: &mut Nest,
        job: &Job,
        row: RowCall,
        end: ir::Value,
    ) -> Result<()> {
        let mut words = vec![];
        for source in &row.words {
            words.push(match source {
                Source::Address(tile, map) => self.address(tile, map, nest),
                Source::Float(value, map) => {
                    let v = self.row_value(nest, *value, map)?;
                    let bits = self.recast(v, types::I32);
                    self.fb.ins().uextend(types::I64, bits)
                }
                Source::Truth(value, map) => {
                    let v = self.row_value(nest, *value, map)?;
                    self.fb.ins().uextend(types::I64, v)
                }
                Source::Limit(bound) => {
                    let limit = self.bound_value(nest, bound)?;
                    self.fb.ins().sextend(types::I64, limit)
                }
                Source::Result => self.int(0),
            });
        }
        let results: Vec<Word> = row.program.reductions.iter().map(|r| r.to).collect();
        let program = Box::new(row.program);
        self.begin();
        self.word_int(&*program as *const RowProgram as i64);
        self.word(end);
        words.into_iter().for_each(|w| self.word(w));
        self.support.rows.push(program);
        self.call(rows::run_row);
        let results = results.into_iter().map(|w| Some(self.float_result(w))).collect();
        self.end_sums(nest, job, results)
    }

    /// A scalar, or what was computed before the pass along the row.
    fn row_value(&self, nest: &Nest, value: Value, map: &Map) -> Result<ir::Value> {
        match nest.row.get(&(value, map.clone())) {
            Some(reg) => Ok(reg.low),
            None => self.scalar(value),
        }
    }

    /// A word of the last call, as the f32 in its low bits.
    fn float_result(&mut self, word: Word) -> Reg {
        let at = (FIRST + word as u32) * 8;
        let bits = self.fb.ins().stack_load(types::I64, types::I32, self.words, at as i32);
        self.recast(bits, types::F32).into()
    }
}

impl Walk<'_, '_, '_> {
    fn name(&mut self) -> Option<Name> {
        self.names = self.names.checked_add(1)?;
        Some(self.names - 1)
    }

    fn mask(&mut self) -> Option<MaskId> {
        self.masks += 1;
        (self.masks <= MASKS).then_some((self.masks - 1) as MaskId)
    }

    fn word(&mut self, source: Source) -> Word {
        self.words.push(source);
        (self.words.len() - 1) as Word
    }

    fn line(&mut self, line: Line) {
        self.lines.push(line);
    }

    /// The word for a row of a tile, if its elements are neighbours.
    fn row_of(&mut self, tile: &Tile, map: &Map) -> Option<Word> {
        let inner = self.nest.inner;
        let moving: Vec<Stride> =
            map.iter().zip(&tile.strides).filter(|(m, _)| m.0 == Some(inner)).map(|(_, s)| *s).collect();
        if tile.class != Class::F32 || moving != [Stride::Const(1)] {
            return None;
        }
        Some(self.word(Source::Address(tile.clone(), map.clone())))
    }

    fn reduction(&mut self, node: tile_graph::NodeId, kind: ReduceKind) -> Option<()> {
        if !matches!(kind, ReduceKind::Sum | ReduceKind::Prod | ReduceKind::Max | ReduceKind::Min)
            || self.emit.graph.node(node).outputs[0].dtype != DType::F32
            || self.reductions.len() == REGISTERS
        {
            return None;
        }
        let input = self.emit.graph.inputs(node)[0];
        let map = self.emit.straight(input);
        let a = self.chunk(input, &map)?;
        let to = self.word(Source::Result);
        self.line(Line::Reduce { n: self.reductions.len() as u8, a });
        self.reductions.push(Reduction { kind, to });
        Some(())
    }

    /// An f32 value along the row.
    fn chunk(&mut self, value: Value, map: &Map) -> Option<Name> {
        let key = (value, map.clone());
        if let Some(&r) = self.chunks.get(&key) {
            return Some(r);
        }
        if self.emit.class(value) != Class::F32 {
            return None;
        }
        let r = self.new_chunk(value, map)?;
        self.chunks.insert(key, r);
        Some(r)
    }

    fn new_chunk(&mut self, value: Value, map: &Map) -> Option<Name> {
        let graph = self.emit.graph;
        if let Some(Literal::Float(v)) = graph.splat(value) {
            let d = self.name()?;
            self.line(Line::Constant { d, value: v as f32 });
            return Some(d);
        }
        if self.stands(value, map) {
            let from = self.known(value, map).then(|| self.word(Source::Float(value, map.clone())))?;
            let d = self.name()?;
            self.line(Line::Splat { d, from });
            return Some(d);
        }
        if !self.emit.is_written_out(self.nest, value) {
            let tile = match self.nest.stored.get(&value.node) {
                Some(tile) => tile.clone(),
                None => self.emit.stored(value)?,
            };
            let from = self.row_of(&tile, map)?;
            let d = self.name()?;
            self.line(Line::Load { d, from });
            return Some(d);
        }
        let operands = self.emit.operands(value, map);
        match &graph.node(value.node).op {
            Op::Elem(op) => self.element(value, *op, &operands),
            Op::Cast => {
                let (from, to) = (graph.type_of(operands[0].0).dtype, graph.type_of(value).dtype);
                let a = self.chunk(operands[0].0, &operands[0].1)?;
                if from == to || crate::fuse::widens(from, to) { Some(a) } else { self.round(to, a) }
            }
            Op::Reshape { .. } | Op::Permute { .. } | Op::Slice { .. } | Op::Broadcast => {
                self.chunk(operands[0].0, &operands[0].1)
            }
            _ => None,
        }
    }

    fn round(&mut self, to: DType, a: Name) -> Option<Name> {
        let op = match to {
            DType::F32 => return Some(a),
            DType::F16 => Unary::ToHalf,
            DType::Bf16 => Unary::ToBrain,
            DType::Tf32 => Unary::ToTf32,
            _ => return None,
        };
        self.unary(op, a)
    }

    fn unary(&mut self, op: Unary, a: Name) -> Option<Name> {
        let d = self.name()?;
        self.line(Line::Unary { op, d, a });
        Some(d)
    }

    fn element(&mut self, value: Value, op: ElemOp, operands: &[(Value, Map)]) -> Option<Name> {
        let at = |n: usize| operands.get(n).map(|(v, m)| (*v, m));
        if op == ElemOp::Select {
            let condition = self.condition(at(0)?.0, at(0)?.1)?;
            let a = self.chunk(at(1)?.0, at(1)?.1)?;
            let b = self.chunk(at(2)?.0, at(2)?.1)?;
            let d = self.name()?;
            self.line(Line::Select { d, condition, a, b });
            return Some(d);
        }
        let a = self.chunk(at(0)?.0, at(0)?.1)?;
        let (d, exact) = match (unary_of(op), binary_of(op)) {
            (Some(op), _) => (self.unary(op, a)?, matches!(op, Unary::Neg | Unary::Abs)),
            (_, Some(op)) => {
                let b = self.chunk(at(1)?.0, at(1)?.1)?;
                let d = self.name()?;
                self.line(Line::Binary { op, d, a, b });
                (d, matches!(op, Binary::Max | Binary::Min))
            }
            _ => return None,
        };
        if exact { Some(d) } else { self.round(self.emit.graph.type_of(value).dtype, d) }
    }

    /// A bool value along the row.
    fn condition(&mut self, value: Value, map: &Map) -> Option<MaskId> {
        let key = (value, map.clone());
        if let Some(&m) = self.conditions.get(&key) {
            return Some(m);
        }
        let m = if self.stands(value, map) {
            let from = self.known(value, map).then(|| self.word(Source::Truth(value, map.clone())))?;
            let d = self.mask()?;
            self.line(Line::SplatMask { d, from });
            d
        } else if self.emit.is_written_out(self.nest, value) {
            self.new_condition(value, map)?
        } else {
            return None;
        };
        self.conditions.insert(key, m);
        Some(m)
    }

    /// Whether a value is the same along the row.
    fn stands(&self, value: Value, map: &Map) -> bool {
        self.emit.graph.type_of(value).is_scalar() || !self.nest.moves(map)
    }

    /// Whether a value that stands has been computed.
    fn known(&self, value: Value, map: &Map) -> bool {
        self.emit.graph.type_of(value).is_scalar() || self.nest.row.contains_key(&(value, map.clone()))
    }

    fn new_condition(&mut self, value: Value, map: &Map) -> Option<MaskId> {
        if let Some(bound) = self.emit.bound_of(self.nest, value, map) {
            let order = order_of(bound.cc)?;
            let with = self.word(Source::Limit(bound));
            let d = self.mask()?;
            self.line(Line::ComparePosition { order, d, with });
            return Some(d);
        }
        let operands = self.emit.operands(value, map);
        let first = operands.first()?;
        let op = match &self.emit.graph.node(value.node).op {
            Op::Elem(op) => *op,
            Op::Reshape { .. } | Op::Permute { .. } | Op::Slice { .. } | Op::Broadcast => {
                return self.condition(first.0, &first.1);
            }
            _ => return None,
        };
        let logic = match op {
            ElemOp::And => Some(Logic::And),
            ElemOp::Or => Some(Logic::Or),
            ElemOp::Xor => Some(Logic::Xor),
            _ => None,
        };
        if op == ElemOp::Not {
            let a = self.condition(first.0, &first.1)?;
            let d = self.mask()?;
            self.line(Line::Not { d, a });
            return Some(d);
        }
        let second = operands.get(1)?;
        if let Some(op) = logic {
            let (a, b) = (self.condition(first.0, &first.1)?, self.condition(second.0, &second.1)?);
            let d = self.mask()?;
            self.line(Line::Logic { op, d, a, b });
            return Some(d);
        }
        let order = match op {
            ElemOp::Eq => Order::Eq,
            ElemOp::Ne => Order::Ne,
            ElemOp::Lt => Order::Lt,
            ElemOp::Le => Order::Le,
            ElemOp::Gt => Order::Gt,
            ElemOp::Ge => Order::Ge,
            _ => return None,
        };
        let (a, b) = (self.chunk(first.0, &first.1)?, self.chunk(second.0, &second.1)?);
        let d = self.mask()?;
        self.line(Line::Compare { order, d, a, b });
        Some(d)
    }
}

fn unary_of(op: ElemOp) -> Option<Unary> {
    Some(match op {
        ElemOp::Neg => Unary::Neg,
        ElemOp::Abs => Unary::Abs,
        ElemOp::Sqrt => Unary::Sqrt,
        ElemOp::Rsqrt => Unary::Rsqrt,
        ElemOp::Floor => Unary::Floor,
        ElemOp::Ceil => Unary::Ceil,
        ElemOp::Round => Unary::Round,
        ElemOp::Exp => Unary::Exp,
        ElemOp::Exp2 => Unary::Exp2,
        _ => return None,
    })
}

fn binary_of(op: ElemOp) -> Option<Binary> {
    Some(match op {
        ElemOp::Add => Binary::Add,
        ElemOp::Sub => Binary::Sub,
        ElemOp::Mul => Binary::Mul,
        ElemOp::Div => Binary::Div,
        ElemOp::Max => Binary::Max,
        ElemOp::Min => Binary::Min,
        _ => return None,
    })
}

fn order_of(cc: IntCC) -> Option<Order> {
    Some(match cc {
        IntCC::Equal => Order::Eq,
        IntCC::SignedLessThan => Order::Lt,
        IntCC::SignedLessThanOrEqual => Order::Le,
        IntCC::SignedGreaterThan => Order::Gt,
        IntCC::SignedGreaterThanOrEqual => Order::Ge,
        _ => return None,
    })
}
