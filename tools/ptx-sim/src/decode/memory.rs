//! Loads, stores, atomics, address conversions, matrix loads, asynchronous copies.

use super::{Decode, Decoder, Words};
use crate::{
    ir::*,
    read::{Instruction, Operand, Type, TypeKind},
};

pub(super) const SPACES: [(&str, MemSpace); 9] = [
    ("global", MemSpace::Global),
    ("shared", MemSpace::Shared),
    ("shared::cta", MemSpace::Shared),
    ("shared::cluster", MemSpace::SharedCluster),
    ("local", MemSpace::Local),
    ("param", MemSpace::Param),
    ("const", MemSpace::Global),
    ("param::entry", MemSpace::Param),
    ("param::func", MemSpace::Param),
];

pub(super) const SCOPES: [(&str, Scope); 4] =
    [("cta", Scope::Cta), ("cluster", Scope::Cluster), ("gpu", Scope::Gpu), ("sys", Scope::Sys)];

pub(super) const ATOMS: [(&str, AtomOp); 10] = [
    ("add", AtomOp::Add),
    ("min", AtomOp::Min),
    ("max", AtomOp::Max),
    ("and", AtomOp::And),
    ("or", AtomOp::Or),
    ("xor", AtomOp::Xor),
    ("exch", AtomOp::Exch),
    ("cas", AtomOp::Cas),
    ("inc", AtomOp::Inc),
    ("dec", AtomOp::Dec),
];

/// Shapes of `ldmatrix` and `stmatrix`.
#[derive(Clone, Copy)]
enum Shape {
    M8N8,
    M8N16,
    M16N16,
    M16N8,
}

impl Decoder<'_> {
    pub(super) fn memory_access(&mut self, i: &Instruction, w: &mut Words) -> Decode<Option<Op>> {
        Ok(Some(match w.name() {
            "ld" | "ldu" => self.load(i, w)?,
            "st" => self.store(i, w)?,
            "cvta" => {
                let to_space = w.take("to");
                let space = w.take_one(&SPACES).ok_or_else(|| self.error("`cvta` without a space"))?;
                let ty = self.ty(w)?;
                let d = self.dest(self.operand(i, 0)?, ty.bits)?;
                let a = self.source(self.operand(i, 1)?, ty.bits, false)?;
                Op::Cvta { space, to_space, d, a, wide: ty.bits == 64 }
            }
            "ldmatrix" | "stmatrix" => self.matrix_access(i, w)?,
            "cp" => return self.copy_async(i, w),
            "prefetch" | "prefetchu" if !w.has("tensormap") => {
                w.take_one(&SPACES);
                w.take_one(&[("L1", ()), ("L2", ())]);
                w.take_hints();
                self.address(self.operand(i, 0)?)?;
                Op::Nop
            }
            "isspacep" => {
                let space = w.take_one(&SPACES).ok_or_else(|| self.error("`isspacep` without a space"))?;
                self.operand_count(i, &[2])?;
                let (p, _) = self.predicate(&i.operands[0])?;
                Op::IsSpace { p, space, a: self.source(&i.operands[1], 64, false)? }
            }
            _ => return Ok(None),
        }))
    }

    pub(super) fn address(&mut self, operand: &Operand) -> Decode<Addr> {
        let Operand::Address { base, offset, coordinates } = operand else {
            return Err(self.error(format!("`{operand:?}` is not an address")));
        };
        if !coordinates.is_empty() {
            return Err(self.error("coordinates do not belong here"));
        }
        match &**base {
            Operand::Name(name) => match self.names.register_bits(name) {
                Some(bits) => {
                    let wide = bits == 64;
                    let base = self.names.source(name, if wide { 64 } else { 32 }, self.line)?;
                    Ok(Addr { base, wide, offset: *offset })
                }
                None => {
                    let base = self.names.address_of(name, *offset, 64, self.line)?;
                    Ok(Addr { base, wide: true, offset: 0 })
                }
            },
            Operand::Int(v) => {
                Ok(Addr { base: self.names.constant(*v as u64, 64), wide: true, offset: *offset })
            }
            other => Err(self.error(format!("`{other:?}` is not a base address"))),
        }
    }

    /// The ordering words of an access. `volatile` and `mmio` are relaxed at system scope.
    fn take_order(&mut self, w: &mut Words) -> Order {
        let semantics = w.take_one(&[
            ("weak", Semantics::Weak),
            ("relaxed", Semantics::Relaxed),
            ("acquire", Semantics::Acquire),
            ("release", Semantics::Release),
            ("acq_rel", Semantics::AcqRel),
        ]);
        let strong = w.take("volatile") | w.take("mmio");
        let scope = w.take_one(&SCOPES);
        w.take_hints();
        match semantics {
            _ if strong => Order { semantics: Semantics::Relaxed, scope: Scope::Sys },
            Some(semantics) => Order { semantics, scope: scope.unwrap_or_default() },
            None => Order { scope: scope.unwrap_or_default(), ..Order::WEAK },
        }
    }

    pub(super) fn vector_length(&mut self, w: &mut Words) -> usize {
        w.take_one(&[("v2", 2), ("v4", 4), ("v8", 8)]).unwrap_or(1)
    }

    /// A policy operand stands last where `.L2::cache_hint` says so.
    fn access_operands(&self, i: &Instruction, w: &Words) -> Decode<()> {
        self.operand_count(i, if w.has("L2::cache_hint") { &[3] } else { &[2] })
    }

    /// A parameter of an inlined function lies in local memory.
    fn stack_or(&self, space: MemSpace, address: &Operand) -> MemSpace {
        let Operand::Address { base, .. } = address else { return space };
        match &**base {
            Operand::Name(name) if space == MemSpace::Param && self.names.stack(name).is_some() => {
                MemSpace::Local
            }
            Operand::Name(name)
                if space == MemSpace::Param
                    && self.names.in_callee()
                    && self.names.register_bits(name).is_some() =>
            {
                MemSpace::Local
            }
            _ => space,
        }
    }

    fn load(&mut self, i: &Instruction, w: &mut Words) -> Decode<Op> {
        self.access_operands(i, w)?;
        let space = w.take_one(&SPACES).unwrap_or(MemSpace::Generic);
        let space = self.stack_or(space, &i.operands[1]);
        let order = self.take_order(w);
        let count = self.vector_length(w);
        let ty = self.ty(w)?;
        let parts = self.vector(&i.operands[0]);
        if parts.len() != count {
            return Err(self.error(format!(
                "`{}` loads {count} values into {} registers",
                i.text(),
                parts.len()
            )));
        }
        let register_bits = ty.bits.max(16);
        let mut d = vec![];
        for part in parts {
            let slot = match part {
                Operand::Sink => None,
                part => Some(self.dest(part, register_bits)?),
            };
            d.push(slot);
            // 128 bits are two halves.
            if ty.bits == 128 {
                d.push(slot.map(|s| s + 2));
            }
        }
        let (bytes, signed, wide) =
            (ty.bytes().min(8) as u8, ty.kind == TypeKind::Signed, self.is_wide(&i.operands[0], ty));
        if space == MemSpace::Param
            && let Operand::Address { base, offset, .. } = &i.operands[1]
            && let Operand::Name(name) = &**base
            && let Some(at) = self.names.param(name)
        {
            let offset = usize::try_from(at as i64 + offset).map_err(|_| self.error("parameter offset"))?;
            return Ok(Op::LoadParam { bytes, signed, d, wide, offset });
        }
        let addr = self.address(&i.operands[1])?;
        Ok(Op::Load { space, bytes, signed, d, wide, addr, order })
    }

    /// Whether registers of two rows receive the value (the high row has to be set too).
    fn is_wide(&self, operand: &Operand, ty: Type) -> bool {
        let bits = self.vector(operand).iter().find_map(|o| match o {
            Operand::Name(n) => self.names.register_bits(n),
            _ => None,
        });
        bits.unwrap_or(ty.bits) >= 64
    }

    fn store(&mut self, i: &Instruction, w: &mut Words) -> Decode<Op> {
        self.access_operands(i, w)?;
        let space = w.take_one(&SPACES).unwrap_or(MemSpace::Generic);
        let space = self.stack_or(space, &i.operands[0]);
        let order = self.take_order(w);
        let count = self.vector_length(w);
        let ty = self.ty(w)?;
        let parts = self.vector(&i.operands[1]);
        if parts.len() != count {
            return Err(self.error(format!(
                "`{}` stores {count} values from {} registers",
                i.text(),
                parts.len()
            )));
        }
        let float = ty.kind == TypeKind::Float;
        let mut a = vec![];
        for part in parts {
            let slot = self.source(part, ty.bits.max(16), float)?;
            a.push(slot);
            if ty.bits == 128 {
                a.push(slot + 2);
            }
        }
        let addr = self.address(&i.operands[0])?;
        Ok(Op::Store { space, bytes: ty.bytes().min(8) as u8, a, wide: ty.bits >= 64, addr, order })
    }

    /// `ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {…}, [a];`
    fn matrix_access(&mut self, i: &Instruction, w: &mut Words) -> Decode<Op> {
        self.operand_count(i, &[2])?;
        w.take("sync");
        w.take("aligned");
        let shape = w.take_one(&[
            ("m8n8", Shape::M8N8),
            ("m8n16", Shape::M8N16),
            ("m16n16", Shape::M16N16),
            ("m16n8", Shape::M16N8),
        ]);
        let count = w.take_one(&[("x1", 1u8), ("x2", 2), ("x4", 4)]).unwrap_or(1);
        let transpose = w.take("trans");
        w.take_one(&SPACES);
        let loads = w.name() == "ldmatrix";
        let unpacks = w.take("b8x16");
        let packing = w.take_one(&[("b6x16_p32", Packing::Six), ("b4x16_p64", Packing::Four)]);
        let bits = w.take_one(&[("b16", 16), ("b8", 8)]);
        use Shape::*;
        let layout = match (loads, shape, transpose, bits) {
            (_, Some(M8N8), false, Some(16)) => Some(MatrixLayout::Rows),
            (_, Some(M8N8), true, Some(16)) => Some(MatrixLayout::HalfColumns),
            (true, Some(M8N16), false, None) if packing.is_some() => Some(MatrixLayout::Rows),
            (true, Some(M16N16), true, Some(8)) if packing.is_none() => Some(MatrixLayout::ByteColumns),
            (true, Some(M16N16), true, None) if packing.is_some() => Some(MatrixLayout::ByteColumns),
            (false, Some(M16N8), true, Some(8)) => Some(MatrixLayout::BytePairs),
            _ => None,
        };
        let fits = |l: &MatrixLayout| count as usize * l.rows() <= 32 && unpacks == packing.is_some();
        let layout = layout
            .filter(fits)
            .ok_or_else(|| self.error(format!("`{}`: there is no such shape of these elements", w.text())))?;
        let (registers, address) =
            if loads { (&i.operands[0], &i.operands[1]) } else { (&i.operands[1], &i.operands[0]) };
        let parts = self.vector(registers);
        if parts.len() != count as usize * layout.registers() {
            return Err(self.error(format!("`{}` with {} registers", i.text(), parts.len())));
        }
        let addr = self.address(address)?;
        let slots = parts.into_iter().map(|part| match loads {
            true => self.dest(part, 32),
            false => self.source(part, 32, false),
        });
        let slots = slots.collect::<Decode<Vec<Slot>>>()?;
        Ok(if loads {
            let packing = packing.unwrap_or(Packing::Bytes);
            Op::LoadMatrix(Box::new(MatrixLoad { count, layout, packing, d: slots, addr }))
        } else {
            Op::StoreMatrix { count, layout, a: slots, addr }
        })
    }

    /// The non-bulk forms of `cp.async`.
    fn copy_async(&mut self, i: &Instruction, w: &mut Words) -> Decode<Option<Op>> {
        if !w.take("async") || i.words.iter().any(|x| x == "bulk" || x.starts_with("mbarrier")) {
            return Ok(None);
        }
        if w.take("commit_group") {
            return Ok(Some(Op::CopyAsyncCommit));
        }
        if w.take("wait_all") {
            return Ok(Some(Op::CopyAsyncWait { pending: 0, all: true }));
        }
        if w.take("wait_group") {
            let Operand::Int(pending) = self.operand(i, 0)? else {
                return Err(self.error("`cp.async.wait_group` needs a literal"));
            };
            return Ok(Some(Op::CopyAsyncWait { pending: *pending as u32, all: false }));
        }
        let policy = usize::from(w.has("L2::cache_hint"));
        w.take_hints();
        w.take_one(&[("shared", ()), ("shared::cta", ())]);
        w.take("global");
        let to = self.address(self.operand(i, 0)?)?;
        let from = self.address(self.operand(i, 1)?)?;
        let size = match self.operand(i, 2)? {
            Operand::Int(n @ (4 | 8 | 16)) => *n as u8,
            other => return Err(self.error(format!("`cp.async` of {other:?} bytes"))),
        };
        let rest = i.operands.len().checked_sub(policy).and_then(|n| i.operands.get(3..n));
        let source = match rest.ok_or_else(|| self.error(format!("`{}` needs more operands", i.text())))? {
            [] => None,
            [operand] => Some(self.copy_source(operand, size)?),
            _ => return Err(self.error(format!("`{}` with {} operands", i.text(), i.operands.len()))),
        };
        Ok(Some(Op::CopyAsync { size, source, to, from }))
    }

    /// How many bytes a copy reads: a number, or a predicate that makes it read none.
    fn copy_source(&mut self, operand: &Operand, size: u8) -> Decode<Slot> {
        let name = match operand {
            Operand::Name(name) | Operand::Not(name) => name,
            _ => return self.source(operand, 32, false),
        };
        if self.names.pred(name, self.line).is_err() {
            return self.source(operand, 32, false);
        }
        let (p, negated) = self.predicate(operand)?;
        let (d, none, all) =
            (self.names.scratch(32), self.names.constant(0, 32), self.names.constant(size as u64, 32));
        let (a, b) = if negated { (all, none) } else { (none, all) };
        self.push(Op::Select { rows: 1, d, a, b, p });
        Ok(d)
    }
}
