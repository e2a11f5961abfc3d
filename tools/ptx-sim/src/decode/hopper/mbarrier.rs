//! `mbarrier.*` and what counts on an mbarrier: `cp.async.mbarrier.arrive`, `st.async`, `red.async`.

use super::{ATOMS, HopperOp, Operands, SCOPES};
use crate::{
    decode::{Decode, Decoder, Words, compare::scalar_of},
    ir::*,
    read::Operand,
};

const RELEASE_CTA: Order = Order { semantics: Semantics::Release, scope: Scope::Cta };

impl Decoder<'_> {
    pub(super) fn mbarrier(&mut self, o: &mut Operands, w: &mut Words) -> Decode<HopperOp> {
        if !w.take("b64") {
            return self.missing(w, "`.b64`");
        }
        let verb = w.take_if(|word| {
            matches!(
                word,
                "init"
                    | "inval"
                    | "complete_tx"
                    | "arrive"
                    | "arrive_drop"
                    | "test_wait"
                    | "try_wait"
                    | "pending_count"
            )
        });
        let op = match verb {
            Some("init") => {
                self.take_cluster(w);
                Mbarrier::Init { bar: o.address(self)?, count: o.source(self, 32)? }
            }
            Some("inval") => {
                self.take_cluster(w);
                Mbarrier::Invalidate { bar: o.address(self)? }
            }
            Some("arrive") => self.arrive(o, w, false)?,
            Some("arrive_drop") => self.arrive(o, w, true)?,
            Some("test_wait") => self.test_wait(o, w, false)?,
            Some("try_wait") => self.test_wait(o, w, true)?,
            Some("pending_count") => {
                let destination = o.next(self)?;
                Mbarrier::PendingCount { d: self.dest(destination, 32)?, state: o.source(self, 64)? }
            }
            Some(_) => {
                let (bar, cluster, bytes) = self.transaction(o, w)?;
                Mbarrier::CompleteTx { bar, cluster, bytes }
            }
            None if w.take("expect_tx") => {
                let (bar, cluster, bytes) = self.transaction(o, w)?;
                Mbarrier::ExpectTx { bar, cluster, bytes }
            }
            None => return Err(self.error(format!("unknown instruction `{}`", w.text()))),
        };
        Ok(HopperOp::Mbarrier(op))
    }

    /// `expect_tx` and `complete_tx` are always relaxed.
    fn transaction(&mut self, o: &mut Operands, w: &mut Words) -> Decode<(Addr, bool, Slot)> {
        w.take("relaxed");
        let cluster = self.take_cluster(w);
        w.take_one(&SCOPES);
        Ok((o.address(self)?, cluster, o.source(self, 32)?))
    }

    /// Semantics and scope, with what stands for an absent word.
    fn mbarrier_order(&mut self, w: &mut Words, default: Semantics) -> Decode<Order> {
        let words = [("relaxed", Semantics::Relaxed), (word_of(default), default)];
        let semantics = w.take_one(&words);
        let scope = w.take_one(&[("cta", Scope::Cta), ("cluster", Scope::Cluster)]);
        if semantics.is_some() != scope.is_some() {
            return self.missing(w, "both an order and a scope, or neither");
        }
        Ok(Order { semantics: semantics.unwrap_or(default), scope: scope.unwrap_or_default() })
    }

    /// `mbarrier.arrive.expect_tx.release.cluster.shared::cluster.b64 _, [bar], bytes;`
    fn arrive(&mut self, o: &mut Operands, w: &mut Words, drop: bool) -> Decode<Mbarrier> {
        let (expects, no_complete) = (w.take("expect_tx"), w.take("noComplete"));
        let cluster = self.take_cluster(w);
        let order = self.mbarrier_order(w, Semantics::Release)?;
        if no_complete && (cluster || order != RELEASE_CTA) {
            return Err(self.error(format!("`{}`: only `.release.cta` on the CTA's own barriers", w.text())));
        }
        let state = match self.operand(o.instruction, 0)? {
            Operand::Sink => o.next(self).map(|_| None)?,
            _ if cluster => {
                let message = format!("`{}`: an arrive of another CTA gives no state", w.text());
                return Err(self.error(message));
            }
            _ => {
                let destination = o.next(self)?;
                Some(self.dest(destination, 64)?)
            }
        };
        let bar = o.address(self)?;
        let operand = if o.left() > 0 || expects || no_complete { Some(o.source(self, 32)?) } else { None };
        let (count, expect_tx) = if expects { (None, operand) } else { (operand, None) };
        Ok(Mbarrier::Arrive { bar, cluster, state, count, expect_tx, drop, no_complete, order })
    }

    /// `mbarrier.try_wait.parity.acquire.cta.shared::cta.b64 p, [bar], parity{, suspendTimeHint};`
    fn test_wait(&mut self, o: &mut Operands, w: &mut Words, may_suspend: bool) -> Decode<Mbarrier> {
        let parity = w.take("parity");
        if self.take_cluster(w) {
            let message = format!("`{}`: only the CTA's own barriers can be waited for", w.text());
            return Err(self.error(message));
        }
        let order = self.mbarrier_order(w, Semantics::Acquire)?;
        let destination = o.next(self)?;
        let (d, _) = self.predicate(destination)?;
        let bar = o.address(self)?;
        let token =
            if parity { Token::Parity(o.source(self, 32)?) } else { Token::State(o.source(self, 64)?) };
        if may_suspend && o.left() > 0 {
            // A bound on the time the thread may sleep: no value depends on it.
            o.source(self, 32)?;
        }
        Ok(Mbarrier::Test { bar, d, token, may_suspend, order })
    }

    /// `cp.async.mbarrier.arrive{.noinc}{.shared}.b64 [bar];`
    pub(super) fn copy_async_arrive(&mut self, o: &mut Operands, w: &mut Words) -> Decode<HopperOp> {
        if !(w.take("async") && w.take("mbarrier") && w.take("arrive") && w.take("b64")) {
            return self.missing(w, "`.async.mbarrier.arrive.b64`");
        }
        let noinc = w.take("noinc");
        self.take_cluster(w);
        Ok(HopperOp::Mbarrier(Mbarrier::CopyAsyncArrive { bar: o.address(self)?, noinc }))
    }

    /// `st.async{.weak}.shared::cluster.mbarrier::complete_tx::bytes{.v2,.v4}.b32 [to], a, [bar];` and `red.async`.
    pub(super) fn store_async(&mut self, o: &mut Operands, w: &mut Words) -> Decode<HopperOp> {
        let reduces = w.name() == "red";
        w.take("async");
        if reduces {
            w.take("relaxed");
            w.take("cluster");
        } else {
            w.take("weak");
        }
        if !w.take("mbarrier::complete_tx::bytes") {
            return self.missing(w, "`.mbarrier::complete_tx::bytes`");
        }
        w.take("shared::cluster");
        let reduce = if reduces { w.take_one(&ATOMS) } else { None };
        if reduces && matches!(reduce, None | Some(AtomOp::Exch | AtomOp::Cas)) {
            return self.missing(w, "an operation");
        }
        let count = w.take_one(&[("v2", 2), ("v4", 4)]).unwrap_or(1);
        let ty = self.ty(w)?;
        if !matches!(ty.bits, 32 | 64) {
            return Err(self.error(format!("`{}`: 32 or 64 bits are possible", w.text())));
        }
        let to = o.address(self)?;
        let values = self.vector(o.next(self)?);
        if values.len() != count {
            return Err(self.error(format!("`{}` with {} values", w.text(), values.len())));
        }
        let float = matches!(scalar_of(ty), Scalar::F32 | Scalar::F64);
        let a = values.into_iter().map(|v| self.source(v, ty.bits, float)).collect::<Decode<_>>()?;
        let bar = o.address(self)?;
        Ok(HopperOp::StoreAsync { reduce, ty: scalar_of(ty), a, to, bar })
    }
}

fn word_of(semantics: Semantics) -> &'static str {
    if semantics == Semantics::Acquire { "acquire" } else { "release" }
}
