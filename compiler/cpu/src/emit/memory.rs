//! Loads and stores.
//!
//! A load of f32, f64 or i64 elements through affine coordinates from a tensor that nothing writes is a *view*: its
//! coordinates are checked here against the shape, and the tile then is the tensor's memory itself, at the tensor's
//! strides. Everything else goes through [`crate::runtime::memory`], which checks every coordinate, converts the
//! elements and copies them to (or from) a tile of the arena; scalars too.

use super::{
    Emit, Result, SiteKind, Val,
    buffers::{Base, Stride, Tile},
    flags,
};
use crate::runtime::{
    Class, MAX_RANK, ObjectRecord,
    memory::{self, AccessPlan, CoordPlan, Kind},
};
use cranelift_codegen::ir::{self, InstBuilder, condcodes::IntCC, types};
use tile_base::{DType, Mode};
use tile_graph::{Access, Axis, Check, CoordIndex, NodeId, Op, ValueType};

impl Emit<'_, '_> {
    pub fn load(&mut self, node: NodeId, access: &Access) -> Result<()> {
        let ty = self.graph.node(node).outputs[0].clone();
        let value = Self::out(node);
        self.check_ranks(node, access, &ty)?;
        if self.is_view(access, &ty) {
            let tile = self.view(node, access, &ty)?;
            self.set(value, Val::Tile(tile));
            return Ok(());
        }
        let class = Class::of(ty.dtype);
        let until = if ty.is_scalar() { self.position } else { self.last_use(value) };
        let tile = self.new_tile(class, &ty.axes, until);
        self.transfer(node, access, &ty, &tile, Kind::Load)?;
        if ty.is_scalar() {
            let address = self.base(&tile);
            let reg = self.load_reg(class, address, super::Lanes::One);
            self.set(value, Val::Scalar(reg.low));
        } else {
            self.set(value, Val::Tile(tile));
        }
        Ok(())
    }

    pub fn store(&mut self, node: NodeId, access: &Access, kind: Kind) -> Result<()> {
        let value = self.graph.inputs(node)[0];
        let ty = self.graph.type_of(value).clone();
        self.check_ranks(node, access, &ty)?;
        let tile = if ty.is_scalar() {
            let class = Class::of(ty.dtype);
            let tile = self.new_tile(class, &[], self.position);
            let (v, address) = (self.scalar(value)?, self.base(&tile));
            self.store_reg(class, v.into(), address, super::Lanes::One);
            tile
        } else {
            self.tile_of(value)?
        };
        self.transfer(node, access, &ty, &tile, kind)
    }

    fn check_ranks(&self, node: NodeId, access: &Access, ty: &ValueType) -> Result<()> {
        let rank = access.coords.len().max(ty.axes.len());
        if rank > MAX_RANK {
            return Err(self.unsupported(node, format!("an access of rank {rank} (more than {MAX_RANK})")));
        }
        Ok(())
    }

    fn is_view(&self, access: &Access, ty: &ValueType) -> bool {
        let object = self.graph.object(access.object);
        let affine =
            |c: &tile_graph::Coord| matches!(c.index, CoordIndex::Affine { .. }) && c.check != Check::Else;
        object.mode == Mode::In
            && object.index.is_none()
            && object.dtype == ty.dtype
            && matches!(ty.dtype, DType::F32 | DType::Tf32 | DType::F64)
            && !ty.is_scalar()
            && access.otherwise.is_none()
            && access.mask.is_none()
            && access.coords.iter().all(affine)
    }

    /// Word `field` of the object's record.
    fn object_field(&mut self, object: usize, field: i32) -> ir::Value {
        let at = object as i32 * ObjectRecord::SIZE + field;
        self.fb.ins().load(types::I64, flags().with_readonly(), self.objects, at)
    }

    /// The object's memory as a tile, its coordinates checked.
    fn view(&mut self, node: NodeId, access: &Access, ty: &ValueType) -> Result<Tile> {
        let inputs = self.graph.inputs(node);
        let object = access.object.index();
        let class = Class::of(ty.dtype);
        let site = self.access_site(node, access, false);
        let some = self.some_element(&ty.axes)?;
        let mut offset = self.int(0);
        let mut strides = vec![Stride::Const(0); ty.axes.len()];
        for (d, coord) in access.coords.iter().enumerate() {
            let CoordIndex::Affine { base, terms } = &coord.index else { continue };
            let base = match base {
                Some(port) => self.scalar(inputs[*port as usize])?,
                None => self.int(0),
            };
            let limits = [coord.lo, coord.hi].map(|p| p.map(|p| inputs[p as usize]));
            self.check_range(object, d, base, terms, &ty.axes, limits, some, site)?;
            let unit = self.unit[object] && d + 1 == access.coords.len();
            let stride = match unit {
                true => None,
                false => Some(self.object_field(object, ObjectRecord::STRIDES + 8 * d as i32)),
            };
            let moved = stride.map_or(base, |s| self.fb.ins().imul(base, s));
            offset = self.fb.ins().iadd(offset, moved);
            for &(axis, times) in terms {
                let term = match stride {
                    None => Stride::Const(times),
                    Some(s) if times == 1 => Stride::Run(s),
                    Some(s) => Stride::Run(self.fb.ins().imul_imm_s(s, times)),
                };
                strides[axis as usize] = self.add_strides(strides[axis as usize], term);
            }
        }
        let bytes = self.fb.ins().imul_imm_s(offset, class.bytes() as i64);
        let start = self.object_field(object, ObjectRecord::PTR);
        let pointer = self.fb.ins().iadd(start, bytes);
        Ok(Tile { class, base: Base::Pointer(pointer), strides, buffer: None })
    }

    fn add_strides(&mut self, a: Stride, b: Stride) -> Stride {
        let value = |e: &mut Self, s| match s {
            Stride::Const(c) => e.int(c),
            Stride::Run(v) => v,
        };
        match (a, b) {
            (Stride::Const(0), s) | (s, Stride::Const(0)) => s,
            (Stride::Const(x), Stride::Const(y)) => Stride::Const(x + y),
            _ => {
                let (x, y) = (value(self, a), value(self, b));
                Stride::Run(self.fb.ins().iadd(x, y))
            }
        }
    }

    /// Whether a tile has elements at all: an empty one accesses nothing.
    fn some_element(&mut self, axes: &[Axis]) -> Result<Option<ir::Value>> {
        let mut all: Option<ir::Value> = None;
        for &axis in axes {
            if let Axis::Span { .. } = axis {
                let extent = self.extent(axis)?;
                let some = self.fb.ins().icmp_imm_s(IntCC::SignedGreaterThan, extent, 0);
                all = Some(match all {
                    Some(v) => self.fb.ins().band(v, some),
                    None => some,
                });
            }
        }
        Ok(all)
    }

    /// Fails where `base + Σ stride · position` leaves the dimension for some position of a tile that is not empty.
    ///
    /// Written so that nothing can overflow: the positions' part is at most 2^32 · stride, and the base is compared
    /// with limits moved by it.
    #[expect(clippy::too_many_arguments, reason = "one dimension of an access")]
    fn check_range(
        &mut self,
        object: usize,
        d: usize,
        base: ir::Value,
        terms: &[(u32, i64)],
        axes: &[Axis],
        limits: [Option<tile_graph::Value>; 2],
        some: Option<ir::Value>,
        site: i64,
    ) -> Result<()> {
        let size = self.object_field(object, ObjectRecord::DIMS + 8 * d as i32);
        let zero = self.int(0);
        let bound =
            |e: &mut Self, limit: Option<tile_graph::Value>, default: ir::Value| -> Result<ir::Value> {
                let Some(limit) = limit else { return Ok(default) };
                let v = e.scalar(limit)?;
                let v = e.fb.ins().smax(v, zero);
                Ok(e.fb.ins().smin(v, size))
            };
        let (lo, hi) = (bound(self, limits[0], zero)?, bound(self, limits[1], size)?);
        let (mut least, mut most) = (zero, zero);
        for &(axis, stride) in terms {
            let extent = self.extent(axes[axis as usize])?;
            let last = self.fb.ins().iadd_imm_s(extent, -1);
            let reach = self.fb.ins().imul_imm_s(last, stride);
            let end = if stride < 0 { &mut least } else { &mut most };
            *end = self.fb.ins().iadd(*end, reach);
        }
        let first = self.fb.ins().isub(lo, least);
        let end = self.fb.ins().isub(hi, most);
        let below = self.fb.ins().icmp(IntCC::SignedLessThan, base, first);
        let above = self.fb.ins().icmp(IntCC::SignedGreaterThanOrEqual, base, end);
        let mut bad = self.fb.ins().bor(below, above);
        if let Some(some) = some {
            bad = self.fb.ins().band(bad, some);
        }
        let reach = self.fb.ins().select(below, least, most);
        let value = self.fb.ins().iadd(base, reach);
        self.fail_if(bad, site, d as i64, [value, lo, hi]);
        Ok(())
    }

    fn access_site(&mut self, node: NodeId, access: &Access, write: bool) -> i64 {
        let proven = access.coords.iter().all(|c| matches!(c.check, Check::Proven | Check::AtLaunch));
        let object = self.graph.object(access.object).name.clone();
        self.site(node, SiteKind::Access { object, write, proven })
    }

    /// The access by a call: between the tile and the tensor.
    fn transfer(
        &mut self,
        node: NodeId,
        access: &Access,
        ty: &ValueType,
        tile: &Tile,
        kind: Kind,
    ) -> Result<()> {
        let inputs = self.graph.inputs(node);
        // Index tiles first: to compute one may take calls of its own.
        let mut gathers = vec![];
        for coord in &access.coords {
            gathers.push(match &coord.index {
                CoordIndex::Gather { index, axes } => {
                    let tile = self.tile_of(inputs[*index as usize])?;
                    Some((tile, axes.clone()))
                }
                CoordIndex::Affine { .. } => None,
            });
        }
        let mask = match access.mask {
            Some(port) => Some(self.mask_tile(inputs[port as usize], ty)?),
            None => None,
        };
        let site = self.access_site(node, access, kind != Kind::Load);
        let plan = Box::new(AccessPlan {
            kind,
            object: access.object.index(),
            class: tile.class,
            rank: ty.axes.len(),
            coords: access
                .coords
                .iter()
                .zip(&gathers)
                .map(|(c, gather)| CoordPlan {
                    terms: match &c.index {
                        CoordIndex::Affine { terms, .. } => terms.clone(),
                        CoordIndex::Gather { .. } => vec![],
                    },
                    gather: gather.as_ref().map(|(t, _)| t.class),
                    lo: c.lo.is_some(),
                    hi: c.hi.is_some(),
                    lenient: c.check == Check::Else,
                })
                .collect(),
            otherwise: access.otherwise.is_some() && kind == Kind::Load,
            mask: mask.is_some(),
            site,
        });
        let address = &*plan as *const AccessPlan as i64;
        let otherwise = plan.otherwise;
        self.support.plans.push(plan);
        self.begin();
        self.word_int(address);
        let start = self.base(tile);
        self.word(start);
        for &axis in &ty.axes {
            let extent = self.extent(axis)?;
            self.word(extent);
        }
        tile.strides.clone().into_iter().for_each(|s| self.word_stride(s));
        for (coord, gather) in access.coords.iter().zip(&gathers) {
            for port in [coord.lo, coord.hi].into_iter().flatten() {
                let limit = self.scalar(inputs[port as usize])?;
                self.word(limit);
            }
            match (&coord.index, gather) {
                (CoordIndex::Affine { base: Some(port), .. }, _) => {
                    let base = self.scalar(inputs[*port as usize])?;
                    self.word(base);
                }
                (CoordIndex::Affine { base: None, .. }, _) => self.word_int(0),
                (CoordIndex::Gather { axes, .. }, Some((index, _))) => {
                    let start = self.base(index);
                    self.word(start);
                    self.words_along(index, axes, ty.axes.len());
                }
                _ => return Err(self.bug(node, "a gather without its index tile")),
            }
        }
        if otherwise && let Some(port) = access.otherwise {
            let word = self.word_of(inputs[port as usize])?;
            self.word(word);
        }
        if let Some((mask, axes)) = &mask {
            let start = self.base(mask);
            self.word(start);
            self.words_along(mask, axes, ty.axes.len());
        }
        self.call_checked(memory::access);
        Ok(())
    }

    pub fn word_stride(&mut self, stride: Stride) {
        match stride {
            Stride::Const(s) => self.word_int(s),
            Stride::Run(s) => self.word(s),
        }
    }

    /// Strides of an index tile along each axis of the accessed tile.
    fn words_along(&mut self, index: &Tile, axes: &[u32], rank: usize) {
        for at in 0..rank {
            match axes.iter().position(|&a| a as usize == at) {
                Some(n) => self.word_stride(index.strides[n]),
                None => self.word_int(0),
            }
        }
    }

    /// A scalar as the runtime takes it: floats as f64 bits, integers as i64.
    fn word_of(&mut self, value: tile_graph::Value) -> Result<ir::Value> {
        let v = self.scalar(value)?;
        Ok(match self.class(value) {
            Class::F32 => {
                let wide = self.fb.ins().fpromote(types::F64, v);
                self.fb.ins().bitcast(types::I64, ir::MemFlagsData::new(), wide)
            }
            Class::F64 => self.fb.ins().bitcast(types::I64, ir::MemFlagsData::new(), v),
            Class::I32 => self.fb.ins().sextend(types::I64, v),
            Class::I64 => v,
            Class::Bool => self.fb.ins().uextend(types::I64, v),
        })
    }

    /// The mask of an access as a tile; a scalar becomes a tile of one element that stretches.
    fn mask_tile(&mut self, value: tile_graph::Value, ty: &ValueType) -> Result<(Tile, Vec<u32>)> {
        if self.graph.type_of(value).is_scalar() {
            let tile = self.new_tile(Class::Bool, &[], self.position);
            let (v, address) = (self.scalar(value)?, self.base(&tile));
            self.store_reg(Class::Bool, v.into(), address, super::Lanes::One);
            return Ok((tile, vec![]));
        }
        Ok((self.tile_of(value)?, (0..ty.axes.len() as u32).collect()))
    }

    /// A value as a tile in memory: where it lies, rearranged if need be, or computed into a tile that lives for
    /// this step.
    pub fn tile_of(&mut self, value: tile_graph::Value) -> Result<Tile> {
        if let Some(tile) = self.stored(value) {
            return Ok(tile);
        }
        if let Some(tile) = self.rearranged(value)? {
            return Ok(tile);
        }
        let ty = self.graph.type_of(value).clone();
        let tile = self.new_tile(Class::of(ty.dtype), &ty.axes, self.position);
        self.fill(value, &tile)?;
        Ok(tile)
    }

    /// The tile of a rearrangement of a stored tile: other strides, same memory.
    fn rearranged(&mut self, value: tile_graph::Value) -> Result<Option<Tile>> {
        let node = self.graph.node(value.node);
        let input = match (&node.op, self.graph.inputs(value.node).first()) {
            (
                Op::Reshape { .. } | Op::Permute { .. } | Op::Slice { .. } | Op::Broadcast | Op::Cast,
                Some(&input),
            ) if self.is_inline(value) && !self.graph.type_of(input).is_scalar() => input,
            _ => return Ok(None),
        };
        let found = match self.stored(input) {
            Some(tile) => Some(tile),
            None => self.rearranged(input)?,
        };
        let Some(mut tile) = found else { return Ok(None) };
        match &node.op {
            Op::Reshape { axes } => {
                let new = |a: &Option<u32>| a.map_or(Stride::Const(0), |a| tile.strides[a as usize]);
                tile.strides = axes.iter().map(new).collect();
            }
            Op::Permute { order } => {
                tile.strides = order.iter().map(|&a| tile.strides[a as usize]).collect();
            }
            Op::Slice { axis, lo } => {
                let start = self.base(&tile);
                let bytes = *lo as i64 * tile.class.bytes() as i64;
                let delta = match tile.strides[*axis as usize] {
                    Stride::Const(s) => self.int(s * bytes),
                    Stride::Run(s) => self.fb.ins().imul_imm_s(s, bytes),
                };
                tile.base = Base::Pointer(self.fb.ins().iadd(start, delta));
            }
            Op::Broadcast => {
                let input_axes = &self.graph.type_of(input).axes;
                for (at, axis) in input_axes.iter().enumerate() {
                    if *axis == Axis::One {
                        tile.strides[at] = Stride::Const(0);
                    }
                }
            }
            _ => {}
        }
        Ok(Some(tile))
    }
}
