//! `wgmma.*`: products of a warpgroup.
//!
//! ```text
//! wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {d: 64}, {a: 4} | a, b, p, ±1, ±1, {ta,} tb;
//!     D f32 and s32: n/2 registers; f16: n/4.   A in registers: always 4.   ta only with A's descriptor,
//!     ta and tb only for 16-bit elements, the signs only for floats.   .sp: metadata, selector before p
//! ```

use super::{HopperOp, Operands};
use crate::{
    decode::{Decode, Decoder, Words},
    ir::*,
    read::Operand,
};

const OPERAND_TYPES: [(&str, WgmmaType); 8] = [
    ("f16", WgmmaType::F16),
    ("bf16", WgmmaType::Bf16),
    ("tf32", WgmmaType::Tf32),
    ("e4m3", WgmmaType::E4m3),
    ("e5m2", WgmmaType::E5m2),
    ("s8", WgmmaType::S8),
    ("u8", WgmmaType::U8),
    ("b1", WgmmaType::B1),
];

impl Decoder<'_> {
    pub(super) fn wgmma(&mut self, o: &mut Operands, w: &mut Words) -> Decode<HopperOp> {
        let sparse = w.take("sp");
        if !(w.take("sync") && w.take("aligned")) {
            return self.missing(w, "`.sync.aligned`");
        }
        if !sparse && w.take("fence") {
            return Ok(HopperOp::WgmmaFence);
        }
        if !sparse && w.take("commit_group") {
            return Ok(HopperOp::WgmmaCommit);
        }
        if !sparse && w.take("wait_group") {
            let pending = o.literal(self)?;
            return match u32::try_from(pending) {
                Ok(pending) => Ok(HopperOp::WgmmaWait { pending }),
                Err(_) => Err(self.error(format!("`{}` for {pending} groups", w.text()))),
            };
        }
        if !w.take("mma_async") {
            return Err(self.error(format!("unknown instruction `{}`", w.text())));
        }
        Ok(HopperOp::Wgmma(self.product(o, w, sparse)?))
    }

    fn product(&mut self, o: &mut Operands, w: &mut Words, sparse: bool) -> Decode<Wgmma> {
        let Form { n, k, d_type, a_type, b_type } = self.form(w, sparse)?;
        let and_popc = a_type == WgmmaType::B1 && w.take("and") && w.take("popc");
        let saturate = d_type == WgmmaAcc::S32 && a_type != WgmmaType::B1 && w.take("satfinite");
        if a_type == WgmmaType::B1 && !and_popc {
            return self.missing(w, "`.and.popc`");
        }
        let registers = if d_type == WgmmaAcc::F16 { n / 4 } else { n / 2 } as usize;
        let d = self.registers(o, w, registers, true)?;
        let a = match self.operand(o.instruction, 1)? {
            Operand::Vector(_) => WgmmaA::Registers(self.registers(o, w, 4, false)?),
            _ => WgmmaA::Descriptor(o.source(self, 64)?),
        };
        let b = o.source(self, 64)?;
        let sparse = if sparse { Some(self.sparsity(o, w, a_type)?) } else { None };
        let scale = o.next(self)?;
        let (scale_d, scale_d_negated) = self.predicate(scale)?;
        let float = d_type != WgmmaAcc::S32;
        let (negate_a, negate_b) = if float { (self.sign(o, w)?, self.sign(o, w)?) } else { (false, false) };
        let halves = matches!(a_type, WgmmaType::F16 | WgmmaType::Bf16);
        let transpose_a = halves && matches!(a, WgmmaA::Descriptor(_)) && self.bit(o, w)?;
        let transpose_b = halves && self.bit(o, w)?;
        Ok(Wgmma {
            n,
            k,
            d_type,
            a_type,
            b_type,
            d,
            a,
            b,
            scale_d,
            scale_d_negated,
            negate_a,
            negate_b,
            transpose_a,
            transpose_b,
            saturate,
            sparse,
            and_popc,
        })
    }

    fn registers(&mut self, o: &mut Operands, w: &Words, count: usize, dest: bool) -> Decode<Vec<Slot>> {
        let parts = self.vector(o.next(self)?);
        if parts.len() != count {
            let message = format!("`{}` takes {count} registers here, not {}", w.text(), parts.len());
            return Err(self.error(message));
        }
        parts.into_iter().map(|p| if dest { self.dest(p, 32) } else { self.source(p, 32, false) }).collect()
    }

    fn sparsity(&mut self, o: &mut Operands, w: &Words, a_type: WgmmaType) -> Decode<(Slot, u32)> {
        let metadata = o.source(self, 32)?;
        let selector = o.literal(self)?;
        // Bytes need all four lanes of a quad for their metadata, wider elements two.
        let narrow = !matches!(a_type, WgmmaType::F16 | WgmmaType::Bf16 | WgmmaType::Tf32);
        if !(0..=i64::from(!narrow)).contains(&selector) {
            return Err(self.error(format!("`{}`: there is no selector {selector}", w.text())));
        }
        Ok((metadata, selector as u32))
    }

    /// `1` or `-1`; true: negated.
    fn sign(&mut self, o: &mut Operands, w: &Words) -> Decode<bool> {
        match o.literal(self)? {
            1 => Ok(false),
            -1 => Ok(true),
            v => Err(self.error(format!("`{}`: scale {v} is neither 1 nor -1", w.text()))),
        }
    }

    fn bit(&mut self, o: &mut Operands, w: &Words) -> Decode<bool> {
        match o.literal(self)? {
            v @ (0 | 1) => Ok(v == 1),
            v => Err(self.error(format!("`{}`: {v} is neither 0 nor 1", w.text()))),
        }
    }

    fn form(&mut self, w: &mut Words, sparse: bool) -> Decode<Form> {
        let shape = w.take_if(|s| s.starts_with("m64n")).unwrap_or_default();
        let numbers = shape.strip_prefix("m64n").and_then(|s| s.split_once('k'));
        let parsed = numbers.and_then(|(n, k)| Some((n.parse::<u16>().ok()?, k.parse::<u16>().ok()?)));
        let Some((n, k)) = parsed else { return self.missing(w, "a shape m64nNkK") };
        // D's type comes first, and only it may be f32 or s32.
        let mut d_words = vec![("f32", WgmmaAcc::F32), ("s32", WgmmaAcc::S32)];
        if !d_words.iter().any(|(word, _)| w.left.contains(word)) {
            d_words.push(("f16", WgmmaAcc::F16));
        }
        let Some(d_type) = w.take_one(&d_words) else { return self.missing(w, "a type of D") };
        let (Some(a_type), Some(b_type)) = (w.take_one(&OPERAND_TYPES), w.take_one(&OPERAND_TYPES)) else {
            return self.missing(w, "operand types");
        };
        let form = Form { n, k, d_type, a_type, b_type };
        if form.legal(sparse) {
            Ok(form)
        } else {
            Err(self.error(format!("`{}`: no such combination of shape and types", w.text())))
        }
    }
}

struct Form {
    n: u16,
    k: u16,
    d_type: WgmmaAcc,
    a_type: WgmmaType,
    b_type: WgmmaType,
}

impl Form {
    fn legal(&self, sparse: bool) -> bool {
        use WgmmaType::*;
        let fp8 = |t| matches!(t, E4m3 | E5m2);
        let int8 = |t| matches!(t, S8 | U8);
        let (k, accumulators): (u16, &[WgmmaAcc]) = match (self.a_type, self.b_type) {
            (F16, F16) => (16, &[WgmmaAcc::F16, WgmmaAcc::F32]),
            (Bf16, Bf16) => (16, &[WgmmaAcc::F32]),
            (Tf32, Tf32) => (8, &[WgmmaAcc::F32]),
            (a, b) if fp8(a) && fp8(b) => (32, &[WgmmaAcc::F16, WgmmaAcc::F32]),
            (a, b) if int8(a) && int8(b) => (32, &[WgmmaAcc::S32]),
            (B1, B1) if !sparse => (256, &[WgmmaAcc::S32]),
            _ => return false,
        };
        let integer = self.d_type == WgmmaAcc::S32;
        let columns = (8..=256).contains(&self.n)
            && self.n.is_multiple_of(8)
            // Integers beyond 32 columns come in steps of 16, but for 24.
            && (!integer || self.n == 8 || self.n == 24 || self.n.is_multiple_of(16));
        columns && self.k == k * if sparse { 2 } else { 1 } && accumulators.contains(&self.d_type)
    }
}
