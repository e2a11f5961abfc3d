//! Statements: assignments rebind, loops carry, branches yield, breaks become flags.
//!
//! # Break
//!
//! ```text
//! for x in N {                        for x … carried (v) break {
//!     if c { v = a; break; }            %s, %v1 = if c { yield true, a } else { yield false, v }
//!     v = b;                    ==>     %t, %v2 = if %s { yield true, %v1 } else { v = b; yield false, b }
//! }                                     yield %t, %v2 }
//! ```
//!
//! The trip that breaks counts: its carried values are the loop's results.

use crate::context::{Lowered, Lowering, OpenSpan, fault};
use tile_base::{DType, Span};
use tile_graph::{ForOp, Literal, LoopCombine, LoopOrigin, Op, RegionId, RegionKind, Value, ValueType};
use tile_sema::typed::{self, Combiner, ForOrigin, LocalId, ManyOp, TBlock, TExpr, TFor, TStmt, TStmtKind};

/// The two arms of a branch.
struct Arms<'t> {
    condition: Value,
    then: &'t TBlock,
    otherwise: &'t TBlock,
}

impl Lowering<'_> {
    /// Statements that hold no `break` of an enclosing loop.
    pub fn stmts(&mut self, stmts: &[TStmt]) -> Lowered<()> {
        stmts.iter().try_for_each(|s| self.stmt(s))
    }

    fn stmt(&mut self, s: &TStmt) -> Lowered<()> {
        match &s.kind {
            TStmtKind::Let { local, value } | TStmtKind::Var { local, value } => self.bind(*local, value),
            TStmtKind::Assign { local, value } => self.bind(*local, value),
            TStmtKind::LetMany { locals, op } => self.many(locals, op, s.span),
            TStmtKind::MakeSpan { span, lo, hi } => self.make_span(*span, lo, hi, s.span),
            TStmtKind::Store { access, value, unique } => self.store(access, value, *unique, s.span),
            TStmtKind::Accumulate { access, value } => self.accumulate(access, value, s.span),
            TStmtKind::For(f) => self.for_loop(f, s.span),
            TStmtKind::While { condition, body, carried } => {
                self.while_loop(condition, body, carried, s.span)
            }
            TStmtKind::If { condition, then, otherwise, results, carried } => {
                let condition = self.expr(condition)?;
                let arms = Arms { condition, then, otherwise };
                let out = self.branch(arms, results.len(), carried, false, s.span)?;
                self.rebind(results.iter().chain(carried), &out);
                for (local, value) in results.iter().zip(&out) {
                    self.name_after(*local, *value);
                }
                Ok(())
            }
            TStmtKind::Break => Err(fault(s.span, "a `break` outside any loop")),
            TStmtKind::Assert { condition, message } => {
                let condition = self.expr(condition)?;
                let message = message.clone();
                self.b.at(s.span).add(Op::Assert { message }, &[condition], vec![]);
                Ok(())
            }
        }
    }

    fn bind(&mut self, local: LocalId, value: &TExpr) -> Lowered<()> {
        let value = self.expr(value)?;
        self.name_after(local, value);
        self.locals.insert(local, value);
        Ok(())
    }

    fn name_after(&mut self, local: LocalId, value: Value) {
        let path = self.kernel.locals[local.index()].path.clone();
        self.name(value, &path);
    }

    fn rebind<'l>(&mut self, locals: impl Iterator<Item = &'l LocalId>, values: &[Value]) {
        self.locals.extend(locals.copied().zip(values.iter().copied()));
    }

    fn current(&self, locals: &[LocalId], at: Span) -> Lowered<Vec<Value>> {
        locals.iter().map(|&l| self.local(l, at)).collect()
    }

    fn types(&self, values: &[Value]) -> Vec<ValueType> {
        values.iter().map(|&v| self.b.type_of(v).clone()).collect()
    }

    fn many(&mut self, locals: &[LocalId], op: &ManyOp, at: Span) -> Lowered<()> {
        let (op, inputs) = match op {
            ManyOp::TopK { x, axis, k } => (Op::TopK { axis: *axis, k: *k }, vec![self.expr(x)?]),
            ManyOp::Sort { x, axis, descending } => {
                (Op::Sort { axis: *axis, descending: *descending }, vec![self.expr(x)?])
            }
            ManyOp::Reduce { xs, axis, combine } => {
                let inputs = self.exprs(xs)?;
                let combine = self.combiner(combine, at)?;
                (Op::ReduceWith { axis: *axis, combine }, inputs)
            }
        };
        let types = locals.iter().map(|&l| self.local_type(l, at)).collect::<Lowered<_>>()?;
        let out = self.b.at(at).add(op, &inputs, types);
        self.rebind(locals.iter(), &out);
        if let [first, ..] = out[..] {
            self.name_after(locals[0], first);
        }
        Ok(())
    }

    fn make_span(&mut self, span: typed::SpanId, lo: &TExpr, hi: &TExpr, at: Span) -> Lowered<()> {
        let (lo, hi) = (self.expr(lo)?, self.expr(hi)?);
        let info = &self.kernel.spans[span.index()];
        let step = self.step(span, info.step);
        let id = self.b.declare_span(&info.name, step);
        self.b.at(at).named(&info.path);
        let out = self.b.add(Op::MakeSpan { span: id }, &[lo, hi], vec![ValueType::index(); 2]);
        self.b.set_span(id, out[0], out[1]);
        let number = self.b.index(0);
        self.spans.insert(span, OpenSpan { id, start: out[0], end: out[1], number });
        Ok(())
    }

    fn combiner(&mut self, c: &Combiner, at: Span) -> Lowered<RegionId> {
        let types = c.params.iter().map(|&p| self.local_type(p, at)).collect::<Lowered<_>>()?;
        let (region, args) = self.b.at(at).open(RegionKind::Combine, types);
        self.rebind(c.params.iter(), &args);
        self.stmts(&c.body.stmts)?;
        let out = self.exprs(&c.body.values)?;
        self.b.close(&out);
        Ok(region)
    }

    fn for_loop(&mut self, f: &TFor, at: Span) -> Lowered<()> {
        let (lo, hi) = (self.expr(&f.lo)?, self.expr(&f.hi)?);
        let carried = self.current(&f.carried, at)?;
        let types = self.types(&carried);
        let combine = match &f.combine {
            typed::LoopCombine::Sum if !f.carried.is_empty() => LoopCombine::Sum,
            typed::LoopCombine::Ordered | typed::LoopCombine::Sum => LoopCombine::Ordered,
            typed::LoopCombine::Affine { var } => LoopCombine::Affine { var: position(f, *var, at)? },
            typed::LoopCombine::Merge { vars, combine } => LoopCombine::Merge {
                vars: vars.iter().map(|&v| position(f, v, at)).collect::<Lowered<_>>()?,
                combine: self.combiner(combine, at)?,
            },
        };
        let skip = f.skip.as_ref().map(|c| self.skip(f, c, at)).transpose()?;
        self.b.at(at);
        let (iter, body, args) = self.open_loop(RegionKind::Loop, f.iter, f.reverse, types.clone());
        self.rebind(f.carried.iter(), &args);
        let stop = self.body(&f.body, &f.carried, f.has_break, at)?;
        let mut results: Vec<Value> = stop.into_iter().collect();
        results.extend(self.current(&f.carried, at)?);
        self.b.at(at).close(&results);
        let origin = match f.origin {
            ForOrigin::Written => LoopOrigin::Written,
            ForOrigin::List => LoopOrigin::List,
        };
        let name = f.path.clone();
        let op = ForOp { iter, body, name, origin, early_exit: f.has_break, skip, combine };
        self.b.at(at).named(&f.path);
        let out = self.b.add(Op::For(op), &[&[lo, hi][..], &carried].concat(), types);
        self.rebind(f.carried.iter(), &out);
        Ok(())
    }

    /// The predicate of a `skip` claim: a region with the loop's variables as arguments.
    fn skip(&mut self, f: &TFor, c: &TBlock, at: Span) -> Lowered<RegionId> {
        let (region, args) = match f.iter {
            typed::Iter::Each { index } => {
                let (region, args) = self.b.at(at).open(RegionKind::Skip, vec![ValueType::index()]);
                self.locals.insert(index, args[0]);
                (region, args)
            }
            typed::Iter::Tiles { .. } => self.b.at(at).open(RegionKind::Skip, vec![ValueType::index(); 3]),
        };
        if let (typed::Iter::Tiles { span, .. }, [start, end, number]) = (f.iter, &args[..]) {
            // The span once more, for tiles of its positions; `laws::bound_skips` leaves none.
            let info = &self.kernel.spans[span.index()];
            let step = self.step(span, info.step);
            let id = self.b.declare_span(&info.name, step);
            let out =
                self.b.at(at).add(Op::MakeSpan { span: id }, &[*start, *end], vec![ValueType::index(); 2]);
            self.b.set_span(id, out[0], out[1]);
            self.spans.insert(span, OpenSpan { id, start: *start, end: *end, number: *number });
        }
        self.stmts(&c.stmts)?;
        let out = self.exprs(&c.values)?;
        self.b.close(&out);
        Ok(region)
    }

    /// A loop body; the "stop" flag when it has a `break`.
    fn body(
        &mut self,
        stmts: &[TStmt],
        carried: &[LocalId],
        has_break: bool,
        at: Span,
    ) -> Lowered<Option<Value>> {
        if !has_break {
            return self.stmts(stmts).map(|()| None);
        }
        self.breaking(stmts, carried, at).map(Some)
    }

    /// Statements that may break; whether they did.
    fn breaking(&mut self, stmts: &[TStmt], carried: &[LocalId], at: Span) -> Lowered<Value> {
        for (n, s) in stmts.iter().enumerate() {
            match &s.kind {
                TStmtKind::Break => return Ok(self.b.constant(Literal::Bool(true), DType::Bool)),
                TStmtKind::If { condition, then, otherwise, results, carried: own } if breaks(s) => {
                    let condition = self.expr(condition)?;
                    let arms = Arms { condition, then, otherwise };
                    let mut all = carried.to_vec();
                    all.extend(own.iter().filter(|l| !carried.contains(l)));
                    let out = self.branch(arms, results.len(), &all, true, s.span)?;
                    let (stop, rest) = (out[0], &out[1..]);
                    self.rebind(results.iter().chain(&all), rest);
                    if n + 1 == stmts.len() {
                        return Ok(stop);
                    }
                    return self.unless(stop, &stmts[n + 1..], carried, at);
                }
                _ => self.stmt(s)?,
            }
        }
        Ok(self.b.constant(Literal::Bool(false), DType::Bool))
    }

    /// The rest of a body, run when `stop` does not hold; whether either stopped.
    fn unless(&mut self, stop: Value, rest: &[TStmt], carried: &[LocalId], at: Span) -> Lowered<Value> {
        let before = self.current(carried, at)?;
        let types = self.types(&before);
        let (then, _) = self.b.at(at).open(RegionKind::Then, vec![]);
        let yes = self.b.constant(Literal::Bool(true), DType::Bool);
        self.b.close(&[&[yes][..], &before].concat());
        let (otherwise, _) = self.b.at(at).open(RegionKind::Else, vec![]);
        let again = self.breaking(rest, carried, at)?;
        let after = self.current(carried, at)?;
        self.b.close(&[&[again][..], &after].concat());
        let types = [ValueType::scalar(DType::Bool)].into_iter().chain(types).collect();
        let out = self.b.at(at).add(Op::If { then, otherwise }, &[stop], types);
        self.rebind(carried.iter(), &out[1..]);
        Ok(out[0])
    }

    /// A branch; its outputs: the "stop" flag if `breaking`, the arms' values, the carried variables.
    fn branch(
        &mut self,
        arms: Arms,
        values: usize,
        carried: &[LocalId],
        breaking: bool,
        at: Span,
    ) -> Lowered<Vec<Value>> {
        let before = self.current(carried, at)?;
        let then = self.arm(RegionKind::Then, arms.then, (values, carried), breaking, at)?;
        self.rebind(carried.iter(), &before);
        let otherwise = self.arm(RegionKind::Else, arms.otherwise, (values, carried), breaking, at)?;
        self.rebind(carried.iter(), &before);
        let types = self.types(&self.b.graph().yields(then));
        Ok(self.b.at(at).add(Op::If { then, otherwise }, &[arms.condition], types))
    }

    fn arm(
        &mut self,
        kind: RegionKind,
        block: &TBlock,
        (values, carried): (usize, &[LocalId]),
        breaking: bool,
        at: Span,
    ) -> Lowered<RegionId> {
        let (region, _) = self.b.at(at).open(kind, vec![]);
        let mut out = vec![];
        if breaking {
            out.push(self.breaking(&block.stmts, carried, at)?);
        } else {
            self.stmts(&block.stmts)?;
        }
        out.extend(self.exprs(&block.values)?);
        if block.values.len() != values {
            return Err(fault(at, "the arms of an `if` give different numbers of values"));
        }
        out.extend(self.current(carried, at)?);
        self.b.close(&out);
        Ok(region)
    }

    /// A `while`; with a `break` it carries the flag, and the condition is asked only while the flag is down.
    fn while_loop(&mut self, c: &TBlock, body: &[TStmt], carried: &[LocalId], at: Span) -> Lowered<()> {
        let has_break = body.iter().any(breaks);
        let no = self.b.constant(Literal::Bool(false), DType::Bool);
        let mut initial: Vec<Value> = has_break.then_some(no).into_iter().collect();
        initial.extend(self.current(carried, at)?);
        let types = self.types(&initial);
        let skipped = usize::from(has_break);

        let (condition, args) = self.b.at(at).open(RegionKind::Condition, types.clone());
        self.rebind(carried.iter(), &args[skipped..]);
        let go = match has_break {
            false => self.block_value(c, at)?,
            true => {
                let (then, _) = self.b.at(at).open(RegionKind::Then, vec![]);
                self.b.close(&[no]);
                let (otherwise, _) = self.b.at(at).open(RegionKind::Else, vec![]);
                let go = self.block_value(c, at)?;
                self.b.close(&[go]);
                self.b.add(Op::If { then, otherwise }, &[args[0]], vec![ValueType::scalar(DType::Bool)])[0]
            }
        };
        self.b.close(&[go]);

        let (region, args) = self.b.at(at).open(RegionKind::Loop, types.clone());
        self.rebind(carried.iter(), &args[skipped..]);
        let stop = self.body(body, carried, has_break, at)?;
        let mut results: Vec<Value> = stop.into_iter().collect();
        results.extend(self.current(carried, at)?);
        self.b.at(at).close(&results);
        let out = self.b.at(at).add(Op::While { condition, body: region }, &initial, types);
        self.rebind(carried.iter(), &out[skipped..]);
        Ok(())
    }

    fn block_value(&mut self, block: &TBlock, at: Span) -> Lowered<Value> {
        self.stmts(&block.stmts)?;
        match &block.values[..] {
            [one] => self.expr(one),
            _ => Err(fault(at, "a condition is one value")),
        }
    }
}

/// Whether a statement holds a `break` of the loop it stands in.
fn breaks(s: &TStmt) -> bool {
    match &s.kind {
        TStmtKind::Break => true,
        TStmtKind::If { then, otherwise, .. } => {
            then.stmts.iter().any(breaks) || otherwise.stmts.iter().any(breaks)
        }
        _ => false,
    }
}

fn position(f: &TFor, local: LocalId, at: Span) -> Lowered<u32> {
    match f.carried.iter().position(|&c| c == local) {
        Some(at) => Ok(at as u32),
        None => {
            Err(fault(at, format!("a claim of loop `{}` names {local}, which it does not carry", f.path)))
        }
    }
}
