//! Loads from and stores to global memory.
//!
//! The address of a register is `pointer + sum over dimensions of stride * (base + position)`, in 64 bits; the
//! thread's part of it is computed once, the register's part is a constant times a stride. An access that may be
//! partly outside is predicated: a lane whose predicate is false touches nothing, and a load gives it 0 (`otherwise`
//! where the program says what outside reads). Elements below 8 bits have addresses of their own kind: `packed`.

use super::{Emission, Emit, packed::PackedPlace, register_type};
use crate::text::{Ty, V};
use tile_base::{DType, IndexKind, Mode};
use tile_graph::{Access, Check, Claim, CoordIndex, NodeId, Obligation, Status, Value, ValueType};
use tile_layout::Layout;

/// Where the registers of an access lie and when.
struct Addresses {
    pointers: Vec<V>,
    /// In place of the pointers where elements share bytes.
    packed: Vec<PackedPlace>,
    predicates: Vec<Option<V>>,
}

impl Emit<'_> {
    pub(super) fn load(&mut self, node: NodeId, access: &Access) -> Emission<Vec<V>> {
        let value = Value { node, port: 0 };
        let ty = self.g.type_of(value).clone();
        let layout = self.tile_layout(value)?;
        let vector = self.plan.accesses.get(&node).map_or(1, |a| a.vector) as usize;
        let places = self.addresses(node, access, &ty, &layout, vector)?;
        let object = self.g.object(access.object);
        let (dtype, constant) = (object.dtype, object.mode == Mode::In);
        let otherwise = match access.otherwise {
            Some(port) => Some(self.scalar(node, self.g.inputs(node)[port as usize])?),
            None => None,
        };
        let mut registers = vec![];
        for (n, predicate) in places.predicates.into_iter().enumerate() {
            let mut loaded = match places.packed.get(n) {
                Some(place) => self.load_packed(place, predicate, dtype, vector, constant),
                None => self.load_vector(places.pointers[n], predicate, dtype, vector, constant),
            };
            if let (Some(other), Some(p)) = (otherwise, predicate) {
                loaded.iter_mut().for_each(|v| *v = self.t.select(p, *v, other));
            }
            // Index tensors are stored in 32 bits and used in 64.
            let loaded = loaded.into_iter().map(|v| self.cast(v, dtype, ty.dtype));
            registers.extend(loaded.collect::<Vec<_>>());
        }
        // Vectors lie in the lowest register bits, so this is the order of the layout.
        Ok(registers)
    }

    pub(super) fn store(&mut self, node: NodeId, access: &Access) -> Emission<()> {
        let value = self.g.inputs(node)[0];
        let ty = self.g.type_of(value).clone();
        let layout = self.tile_layout(value)?;
        let registers = self.input(node, 0)?;
        let registers = self.within_index_type(node, access, registers)?;
        let vector = self.plan.accesses.get(&node).map_or(1, |a| a.vector) as usize;
        let places = self.addresses(node, access, &ty, &layout, vector)?;
        let dtype = self.g.object(access.object).dtype;
        let owner = self.owner(&layout);
        for (n, predicate) in places.predicates.into_iter().enumerate() {
            let stored: Vec<V> = registers[n * vector..(n + 1) * vector]
                .iter()
                .map(|&v| self.cast(v, ty.dtype, dtype))
                .collect();
            let predicate = self.t.both(predicate, owner);
            match places.packed.get(n) {
                Some(place) => {
                    let bytes = self.packed_bytes(&stored, dtype);
                    self.store_vector(place.pointer, predicate, &bytes, DType::U8);
                }
                None => self.store_vector(places.pointers[n], predicate, &stored, dtype),
            }
        }
        Ok(())
    }

    /// Values for an index tensor that are not shown to lie within its type: whoever reads it relies on that, so what does not
    /// is replaced, by -1 where that says "none", else by the nearest that the type allows.
    fn within_index_type(&mut self, node: NodeId, access: &Access, values: Vec<V>) -> Emission<Vec<V>> {
        let Some(kind) = self.g.object(access.object).index.clone() else { return Ok(values) };
        let shown =
            |o: &Obligation| o.node != node || o.claim != Claim::Overflow || o.status != Status::InPlace;
        if self.g.obligations.iter().all(shown) {
            return Ok(values);
        }
        let size = self.size(kind.bound()).ok_or_else(|| self.bug(node, "a bound over an unknown name"))?;
        let most = match kind {
            IndexKind::Id(_) | IndexKind::IdOrNone(_) => self.t.add_const(size, -1),
            IndexKind::Count(_) | IndexKind::Offsets(_) => size,
        };
        let (zero, none) = (self.t.i64(0), self.t.i64(-1));
        let within = |e: &mut Self, v: V| {
            let wide = e.t.convert("sext", v, Ty::I64);
            let near = match kind {
                IndexKind::IdOrNone(_) => {
                    let past = e.t.icmp("sgt", wide, most);
                    let id = e.t.select(past, none, wide);
                    e.t.intrinsic("smax", &[id, none])
                }
                _ => {
                    let low = e.t.intrinsic("smin", &[wide, most]);
                    e.t.intrinsic("smax", &[low, zero])
                }
            };
            e.t.convert("trunc", near, v.ty)
        };
        Ok(values.into_iter().map(|v| within(self, v)).collect())
    }

    /// `t[…] += e` on a `sum` tensor: one relaxed reduction for each element, in no order.
    pub(super) fn accumulate(&mut self, node: NodeId, access: &Access) -> Emission<()> {
        let value = self.g.inputs(node)[0];
        let ty = self.g.type_of(value).clone();
        let layout = self.tile_layout(value)?;
        let registers = self.input(node, 0)?;
        let places = self.addresses(node, access, &ty, &layout, 1)?;
        let dtype = self.g.object(access.object).dtype;
        let (name, letter) = match dtype {
            DType::F32 => ("f32", "f"),
            DType::F64 => ("f64", "d"),
            DType::I32 => ("u32", "r"),
            DType::I64 => ("u64", "l"),
            other => return Err(self.bug(node, format!("a sum of {other} passed the check of constructs"))),
        };
        let owner = self.owner(&layout);
        for ((pointer, predicate), value) in places.pointers.into_iter().zip(places.predicates).zip(registers)
        {
            let value = self.cast(value, ty.dtype, dtype);
            let mut operands = vec![pointer, value];
            let (mut guard, mut constraints) = ("", format!("l,{letter}"));
            if let Some(p) = self.t.both(predicate, owner).filter(|&p| self.t.known(p) != Some(1)) {
                operands.push(p);
                (guard, constraints) = ("@$2 ", constraints + ",b");
            }
            let (args, types) = crate::text::lists(&operands);
            self.t.effect(&format!(
                "llvm.inline_asm has_side_effects asm_dialect = att \"{guard}red.relaxed.gpu.global.add.{name} [$0], $1;\", \"{constraints},~{{memory}}\" {args} : ({types}) -> ()"
            ));
        }
        Ok(())
    }

    /// The layout of a tile; of a scalar one register in every thread.
    fn tile_layout(&self, value: Value) -> Emission<Layout> {
        match self.g.type_of(value).is_scalar() {
            true => {
                let warps = self.plan.warps.ilog2() as usize;
                Ok(Layout {
                    register: vec![],
                    lane: vec![vec![]; 5],
                    warp: vec![vec![]; warps],
                    reps: vec![],
                })
            }
            false => self.layout(value),
        }
    }

    /// Pointer and predicate of each vector of registers.
    fn addresses(
        &mut self,
        node: NodeId,
        access: &Access,
        ty: &ValueType,
        layout: &Layout,
        vector: usize,
    ) -> Emission<Addresses> {
        let object = access.object;
        let bytes = (self.g.object(object).dtype.bits() / 8).max(1) as i64;
        let (pointer, strides) = self.tensors[object.index()]
            .clone()
            .ok_or_else(|| self.bug(node, "an absent tensor is accessed"))?;
        let unit = self.plan.classes[object.index()].unit();
        let one = self.t.i64(1);
        let strides: Vec<V> =
            strides.iter().enumerate().map(|(d, &s)| if unit == Some(d) { one } else { s }).collect();
        let (thread, gathers) = self.thread_positions(node, access, layout)?;
        let mask = match access.mask {
            Some(port) => {
                let axes: Vec<u32> = (0..ty.axes.len() as u32).collect();
                Some(self.gathered(node, port, &axes, layout)?)
            }
            None => None,
        };
        let mut offset = self.t.i64(0);
        for (d, part) in thread.iter().enumerate() {
            let scaled = self.t.mul(*part, strides[d]);
            offset = self.t.add(offset, scaled);
        }
        let offset = self.t.mul_const(offset, bytes);
        let base = self.t.offset(pointer, offset);
        let mut out = Addresses { pointers: vec![], packed: vec![], predicates: vec![] };
        let packed = self.g.object(object).dtype.bits() < 8;
        for r in (0..layout.registers()).step_by(vector) {
            let inside = self.inside(node, access, ty, layout, &thread, &gathers, r)?;
            out.predicates.push(self.t.both(inside, mask.as_ref().map(|m| m[r])));
            if packed {
                let group = (r, vector);
                out.packed.push(self.packed_place(node, access, layout, &strides, &thread, &gathers, group)?);
                continue;
            }
            let at = layout.register_offset(r);
            let mut pointer = base;
            let mut constant = 0;
            for (d, coord) in access.coords.iter().enumerate() {
                match &coord.index {
                    CoordIndex::Affine { terms, .. } => {
                        let moved: i64 = terms.iter().map(|&(a, s)| i64::from(at[a as usize]) * s).sum();
                        match self.t.known(strides[d]) {
                            Some(stride) => constant += moved * stride * bytes,
                            None => {
                                let step = self.t.mul_const(strides[d], moved * bytes);
                                pointer = self.t.offset(pointer, step);
                            }
                        }
                    }
                    CoordIndex::Gather { .. } => {
                        if let Some(positions) = &gathers[d] {
                            let step = self.t.mul(positions[r], strides[d]);
                            let step = self.t.mul_const(step, bytes);
                            pointer = self.t.offset(pointer, step);
                        }
                    }
                }
            }
            let constant = self.t.i64(constant);
            out.pointers.push(self.t.offset(pointer, constant));
        }
        Ok(out)
    }

    /// Per dimension of the object: the thread's part of the position (i64), and gathered positions by register.
    #[allow(clippy::type_complexity)]
    fn thread_positions(
        &mut self,
        node: NodeId,
        access: &Access,
        layout: &Layout,
    ) -> Emission<(Vec<V>, Vec<Option<Vec<V>>>)> {
        let inputs = self.g.inputs(node);
        let mut thread = vec![];
        let mut gathers = vec![];
        for coord in &access.coords {
            match &coord.index {
                CoordIndex::Affine { base, terms } => {
                    let mut moved = self.t.i32(0);
                    for &(axis, stride) in terms {
                        let part = self.thread_part(layout, axis as usize);
                        let part = self.t.mul_const(part, stride);
                        moved = self.t.add(moved, part);
                    }
                    let mut position = self.t.convert("sext", moved, Ty::I64);
                    if let Some(base) = base {
                        let base = self.scalar(node, inputs[*base as usize])?;
                        position = self.t.add(base, position);
                    }
                    thread.push(position);
                    gathers.push(None);
                }
                CoordIndex::Gather { index, axes } => {
                    thread.push(self.t.i64(0));
                    gathers.push(Some(self.gathered(node, *index, axes, layout)?));
                }
            }
        }
        Ok((thread, gathers))
    }

    /// The index tile at a port, one register for each register of the accessed tile.
    fn gathered(&mut self, node: NodeId, port: u32, axes: &[u32], layout: &Layout) -> Emission<Vec<V>> {
        let value = self.g.inputs(node)[port as usize];
        let registers = self.input(node, port)?;
        let ty = self.g.type_of(value);
        if ty.is_scalar() {
            return Ok(vec![registers[0]; layout.registers()]);
        }
        let keep = tile_plan::infer::kept(ty);
        let from = self.input_layout(node, port)?;
        (0..layout.registers())
            .map(|r| {
                let at = layout.register_offset(r);
                let at: Vec<u32> =
                    axes.iter().zip(&keep).map(|(&a, &k)| if k { at[a as usize] } else { 0 }).collect();
                let found =
                    from.find_register(&at).ok_or_else(|| self.bug(node, "an index without register"))?;
                Ok(registers[found])
            })
            .collect()
    }

    /// Whether the element at register `r` exists and is inside, masks apart; `None`: always.
    #[allow(clippy::too_many_arguments)]
    fn inside(
        &mut self,
        node: NodeId,
        access: &Access,
        ty: &ValueType,
        layout: &Layout,
        thread: &[V],
        gathers: &[Option<Vec<V>>],
        r: usize,
    ) -> Emission<Option<V>> {
        let at = layout.register_offset(r);
        let mut inside = None;
        for (dim, &axis) in ty.axes.iter().enumerate() {
            let exists = self.exists(node, layout, dim, axis, at[dim])?;
            inside = self.t.both(inside, exists);
        }
        let inputs = self.g.inputs(node);
        for (d, coord) in access.coords.iter().enumerate() {
            let looks = matches!(coord.check, Check::InPlace | Check::Else);
            if !looks && coord.lo.is_none() && coord.hi.is_none() {
                continue;
            }
            let position = match (&coord.index, &gathers[d]) {
                (_, Some(positions)) => positions[r],
                (CoordIndex::Affine { terms, .. }, None) => {
                    let moved: i64 = terms.iter().map(|&(a, s)| i64::from(at[a as usize]) * s).sum();
                    self.t.add_const(thread[d], moved)
                }
                (CoordIndex::Gather { .. }, None) => return Err(self.bug(node, "a gather without positions")),
            };
            let zero = self.t.i64(0);
            let size = self.g.object(access.object).shape[d].clone();
            let size = self.size(&size).ok_or_else(|| self.bug(node, "a shape over an unknown name"))?;
            let mut limits = vec![];
            if looks {
                limits.push(("sge", zero));
                limits.push(("slt", size));
            }
            for (port, predicate) in [(coord.lo, "sge"), (coord.hi, "slt")] {
                if let Some(port) = port {
                    limits.push((predicate, self.scalar(node, inputs[port as usize])?));
                }
            }
            for (predicate, limit) in limits {
                let holds = self.t.icmp(predicate, position, limit);
                inside = self.t.both(inside, Some(holds));
            }
        }
        Ok(inside)
    }

    pub(super) fn load_vector(
        &mut self,
        pointer: V,
        predicate: Option<V>,
        dtype: DType,
        count: usize,
        constant: bool,
    ) -> Vec<V> {
        let ty = register_type(dtype);
        let bytes = (dtype.bits() / 8).max(1) * count;
        let space = if constant { "global.nc" } else { "global" };
        let effects = if constant { "" } else { "has_side_effects " };
        let clobber = if constant { "" } else { ",~{memory}" };
        let predicate = match predicate {
            Some(p) => p,
            None => self.t.int(Ty::I1, 1),
        };
        let always = self.t.known(predicate) == Some(1);
        let (words, word, name, letter) = match bytes {
            1 => (1, Ty::I16, "u8", "h"),
            2 => (1, Ty::I16, "b16", "h"),
            8 if count == 1 => (1, Ty::I64, "b64", "l"),
            16 if count == 2 && dtype.bits() == 64 => (2, Ty::I64, "b64", "l"),
            n => (n / 4, Ty::I32, "b32", "r"),
        };
        let outs: Vec<String> = (0..words).map(|n| format!("${n}")).collect();
        let width = if words > 1 { format!(".v{words}") } else { String::new() };
        let list = if words > 1 { format!("{{{}}}", outs.join(", ")) } else { outs.join("") };
        let (p, guard) = (words + 1, words);
        let mut asm = String::new();
        if !always {
            for out in &outs {
                asm += &format!("mov.{} {out}, 0; ", if bytes == 1 { "b16" } else { name });
            }
            asm += &format!("@${p} ");
        }
        asm += &format!("ld.{space}{width}.{name} {list}, [${guard}];");
        let mark = if always { "=" } else { "=&" };
        let mut constraints = vec![format!("{mark}{letter}"); words].join(",");
        constraints += ",l";
        let mut operands = vec![pointer];
        if !always {
            constraints += ",b";
            operands.push(predicate);
        }
        constraints += clobber;
        let (args, types) = crate::text::lists(&operands);
        let result = match words {
            1 => word.to_string(),
            n => format!("!llvm.struct<({})>", vec![word.name(); n].join(", ")),
        };
        let text = format!(
            "llvm.inline_asm {effects}asm_dialect = att \"{asm}\", \"{constraints}\" {args} : ({types}) -> {result}"
        );
        let words = match words {
            1 => vec![self.t.pinned(&text, word)],
            n => self.t.pinned_fields(&text, word, n),
        };
        words.into_iter().flat_map(|w| self.unpack(w, ty, bytes == 1)).collect()
    }

    /// A 16, 32 or 64-bit word as the elements it holds; a single `byte` comes in 16 bits.
    fn unpack(&mut self, word: V, ty: Ty, byte: bool) -> Vec<V> {
        match (word.ty, ty) {
            (a, b) if a == b => vec![word],
            (Ty::I16, Ty::I1) if byte => {
                let zero = self.t.int(Ty::I16, 0);
                vec![self.t.icmp("ne", word, zero)]
            }
            (Ty::I16, Ty::I8) if byte => vec![self.t.convert("trunc", word, Ty::I8)],
            (Ty::I16, Ty::F16 | Ty::Bf16) | (Ty::I32, Ty::F32) | (Ty::I64, Ty::F64) => {
                vec![self.t.convert("bitcast", word, ty)]
            }
            (_, Ty::I1) => {
                let bytes = self.t.word_lanes(word, Ty::I8);
                let zero = self.t.int(Ty::I8, 0);
                bytes.into_iter().map(|b| self.t.icmp("ne", b, zero)).collect()
            }
            _ => self.t.word_lanes(word, ty),
        }
    }

    fn store_vector(&mut self, pointer: V, predicate: Option<V>, values: &[V], dtype: DType) {
        let element = (dtype.bits() / 8).max(1);
        let (words, name, letter): (Vec<V>, &str, &str) = match (element, values.len()) {
            (1, 1) => {
                let wide = self.t.convert("zext", values[0], Ty::I16);
                (vec![wide], "b8", "h")
            }
            (1, 2) => {
                let bytes: Vec<V> = values.iter().map(|&v| self.t.convert("zext", v, Ty::I8)).collect();
                let whole = self.t.vector(&bytes);
                let word =
                    self.t.pure(format!("llvm.bitcast {whole} : vector<2xi8> to i16"), &[whole], Ty::I16);
                (vec![word], "b16", "h")
            }
            (2, 1) => (vec![self.t.convert("bitcast", values[0], Ty::I16)], "b16", "h"),
            (8, _) => (values.iter().map(|&v| self.t.convert("bitcast", v, Ty::I64)).collect(), "b64", "l"),
            _ => {
                let per_word = 4 / element;
                let words = values.chunks(per_word).map(|c| self.pack(c)).collect();
                (words, "b32", "r")
            }
        };
        let width = if words.len() > 1 { format!(".v{}", words.len()) } else { String::new() };
        let names: Vec<String> = (0..words.len()).map(|n| format!("${}", n + 1)).collect();
        let list = if words.len() > 1 { format!("{{{}}}", names.join(", ")) } else { names.join("") };
        let mut constraints = vec!["l".to_string()];
        constraints.extend(words.iter().map(|_| letter.to_string()));
        let mut operands = vec![pointer];
        operands.extend(&words);
        let mut guard = String::new();
        if let Some(p) = predicate.filter(|&p| self.t.known(p) != Some(1)) {
            guard = format!("@${} ", operands.len());
            constraints.push("b".into());
            operands.push(p);
        }
        constraints.push("~{memory}".into());
        let (args, types) = crate::text::lists(&operands);
        let constraints = constraints.join(",");
        self.t.effect(&format!(
            "llvm.inline_asm has_side_effects asm_dialect = att \"{guard}st.global{width}.{name} [$0], {list};\", \"{constraints}\" {args} : ({types}) -> ()"
        ));
    }

    /// Elements of 1, 2 or 4 bytes as one 32-bit word.
    pub(super) fn pack(&mut self, values: &[V]) -> V {
        if let [one] = values {
            return self.t.convert("bitcast", *one, Ty::I32);
        }
        let values: Vec<V> = values
            .iter()
            .map(|&v| if v.ty == Ty::I1 { self.t.convert("zext", v, Ty::I8) } else { v })
            .collect();
        let whole = self.t.vector(&values);
        let ty = values[0].ty;
        self.t.pure(format!("llvm.bitcast {whole} : vector<{}x{ty}> to i32", values.len()), &[whole], Ty::I32)
    }
}
