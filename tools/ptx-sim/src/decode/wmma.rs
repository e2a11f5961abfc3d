//! `wmma.load`, `wmma.store`, `wmma.mma`, lowered to loads, stores and `mma.sync`.
//!
//! The ISA leaves open which lane holds which element of a fragment; here they lie as `mma.sync` has them, so that
//! a product is a few of those. A tile of m = 16 is taken as it is, one of m = 32 as two, and `m8n32k16` as the
//! transposed product of two tiles, Dᵀ = Bᵀ·Aᵀ: then what `mma` calls A is the matrix B.
//!
//! ```text
//! m16n16k16   rows 16 of A, columns in two halves of 8:    2 × m16n8k16
//! m32n8k16    rows in two tiles of 16, columns 8:          2 × m16n8k16
//! m8n32k16    Bᵀ has 32 rows, Aᵀ 8 columns:                2 × m16n8k16
//! ```
//!
//! f16 fragments have eight registers whatever the shape needs; those left over repeat the first ones.

use super::{Decode, Decoder, Words, matrix::shape};
use crate::{
    exec::matrix::per_word,
    ir::*,
    read::{Instruction, Type},
};

/// Elements in memory and in fragments.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Element {
    Matrix(MatrixType),
    F32,
    S32,
}

const ELEMENTS: [(&str, Element); 8] = [
    ("f16", Element::Matrix(MatrixType::F16)),
    ("bf16", Element::Matrix(MatrixType::Bf16)),
    ("tf32", Element::Matrix(MatrixType::Tf32)),
    ("f64", Element::Matrix(MatrixType::F64)),
    ("s8", Element::Matrix(MatrixType::S8)),
    ("u8", Element::Matrix(MatrixType::U8)),
    ("f32", Element::F32),
    ("s32", Element::S32),
];

impl Element {
    fn bytes(self) -> u8 {
        match self {
            Element::Matrix(MatrixType::F16 | MatrixType::Bf16) => 2,
            Element::Matrix(MatrixType::S8 | MatrixType::U8) => 1,
            Element::Matrix(MatrixType::F64) => 8,
            _ => 4,
        }
    }

    /// Elements of a register.
    fn packed(self) -> usize {
        match self {
            Element::Matrix(ty) => per_word(ty),
            _ => 1,
        }
    }
}

/// Which matrix of the product.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    A,
    B,
    C,
}

/// A product as this file cuts it up.
#[derive(Clone, Copy)]
struct Tiles {
    m: usize,
    n: usize,
    k: usize,
    /// The roles of A and B are swapped, rows and columns of C too.
    transposed: bool,
}

impl Tiles {
    fn new((m, n, k): (u8, u8, u16)) -> Tiles {
        let (m, n, k) = (m as usize, n as usize, k as usize);
        if m == 8 && n == 32 {
            Tiles { m: n, n: m, k, transposed: true }
        } else {
            Tiles { m, n, k, transposed: false }
        }
    }

    /// Rows of one `mma`, and how many of them cover the product: along m and along n.
    fn unit(self) -> (usize, usize, usize) {
        let rows = self.m.min(16);
        (rows, self.m / rows, self.n / 8)
    }

    /// The fragment as registers, each with the place of its first element: row and column of the cut-up operand, and
    /// whether the next elements of the register follow along the row (A, C) or down the column (B).
    fn registers(self, which: Which, element: Element) -> Vec<(Place, Place)> {
        let (rows, tiles_m, tiles_n) = self.unit();
        let e = element.packed();
        let mut out = vec![];
        match which {
            Which::A => {
                for tile in 0..tiles_m {
                    for word in 0..rows * self.k / 32 / e {
                        let (low, high) = if rows == 16 { (word & 1, word >> 1) } else { (0, word) };
                        let row = Place { g: 1, t: 0, at: tile * 16 + 8 * low };
                        out.push((row, Place { g: 0, t: e, at: 4 * e * high }));
                    }
                }
            }
            Which::B => {
                for tile in 0..tiles_n {
                    for word in 0..self.k * 8 / 32 / e {
                        out.push((
                            Place { g: 0, t: e, at: 4 * e * word },
                            Place { g: 1, t: 0, at: tile * 8 },
                        ));
                    }
                }
            }
            Which::C => {
                for tile in 0..tiles_m * tiles_n {
                    let (tile_m, tile_n) = (tile % tiles_m, tile / tiles_m);
                    for word in 0..rows * 8 / 32 / e {
                        let (low, high) = if e == 2 { (0, word) } else { (word & 1, word >> 1) };
                        let row = Place { g: 1, t: 0, at: tile_m * 16 + 8 * high };
                        out.push((row, Place { g: 0, t: 2, at: tile_n * 8 + low }));
                    }
                }
            }
        }
        out
    }
}

/// A coordinate as a function of the lane `4 g + t`: `g·G + t·T + at`.
#[derive(Clone, Copy)]
struct Place {
    g: usize,
    t: usize,
    at: usize,
}

impl Decoder<'_> {
    pub(super) fn warp_matrix(&mut self, i: &Instruction, w: &mut Words) -> Decode<Option<Op>> {
        if w.name() != "wmma" {
            return Ok(None);
        }
        let kind = w.take_one(&[("load", 0), ("store", 1), ("mma", 2)]);
        w.take("sync");
        w.take("aligned");
        let word = w.take_if(|s| shape(s).is_some());
        let extent = word.and_then(shape).ok_or_else(|| self.error("`wmma` without a shape"))?;
        match kind {
            Some(2) => self.wmma_product(i, w, extent).map(Some),
            Some(kind) => self.wmma_access(i, w, extent, kind == 0).map(Some),
            None => Err(self.error(format!("`{}` is not understood", w.text()))),
        }
    }

    fn wmma_element(&self, w: &mut Words) -> Decode<Element> {
        let found = w.take_one(&ELEMENTS);
        found.ok_or_else(|| self.error(format!("`{}`: this element type is not supported", w.text())))
    }

    fn wmma_access(
        &mut self,
        i: &Instruction,
        w: &mut Words,
        extent: (u8, u8, u16),
        load: bool,
    ) -> Decode<Op> {
        let which = w.take_one(&[("a", Which::A), ("b", Which::B), ("c", Which::C), ("d", Which::C)]);
        let which = which.ok_or_else(|| self.error(format!("`{}` of which matrix?", w.text())))?;
        let row_major = w.take_one(&[("row", true), ("col", false)]);
        let row_major = row_major.ok_or_else(|| self.error(format!("`{}` without a layout", w.text())))?;
        let space = w.take_one(&super::memory::SPACES).unwrap_or(MemSpace::Generic);
        let element = self.wmma_element(w)?;
        self.operand_count(i, &[2, 3])?;
        let (registers, address) =
            if load { (&i.operands[0], &i.operands[1]) } else { (&i.operands[1], &i.operands[0]) };
        let tiles = Tiles::new(extent);
        let places = self.wmma_places(tiles, which, element, w)?;
        let registers = self.vector(registers);
        self.wmma_count(registers.len(), places.len(), element, w)?;
        let (m, n, k) = (extent.0 as u64, extent.1 as u64, extent.2 as u64);
        let (rows, columns) = match which {
            Which::A => (m, k),
            Which::B => (k, n),
            Which::C => (m, n),
        };
        let dense = if row_major { columns } else { rows };
        let stride = match i.operands.get(2) {
            Some(operand) => self.source(operand, 32, false)?,
            None => self.names.constant(dense, 32),
        };
        let base = self.address(address)?;
        // In the cut-up product a transposed operand is read the other way round.
        let along_rows = row_major != tiles.transposed;
        let which = match which {
            Which::A if tiles.transposed => Which::B,
            Which::B if tiles.transposed => Which::A,
            other => other,
        };
        let mut copies = (vec![], vec![]);
        for (n, register) in registers.iter().enumerate() {
            let place = places[n % places.len()];
            let walk = Walk { along_rows, which, element, stride, base };
            if load {
                let d = self.dest(register, 8 * element.bytes().max(4) as u32)?;
                let from = self.wmma_load(space, place, &walk)?;
                for row in 0..if element.bytes() == 8 { 2 } else { 1 } {
                    copies.0.push(d + row);
                    copies.1.push(from + row);
                }
            } else {
                let a = self.source(register, 8 * element.bytes().max(4) as u32, false)?;
                self.wmma_store(space, place, &walk, a)?;
            }
        }
        Ok(Op::Copy { to: copies.0, from: copies.1 })
    }

    fn wmma_places(
        &self,
        tiles: Tiles,
        which: Which,
        element: Element,
        w: &Words,
    ) -> Decode<Vec<(Place, Place)>> {
        let operand = which != Which::C;
        let shape = (tiles.m, tiles.n, tiles.k);
        let fits = match element {
            Element::Matrix(MatrixType::Tf32) => operand && shape == (16, 16, 8),
            Element::Matrix(MatrixType::F64) => shape == (8, 8, 4),
            Element::F32 => !operand && matches!(shape, (16, 16, 16 | 8) | (32, 8, 16)),
            Element::S32 => !operand && matches!(shape, (16, 16, 16) | (32, 8, 16)),
            Element::Matrix(MatrixType::F16) => matches!(shape, (16, 16, 16) | (32, 8, 16)),
            Element::Matrix(_) => operand && matches!(shape, (16, 16, 16) | (32, 8, 16)),
        };
        if !fits {
            return Err(self.error(format!("`{}`: this shape is not supported", w.text())));
        }
        let which = match which {
            Which::A if tiles.transposed => Which::B,
            Which::B if tiles.transposed => Which::A,
            other => other,
        };
        Ok(tiles.registers(which, element))
    }

    /// f16 operands have eight registers always; others exactly what they need.
    fn wmma_count(&self, given: usize, needed: usize, element: Element, w: &Words) -> Decode<()> {
        let half = element == Element::Matrix(MatrixType::F16) && given == 8 && needed <= 8;
        if given == needed || half {
            return Ok(());
        }
        Err(self.error(format!("`{}` with {given} registers; {needed} are needed", w.text())))
    }

    /// One register of a fragment from memory.
    fn wmma_load(&mut self, space: MemSpace, place: (Place, Place), walk: &Walk) -> Decode<Slot> {
        let bytes = walk.element.bytes();
        let wide = bytes == 8;
        let out = self.names.scratch(if wide { 64 } else { 32 });
        let count = walk.element.packed();
        for x in 0..count {
            let addr = self.element_address(place, walk, x)?;
            let d = if count == 1 { out } else { self.names.scratch(32) };
            let d_list = vec![Some(d)];
            let order = Order::WEAK;
            self.push(Op::Load { space, bytes, signed: false, d: d_list, wide, addr, order });
            if count > 1 {
                let bits = 8 * bytes as u64;
                let field = self.names.constant((x as u64 * bits) | (bits << 8), 32);
                let into = if x == 0 { self.names.constant(0, 32) } else { out };
                self.push(super::arith::word_op(IntOp::Bfi, out, d, into, field));
            }
        }
        Ok(out)
    }

    fn wmma_store(&mut self, space: MemSpace, place: (Place, Place), walk: &Walk, a: Slot) -> Decode<()> {
        let bytes = walk.element.bytes();
        for x in 0..walk.element.packed() {
            let addr = self.element_address(place, walk, x)?;
            let value = if x == 0 { a } else { self.names.scratch(32) };
            if x > 0 {
                let amount = self.names.constant(8 * bytes as u64 * x as u64, 32);
                self.push(super::arith::word_op(IntOp::Shr, value, a, amount, amount));
            }
            let order = Order::WEAK;
            self.push(Op::Store { space, bytes, a: vec![value], wide: bytes == 8, addr, order });
        }
        Ok(())
    }

    /// The address of element `x` of a register: base + (major · stride + minor) · bytes.
    fn element_address(&mut self, (row, column): (Place, Place), walk: &Walk, x: usize) -> Decode<Addr> {
        // The elements of a register follow one another down B's columns, along the rows of A and C.
        let (mut row, mut column) = (row, column);
        if walk.which == Which::B {
            row.at += x
        } else {
            column.at += x
        }
        let (major, minor) = if walk.along_rows { (row, column) } else { (column, row) };
        let (major, minor) = (self.coordinate(major), self.coordinate(minor));
        let index = self.names.scratch(32);
        self.push(super::arith::word_op(IntOp::MadLo, index, major, walk.stride, minor));
        let size = self.names.constant(walk.element.bytes() as u64, 32);
        let base = walk.base;
        let at = self.names.scratch(64);
        let (op, d, width) =
            if base.wide { (IntOp::MadWide, at, Width::W32) } else { (IntOp::MadLo, at, Width::W32) };
        self.push(Op::Int { op, signed: false, width, sat: false, d, a: index, b: size, c: base.base });
        Ok(Addr { base: at, wide: base.wide, offset: base.offset })
    }

    /// A coordinate of this lane.
    fn coordinate(&mut self, place: Place) -> Slot {
        let lane = self.names.lane();
        let (group, within, sum) = (self.names.scratch(32), self.names.scratch(32), self.names.scratch(32));
        let two = self.names.constant(2, 32);
        let three = self.names.constant(3, 32);
        let [g, t, at] = [place.g, place.t, place.at].map(|n| self.names.constant(n as u64, 32));
        let op = super::arith::word_op;
        self.push(op(IntOp::Shr, group, lane, two, two));
        self.push(op(IntOp::And, within, lane, three, three));
        self.push(op(IntOp::MadLo, sum, group, g, at));
        self.push(op(IntOp::MadLo, sum, within, t, sum));
        sum
    }

    /// `wmma.mma.sync.aligned.alayout.blayout.shape.dtype…ctype d, a, b, c;`
    fn wmma_product(&mut self, i: &Instruction, w: &mut Words, extent: (u8, u8, u16)) -> Decode<Op> {
        self.operand_count(i, &[4])?;
        // The layouts were followed by the loads.
        for _ in 0..2 {
            w.take_one(&[("row", ()), ("col", ())]);
        }
        let saturate = w.take("satfinite");
        w.take("rn");
        let mut elements = vec![];
        while w.has_type(&ELEMENTS) {
            elements.push(self.wmma_element(w)?);
        }
        let half = Element::Matrix(MatrixType::F16);
        let (d, a, b, c) = match elements[..] {
            [d, c] => (d, half, half, c),
            [d, a, b, c] => (d, a, b, c),
            _ => return Err(self.error(format!("`{}`: two or four types are needed", w.text()))),
        };
        let (Element::Matrix(a_type), Element::Matrix(b_type)) = (a, b) else {
            return Err(self.error(format!("`{}`: types of the operands", w.text())));
        };
        let tiles = Tiles::new(extent);
        let (rows, tiles_m, tiles_n) = tiles.unit();
        let bits = if a_type == MatrixType::F64 { 64 } else { 32 };
        let mut slots = |at: usize, dest: bool| -> Decode<Vec<Slot>> {
            let operands = self.vector(&i.operands[at]);
            operands
                .into_iter()
                .map(|o| if dest { self.dest(o, bits) } else { self.source(o, bits, true) })
                .collect()
        };
        let (d_slots, mut a_slots, mut b_slots, c_slots) =
            (slots(0, true)?, slots(1, false)?, slots(2, false)?, slots(3, false)?);
        for (which, element, slots) in [
            (Which::A, a, a_slots.len()),
            (Which::B, b, b_slots.len()),
            (Which::C, c, c_slots.len()),
            (Which::C, d, d_slots.len()),
        ] {
            let places = self.wmma_places(tiles, which, element, w)?;
            self.wmma_count(slots, places.len(), element, w)?;
        }
        let (mut left, mut right) = (a_type, b_type);
        if tiles.transposed {
            std::mem::swap(&mut a_slots, &mut b_slots);
            std::mem::swap(&mut left, &mut right);
        }
        let k = tiles.k;
        let per_a = rows * k / 32 / per_word(left);
        let per_b = 8 * k / 32 / per_word(right);
        let wide_c = self.wmma_accumulator(c, d, &c_slots)?;
        let per_c = rows * 8 / 32 / d.packed();
        for tile in 0..tiles_m * tiles_n {
            let (tile_m, tile_n) = (tile % tiles_m, tile / tiles_m);
            self.push(Op::Mma {
                m: rows as u8,
                n: 8,
                k: k as u16,
                a_type: left,
                b_type: right,
                half_acc: d == half,
                saturate,
                sparse: None,
                d: d_slots[tile * per_c..][..per_c].to_vec(),
                a: a_slots[tile_m * per_a..][..per_a].to_vec(),
                b: b_slots[tile_n * per_b..][..per_b].to_vec(),
                c: wide_c[tile * per_c..][..per_c].to_vec(),
            });
        }
        Ok(Op::Nop)
    }

    /// C in the type of D: `wmma` may add f16 into f32 and the other way round.
    fn wmma_accumulator(&mut self, c: Element, d: Element, slots: &[Slot]) -> Decode<Vec<Slot>> {
        let half = Element::Matrix(MatrixType::F16);
        let mods = FloatMods::default();
        let mut out = vec![];
        match (c, d) {
            _ if c == d => return Ok(slots.to_vec()),
            // A pair of halves lies in columns 2t, 2t + 1: two registers of f32.
            (c, Element::F32) if c == half => {
                for &slot in slots {
                    let (lo, hi) = (self.names.scratch(32), self.names.scratch(32));
                    self.push(Op::Unpack16 { lo: Some(lo), hi: Some(hi), a: slot });
                    for part in [lo, hi] {
                        let d = self.names.scratch(32);
                        self.push(Op::Convert {
                            to: Scalar::F32,
                            from: Scalar::F16,
                            mods,
                            d,
                            a: part,
                            b: part,
                        });
                        out.push(d);
                    }
                }
            }
            (Element::F32, d) if d == half => {
                for pair in slots.chunks(2) {
                    let d = self.names.scratch(32);
                    let (lo, hi) = (pair[0], pair[pair.len() - 1]);
                    self.push(Op::Convert { to: Scalar::F16x2, from: Scalar::F32, mods, d, a: hi, b: lo });
                    out.push(d);
                }
            }
            _ => return Err(self.error("`wmma.mma`: these accumulators do not go together")),
        }
        Ok(out)
    }
}

/// How a fragment's elements are found in memory.
struct Walk {
    /// Rows of the cut-up operand follow one another by the stride.
    along_rows: bool,
    which: Which,
    element: Element,
    stride: Slot,
    base: Addr,
}

impl Words<'_> {
    fn has_type(&self, table: &[(&str, Element)]) -> bool {
        self.left.iter().any(|w| Type::from_word(w).is_some() || table.iter().any(|(name, _)| name == w))
    }
}
