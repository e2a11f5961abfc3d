//! Accesses: coordinates keep their form, the expressions in them become input ports.
//!
//! A coordinate that the checker knows to be inside is `Proven`, one with `else` is `Else`; all others start as
//! `InPlace`, and [`crate::obligations`] tries to do better.

use crate::context::{Lowered, Lowering};
use tile_base::Span;
use tile_graph::{Access, Check, Coord, CoordIndex, ObjectId, Op, Port, Value, ValueType};
use tile_sema::typed::{self, TExpr};

/// Input ports of an access as they come up.
struct Ports {
    values: Vec<Value>,
}

impl Ports {
    fn add(&mut self, low: &mut Lowering, e: &TExpr) -> Lowered<Port> {
        self.values.push(low.expr(e)?);
        Ok(self.values.len() as Port - 1)
    }

    fn option(&mut self, low: &mut Lowering, e: Option<&TExpr>) -> Lowered<Option<Port>> {
        e.map(|e| self.add(low, e)).transpose()
    }
}

impl Lowering<'_> {
    pub fn load(&mut self, access: &typed::Access) -> Lowered<Value> {
        let mut ports = Ports { values: vec![] };
        let lowered = self.access(access, &mut ports)?;
        let axes = access.axes.iter().map(|a| self.axis(a, access.span)).collect::<Lowered<Vec<_>>>()?;
        let elem = self.kernel.objects[access.object.index()].elem();
        self.b.at(access.span);
        Ok(self.b.one(Op::Load(lowered), &ports.values, ValueType::tile(elem.dtype(), axes)))
    }

    pub fn store(&mut self, access: &typed::Access, value: &TExpr, unique: bool, at: Span) -> Lowered<()> {
        let mut ports = Ports { values: vec![self.expr(value)?] };
        let access = self.access(access, &mut ports)?;
        self.b.at(at).add(Op::Store { access, unique }, &ports.values, vec![]);
        Ok(())
    }

    pub fn accumulate(&mut self, access: &typed::Access, value: &TExpr, at: Span) -> Lowered<()> {
        let mut ports = Ports { values: vec![self.expr(value)?] };
        let access = self.access(access, &mut ports)?;
        self.b.at(at).add(Op::Accumulate(access), &ports.values, vec![]);
        Ok(())
    }

    fn access(&mut self, access: &typed::Access, ports: &mut Ports) -> Lowered<Access> {
        let mut coords = vec![];
        for c in &access.coords {
            let index = match &c.index {
                typed::CoordIndex::Affine { base, terms } => {
                    CoordIndex::Affine { base: ports.option(self, base.as_ref())?, terms: terms.clone() }
                }
                typed::CoordIndex::Gather { index, axes } => {
                    CoordIndex::Gather { index: ports.add(self, index)?, axes: axes.clone() }
                }
            };
            let check = match (c.outside_meant, c.inside) {
                (true, _) => Check::Else,
                (false, true) => Check::Proven,
                (false, false) => Check::InPlace,
            };
            let (lo, hi) = (ports.option(self, c.lo.as_ref())?, ports.option(self, c.hi.as_ref())?);
            coords.push(Coord { index, lo, hi, check });
        }
        let otherwise = ports.option(self, access.otherwise.as_deref())?;
        let mask = ports.option(self, access.mask.as_deref())?;
        Ok(Access { object: ObjectId(access.object.0), coords, otherwise, mask })
    }
}
