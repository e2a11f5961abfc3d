//! One graph to one Cranelift function.
//!
//! The function has the signature `fn(env) -> i64` and is what each thread runs: it walks the `par` nest, counts
//! instances, and runs the body for the instance whose number it holds a ticket for (see [`control`]). It returns
//! the number of instances, or -1 after a fault.
//!
//! - [`lanes`]: registers of one or four elements and what can be done with them;
//! - [`scalar_ops`], [`functions`]: the elementwise operations over lanes, exponentials and rounding inline;
//! - [`fused`]: loop nests over tiles for groups of elementwise nodes;
//! - [`memory`]: loads and stores; [`tiles`]: dots and collectives by calls; [`control`]: loops and branches.
//!
//! Tiles live in the thread's arena at offsets fixed here (see [`buffers`]); rows are padded so that they start on
//! cache lines. Extents are run-time values: a loop runs over what exists, so tails need no masks.

pub mod buffers;
mod control;
pub mod functions;
mod fused;
mod lanes;
mod memory;
mod scalar_ops;
mod tiles;

use crate::{
    fuse::{self, Schedule, Step},
    liveness::Liveness,
    runtime::{self, Class, Entry, Env, memory::AccessPlan, rows::RowProgram},
};
use buffers::{Buffers, Tile};
use cranelift_codegen::ir::{
    self, AbiParam, Block, InstBuilder, MemFlagsData, Signature, StackSlot, StackSlotData, StackSlotKind,
    types,
};
use cranelift_frontend::FunctionBuilder;
use std::collections::{HashMap, HashSet};
use tile_base::{Diagnostic, Span};
use tile_graph::{Axis, Graph, NodeId, Op, ROOT, RegionId, TileBinding, Value};

pub use lanes::{Lanes, Reg};

/// A place where a run can fail, and how the failure reads.
#[derive(Clone, Debug)]
pub struct Site {
    pub span: Span,
    pub what: SiteKind,
}

#[derive(Clone, Debug)]
pub enum SiteKind {
    /// An access to the object of that name; `proven` when the compiler claimed that it stays inside.
    Access {
        object: String,
        write: bool,
        proven: bool,
    },
    Take,
    DivisionByZero,
    /// Index arithmetic of that name leaves 64 bits.
    Overflow {
        name: String,
    },
    Assert {
        message: String,
    },
    Print {
        label: String,
    },
}

/// What the generated code refers to; it has to live as long as the code.
#[derive(Default)]
pub struct Support {
    pub plans: Vec<Box<AccessPlan>>,
    pub rows: Vec<Box<RowProgram>>,
    pub sites: Vec<Site>,
    pub arena_bytes: u64,
}

/// Why emission stopped.
pub type Stop = Box<Diagnostic>;
pub type Result<T> = std::result::Result<T, Stop>;

/// A value during emission.
#[derive(Clone, Debug)]
pub enum Val {
    Scalar(ir::Value),
    Tile(Tile),
}

pub struct Emit<'a, 'f> {
    pub graph: &'a Graph,
    pub binding: &'a TileBinding,
    pub schedule: &'a Schedule,
    pub live: &'a Liveness,
    /// Objects whose last axis has stride 1 in this variant of the code.
    pub unit: &'a [bool],
    pub fb: FunctionBuilder<'f>,
    pub support: Support,
    pub buffers: Buffers,
    env: ir::Value,
    arena: ir::Value,
    objects: ir::Value,
    values: HashMap<Value, Val>,
    /// Argument words of calls.
    words: StackSlot,
    words_used: u32,
    call: ir::SigRef,
    /// Returns -1.
    failed: Block,
    /// The number of the step in progress.
    position: usize,
    pub fma: bool,
    /// Index arithmetic that has to be looked at.
    pub may_overflow: HashSet<NodeId>,
    /// The outermost `par` axes whose steps are the groups of `crate::sums`.
    group_axes: usize,
}

const WORDS: u32 = 256;

pub fn flags() -> MemFlagsData {
    MemFlagsData::new().with_notrap()
}

impl<'a, 'f> Emit<'a, 'f> {
    pub fn new(
        graph: &'a Graph,
        binding: &'a TileBinding,
        schedule: &'a Schedule,
        live: &'a Liveness,
        unit: &'a [bool],
        mut fb: FunctionBuilder<'f>,
    ) -> Self {
        let entry = fb.create_block();
        fb.append_block_params_for_function_params(entry);
        fb.switch_to_block(entry);
        fb.seal_block(entry);
        let env = fb.block_params(entry)[0];
        let field = |fb: &mut FunctionBuilder, at| fb.ins().load(types::I64, flags(), env, at);
        let arena = field(&mut fb, Env::ARENA);
        let objects = field(&mut fb, Env::OBJECTS);
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, WORDS * 8, 4);
        let words = fb.create_sized_stack_slot(slot);
        let mut signature = Signature::new(fb.func.signature.call_conv);
        signature.params = vec![AbiParam::new(types::I64), AbiParam::new(types::I64)];
        signature.returns = vec![AbiParam::new(types::I64)];
        let call = fb.import_signature(signature);
        let failed = fb.create_block();
        Emit {
            graph,
            binding,
            schedule,
            live,
            unit,
            fb,
            support: Support::default(),
            buffers: Buffers::default(),
            env,
            arena,
            objects,
            values: HashMap::new(),
            words,
            words_used: 0,
            call,
            failed,
            position: 0,
            fma: cfg!(not(target_arch = "x86_64")) || has_fma(),
            may_overflow: tile_graph::facts::range::may_overflow(graph).into_iter().collect(),
            group_axes: crate::sums::group_axes(graph),
        }
    }

    /// Emits the whole graph; the function builder is used up.
    pub fn run(mut self, config: cranelift_codegen::isa::TargetFrontendConfig) -> Result<Support> {
        let count = self.nest(ROOT)?;
        self.fb.ins().return_(&[count]);
        self.fb.switch_to_block(self.failed);
        self.fb.set_cold_block(self.failed);
        let minus = self.int(-1);
        self.fb.ins().return_(&[minus]);
        self.fb.seal_all_blocks();
        self.fb.finalize(config);
        self.support.arena_bytes = self.buffers.high_water();
        Ok(self.support)
    }

    /// The steps of a region, except its arguments and results, which the owner sees to.
    pub fn steps(&mut self, region: RegionId) -> Result<()> {
        let schedule = self.schedule;
        let Some(steps) = schedule.regions.get(&region) else { return Ok(()) };
        for (at, step) in steps.iter().enumerate() {
            self.position = self.live.step[&(region, at)];
            match step {
                Step::Group(group) => self.group(group)?,
                Step::DotAdd { dot, add } => self.dot_add(*dot, *add)?,
                Step::Node(node) => self.node(*node)?,
            }
            self.buffers.release(self.position);
        }
        Ok(())
    }

    fn node(&mut self, id: NodeId) -> Result<()> {
        let graph = self.graph;
        let node = graph.node(id);
        match &node.op {
            Op::RegionArgs | Op::Yield | Op::Par(_) => Ok(()),
            Op::For(f) => self.for_loop(id, f),
            Op::While { condition, body } => self.while_loop(id, *condition, *body),
            Op::If { then, otherwise } => self.branch(id, *then, *otherwise),
            Op::Load(access) => self.load(id, access),
            Op::Store { access, .. } => self.store(id, access, runtime::memory::Kind::Store),
            Op::Accumulate(access) => self.store(id, access, runtime::memory::Kind::Accumulate),
            Op::MakeSpan { span } => self.make_span(id, *span),
            _ if node.outputs.first().is_some_and(|t| t.is_scalar()) => self.scalar_node(id),
            _ => self.tile_node(id),
        }
    }

    // ---- values

    pub fn set(&mut self, value: Value, val: Val) {
        self.values.insert(value, val);
    }

    pub fn out(node: NodeId) -> Value {
        Value { node, port: 0 }
    }

    pub fn scalar(&self, value: Value) -> Result<ir::Value> {
        match self.values.get(&value) {
            Some(Val::Scalar(v)) => Ok(*v),
            _ => Err(self.bug(value.node, "a scalar is used before it is computed")),
        }
    }

    /// The stored tile of a value that is one.
    pub fn stored(&self, value: Value) -> Option<Tile> {
        match self.values.get(&value) {
            Some(Val::Tile(t)) => Some(t.clone()),
            _ => None,
        }
    }

    pub fn class(&self, value: Value) -> Class {
        Class::of(self.graph.type_of(value).dtype)
    }

    /// A fault of this crate or of the graph it was given.
    pub fn bug(&self, node: NodeId, what: &str) -> Stop {
        let span = if self.graph.contains(node) { self.graph.node(node).span } else { Span::default() };
        Diagnostic::error("T0719", span, format!("the CPU backend cannot emit this: {what}"))
            .help("this is a fault of the compiler; please report it with the kernel")
            .into()
    }

    /// A construct that this backend does not have yet.
    pub fn unsupported(&self, node: NodeId, what: impl std::fmt::Display) -> Stop {
        Diagnostic::error(
            "T0701",
            self.graph.node(node).span,
            format!("{what} is not lowered yet by the CPU backend"),
        )
        .help("the oracle runs it: `tilec run --device oracle`")
        .into()
    }

    pub fn site(&mut self, node: NodeId, what: SiteKind) -> i64 {
        self.support.sites.push(Site { span: self.graph.node(node).span, what });
        self.support.sites.len() as i64 - 1
    }

    // ---- small instructions

    pub fn int(&mut self, v: i64) -> ir::Value {
        self.fb.ins().iconst(types::I64, v)
    }

    /// How many elements an axis has now.
    pub fn extent(&mut self, axis: Axis) -> Result<ir::Value> {
        Ok(match axis {
            Axis::One => self.int(1),
            Axis::Fixed(n) => self.int(n as i64),
            Axis::Span { span, times } => {
                let def = self.graph.span(span);
                let (start, end) = (self.scalar(def.start)?, self.scalar(def.end)?);
                let length = self.fb.ins().isub(end, start);
                if times == 1 {
                    length
                } else {
                    let times = self.int(times as i64);
                    self.fb.ins().imul(length, times)
                }
            }
        })
    }

    pub fn capacity(&self, axis: Axis) -> u64 {
        self.binding.capacity(self.graph, axis).unwrap_or(1)
    }

    // ---- calls into the runtime

    /// Starts an argument list.
    pub fn begin(&mut self) {
        self.words_used = 0;
    }

    pub fn word(&mut self, v: ir::Value) {
        let at = self.words_used * 8;
        self.words_used += 1;
        assert!(self.words_used <= WORDS, "argument words of a runtime call");
        self.fb.ins().stack_store(types::I64, v, self.words, at as i32);
    }

    pub fn word_int(&mut self, v: i64) {
        let v = self.int(v);
        self.word(v);
    }

    /// The call; its result is 0 or a fault.
    pub fn call(&mut self, entry: Entry) -> ir::Value {
        let callee = self.int(entry as usize as i64);
        let words = self.fb.ins().stack_addr(types::I64, self.words, 0);
        let call = self.fb.ins().call_indirect(self.call, callee, &[self.env, words]);
        self.fb.inst_results(call)[0]
    }

    /// The call; a fault ends the run.
    pub fn call_checked(&mut self, entry: Entry) {
        let failed = self.call(entry);
        let next = self.fb.create_block();
        self.fb.ins().brif(failed, self.failed, &[], next, &[]);
        self.fb.switch_to_block(next);
        self.fb.seal_block(next);
    }

    /// Ends the run where `bad` is not 0.
    pub fn fail_if(&mut self, bad: ir::Value, site: i64, dim: i64, found: [ir::Value; 3]) {
        let (fault, next) = (self.fb.create_block(), self.fb.create_block());
        self.fb.ins().brif(bad, fault, &[], next, &[]);
        self.fb.switch_to_block(fault);
        self.fb.seal_block(fault);
        self.fb.set_cold_block(fault);
        self.begin();
        self.word_int(site);
        self.word_int(dim);
        found.into_iter().for_each(|v| self.word(v));
        self.call(runtime::fail);
        self.fb.ins().jump(self.failed, &[]);
        self.fb.switch_to_block(next);
        self.fb.seal_block(next);
    }

    /// `for at in from..to` in steps; the body may define variables.
    pub fn counted(
        &mut self,
        from: ir::Value,
        to: ir::Value,
        step: i64,
        body: impl FnOnce(&mut Self, ir::Value) -> Result<()>,
    ) -> Result<()> {
        let (head, inside, done) = (self.fb.create_block(), self.fb.create_block(), self.fb.create_block());
        let at = self.fb.append_block_param(head, types::I64);
        self.fb.ins().jump(head, &[from.into()]);
        self.fb.switch_to_block(head);
        let more = self.fb.ins().icmp(ir::condcodes::IntCC::SignedLessThan, at, to);
        self.fb.ins().brif(more, inside, &[], done, &[]);
        self.fb.switch_to_block(inside);
        self.fb.seal_block(inside);
        body(self, at)?;
        let by = self.int(step);
        let next = self.fb.ins().iadd(at, by);
        self.fb.ins().jump(head, &[next.into()]);
        self.fb.seal_block(head);
        self.fb.switch_to_block(done);
        self.fb.seal_block(done);
        Ok(())
    }

    /// Whether a value is computed at its uses.
    pub fn is_inline(&self, value: Value) -> bool {
        fuse::kind(self.graph, value.node) == fuse::Kind::Inline
    }
}

#[cfg(target_arch = "x86_64")]
fn has_fma() -> bool {
    std::is_x86_feature_detected!("fma")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_fma() -> bool {
    true
}
