//! Loops and branches. Carried tiles become one carried register each; behind them stand the turns of mbarriers that
//! the code inside waits for ([`super::bulk`]).

use super::{Emission, Emit};
use crate::text::{Ty, V};
use tile_graph::{ForOp, Iter, NodeId, RegionId, Value};

impl Emit<'_> {
    pub(super) fn for_loop(&mut self, node: NodeId, f: &ForOp) -> Emission<Vec<Vec<V>>> {
        let inputs = self.g.inputs(node);
        let (lo, hi) = (self.scalar(node, inputs[0])?, self.scalar(node, inputs[1])?);
        let mut initial = vec![];
        let mut sizes = vec![];
        for port in 2..inputs.len() as u32 {
            let registers = self.stretched(node, port)?;
            sizes.push(registers.len());
            initial.extend(registers);
        }
        let step = match f.iter {
            Iter::Each { .. } => 1,
            Iter::Tiles { step, .. } => self.step(step),
        };
        let step = self.t.i64(step);
        let ended = self.mbarriers_under(&self.g.node(node).op.regions());
        initial.extend(self.turns_of(&ended));
        if f.early_exit {
            return self.for_until(node, f, (lo, hi, step), &initial, &sizes, &ended);
        }
        self.fetch_first(node, f, (lo, hi, step))?;
        let (variable, carried) = self.t.open_for((lo, hi, step), &initial);
        let carried = self.take_turns(&ended, &carried);
        let variables = self.loop_variables(f, variable, (lo, hi, step));
        let arguments = self.g.region_args(f.body);
        self.bind(&arguments, &variables);
        let carried = split(carried, &sizes);
        for (argument, registers) in arguments[f.iter.variables()..].iter().zip(&carried) {
            self.values.insert(*argument, registers.clone());
        }
        let skipped = self.skips(node, f, &variables)?;
        self.fetch_next(node, f, variable, (lo, hi, step), skipped)?;
        let mut next = self.unless(skipped, f, &carried)?;
        next.extend(self.turns_of(&ended));
        let results = self.t.close_for(&next);
        Ok(split(self.take_turns(&ended, &results), &sizes))
    }

    /// A loop with a `break`: it goes on while there is a trip left and the last one did not say stop. What that trip
    /// yields counts.
    fn for_until(
        &mut self,
        node: NodeId,
        f: &ForOp,
        (lo, hi, step): (V, V, V),
        initial: &[V],
        sizes: &[usize],
        ended: &[usize],
    ) -> Emission<Vec<Vec<V>>> {
        if f.skip.is_some() {
            return Err(self.bug(node, "a loop with `break` makes no claims"));
        }
        let yes = self.t.int(Ty::I1, 1);
        let carried = self.t.open_while(&[&[lo, yes], initial].concat());
        let left = self.t.icmp("slt", carried[0], hi);
        let goes = self.t.int_op("and", left, carried[1]);
        self.t.does(goes, &carried);
        let carried = self.take_turns(ended, &carried);
        let variables = self.loop_variables(f, carried[0], (lo, hi, step));
        let arguments = self.g.region_args(f.body);
        self.bind(&arguments, &variables);
        let tiles = split(&carried[2..], sizes);
        for (argument, registers) in arguments[f.iter.variables()..].iter().zip(tiles) {
            self.values.insert(*argument, registers);
        }
        let mut next = self.body(f.body, 0)?;
        let stops = next.remove(0);
        next.extend(self.turns_of(ended));
        let following = self.t.add(carried[0], step);
        let goes_on = self.t.int_op("xor", stops, yes);
        let results = self.t.close_while(&[&[following, goes_on], &next[..]].concat());
        Ok(split(&self.take_turns(ended, &results)[2..], sizes))
    }

    /// `while`: the condition is the same for the whole block, so barriers inside are reached by all or none.
    pub(super) fn while_loop(
        &mut self,
        node: NodeId,
        condition: RegionId,
        body: RegionId,
    ) -> Emission<Vec<Vec<V>>> {
        let mut initial = vec![];
        let mut sizes = vec![];
        for port in 0..self.g.inputs(node).len() as u32 {
            let registers = self.stretched(node, port)?;
            sizes.push(registers.len());
            initial.extend(registers);
        }
        let ended = self.mbarriers_under(&[condition, body]);
        initial.extend(self.turns_of(&ended));
        let mut carried = self.t.open_while(&initial);
        let tiles = self.take_turns(&ended, &carried);
        self.bind_tiles(condition, &split(tiles, &sizes));
        self.region(condition)?;
        let [holds] = self.g.yields(condition)[..] else {
            return Err(self.bug(node, "a condition gives one bool"));
        };
        let holds = self.scalar(node, holds)?;
        carried.truncate(carried.len() - ended.len());
        carried.extend(self.turns_of(&ended));
        self.t.does(holds, &carried);
        let tiles = self.take_turns(&ended, &carried);
        self.bind_tiles(body, &split(tiles, &sizes));
        let mut next = self.body(body, 0)?;
        next.extend(self.turns_of(&ended));
        let results = self.t.close_while(&next);
        Ok(split(self.take_turns(&ended, &results), &sizes))
    }

    fn bind_tiles(&mut self, region: RegionId, tiles: &[Vec<V>]) {
        for (argument, registers) in self.g.region_args(region).into_iter().zip(tiles) {
            self.values.insert(argument, registers.clone());
        }
    }

    /// What the body of a region yields, from port `first` on, each in the layout its receiver wants.
    fn body(&mut self, region: RegionId, first: usize) -> Emission<Vec<V>> {
        self.region(region)?;
        let Some(&last) = self.g.region(region).nodes.last() else { return Ok(vec![]) };
        let count = self.g.inputs(last).len();
        let mut out = vec![];
        for port in first..count {
            out.extend(self.stretched(last, port as u32)?);
        }
        Ok(out)
    }

    /// An input in the layout its receiver wants. A splat constant may have been kept as one register.
    fn stretched(&mut self, node: NodeId, port: u32) -> Emission<Vec<V>> {
        self.input(node, port)
    }

    /// Whether the claim `skip` of a loop holds for a step.
    pub(super) fn skips(&mut self, node: NodeId, f: &ForOp, variables: &[V]) -> Emission<V> {
        let Some(skip) = f.skip else { return Ok(self.t.int(Ty::I1, 0)) };
        let arguments = self.g.region_args(skip);
        self.bind(&arguments, variables);
        self.region(skip)?;
        let [holds] = self.g.yields(skip)[..] else {
            return Err(self.bug(node, "a skip claim gives one bool"));
        };
        self.scalar(node, holds)
    }

    /// The body unless the step is passed over; then nothing changes.
    fn unless(&mut self, skipped: V, f: &ForOp, carried: &[Vec<V>]) -> Emission<Vec<V>> {
        if self.t.known(skipped) == Some(0) {
            return self.body(f.body, 0);
        }
        let mut same: Vec<V> = carried.concat();
        let ended = self.mbarriers_under(&[f.body]);
        same.extend(self.turns_of(&ended));
        let types: Vec<Ty> = same.iter().map(|v| v.ty).collect();
        let yes = self.t.int(Ty::I1, 1);
        let runs = self.t.int_op("xor", skipped, yes);
        self.t.open_if(runs, &types);
        let mut next = self.body(f.body, 0)?;
        next.extend(self.turns_of(&ended));
        self.t.otherwise(&next);
        let results = self.t.close_if(&same);
        Ok(self.take_turns(&ended, &results).to_vec())
    }

    pub(super) fn loop_variables(&mut self, f: &ForOp, variable: V, (lo, hi, step): (V, V, V)) -> Vec<V> {
        match f.iter {
            Iter::Each { reverse: false } => vec![variable],
            Iter::Each { reverse: true } => {
                // lo + (hi - 1 - variable)
                let from_end = self.t.sub(hi, variable);
                let at = self.t.add(lo, from_end);
                vec![self.t.add_const(at, -1)]
            }
            Iter::Tiles { reverse, .. } => {
                let done = self.t.sub(variable, lo);
                let trip = self.t.pure(format!("llvm.udiv {done}, {step} : i64"), &[done, step], Ty::I64);
                let number = match reverse {
                    false => trip,
                    true => {
                        let length = self.t.sub(hi, lo);
                        let last = self.t.add_const(length, -1);
                        let last =
                            self.t.pure(format!("llvm.sdiv {last}, {step} : i64"), &[last, step], Ty::I64);
                        self.t.sub(last, trip)
                    }
                };
                let start = match reverse {
                    false => variable,
                    true => {
                        let skipped = self.t.mul(number, step);
                        self.t.add(lo, skipped)
                    }
                };
                let past = self.t.add(start, step);
                vec![start, self.t.intrinsic("smin", &[past, hi]), number]
            }
        }
    }

    pub(super) fn branch(
        &mut self,
        node: NodeId,
        then: RegionId,
        otherwise: RegionId,
    ) -> Emission<Vec<Vec<V>>> {
        let condition = self.scalar(node, self.g.inputs(node)[0])?;
        let outputs = self.g.node(node).outputs.len();
        let mut sizes = vec![];
        let mut types = vec![];
        for port in 0..outputs {
            let value = Value { node, port: port as u32 };
            let ty = self.g.type_of(value);
            let count = if ty.is_scalar() { 1 } else { self.layout(value)?.registers() };
            sizes.push(count);
            types.extend(vec![super::register_type(ty.dtype); count]);
        }
        let ended = self.mbarriers_under(&[then, otherwise]);
        let before = self.turns_of(&ended);
        types.extend(before.iter().map(|v| v.ty));
        self.t.open_if(condition, &types);
        let mut values = self.body(then, 0)?;
        values.extend(self.turns_of(&ended));
        self.t.otherwise(&values);
        self.take_turns(&ended, &before);
        let mut values = self.body(otherwise, 0)?;
        values.extend(self.turns_of(&ended));
        let results = self.t.close_if(&values);
        Ok(split(self.take_turns(&ended, &results), &sizes))
    }
}

fn split(registers: &[V], sizes: &[usize]) -> Vec<Vec<V>> {
    let mut at = 0;
    sizes
        .iter()
        .map(|&n| {
            at += n;
            registers[at - n..at].to_vec()
        })
        .collect()
}
