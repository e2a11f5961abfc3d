//! Where the element at the nest's position lies, and loads of it.

use super::super::{
    Emit, Lanes, Reg, Result,
    buffers::{Base, Stride, Tile},
};
use super::{Map, Nest};
use cranelift_codegen::ir::{self, InstBuilder};

impl Emit<'_, '_> {
    /// Address of the element at the nest's position.
    pub(super) fn address(&mut self, tile: &Tile, map: &Map, nest: &Nest) -> ir::Value {
        let mut address = self.base(tile);
        let bytes = tile.class.bytes() as i64;
        // The inner axis last: what is before it does not move and leaves the loop.
        let mut axes: Vec<usize> = (0..map.len()).collect();
        axes.sort_by_key(|&a| map[a].0 == Some(nest.inner));
        for a in axes {
            let (axis, offset) = map[a];
            let Some(at) = self.plus(axis.and_then(|x| nest.at[x]), offset) else { continue };
            let delta = match tile.strides[a] {
                Stride::Const(0) => continue,
                Stride::Const(s) => self.fb.ins().imul_imm_s(at, s * bytes),
                Stride::Run(s) => {
                    let moved = self.fb.ins().imul(at, s);
                    self.fb.ins().imul_imm_s(moved, bytes)
                }
            };
            address = self.fb.ins().iadd(address, delta);
        }
        address
    }

    pub(super) fn plus(&mut self, at: Option<ir::Value>, offset: i64) -> Option<ir::Value> {
        match (at, offset) {
            (None, 0) => None,
            (None, n) => Some(self.int(n)),
            (Some(v), 0) => Some(v),
            (Some(v), n) => Some(self.fb.ins().iadd_imm_s(v, n)),
        }
    }

    /// The address of a tile's first element.
    pub fn base(&mut self, tile: &Tile) -> ir::Value {
        match tile.base {
            Base::Arena(offset) => {
                let offset = self.int(offset);
                self.fb.ins().iadd(self.arena, offset)
            }
            Base::Pointer(p) => p,
        }
    }

    pub(super) fn load_tile(&mut self, tile: &Tile, map: &Map, nest: &Nest) -> Result<Reg> {
        let address = self.address(tile, map, nest);
        if nest.lanes == Lanes::One {
            return Ok(self.load_reg(tile.class, address, Lanes::One));
        }
        let moving: Vec<Stride> =
            map.iter().zip(&tile.strides).filter(|(m, _)| m.0 == Some(nest.inner)).map(|(_, s)| *s).collect();
        match moving[..] {
            [] => {
                let one = self.load_reg(tile.class, address, Lanes::One);
                Ok(self.splat(tile.class, one.low, Lanes::Four))
            }
            [Stride::Const(1)] => Ok(self.load_reg(tile.class, address, Lanes::Four)),
            _ => {
                let bytes = tile.class.bytes() as i64;
                let mut step = self.int(0);
                for s in moving {
                    let s = match s {
                        Stride::Const(s) => self.int(s * bytes),
                        Stride::Run(s) => self.fb.ins().imul_imm_s(s, bytes),
                    };
                    step = self.fb.ins().iadd(step, s);
                }
                let mut at = address;
                let mut elements = [at; 4];
                for (n, element) in elements.iter_mut().enumerate() {
                    if n > 0 {
                        at = self.fb.ins().iadd(at, step);
                    }
                    *element = self.load_reg(tile.class, at, Lanes::One).low;
                }
                Ok(self.gather(tile.class, elements))
            }
        }
    }
}
