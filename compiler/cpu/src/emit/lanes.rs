//! Registers of one element or of four, and the instructions over them.
//!
//! Cranelift's vectors have 128 bits: four f32, i32 or bools (as masks of 32 bits) fill one, four f64 or i64 fill
//! two. A [`Reg`] hides the difference. One scalar bool is an `i8` of 0 or 1; a bool lane is all zeros or all ones.

use super::{Emit, Result, flags};
use crate::runtime::Class;
use cranelift_codegen::ir::{
    self, Endianness, InstBuilder, MemFlagsData, Type, condcodes::IntCC, immediates::Offset32, types,
};

/// How many elements one register value holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Lanes {
    One,
    Four,
}

impl Lanes {
    pub fn count(self) -> i64 {
        match self {
            Lanes::One => 1,
            Lanes::Four => 4,
        }
    }
}

/// One or two machine registers.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Reg {
    pub low: ir::Value,
    pub high: Option<ir::Value>,
}

impl From<ir::Value> for Reg {
    fn from(low: ir::Value) -> Reg {
        Reg { low, high: None }
    }
}

/// The type of one element in a register.
pub fn scalar_type(class: Class) -> Type {
    match class {
        Class::F32 => types::F32,
        Class::F64 => types::F64,
        Class::I32 => types::I32,
        Class::I64 => types::I64,
        Class::Bool => types::I8,
    }
}

/// The type of one machine register of a vector.
pub fn part_type(class: Class) -> Type {
    match class {
        Class::F32 => types::F32X4,
        Class::F64 => types::F64X2,
        Class::I32 | Class::Bool => types::I32X4,
        Class::I64 => types::I64X2,
    }
}

/// Whether four lanes take two registers.
pub fn is_wide(class: Class) -> bool {
    class.bytes() == 8
}

fn little() -> MemFlagsData {
    MemFlagsData::new().with_endianness(Endianness::Little)
}

impl Emit<'_, '_> {
    /// The same bits as another vector type.
    pub fn recast(&mut self, v: ir::Value, to: Type) -> ir::Value {
        if self.fb.func.dfg.value_type(v) == to { v } else { self.fb.ins().bitcast(to, little(), v) }
    }

    /// Applies an instruction to each machine register.
    pub fn each1(&mut self, a: Reg, mut f: impl FnMut(&mut Self, ir::Value) -> ir::Value) -> Reg {
        Reg { low: f(self, a.low), high: a.high.map(|h| f(self, h)) }
    }

    pub fn each2(
        &mut self,
        a: Reg,
        b: Reg,
        mut f: impl FnMut(&mut Self, ir::Value, ir::Value) -> ir::Value,
    ) -> Reg {
        Reg { low: f(self, a.low, b.low), high: a.high.zip(b.high).map(|(a, b)| f(self, a, b)) }
    }

    /// One element into all lanes.
    pub fn splat(&mut self, class: Class, v: ir::Value, lanes: Lanes) -> Reg {
        if lanes == Lanes::One {
            return v.into();
        }
        let v = if class == Class::Bool { self.mask_of(v) } else { v };
        let low = self.fb.ins().splat(part_type(class), v);
        Reg { low, high: is_wide(class).then_some(low) }
    }

    /// 0 or 1 to no bits or all 32.
    pub fn mask_of(&mut self, v: ir::Value) -> ir::Value {
        let wide = self.fb.ins().uextend(types::I32, v);
        self.fb.ins().ineg(wide)
    }

    /// Any 32-bit mask to 0 or 1.
    pub fn bit_of(&mut self, v: ir::Value) -> ir::Value {
        self.fb.ins().icmp_imm_s(IntCC::NotEqual, v, 0)
    }

    pub fn load_reg(&mut self, class: Class, address: ir::Value, lanes: Lanes) -> Reg {
        if lanes == Lanes::One {
            if class == Class::Bool {
                let v = self.fb.ins().load(types::I32, flags(), address, 0);
                return self.bit_of(v).into();
            }
            return self.fb.ins().load(scalar_type(class), flags(), address, 0).into();
        }
        let part = part_type(class);
        let low = self.fb.ins().load(part, flags(), address, 0);
        let high = is_wide(class).then(|| self.fb.ins().load(part, flags(), address, Offset32::new(16)));
        Reg { low, high }
    }

    pub fn store_reg(&mut self, class: Class, v: Reg, address: ir::Value, lanes: Lanes) {
        let low = if lanes == Lanes::One && class == Class::Bool { self.mask_of(v.low) } else { v.low };
        self.fb.ins().store(flags(), low, address, 0);
        if let Some(high) = v.high {
            self.fb.ins().store(flags(), high, address, Offset32::new(16));
        }
    }

    /// Lane `at` as one element.
    pub fn lane(&mut self, class: Class, v: Reg, at: u8) -> ir::Value {
        let (part, index) = match v.high {
            Some(high) if at >= 2 => (high, at - 2),
            _ => (v.low, at),
        };
        let x = self.fb.ins().extractlane(part, index);
        if class == Class::Bool { self.bit_of(x) } else { x }
    }

    /// Four elements to lanes.
    pub fn gather(&mut self, class: Class, elements: [ir::Value; 4]) -> Reg {
        let elements = match class {
            Class::Bool => elements.map(|v| self.mask_of(v)),
            _ => elements,
        };
        let part = part_type(class);
        if is_wide(class) {
            let [a, b, c, d] = elements;
            let mut pair = |x, y| {
                let v = self.fb.ins().splat(part, x);
                self.fb.ins().insertlane(v, y, 1u8)
            };
            let low = pair(a, b);
            return Reg { low, high: Some(pair(c, d)) };
        }
        let mut v = self.fb.ins().splat(part, elements[0]);
        for (at, &x) in elements.iter().enumerate().skip(1) {
            v = self.fb.ins().insertlane(v, x, at as u8);
        }
        v.into()
    }

    /// Applies a function of single elements to every lane.
    pub fn per_lane(
        &mut self,
        args: &[(Reg, Class)],
        out: Class,
        lanes: Lanes,
        mut f: impl FnMut(&mut Self, &[ir::Value]) -> Result<ir::Value>,
    ) -> Result<Reg> {
        if lanes == Lanes::One {
            let args: Vec<ir::Value> = args.iter().map(|(r, _)| r.low).collect();
            return Ok(f(self, &args)?.into());
        }
        let mut results = [args[0].0.low; 4];
        for (at, result) in results.iter_mut().enumerate() {
            let args: Vec<ir::Value> = args.iter().map(|&(r, c)| self.lane(c, r, at as u8)).collect();
            *result = f(self, &args)?;
        }
        Ok(self.gather(out, results))
    }

    /// The mask of 32-bit lanes from comparisons of one or two registers.
    pub fn narrow_mask(&mut self, m: Reg) -> Reg {
        let Some(high) = m.high else { return m };
        let (a, b) = (self.recast(m.low, types::I8X16), self.recast(high, types::I8X16));
        let bytes: Vec<u8> = [0, 8, 16, 24].iter().flat_map(|&l| (0..4).map(move |b| l + b)).collect();
        let picks = self.fb.func.dfg.immediates.push(bytes.into());
        let v = self.fb.ins().shuffle(a, b, picks);
        self.recast(v, types::I32X4).into()
    }

    /// `condition ? a : b`; the condition is a bool register.
    pub fn select_reg(&mut self, class: Class, condition: Reg, a: Reg, b: Reg, lanes: Lanes) -> Reg {
        if lanes == Lanes::One {
            return self.fb.ins().select(condition.low, a.low, b.low).into();
        }
        let part = part_type(class);
        if let (Some(ah), Some(bh)) = (a.high, b.high) {
            let low = self.fb.ins().swiden_low(condition.low);
            let high = self.fb.ins().swiden_high(condition.low);
            let (low, high) = (self.recast(low, part), self.recast(high, part));
            let low = self.fb.ins().bitselect(low, a.low, b.low);
            return Reg { low, high: Some(self.fb.ins().bitselect(high, ah, bh)) };
        }
        let mask = self.recast(condition.low, part);
        self.fb.ins().bitselect(mask, a.low, b.low).into()
    }

    /// `at, at + 1, …` as index lanes.
    pub fn positions(&mut self, at: ir::Value, lanes: Lanes) -> Reg {
        if lanes == Lanes::One {
            return at.into();
        }
        let base = self.fb.ins().splat(types::I64X2, at);
        let mut plus = |a: i64, b: i64| {
            let bytes: Vec<u8> = [a, b].iter().flat_map(|v| v.to_le_bytes()).collect();
            let constant = self.fb.func.dfg.constants.insert(bytes.into());
            let step = self.fb.ins().vconst(types::I64X2, constant);
            self.fb.ins().iadd(base, step)
        };
        let low = plus(0, 1);
        Reg { low, high: Some(plus(2, 3)) }
    }
}
