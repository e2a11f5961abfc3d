//! `cp.async.bulk…` and `cp.reduce.async.bulk…`: copies of many bytes, with and without a tensor map.

use super::{ATOMS, HopperOp, Operands};
use crate::{
    decode::{Decode, Decoder, Words, compare::scalar_of},
    ir::*,
    read::{Operand, Type},
};

const ENDS: [(&str, BulkSpace); 4] = [
    ("global", BulkSpace::Global),
    ("shared::cta", BulkSpace::SharedCta),
    ("shared::cluster", BulkSpace::SharedCluster),
    ("L2", BulkSpace::L2),
];

impl Decoder<'_> {
    pub(super) fn bulk(&mut self, o: &mut Operands, w: &mut Words) -> Decode<HopperOp> {
        if !(w.take("async") && w.take("bulk")) {
            return self.missing(w, "`.async.bulk`");
        }
        if w.take("commit_group") {
            return Ok(HopperOp::BulkCommit);
        }
        if w.take("wait_group") {
            let read_only = w.take("read");
            let pending = o.literal(self)?;
            let pending = u32::try_from(pending)
                .map_err(|_| self.error(format!("`{}` for {pending} groups", w.text())))?;
            return Ok(HopperOp::BulkWait { pending, read_only });
        }
        let reduces = w.take("reduce");
        let prefetches = w.take("prefetch");
        let (Some(first), Some(second)) = (w.take_one(&ENDS), w.take_one(&ENDS)) else {
            return self.missing(w, "source and destination spaces");
        };
        let (to, from) = (first, second);
        if !ends_fit(to, from, reduces, prefetches) {
            return Err(self.error(format!("`{}`: no copy between these spaces", w.text())));
        }
        let signals = w.take_one(&[("mbarrier::complete_tx::bytes", true), ("bulk_group", false)]);
        if signals != expected_completion(to) {
            return Err(self.error(format!("`{}`: how is its end learned?", w.text())));
        }
        let op = if w.take("tensor") {
            self.bulk_tensor(o, w, Ends { to, from, reduces })?
        } else {
            self.bulk_plain(o, w, Ends { to, from, reduces })?
        };
        Ok(HopperOp::Bulk(op))
    }

    /// `[dst], [src], size{, [bar]}{, mask}{, policy}{, byte mask}`.
    fn bulk_plain(&mut self, o: &mut Operands, w: &mut Words, ends: Ends) -> Decode<Bulk> {
        let Ends { to, from, reduces } = ends;
        let reduce = if reduces { Some(self.bulk_reduction(w, true)?) } else { None };
        let destination = if to == BulkSpace::L2 { None } else { Some(o.address(self)?) };
        let source = Some(o.address(self)?);
        let bytes = Some(o.source(self, 32)?);
        let done = self.completion(o, to)?;
        let multicast = self.multicast(o, w, ends)?;
        o.cache_hint(self, w)?;
        let masked = to == BulkSpace::Global && !reduces && w.take("cp_mask");
        let byte_mask = if masked { Some(o.source(self, 16)?) } else { None };
        Ok(Bulk { from, to, source, destination, bytes, tensor: None, reduce, done, multicast, byte_mask })
    }

    /// Loads: `[dst], [map, {…}], [bar]{, {offsets}}{, mask}{, policy}`; stores: `[map, {…}], [src]{, policy}`.
    fn bulk_tensor(&mut self, o: &mut Operands, w: &mut Words, ends: Ends) -> Decode<Bulk> {
        let Ends { to, from, reduces } = ends;
        let dims = w.take_one(&[("1d", 1), ("2d", 2), ("3d", 3), ("4d", 4), ("5d", 5)]);
        let Some(dims) = dims else { return self.missing(w, "a number of dimensions") };
        let reduce = if reduces { Some(self.bulk_reduction(w, false)?) } else { None };
        let filtered = w.take_one(&[("tile", false), ("im2col", true), ("im2col_no_offs", true)]);
        let im2col = filtered == Some(true);
        if im2col && dims < 3 {
            return Err(self.error(format!("`{}`: im2col has at least three dimensions", w.text())));
        }
        let stores = to == BulkSpace::Global;
        let destination =
            if matches!(to, BulkSpace::Global | BulkSpace::L2) { None } else { Some(o.address(self)?) };
        let (map, at) = self.map_and_coordinates(o, w, dims)?;
        let source = if stores { Some(o.address(self)?) } else { None };
        let done = self.completion(o, to)?;
        let mode = if im2col {
            let offsets = if stores { vec![] } else { self.filter_offsets(o, w, dims)? };
            TensorMode::Im2col { offsets }
        } else {
            TensorMode::Tile
        };
        let multicast = self.multicast(o, w, ends)?;
        o.cache_hint(self, w)?;
        let tensor = Some(Tensor { map, at, mode });
        let (bytes, byte_mask) = (None, None);
        Ok(Bulk { from, to, source, destination, bytes, tensor, reduce, done, multicast, byte_mask })
    }

    fn map_and_coordinates(&mut self, o: &mut Operands, w: &Words, dims: usize) -> Decode<(Addr, Vec<Slot>)> {
        let Operand::Address { base, offset, coordinates } = o.next(self)? else {
            return self.missing(w, "[map, {coordinates}]");
        };
        if coordinates.len() != dims {
            let message = format!("`{}` with {} coordinates", w.text(), coordinates.len());
            return Err(self.error(message));
        }
        let plain = Operand::Address { base: base.clone(), offset: *offset, coordinates: vec![] };
        let map = self.address(&plain)?;
        let at = coordinates.iter().map(|c| self.source(c, 32, false)).collect::<Decode<_>>()?;
        Ok((map, at))
    }

    /// One offset for each dimension but channels and batch.
    fn filter_offsets(&mut self, o: &mut Operands, w: &Words, dims: usize) -> Decode<Vec<Slot>> {
        let offsets = self.vector(o.next(self)?);
        if offsets.len() != dims - 2 {
            let message = format!("`{}` with {} filter offsets", w.text(), offsets.len());
            return Err(self.error(message));
        }
        offsets.into_iter().map(|x| self.source(x, 16, false)).collect()
    }

    fn completion(&mut self, o: &mut Operands, to: BulkSpace) -> Decode<Completion> {
        Ok(match to {
            BulkSpace::Global => Completion::Group,
            BulkSpace::L2 => Completion::None,
            _ => Completion::Mbarrier(o.address(self)?),
        })
    }

    fn multicast(&mut self, o: &mut Operands, w: &mut Words, ends: Ends) -> Decode<Option<Slot>> {
        let possible = ends.to == BulkSpace::SharedCluster && ends.from == BulkSpace::Global;
        if possible && w.take("multicast::cluster") {
            return Ok(Some(o.source(self, 16)?));
        }
        Ok(None)
    }

    /// The operation, and its type where the instruction names one (a tensor map knows its own).
    fn bulk_reduction(&mut self, w: &mut Words, typed: bool) -> Decode<(AtomOp, Option<Scalar>)> {
        let op = w.take_one(&ATOMS).filter(|op| !matches!(op, AtomOp::Exch | AtomOp::Cas));
        let Some(op) = op else { return self.missing(w, "an operation") };
        w.take("noftz");
        if !typed {
            return Ok((op, None));
        }
        let word = w.take_type_word().and_then(Type::from_word);
        let Some(ty) = word else { return self.missing(w, "a type") };
        Ok((op, Some(scalar_of(ty))))
    }
}

#[derive(Clone, Copy)]
struct Ends {
    to: BulkSpace,
    from: BulkSpace,
    reduces: bool,
}

fn ends_fit(to: BulkSpace, from: BulkSpace, reduces: bool, prefetches: bool) -> bool {
    use BulkSpace::*;
    match (to, from) {
        (L2, Global) => prefetches && !reduces,
        _ if prefetches => false,
        (SharedCta | SharedCluster, Global) => !reduces,
        (SharedCluster, SharedCta) | (Global, SharedCta) => true,
        _ => false,
    }
}

/// Whether bytes on an mbarrier (true) or a group (false) tell the end; a prefetch never does.
fn expected_completion(to: BulkSpace) -> Option<bool> {
    match to {
        BulkSpace::SharedCta | BulkSpace::SharedCluster => Some(true),
        BulkSpace::Global => Some(false),
        BulkSpace::L2 => None,
    }
}
