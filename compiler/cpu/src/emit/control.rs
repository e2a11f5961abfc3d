//! The `par` nest, loops and branches.
//!
//! Every thread walks the whole nest: cheap scalar code that counts instances and runs the body for the instance
//! whose number is the thread's ticket, then takes the next ticket (a shared counter hands them out in order). So
//! bounds may depend on outer names and on device values, nothing is listed beforehand, and threads balance by
//! themselves:
//!
//! ```text
//! count = 0
//! for b in 0..B: for i in tiles(off[b], off[b + 1]):
//!     if count == ticket { body(b, i); ticket = take_ticket() }
//!     count += 1
//! ```
//!
//! Carried tiles keep one buffer for the whole loop. At the end of a trip a result that is not already in its place
//! is copied there; results that lie in another carried value's buffer are saved first.

use super::{Emit, Lanes, Result, Val, buffers::Tile, lanes::scalar_type};
use crate::runtime::{self, Class, Env};
use cranelift_codegen::ir::{self, BlockArg, InstBuilder, condcodes::IntCC, types};
use cranelift_frontend::Variable;
use tile_graph::{ForOp, Iter, NodeId, Op, RegionId, Value};

/// Where a carried value is between trips.
enum Carried {
    Scalar(Variable),
    Tile(Tile),
}

impl Emit<'_, '_> {
    // ---- par

    /// Walks the nest below a region; how many instances it has.
    pub fn nest(&mut self, root: RegionId) -> Result<ir::Value> {
        let count = self.fb.declare_var(types::I64);
        let zero = self.int(0);
        self.fb.def_var(count, zero);
        self.nest_level(root, count, 0)?;
        Ok(self.fb.use_var(count))
    }

    /// The nest from the axis of number `depth` on.
    fn nest_level(&mut self, region: RegionId, count: Variable, depth: usize) -> Result<()> {
        let graph = self.graph;
        if depth > 0 && depth == self.group_axes {
            self.note_group(count);
        }
        let pars: Vec<NodeId> = graph
            .region(region)
            .nodes
            .iter()
            .copied()
            .filter(|&n| matches!(graph.node(n).op, Op::Par(_)))
            .collect();
        let Some(&par) = pars.first() else { return self.instance(region, count) };
        // Everything else in the region computes bounds.
        self.steps(region)?;
        let Op::Par(op) = &graph.node(par).op else { return Err(self.bug(par, "a par that is none")) };
        if pars.len() > 1 {
            return Err(self.unsupported(pars[1], "a second `par` beside another"));
        }
        let inputs = graph.inputs(par);
        let (lo, hi) = (self.scalar(inputs[0])?, self.scalar(inputs[1])?);
        let args = graph.region_args(op.body);
        self.iterate(op.iter, lo, hi, None, |e, variables| {
            e.bind_variables(&args, variables);
            e.nest_level(op.body, count, depth + 1)
        })
    }

    /// A walk that counts notes where a group begins.
    fn note_group(&mut self, count: Variable) {
        let ticket = self.fb.ins().load(types::I64, super::flags(), self.env, Env::TICKET);
        let counts = self.fb.ins().icmp_imm_s(IntCC::Equal, ticket, Env::COUNTS);
        let (note, next) = (self.fb.create_block(), self.fb.create_block());
        self.fb.ins().brif(counts, note, &[], next, &[]);
        self.fb.switch_to_block(note);
        self.fb.seal_block(note);
        self.begin();
        let here = self.fb.use_var(count);
        self.word(here);
        self.call(runtime::begin_group);
        self.fb.ins().jump(next, &[]);
        self.fb.switch_to_block(next);
        self.fb.seal_block(next);
    }

    /// The body, if this instance is the thread's.
    fn instance(&mut self, region: RegionId, count: Variable) -> Result<()> {
        let here = self.fb.use_var(count);
        let ticket = self.fb.ins().load(types::I64, super::flags(), self.env, Env::TICKET);
        let mine = self.fb.ins().icmp(IntCC::Equal, here, ticket);
        let (body, next) = (self.fb.create_block(), self.fb.create_block());
        self.fb.ins().brif(mine, body, &[], next, &[]);
        self.fb.switch_to_block(body);
        self.fb.seal_block(body);
        self.steps(region)?;
        self.begin();
        self.call(runtime::take_ticket);
        self.fb.ins().jump(next, &[]);
        self.fb.switch_to_block(next);
        self.fb.seal_block(next);
        let one = self.int(1);
        let more = self.fb.ins().iadd(here, one);
        self.fb.def_var(count, more);
        Ok(())
    }

    fn bind_variables(&mut self, args: &[Value], variables: &[ir::Value]) {
        for (&arg, &v) in args.iter().zip(variables) {
            self.set(arg, Val::Scalar(v));
        }
    }

    /// A loop over indices or tiles of `lo..hi`; the body gets the region's variables. `stop`: a variable that ends
    /// the loop once it is not 0.
    fn iterate(
        &mut self,
        iter: Iter,
        lo: ir::Value,
        hi: ir::Value,
        stop: Option<Variable>,
        body: impl FnOnce(&mut Self, &[ir::Value]) -> Result<()>,
    ) -> Result<()> {
        let (step, reverse) = match iter {
            Iter::Each { reverse } => (1, reverse),
            Iter::Tiles { step, reverse, .. } => {
                (self.binding.step(step).unwrap_or(1).max(1) as i64, reverse)
            }
        };
        // The trips: cdiv(hi - lo, step), 0 for an empty range. hi - lo as unsigned is right for any lo < hi.
        let distance = self.fb.ins().isub(hi, lo);
        let rounded = self.fb.ins().iadd_imm_s(distance, step - 1);
        let by = self.int(step);
        let trips = if step == 1 { distance } else { self.fb.ins().udiv(rounded, by) };
        let empty = self.fb.ins().icmp(IntCC::SignedGreaterThanOrEqual, lo, hi);
        let zero = self.int(0);
        let trips = self.fb.ins().select(empty, zero, trips);
        let (head, inside, done) = (self.fb.create_block(), self.fb.create_block(), self.fb.create_block());
        let trip = self.fb.append_block_param(head, types::I64);
        self.fb.ins().jump(head, &[BlockArg::Value(zero)]);
        self.fb.switch_to_block(head);
        let mut go = self.fb.ins().icmp(IntCC::SignedLessThan, trip, trips);
        if let Some(stop) = stop {
            let stop = self.fb.use_var(stop);
            let on = self.fb.ins().icmp_imm_s(IntCC::Equal, stop, 0);
            go = self.fb.ins().band(go, on);
        }
        self.fb.ins().brif(go, inside, &[], done, &[]);
        self.fb.switch_to_block(inside);
        self.fb.seal_block(inside);
        let number = match reverse {
            false => trip,
            true => {
                let last = self.fb.ins().iadd_imm_s(trips, -1);
                self.fb.ins().isub(last, trip)
            }
        };
        let delta = self.fb.ins().imul(number, by);
        let start = self.fb.ins().iadd(lo, delta);
        match iter {
            Iter::Each { .. } => body(self, &[start])?,
            Iter::Tiles { .. } => {
                let end = self.span_end(start, hi, step as u64);
                body(self, &[start, end, number])?;
            }
        }
        let one = self.int(1);
        let next = self.fb.ins().iadd(trip, one);
        self.fb.ins().jump(head, &[BlockArg::Value(next)]);
        self.fb.seal_block(head);
        self.fb.switch_to_block(done);
        self.fb.seal_block(done);
        Ok(())
    }

    // ---- loops

    pub fn for_loop(&mut self, id: NodeId, op: &ForOp) -> Result<()> {
        let graph = self.graph;
        let inputs = graph.inputs(id);
        let (lo, hi) = (self.scalar(inputs[0])?, self.scalar(inputs[1])?);
        let carried = self.start_carried(id, &inputs[2..])?;
        let stop = op.early_exit.then(|| {
            let v = self.fb.declare_var(types::I8);
            let zero = self.fb.ins().iconst(types::I8, 0);
            self.fb.def_var(v, zero);
            v
        });
        let args = graph.region_args(op.body);
        let count = op.iter.variables();
        self.iterate(op.iter, lo, hi, stop, |e, variables| {
            let skipped = match op.skip {
                Some(region) => Some(e.skip(region, variables)?),
                None => None,
            };
            e.bind_variables(&args, variables);
            e.bind_carried(&args[count..], &carried);
            e.steps(op.body)?;
            let yields = graph.yields(op.body);
            let values = match stop {
                Some(stop) => {
                    let v = e.scalar(yields[0])?;
                    e.fb.def_var(stop, v);
                    &yields[1..]
                }
                None => &yields[..],
            };
            e.keep(id, values, &carried)?;
            if let Some(next) = skipped {
                e.fb.ins().jump(next, &[]);
                e.fb.switch_to_block(next);
                e.fb.seal_block(next);
            }
            Ok(())
        })?;
        self.finish_carried(id, carried);
        Ok(())
    }

    /// Evaluates a skip claim: where it holds the body changes nothing and is passed over. The block after it.
    fn skip(&mut self, region: RegionId, variables: &[ir::Value]) -> Result<ir::Block> {
        let args = self.graph.region_args(region);
        self.bind_variables(&args, variables);
        let here = self.position;
        self.steps(region)?;
        self.position = here;
        let claim = self.scalar(self.graph.yields(region)[0])?;
        let (body, next) = (self.fb.create_block(), self.fb.create_block());
        self.fb.ins().brif(claim, next, &[], body, &[]);
        self.fb.switch_to_block(body);
        self.fb.seal_block(body);
        Ok(next)
    }

    pub fn while_loop(&mut self, id: NodeId, condition: RegionId, body: RegionId) -> Result<()> {
        let graph = self.graph;
        let carried = self.start_carried(id, &graph.inputs(id))?;
        let (head, inside, done) = (self.fb.create_block(), self.fb.create_block(), self.fb.create_block());
        self.fb.ins().jump(head, &[]);
        self.fb.switch_to_block(head);
        self.bind_carried(&graph.region_args(condition), &carried);
        self.steps(condition)?;
        let go = self.scalar(graph.yields(condition)[0])?;
        self.fb.ins().brif(go, inside, &[], done, &[]);
        self.fb.switch_to_block(inside);
        self.fb.seal_block(inside);
        self.bind_carried(&graph.region_args(body), &carried);
        self.steps(body)?;
        self.keep(id, &graph.yields(body), &carried)?;
        self.fb.ins().jump(head, &[]);
        self.fb.seal_block(head);
        self.fb.switch_to_block(done);
        self.fb.seal_block(done);
        self.finish_carried(id, carried);
        Ok(())
    }

    /// Places for carried values, with their initial values in them.
    fn start_carried(&mut self, id: NodeId, initial: &[Value]) -> Result<Vec<Carried>> {
        let end = self.live.end.get(&id).copied().unwrap_or(self.position);
        let mut places = vec![];
        for (port, &value) in initial.iter().enumerate() {
            let ty = self.graph.type_of(value).clone();
            let class = Class::of(ty.dtype);
            if ty.is_scalar() {
                let variable = self.fb.declare_var(scalar_type(class));
                let v = self.scalar(value)?;
                self.fb.def_var(variable, v);
                places.push(Carried::Scalar(variable));
                continue;
            }
            let result = self.last_use(Value { node: id, port: port as u32 }).max(end);
            let tile = self.new_tile(class, &ty.axes, result);
            match self.stored(value) {
                Some(from) => self.copy(&ty.axes, &from, &tile)?,
                None => self.fill(value, &tile)?,
            }
            if let Some(buffer) = tile.buffer {
                self.buffers.hold(buffer, result);
            }
            places.push(Carried::Tile(tile));
        }
        Ok(places)
    }

    fn bind_carried(&mut self, args: &[Value], carried: &[Carried]) {
        for (&arg, place) in args.iter().zip(carried) {
            match place {
                Carried::Scalar(variable) => {
                    let v = self.fb.use_var(*variable);
                    self.set(arg, Val::Scalar(v));
                }
                Carried::Tile(tile) => {
                    if let Some(buffer) = tile.buffer {
                        let until = self.last_use(arg);
                        self.buffers.restart(buffer, until);
                    }
                    self.set(arg, Val::Tile(tile.clone()));
                }
            }
        }
    }

    /// The results of a trip into their places.
    fn keep(&mut self, id: NodeId, yields: &[Value], carried: &[Carried]) -> Result<()> {
        let places: Vec<Option<usize>> = carried
            .iter()
            .map(|c| match c {
                Carried::Tile(t) => t.buffer,
                Carried::Scalar(_) => None,
            })
            .collect();
        let mut scalars = vec![];
        let mut copies = vec![];
        for (&value, place) in yields.iter().zip(carried) {
            match place {
                Carried::Scalar(variable) => scalars.push((*variable, self.scalar(value)?)),
                Carried::Tile(tile) => {
                    let axes = self.graph.type_of(value).axes.clone();
                    let from = self.tile_of(value)?;
                    if from.base == tile.base && from.strides == tile.strides {
                        continue;
                    }
                    let from = match from.buffer {
                        // It may be overwritten before it is read.
                        Some(b) if places.contains(&Some(b)) => {
                            let saved = self.new_tile(tile.class, &axes, self.position);
                            self.copy(&axes, &from, &saved)?;
                            saved
                        }
                        _ => from,
                    };
                    copies.push((axes, from, tile.clone()));
                }
            }
        }
        for (axes, from, to) in copies {
            self.copy(&axes, &from, &to)?;
        }
        for (variable, v) in scalars {
            self.fb.def_var(variable, v);
        }
        let _ = id;
        Ok(())
    }

    fn finish_carried(&mut self, id: NodeId, carried: Vec<Carried>) {
        for (port, place) in carried.into_iter().enumerate() {
            let value = Value { node: id, port: port as u32 };
            let val = match place {
                Carried::Scalar(variable) => Val::Scalar(self.fb.use_var(variable)),
                Carried::Tile(tile) => {
                    if let Some(buffer) = tile.buffer {
                        let until = self.last_use(value);
                        self.buffers.restart(buffer, until);
                    }
                    Val::Tile(tile)
                }
            };
            self.set(value, val);
        }
        if let Some(&end) = self.live.end.get(&id) {
            self.position = end;
        }
    }

    // ---- branches

    pub fn branch(&mut self, id: NodeId, then: RegionId, otherwise: RegionId) -> Result<()> {
        let graph = self.graph;
        let condition = self.scalar(graph.inputs(id)[0])?;
        let end = self.live.end.get(&id).copied().unwrap_or(self.position);
        let outputs = graph.node(id).outputs.clone();
        let mut places = vec![];
        for (port, ty) in outputs.iter().enumerate() {
            let class = Class::of(ty.dtype);
            if ty.is_scalar() {
                places.push(Carried::Scalar(self.fb.declare_var(scalar_type(class))));
            } else {
                let until = self.last_use(Value { node: id, port: port as u32 }).max(end);
                places.push(Carried::Tile(self.new_tile(class, &ty.axes, until)));
            }
        }
        let (yes, no, done) = (self.fb.create_block(), self.fb.create_block(), self.fb.create_block());
        self.fb.ins().brif(condition, yes, &[], no, &[]);
        for (block, region) in [(yes, then), (no, otherwise)] {
            self.fb.switch_to_block(block);
            self.fb.seal_block(block);
            self.steps(region)?;
            for (&value, place) in graph.yields(region).iter().zip(&places) {
                match place {
                    Carried::Scalar(variable) => {
                        let v = self.scalar(value)?;
                        self.fb.def_var(*variable, v);
                    }
                    Carried::Tile(tile) => match self.stored(value) {
                        Some(from) => self.copy(&graph.type_of(value).axes.clone(), &from, tile)?,
                        None => self.fill(value, tile)?,
                    },
                }
            }
            self.fb.ins().jump(done, &[]);
        }
        self.fb.switch_to_block(done);
        self.fb.seal_block(done);
        for (port, place) in places.into_iter().enumerate() {
            let val = match place {
                Carried::Scalar(variable) => Val::Scalar(self.fb.use_var(variable)),
                Carried::Tile(tile) => Val::Tile(tile),
            };
            self.set(Value { node: id, port: port as u32 }, val);
        }
        self.position = end;
        Ok(())
    }

    pub fn position(&self) -> usize {
        self.position
    }

    pub fn set_position(&mut self, position: usize) {
        self.position = position;
    }

    /// The lanes of scalar code.
    pub const ONE: Lanes = Lanes::One;
}
