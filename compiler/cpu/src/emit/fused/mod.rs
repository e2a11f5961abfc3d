//! Loop nests for groups of elementwise nodes.
//!
//! A group of shape `[a, i, j]` becomes loops over a and i; within a row, the phases of the group one after the
//! other (see `fuse`): the row's own values as scalars, then a loop along j over four elements at a time and one over
//! the rest. Every member is computed once per position; it is stored only if something outside, or a later phase,
//! reads it. Values that do not move along j are computed before the loop along j.
//!
//! What a member reads is found by walking its expression with a *map*: for each axis of the value at hand, the
//! axis of the nest it runs along and a constant offset (`x[:, 3:7]` has offset 3). Rearrangements change the map and
//! emit nothing.

mod accumulate;
mod place;
mod positions;
mod rows;
mod targets;
mod values;

use super::{Emit, Lanes, Reg, Result, buffers::Tile};
use crate::fuse::{self, Group};
use cranelift_codegen::ir::{self, InstBuilder};
use cranelift_frontend::Variable;
use std::collections::HashMap;
use tile_graph::{Axis, NodeId, Op, ReduceKind, Value};

/// For each axis of a value: the nest's axis (none: it does not move) and an offset.
type Map = Vec<(Option<usize>, i64)>;

/// The nest at the place where code is being emitted.
struct Nest {
    inner: usize,
    /// Position along each axis of the nest; none for axes of one element.
    at: Vec<Option<ir::Value>>,
    lanes: Lanes,
    phase: usize,
    /// Members by node, with their phase.
    members: HashMap<NodeId, usize>,
    /// Tiles of stored members, once they are written.
    stored: HashMap<NodeId, Tile>,
    /// Values of this row, and of this position.
    row: HashMap<(Value, Map), Reg>,
    here: HashMap<(Value, Map), Reg>,
}

impl Nest {
    fn moves(&self, map: &Map) -> bool {
        map.iter().any(|m| m.0 == Some(self.inner))
    }
}

impl Emit<'_, '_> {
    pub fn group(&mut self, group: &Group) -> Result<()> {
        let phases = self.phases(group);
        let targets = self.targets(group, &phases)?;
        for (&node, tile) in &targets {
            self.set(Self::out(node), super::Val::Tile(tile.clone()));
        }
        let roots: Vec<(NodeId, usize)> = group.members.iter().map(|&m| (m, phases[&m])).collect();
        self.loop_nest(&group.axes, group.inner, &roots, &phases, targets, None)
    }

    /// Computes an inline value into a tile.
    pub fn fill(&mut self, value: Value, tile: &Tile) -> Result<()> {
        let axes = self.graph.type_of(value).axes.clone();
        let inner = fuse::inner_axis(&axes).unwrap_or(0);
        self.loop_nest(&axes, inner, &[], &HashMap::new(), HashMap::new(), Some((value, tile.clone())))
    }

    /// The loops. `roots` are members with their phases; `single` is one value into one tile instead.
    fn loop_nest(
        &mut self,
        axes: &[Axis],
        inner: usize,
        roots: &[(NodeId, usize)],
        phases: &HashMap<NodeId, usize>,
        stored: HashMap<NodeId, Tile>,
        single: Option<(Value, Tile)>,
    ) -> Result<()> {
        let mut nest = Nest {
            inner,
            at: vec![None; axes.len()],
            lanes: Lanes::One,
            phase: 0,
            members: phases.clone(),
            stored,
            row: HashMap::new(),
            here: HashMap::new(),
        };
        let outer: Vec<usize> = (0..axes.len()).filter(|&a| a != inner && axes[a] != Axis::One).collect();
        self.outer_loops(axes, &outer, &mut nest, &mut |e, nest| {
            nest.row.clear();
            match &single {
                Some((value, tile)) => {
                    let job = Job { values: vec![(*value, Some(tile.clone()))], sums: vec![] };
                    e.along_row(axes, nest, job)
                }
                None => e.row_phases(axes, nest, roots),
            }
        })
    }

    fn outer_loops(
        &mut self,
        axes: &[Axis],
        outer: &[usize],
        nest: &mut Nest,
        body: &mut dyn FnMut(&mut Self, &mut Nest) -> Result<()>,
    ) -> Result<()> {
        let Some((&axis, rest)) = outer.split_first() else { return body(self, nest) };
        let (zero, end) = (self.int(0), self.extent(axes[axis])?);
        self.counted(zero, end, 1, |e, at| {
            nest.at[axis] = Some(at);
            e.outer_loops(axes, rest, nest, body)
        })
    }

    fn row_phases(&mut self, axes: &[Axis], nest: &mut Nest, roots: &[(NodeId, usize)]) -> Result<()> {
        let last = roots.iter().map(|r| r.1).max().unwrap_or(0);
        let group = Group { members: vec![], axes: axes.to_vec(), inner: nest.inner };
        for phase in 0..=last {
            nest.phase = phase;
            let mut job = Job { values: vec![], sums: vec![] };
            for &(node, _) in roots.iter().filter(|r| r.1 == phase) {
                let value = Self::out(node);
                if let Op::Reduce { kind, .. } = self.graph.node(node).op {
                    job.sums.push((node, kind));
                } else if fuse::is_row(&group, &self.graph.node(node).outputs[0]) {
                    self.row_member(nest, value)?;
                } else {
                    job.values.push((value, nest.stored.get(&node).cloned()));
                }
            }
            if !job.values.is_empty() || !job.sums.is_empty() {
                self.along_row(axes, nest, job)?;
            }
        }
        Ok(())
    }

    /// A member of one value per row.
    fn row_member(&mut self, nest: &mut Nest, value: Value) -> Result<()> {
        let map = self.straight(value);
        nest.lanes = Lanes::One;
        let reg = self.compute(nest, value, &row_map(&map, nest.inner))?;
        nest.row.insert((value, row_map(&map, nest.inner)), reg);
        if let Some(tile) = nest.stored.get(&value.node).cloned() {
            let address = self.address(&tile, &row_map(&map, nest.inner), nest);
            self.store_reg(tile.class, reg, address, Lanes::One);
        }
        Ok(())
    }

    /// The map of a value that runs along the nest's own axes.
    fn straight(&self, value: Value) -> Map {
        let axes = &self.graph.type_of(value).axes;
        axes.iter().enumerate().map(|(n, a)| ((*a != Axis::One).then_some(n), 0)).collect()
    }

    /// The loops along the inner axis: fours, then ones.
    fn along_row(&mut self, axes: &[Axis], nest: &mut Nest, job: Job) -> Result<()> {
        for (value, _) in &job.values {
            let map = self.straight(*value);
            self.hoist(nest, *value, &map)?;
        }
        for (node, _) in &job.sums {
            let input = self.graph.inputs(*node)[0];
            let map = self.straight(input);
            self.hoist(nest, input, &map)?;
        }
        let axis = axes.get(nest.inner).copied().unwrap_or(Axis::One);
        let end = self.extent(axis)?;
        if let Some(row) = self.row_program(axis, nest, &job) {
            return self.call_row(nest, &job, row, end);
        }
        let zero = self.int(0);
        let (fours, tail) = match axis {
            Axis::One => (false, true),
            Axis::Fixed(n) => (n >= 4, n % 4 != 0),
            Axis::Span { .. } => (true, true),
        };
        let whole = if fours { self.fb.ins().band_imm_s(end, !3) } else { zero };
        let mut sums: Vec<Option<Reg>> = vec![None; job.sums.len()];
        if fours {
            let variables = self.start_sums(&job, &sums, Lanes::Four);
            self.positions_loop(nest, zero, whole, Lanes::Four, &job, &variables)?;
            for (at, sum) in sums.iter_mut().enumerate() {
                *sum = Some(self.across(&job, at, &variables));
            }
        }
        if tail {
            let variables = self.start_sums(&job, &sums, Lanes::One);
            self.positions_loop(nest, whole, end, Lanes::One, &job, &variables)?;
            for (at, sum) in sums.iter_mut().enumerate() {
                *sum = Some(self.fb.use_var(variables[at].0).into());
            }
        }
        self.end_sums(nest, &job, sums)
    }

    /// Values of reductions, ready for the row's later phases.
    fn end_sums(&mut self, nest: &mut Nest, job: &Job, sums: Vec<Option<Reg>>) -> Result<()> {
        for (&(node, _), sum) in job.sums.iter().zip(sums) {
            let value = Self::out(node);
            let map = row_map(&self.straight(value), nest.inner);
            let reg = match sum {
                Some(reg) => reg,
                None => return Err(self.bug(node, "a reduction over nothing")),
            };
            nest.row.insert((value, map.clone()), reg);
            if let Some(tile) = nest.stored.get(&node).cloned() {
                let address = self.address(&tile, &map, nest);
                self.store_reg(tile.class, reg, address, Lanes::One);
            }
        }
        Ok(())
    }

    fn start_sums(
        &mut self,
        job: &Job,
        so_far: &[Option<Reg>],
        lanes: Lanes,
    ) -> Vec<(Variable, Option<Variable>)> {
        let mut variables = vec![];
        for (at, &(node, kind)) in job.sums.iter().enumerate() {
            let class = self.class(Self::out(node));
            let start = match so_far[at] {
                Some(reg) => reg,
                None => self.identity(class, kind, lanes),
            };
            let (ty, two) = Self::reg_types(class, lanes);
            let low = self.fb.declare_var(ty);
            self.fb.def_var(low, start.low);
            let high = start.high.filter(|_| two).map(|h| {
                let v = self.fb.declare_var(ty);
                self.fb.def_var(v, h);
                v
            });
            variables.push((low, high));
        }
        variables
    }

    fn positions_loop(
        &mut self,
        nest: &mut Nest,
        from: ir::Value,
        to: ir::Value,
        lanes: Lanes,
        job: &Job,
        variables: &[(Variable, Option<Variable>)],
    ) -> Result<()> {
        let inner = nest.inner;
        self.counted(from, to, lanes.count(), |e, at| {
            if inner < nest.at.len() {
                nest.at[inner] = Some(at);
            }
            nest.lanes = lanes;
            nest.here.clear();
            for (value, tile) in &job.values {
                let map = e.straight(*value);
                let reg = e.eval(nest, *value, &map)?;
                if let Some(tile) = tile {
                    let address = e.address(tile, &map, nest);
                    e.store_reg(tile.class, reg, address, lanes);
                }
            }
            for (&(node, kind), &(low, high)) in job.sums.iter().zip(variables) {
                let input = e.graph.inputs(node)[0];
                let map = e.straight(input);
                let x = e.eval(nest, input, &map)?;
                let sum = Reg { low: e.fb.use_var(low), high: high.map(|h| e.fb.use_var(h)) };
                let class = e.class(Self::out(node));
                let sum = e.reduce_step(class, kind, sum, x, lanes);
                e.fb.def_var(low, sum.low);
                if let (Some(v), Some(h)) = (high, sum.high) {
                    e.fb.def_var(v, h);
                }
            }
            Ok(())
        })?;
        if inner < nest.at.len() {
            nest.at[inner] = None;
        }
        nest.lanes = Lanes::One;
        Ok(())
    }

    /// Four lanes to one: (0 with 2) with (1 with 3).
    fn across(&mut self, job: &Job, at: usize, variables: &[(Variable, Option<Variable>)]) -> Reg {
        let (node, kind) = job.sums[at];
        let class = self.class(Self::out(node));
        let (low, high) = variables[at];
        let reg = Reg { low: self.fb.use_var(low), high: high.map(|h| self.fb.use_var(h)) };
        let lane = |e: &mut Self, n| Reg::from(e.lane(class, reg, n));
        let [a, b, c, d] = [lane(self, 0), lane(self, 1), lane(self, 2), lane(self, 3)];
        let x = self.reduce_step(class, kind, a, c, Lanes::One);
        let y = self.reduce_step(class, kind, b, d, Lanes::One);
        self.reduce_step(class, kind, x, y, Lanes::One)
    }
}

/// What one pass along a row computes.
struct Job {
    /// Full values, with the tiles they go to.
    values: Vec<(Value, Option<Tile>)>,
    sums: Vec<(NodeId, ReduceKind)>,
}

/// A row value's map: nothing of it moves along the inner axis.
fn row_map(map: &Map, inner: usize) -> Map {
    map.iter().map(|&(axis, offset)| (axis.filter(|&a| a != inner), offset)).collect()
}
