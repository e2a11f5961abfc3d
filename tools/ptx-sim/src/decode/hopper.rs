//! Instructions of compute capability 9.0: asynchronous copies and products, barriers in memory, clusters.
//!
//! Their qualifiers say *which* operands follow, so operands are read in order by [`Operands`] after the words:
//!
//! ```text
//! cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster.L2::cache_hint
//!     [dst], [map, {x, y}], [bar], mask, policy;
//!     always ──────────────────┘    │     └ because of .L2::cache_hint (read, checked, dropped)
//!                                   └ because of .multicast::cluster
//! ```
//!
//! The first space word is the destination, the second the source; every other qualifier may stand anywhere. An
//! address without a space is generic; for barriers it has to lie in shared memory all the same.

mod bulk;
mod mbarrier;
#[cfg(test)]
mod tests;
mod wgmma;

use super::{
    Decode, Decoder, Words,
    memory::{ATOMS, SCOPES},
};
use crate::{
    ir::*,
    read::{Instruction, Operand},
};

/// The operands of an instruction, one after the other.
struct Operands<'i> {
    instruction: &'i Instruction,
    next: usize,
}

impl<'i> Operands<'i> {
    fn new(instruction: &'i Instruction) -> Self {
        Operands { instruction, next: 0 }
    }

    fn next(&mut self, d: &Decoder) -> Decode<&'i Operand> {
        let operand = d.operand(self.instruction, self.next)?;
        self.next += 1;
        Ok(operand)
    }

    fn left(&self) -> usize {
        self.instruction.operands.len() - self.next
    }

    fn address(&mut self, d: &mut Decoder) -> Decode<Addr> {
        let operand = self.next(d)?;
        d.address(operand)
    }

    fn source(&mut self, d: &mut Decoder, bits: u32) -> Decode<Slot> {
        let operand = self.next(d)?;
        d.source(operand, bits, false)
    }

    fn literal(&mut self, d: &Decoder) -> Decode<i64> {
        match self.next(d)? {
            Operand::Int(v) => Ok(*v),
            other => Err(d.error(format!("`{}`: {other:?} is not a literal", self.instruction.text()))),
        }
    }

    /// The cache policy, which changes no value.
    fn cache_hint(&mut self, d: &mut Decoder, w: &mut Words) -> Decode<()> {
        if w.take("L2::cache_hint") {
            self.source(d, 64)?;
        }
        Ok(())
    }

    fn finish(&self, d: &Decoder) -> Decode<()> {
        if self.left() == 0 {
            return Ok(());
        }
        Err(d.error(format!("`{}` with {} operands too many", self.instruction.text(), self.left())))
    }
}

fn has(w: &Words, word: &str) -> bool {
    w.left.contains(&word)
}

impl Decoder<'_> {
    /// `None`: not one of these; other families may know it.
    pub(super) fn hopper(&mut self, i: &Instruction, w: &mut Words) -> Decode<Option<Op>> {
        let mut o = Operands::new(i);
        let op = match w.name() {
            "mbarrier" => self.mbarrier(&mut o, w)?,
            "cp" if has(w, "bulk") => self.bulk(&mut o, w)?,
            "cp" if has(w, "mbarrier") => self.copy_async_arrive(&mut o, w)?,
            "st" | "red" if has(w, "async") => self.store_async(&mut o, w)?,
            "wgmma" => self.wgmma(&mut o, w)?,
            "barrier" if has(w, "cluster") => self.cluster_barrier(w)?,
            "fence" if w.left.iter().any(|x| x.starts_with("sync_restrict")) => {
                return self.restricted_fence(&mut o, w).map(Some);
            }
            "fence" if has(w, "mbarrier_init") || w.left.iter().any(|x| x.starts_with("proxy")) => {
                return self.proxy_fence(&mut o, w).map(Some);
            }
            "mapa" | "getctarank" => self.cluster_address(&mut o, w)?,
            "setmaxnreg" => self.set_max_registers(&mut o, w)?,
            "griddepcontrol" => self.grid_dependency(w)?,
            "tensormap" => self.tensor_map(&mut o, w)?,
            "prefetch" if has(w, "tensormap") => return self.prefetch_tensor_map(&mut o, w).map(Some),
            "createpolicy" => return self.create_policy(&mut o, w).map(Some),
            "applypriority" | "discard" => return self.cache_control(&mut o, w).map(Some),
            "tcgen05" => {
                let message = format!("`{}`: tensor memory (tcgen05) is not executed yet", w.text());
                return Err(self.error(message));
            }
            _ => return Ok(None),
        };
        o.finish(self)?;
        Ok(Some(Op::Hopper(op.into())))
    }

    fn missing<T>(&self, w: &Words, what: &str) -> Decode<T> {
        Err(self.error(format!("`{}` without {what}", w.text())))
    }

    /// `.shared`, `.shared::cta` (false), `.shared::cluster` (true) or no word (generic, false).
    fn take_cluster(&self, w: &mut Words) -> bool {
        w.take_one(&[("shared", false), ("shared::cta", false), ("shared::cluster", true)]).unwrap_or(false)
    }

    /// `barrier.cluster.arrive.relaxed.aligned`, `barrier.cluster.wait.acquire`.
    fn cluster_barrier(&mut self, w: &mut Words) -> Decode<HopperOp> {
        w.take("cluster");
        let aligned = w.take("aligned");
        let order = |semantics| Order { semantics, scope: Scope::Cluster };
        if w.take("arrive") {
            let words = [("release", Semantics::Release), ("relaxed", Semantics::Relaxed)];
            let semantics = w.take_one(&words).unwrap_or(Semantics::Release);
            return Ok(HopperOp::ClusterArrive { order: order(semantics), aligned });
        }
        if w.take("wait") {
            w.take("acquire");
            return Ok(HopperOp::ClusterWait { order: order(Semantics::Acquire), aligned });
        }
        self.missing(w, "`.arrive` or `.wait`")
    }

    fn proxy_fence(&mut self, o: &mut Operands, w: &mut Words) -> Decode<Op> {
        let fence = if w.take("mbarrier_init") {
            if !(w.take("release") && w.take("cluster")) {
                return self.missing(w, "`.release.cluster`");
            }
            Fence::MbarrierInit
        } else if w.take("proxy") && w.take("alias") {
            Fence::ProxyAlias
        } else if w.take("tensormap::generic") {
            self.tensor_map_fence(o, w)?
        } else if w.take("async") {
            let space = w.take_one(&[("global", true), ("shared::cta", false), ("shared::cluster", false)]);
            Fence::ProxyAsync { global: space != Some(false), shared: space != Some(true) }
        } else {
            return Err(self.error(format!("`{}`: this proxy fence is not supported", w.text())));
        };
        o.finish(self)?;
        Ok(Op::Fence(fence))
    }

    /// `fence{.proxy.async::generic}.acquire.sync_restrict::shared::cluster.cluster`: one direction only, and only for what
    /// goes through mbarriers in shared memory. Taken as the fence without the restriction.
    fn restricted_fence(&mut self, o: &mut Operands, w: &mut Words) -> Decode<Op> {
        let proxy = w.take("proxy") && w.take("async::generic");
        let semantics = if w.take("acquire") && w.take("sync_restrict::shared::cluster") {
            Semantics::Acquire
        } else if w.take("release") && w.take("sync_restrict::shared::cta") {
            Semantics::Release
        } else {
            return self.missing(w, "`.acquire…shared::cluster` or `.release…shared::cta`");
        };
        if !w.take("cluster") {
            return self.missing(w, "`.cluster`");
        }
        o.finish(self)?;
        Ok(Op::Fence(if proxy {
            Fence::ProxyAsync { global: false, shared: true }
        } else {
            Fence::Thread(Order { semantics, scope: Scope::Cluster })
        }))
    }

    fn tensor_map_fence(&mut self, o: &mut Operands, w: &mut Words) -> Decode<Fence> {
        let release = w.take_one(&[("release", true), ("acquire", false)]);
        let Some(scope) = w.take_one(&SCOPES) else { return self.missing(w, "a scope") };
        match release {
            Some(true) => Ok(Fence::TensorMapRelease { scope }),
            Some(false) => {
                let at = o.address(self)?;
                self.exactly_128(o, w)?;
                Ok(Fence::TensorMapAcquire { scope, at })
            }
            None => self.missing(w, "`.release` or `.acquire`"),
        }
    }

    fn exactly_128(&mut self, o: &mut Operands, w: &Words) -> Decode<()> {
        match o.literal(self)? {
            128 => Ok(()),
            n => Err(self.error(format!("`{}` of {n} bytes; only 128 are possible", w.text()))),
        }
    }

    fn cluster_address(&mut self, o: &mut Operands, w: &mut Words) -> Decode<HopperOp> {
        let generic = !w.take("shared::cluster");
        let wide = match w.take_one(&[("u32", false), ("u64", true)]) {
            Some(wide) => wide,
            None => return self.missing(w, "`.u32` or `.u64`"),
        };
        let bits = if wide { 64 } else { 32 };
        let destination = o.next(self)?;
        let a = o.source(self, bits)?;
        if w.name() == "getctarank" {
            return Ok(HopperOp::CtaRank { d: self.dest(destination, 32)?, a, wide, generic });
        }
        let rank = o.source(self, 32)?;
        Ok(HopperOp::Mapa { d: self.dest(destination, bits)?, a, rank, wide, generic })
    }

    fn set_max_registers(&mut self, o: &mut Operands, w: &mut Words) -> Decode<HopperOp> {
        let Some(increase) = w.take_one(&[("inc", true), ("dec", false)]) else {
            return self.missing(w, "`.inc` or `.dec`");
        };
        if !(w.take("sync") && w.take("aligned") && w.take("u32")) {
            return self.missing(w, "`.sync.aligned.u32`");
        }
        let count = o.literal(self)?;
        if !(24..=256).contains(&count) || count % 8 != 0 {
            let message = format!("`{}` to {count}; possible are multiples of 8 from 24 to 256", w.text());
            return Err(self.error(message));
        }
        Ok(HopperOp::SetMaxRegisters { increase, count: count as u32 })
    }

    fn grid_dependency(&mut self, w: &mut Words) -> Decode<HopperOp> {
        match w.take_one(&[("wait", true), ("launch_dependents", false)]) {
            Some(wait) => Ok(HopperOp::GridDependency { wait }),
            None => self.missing(w, "`.wait` or `.launch_dependents`"),
        }
    }

    /// `tensormap.replace.tile.FIELD.SPACE.b1024.TYPE [map], {ordinal,} value` and `tensormap.cp_fenceproxy…`.
    fn tensor_map(&mut self, o: &mut Operands, w: &mut Words) -> Decode<HopperOp> {
        if w.take("cp_fenceproxy") {
            return self.tensor_map_copy(o, w);
        }
        if !(w.take("replace") && w.take("tile") && w.take("b1024")) {
            return self.missing(w, "`.replace.tile….b1024`");
        }
        use TensorMapField::*;
        let field = w.take_one(&[
            ("global_address", GlobalAddress),
            ("rank", Rank),
            ("box_dim", BoxDim),
            ("global_dim", GlobalDim),
            ("global_stride", GlobalStride),
            ("element_stride", ElementStride),
            ("elemtype", ElementType),
            ("interleave_layout", InterleaveLayout),
            ("swizzle_mode", SwizzleMode),
            ("fill_mode", FillMode),
        ]);
        let Some(field) = field else { return self.missing(w, "a field that is supported") };
        let shared =
            w.take_one(&[("shared::cta", true), ("shared", true), ("global", false)]).unwrap_or(false);
        let Some(bits) = w.take_one(&[("b32", 32), ("b64", 64)]) else {
            return self.missing(w, "`.b32` or `.b64`");
        };
        if (bits == 64) != matches!(field, GlobalAddress | GlobalStride) {
            return Err(self.error(format!("`{}`: the field has another width", w.text())));
        }
        let map = o.address(self)?;
        let indexed = matches!(field, BoxDim | GlobalDim | GlobalStride | ElementStride);
        let ordinal = if indexed { o.literal(self)? } else { 0 };
        let ordinals = if field == GlobalStride { 4 } else { 5 };
        if !(0..ordinals).contains(&ordinal) {
            return Err(self.error(format!("`{}`: there is no dimension {ordinal}", w.text())));
        }
        let value = o.source(self, bits)?;
        Ok(HopperOp::TensorMapReplace { map, shared, field, ordinal: ordinal as u32, value })
    }

    fn tensor_map_copy(&mut self, o: &mut Operands, w: &mut Words) -> Decode<HopperOp> {
        let ends = w.take("global") && (w.take("shared::cta") || w.take("shared"));
        if !(ends && w.take("tensormap::generic") && w.take("release") && w.take("sync") && w.take("aligned"))
        {
            return self.missing(w, "`.global.shared::cta.tensormap::generic.release….sync.aligned`");
        }
        let Some(scope) = w.take_one(&SCOPES) else { return self.missing(w, "a scope") };
        let (to, from) = (o.address(self)?, o.address(self)?);
        self.exactly_128(o, w)?;
        let order = Order { semantics: Semantics::Release, scope };
        Ok(HopperOp::TensorMapCopyFence { to, from, order })
    }

    /// A map in parameter or constant space is prefetched without a trace: only generic addresses are looked at.
    fn prefetch_tensor_map(&mut self, o: &mut Operands, w: &mut Words) -> Decode<Op> {
        w.take("tensormap");
        let map = o.address(self)?;
        o.finish(self)?;
        if w.take("param") || w.take("const") {
            return Ok(Op::Nop);
        }
        Ok(Op::Hopper(HopperOp::PrefetchTensorMap { map }.into()))
    }

    /// A policy is an opaque number that only cache hints take: 0 here.
    fn create_policy(&mut self, o: &mut Operands, w: &mut Words) -> Decode<Op> {
        let known = |word: &str| {
            matches!(word, "fractional" | "range" | "cvt" | "L2" | "global" | "b64")
                || word.strip_prefix("L2::evict_").is_some()
        };
        while w.take_if(known).is_some() {}
        let destination = o.next(self)?;
        let d = self.dest(destination, 64)?;
        while o.left() > 0 {
            match o.next(self)? {
                a @ Operand::Address { .. } => drop(self.address(a)?),
                fraction @ (Operand::F32(_) | Operand::F64(_)) => drop(self.source(fraction, 32, true)?),
                Operand::Name(name) => {
                    let bits = self.names.register_bits(name).unwrap_or(32);
                    self.names.source(name, bits, self.line)?;
                }
                other => drop(self.source(other, 32, false)?),
            }
        }
        let zero = self.names.constant(0, 64);
        Ok(Op::Copy { to: vec![d, d + 1], from: vec![zero, zero + 1] })
    }

    /// `applypriority` moves no data. `discard` allows the lines' contents to be lost; here they stay.
    fn cache_control(&mut self, o: &mut Operands, w: &mut Words) -> Decode<Op> {
        w.take("global");
        while w.take_if(|word| word == "L2" || word == "L2::evict_normal").is_some() {}
        o.address(self)?;
        self.exactly_128(o, w)?;
        o.finish(self)?;
        Ok(Op::Nop)
    }
}
