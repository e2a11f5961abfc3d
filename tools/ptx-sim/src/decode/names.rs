//! Names: registers to rows, symbols to addresses, scopes with repeated names.

use super::{Decode, frames::Frame};
use crate::{
    ir::*,
    read::{Function, Init, Module, ReadError, Space, Stmt, Type, TypeKind, Variable},
};
use std::collections::{HashMap, HashSet};

#[derive(Clone, Copy, Debug)]
enum Name {
    Reg {
        slot: Slot,
        bits: u32,
    },
    Pred(Pred),
    /// Offset within shared memory.
    Shared(u64),
    /// The start of dynamic shared memory, known when everything fixed is placed.
    DynamicShared,
    Local(Block),
    /// Offset within the parameter block.
    Param(usize),
    /// Parameter or result of a call, in local memory.
    Stack(Block),
    Global,
    /// Number of a device function within the module.
    Function(u32),
}

/// Where device functions begin in the address space of code pointers, and how far apart they are.
const FIRST_FUNCTION: u64 = 0x4000_0000_0000;
const FUNCTION_STEP: u64 = 16;

/// Local memory of a thread, as the ISA limits it.
const MAX_LOCAL: usize = 512 * 1024;

/// Bytes of a thread's stack, where frames of recursive functions lie.
const STACK: usize = 64 * 1024;

pub(crate) struct Names<'a> {
    module: &'a Module,
    /// Open scopes: the module's, then those of the function being read.
    scopes: Vec<HashMap<String, Name>>,
    /// First scope of each function on the way to an inlined one; names of callers are not seen by callees.
    frames: Vec<usize>,
    /// Numbered groups (`%r<10>`): prefix, first slot, how many, bits (1 with kind Pred: predicates).
    groups: Vec<(usize, String, u32, u32, Type)>,
    /// Labels of open scopes, to tell `$L` of one scope from that of another.
    path: Vec<usize>,
    next_scope: usize,
    pub(super) rows: u32,
    /// Rows that belong to declared registers.
    register_rows: Vec<bool>,
    pub(super) preds: u32,
    constants: HashMap<(u64, u32), Slot>,
    /// Offsets from the start of dynamic shared memory, with the rows of the constant.
    dynamic: HashMap<(i64, u32), Slot>,
    globals: HashMap<(String, i64), Slot>,
    specials: HashMap<Special, Slot>,
    true_pred: Option<Pred>,
    false_pred: Option<Pred>,
    shared: usize,
    /// Local memory in use, and the most that ever was: inlined functions give theirs back.
    pub(super) local: usize,
    pub(super) local_peak: usize,
    /// Present while a recursive function is read.
    pub(super) frame: Option<Frame>,
    params: Vec<Param>,
    param_bytes: usize,
}

impl<'a> Names<'a> {
    pub(crate) fn new(module: &'a Module, function: &Function) -> Decode<Self> {
        let mut names = Names {
            module,
            scopes: vec![HashMap::new(), HashMap::new()],
            frames: vec![1],
            groups: vec![],
            path: vec![0],
            next_scope: 1,
            rows: 0,
            register_rows: vec![],
            preds: 0,
            constants: HashMap::new(),
            dynamic: HashMap::new(),
            globals: HashMap::new(),
            specials: HashMap::new(),
            true_pred: None,
            false_pred: None,
            shared: 0,
            local: 0,
            local_peak: 0,
            frame: None,
            params: vec![],
            param_bytes: 0,
        };
        for variable in &module.variables {
            names.module_variable(variable);
        }
        for (name, number) in function_numbers(module) {
            names.scopes[0].insert(name, Name::Function(number));
        }
        for p in &function.params {
            let offset = names.param_bytes.next_multiple_of(p.align.max(1));
            names.param_bytes = offset + p.bytes();
            names.params.push(Param { name: p.name.clone(), offset, bytes: p.bytes() });
            names.scopes[1].insert(p.name.clone(), Name::Param(offset));
        }
        Ok(names)
    }

    fn module_variable(&mut self, v: &Variable) {
        let name = match v.space {
            Space::Shared if v.count.is_some() => self.place_shared(v),
            // All such names share the memory after everything fixed.
            Space::Shared => Name::DynamicShared,
            _ => Name::Global,
        };
        self.scopes[0].insert(v.name.clone(), name);
    }

    fn place_shared(&mut self, v: &Variable) -> Name {
        let at = self.shared.next_multiple_of(v.align.max(1));
        self.shared = at + v.bytes();
        Name::Shared(at as u64)
    }

    pub(crate) fn declare(&mut self, v: &Variable) -> Decode<()> {
        let scope = self.scopes.len() - 1;
        let name = match v.space {
            Space::Reg => {
                if let Some(count) = v.numbered {
                    if count > 1 << 20 {
                        return Err(ReadError {
                            line: v.line,
                            message: format!("{count} registers are too many"),
                        });
                    }
                    let first = self.allocate(v.ty, count);
                    self.groups.push((scope, v.name.clone(), first, count, v.ty));
                    return Ok(());
                }
                let first = self.allocate(v.ty, 1);
                match v.ty.kind {
                    TypeKind::Pred => Name::Pred(first),
                    _ => Name::Reg { slot: first, bits: v.ty.bits },
                }
            }
            Space::Shared if v.count.is_none() => Name::DynamicShared,
            Space::Shared => self.place_shared(v),
            Space::Local => Name::Local(self.reserve_local(v)?),
            // A block for the parameters or results of a call.
            Space::Param => Name::Stack(self.reserve_local(v)?),
            Space::Global | Space::Const | Space::Generic => {
                let message =
                    format!("`{}`: a variable of this space inside a function is not supported", v.name);
                return Err(ReadError { line: v.line, message });
            }
        };
        self.scopes[scope].insert(v.name.clone(), name);
        Ok(())
    }

    fn reserve_local(&mut self, v: &Variable) -> Decode<Block> {
        let at = self.local.next_multiple_of(v.align.max(1));
        self.local = at + v.bytes();
        self.local_peak = self.local_peak.max(self.local);
        if self.local > MAX_LOCAL {
            let message = format!("`{}`: more than {MAX_LOCAL} bytes of local memory", v.name);
            return Err(ReadError { line: v.line, message });
        }
        if let Some(frame) = &mut self.frame {
            frame.align = frame.align.max(v.align);
        }
        Ok(Block { base: Base::Frame, at: at as u64 })
    }

    // ---- inlined functions

    /// Enters a callee's body; what to give to [`Names::leave_function`].
    pub(crate) fn enter_function(&mut self) -> usize {
        self.frames.push(self.scopes.len());
        self.enter(&[]);
        self.local
    }

    pub(crate) fn leave_function(&mut self, local: usize) {
        self.leave();
        self.frames.pop();
        self.local = local;
    }

    /// Whether an inlined function is being read.
    pub(crate) fn in_callee(&self) -> bool {
        self.frames.len() > 1
    }

    /// Makes a formal parameter (or result) stand for a block of local memory.
    pub(crate) fn bind_stack(&mut self, name: &str, block: Block) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name.to_string(), Name::Stack(block));
        }
    }

    /// The block that an actual parameter names.
    pub(crate) fn stack(&self, name: &str) -> Option<Block> {
        match self.lookup(name) {
            Some(Name::Stack(block)) => Some(block),
            _ => None,
        }
    }

    /// A block of local memory without a name.
    pub(crate) fn stack_block(&mut self, v: &Variable) -> Decode<Block> {
        self.reserve_local(v)
    }

    /// Number of the function that a name means.
    pub(crate) fn function(&self, name: &str) -> Option<u32> {
        match self.lookup(name) {
            Some(Name::Function(number)) => Some(number),
            _ => None,
        }
    }

    /// The value of a pointer to a function.
    pub(crate) fn function_address(number: u32) -> u64 {
        FIRST_FUNCTION + number as u64 * FUNCTION_STEP
    }

    fn allocate(&mut self, ty: Type, count: u32) -> u32 {
        if ty.kind == TypeKind::Pred {
            self.preds += count;
            return self.preds - count;
        }
        let rows = count * rows_of(ty.bits);
        self.rows += rows;
        self.register_rows.resize(self.rows as usize, false);
        self.register_rows[(self.rows - rows) as usize..].fill(true);
        self.rows - rows
    }

    pub(crate) fn enter(&mut self, _inner: &[Stmt]) {
        self.scopes.push(HashMap::new());
        self.path.push(self.next_scope);
        self.next_scope += 1;
    }

    pub(crate) fn leave(&mut self) {
        self.scopes.pop();
        self.path.pop();
        let depth = self.scopes.len();
        self.groups.retain(|g| g.0 < depth);
    }

    // ---- labels

    /// A label's name with the path of its scope: `0/3/$L1`.
    pub(crate) fn label_key(&self, name: &str) -> String {
        let mut key: String = self.path.iter().map(|p| format!("{p}/")).collect();
        key.push_str(name);
        key
    }

    /// Looks a label up from the innermost scope outwards.
    pub(crate) fn label_lookup(key: &str, find: impl Fn(&str) -> Option<u32>) -> Option<u32> {
        let (mut path, name) = key.rsplit_once('/')?;
        loop {
            if let Some(found) = find(&format!("{path}/{name}")) {
                return Some(found);
            }
            path = path.rsplit_once('/')?.0;
        }
    }

    // ---- registers

    fn lookup(&self, name: &str) -> Option<Name> {
        let frame = self.frames.last().copied().unwrap_or(0);
        for depth in (frame..self.scopes.len()).rev().chain([0]) {
            if let Some(found) = self.scopes[depth].get(name) {
                return Some(*found);
            }
            let digits = name.bytes().rev().take_while(u8::is_ascii_digit).count();
            let (prefix, number) = name.split_at(name.len() - digits);
            let Ok(number) = number.parse::<u32>() else { continue };
            let group = self.groups.iter().find(|g| g.0 == depth && g.1 == prefix && number < g.3);
            if let Some((_, _, first, _, ty)) = group {
                return Some(match ty.kind {
                    TypeKind::Pred => Name::Pred(first + number),
                    _ => Name::Reg { slot: first + number * rows_of(ty.bits), bits: ty.bits },
                });
            }
        }
        None
    }

    pub(crate) fn pred(&self, name: &str, line: u32) -> Decode<Pred> {
        match self.lookup(name) {
            Some(Name::Pred(p)) => Ok(p),
            _ => Err(ReadError { line, message: format!("`{name}` is not a predicate register") }),
        }
    }

    /// Bits of a declared register.
    pub(crate) fn register_bits(&self, name: &str) -> Option<u32> {
        match self.lookup(name) {
            Some(Name::Reg { bits, .. }) => Some(bits),
            _ => None,
        }
    }

    pub(crate) fn source(&mut self, name: &str, bits: u32, line: u32) -> Decode<Slot> {
        if let Some(special) = special(name) {
            return Ok(self.special(special, bits));
        }
        match self.lookup(name) {
            // A wider register gives its low rows; a narrower one is an error but for 8-bit accesses.
            Some(Name::Reg { slot, bits: have }) if rows_of(have) >= rows_of(bits) => Ok(slot),
            Some(Name::Reg { bits: have, .. }) => {
                Err(ReadError { line, message: format!("`{name}` has {have} bits, {bits} are read") })
            }
            Some(Name::Pred(_)) => Err(ReadError { line, message: format!("`{name}` is a predicate") }),
            Some(_) => self.address_of(name, 0, bits, line),
            None => Err(ReadError { line, message: format!("`{name}` is not declared") }),
        }
    }

    pub(crate) fn dest(&mut self, name: &str, bits: u32, line: u32) -> Decode<Slot> {
        match self.lookup(name) {
            Some(Name::Reg { slot, bits: have }) if rows_of(have) >= rows_of(bits) => Ok(slot),
            _ => Err(ReadError { line, message: format!("`{name}` is not a register of {bits} bits") }),
        }
    }

    pub(crate) fn scratch(&mut self, bits: u32) -> Slot {
        self.rows += rows_of(bits);
        self.rows - rows_of(bits)
    }

    pub(crate) fn scratch_pred(&mut self) -> Pred {
        self.preds += 1;
        self.preds - 1
    }

    pub(crate) fn constant(&mut self, value: u64, bits: u32) -> Slot {
        let value = if bits < 64 { value & ((1 << bits) - 1) } else { value };
        if let Some(&slot) = self.constants.get(&(value, rows_of(bits))) {
            return slot;
        }
        let slot = self.scratch(bits);
        self.constants.insert((value, rows_of(bits)), slot);
        slot
    }

    /// Rows and predicates that hold the same at all times.
    pub(super) fn fixed(&self) -> (HashSet<Slot>, [Option<Pred>; 2]) {
        let constants = self.constants.iter().map(|((_, rows), slot)| (*slot, *rows));
        let dynamic = self.dynamic.iter().map(|((_, rows), slot)| (*slot, *rows));
        let pairs = self.globals.values().chain(self.specials.values()).map(|slot| (*slot, 2));
        let all = constants.chain(dynamic).chain(pairs);
        (all.flat_map(|(slot, rows)| slot..slot + rows).collect(), [self.true_pred, self.false_pred])
    }

    pub(crate) fn constant_pred(&mut self, value: bool) -> Pred {
        let slot = if value { &mut self.true_pred } else { &mut self.false_pred };
        *slot.get_or_insert_with(|| {
            self.preds += 1;
            self.preds - 1
        })
    }

    /// The row of lane numbers.
    pub(crate) fn lane(&mut self) -> Slot {
        self.special(Special::LaneId, 32)
    }

    fn special(&mut self, special: Special, bits: u32) -> Slot {
        // Two rows each: a 64-bit read sees a zero high half.
        let _ = bits;
        if let Some(&slot) = self.specials.get(&special) {
            return slot;
        }
        let slot = self.scratch(64);
        self.specials.insert(special, slot);
        slot
    }

    /// The address of a symbol plus an offset, as a constant.
    pub(crate) fn address_of(&mut self, name: &str, offset: i64, bits: u32, line: u32) -> Decode<Slot> {
        match self.lookup(name) {
            Some(Name::Shared(at)) => Ok(self.constant(at.wrapping_add_signed(offset), bits)),
            Some(Name::DynamicShared) => {
                let key = (offset, rows_of(bits));
                if let Some(&slot) = self.dynamic.get(&key) {
                    return Ok(slot);
                }
                let slot = self.scratch(bits);
                self.dynamic.insert(key, slot);
                Ok(slot)
            }
            Some(Name::Local(block) | Name::Stack(block)) => {
                Ok(self.block_address(block.offset(offset), bits))
            }
            Some(Name::Function(n)) => {
                Ok(self.constant(Self::function_address(n).wrapping_add_signed(offset), bits))
            }
            Some(Name::Param(at)) => Ok(self.constant((at as u64).wrapping_add_signed(offset), bits)),
            Some(Name::Global) => {
                let key = (name.to_string(), offset);
                if let Some(&slot) = self.globals.get(&key) {
                    return Ok(slot);
                }
                let slot = self.scratch(64);
                self.globals.insert(key, slot);
                Ok(slot)
            }
            Some(Name::Reg { .. } | Name::Pred(_)) => {
                Err(ReadError { line, message: format!("`{name}` is a register, not a symbol") })
            }
            None => Err(ReadError { line, message: format!("`{name}` is not declared") }),
        }
    }

    /// Offset of a parameter, if the name is one.
    pub(crate) fn param(&self, name: &str) -> Option<usize> {
        match self.lookup(name) {
            Some(Name::Param(offset)) => Some(offset),
            _ => None,
        }
    }

    pub(crate) fn into_kernel(self, function: &Function, code: Vec<Inst>, routines: Vec<Routine>) -> Kernel {
        let stack_start = self.local_peak.next_multiple_of(16);
        let local_bytes = if routines.is_empty() { self.local_peak } else { stack_start + STACK };
        let dynamic_base = self.shared.next_multiple_of(1024).max(if self.shared == 0 { 0 } else { 1024 });
        let mut constants: Vec<(Slot, Constant)> =
            self.constants.into_iter().map(|((value, _), slot)| (slot, Constant::Bits(value))).collect();
        constants.extend(self.dynamic.into_iter().map(|((offset, _), slot)| {
            (slot, Constant::Bits((dynamic_base as u64).wrapping_add_signed(offset)))
        }));
        constants.extend(
            self.globals.into_iter().map(|((name, offset), slot)| (slot, Constant::Global { name, offset })),
        );
        if let Some(p) = self.true_pred {
            constants.push((p, Constant::Pred(true)));
        }
        if let Some(p) = self.false_pred {
            constants.push((p, Constant::Pred(false)));
        }
        constants.sort_by_key(|(slot, _)| *slot);
        Kernel {
            target: self.module.target.clone(),
            name: function.name.clone(),
            limits: function.limits,
            params: self.params,
            param_bytes: self.param_bytes,
            code,
            rows: self.rows,
            preds: self.preds,
            constants,
            specials: self.specials.into_iter().map(|(s, slot)| (slot, s)).collect(),
            static_shared: self.shared,
            dynamic_base,
            local_bytes,
            stack_start,
            routines,
            register_rows: self.register_rows,
            globals: variables(self.module),
        }
    }
}

/// The module's variables of the global and constant spaces. Pointers to functions in their initial values are known
/// here; those to variables only when they are placed.
pub fn variables(module: &Module) -> Vec<Variable> {
    let functions = function_numbers(module);
    let placed = module.variables.iter().filter(|v| v.space != Space::Shared);
    placed.map(|v| with_function_addresses(v, &functions)).collect()
}

/// Every device function and alias, by its number.
pub(super) fn function_numbers(module: &Module) -> HashMap<String, u32> {
    let all = module.functions.iter().enumerate().filter(|(_, f)| !f.entry);
    let mut numbers: HashMap<String, u32> = all.map(|(n, f)| (f.name.clone(), n as u32)).collect();
    for (alias, target) in &module.aliases {
        if let Some(&number) = numbers.get(target) {
            numbers.insert(alias.clone(), number);
        }
    }
    numbers
}

fn with_function_addresses(v: &Variable, functions: &HashMap<String, u32>) -> Variable {
    let mut out = v.clone();
    for init in &mut out.init {
        if let Init::Symbol { name, offset, mask, .. } = init
            && let Some(&number) = functions.get(name)
        {
            let address = Names::function_address(number).wrapping_add_signed(*offset);
            *init = Init::Int(masked(address, *mask) as i64);
        }
    }
    out
}

/// The bits of a mask, moved to the bottom (`0xFF00(sym)`).
pub(crate) fn masked(value: u64, mask: u64) -> u64 {
    if mask == 0 { 0 } else { (value & mask) >> mask.trailing_zeros() }
}

pub(crate) fn rows_of(bits: u32) -> u32 {
    bits.div_ceil(32).max(1)
}

fn special(name: &str) -> Option<Special> {
    let axis = |s: &str| match s {
        "x" => Some(0),
        "y" => Some(1),
        "z" => Some(2),
        _ => None,
    };
    let (head, tail) = name.split_once('.').unwrap_or((name, ""));
    Some(match head {
        "%tid" => Special::Tid(axis(tail)?),
        "%ntid" => Special::Ntid(axis(tail)?),
        "%ctaid" => Special::Ctaid(axis(tail)?),
        "%nctaid" => Special::Nctaid(axis(tail)?),
        "%laneid" => Special::LaneId,
        "%warpid" => Special::WarpId,
        "%nwarpid" => Special::NWarpId,
        "%lanemask_eq" => Special::LaneMaskEq,
        "%lanemask_lt" => Special::LaneMaskLt,
        "%lanemask_le" => Special::LaneMaskLe,
        "%lanemask_gt" => Special::LaneMaskGt,
        "%lanemask_ge" => Special::LaneMaskGe,
        "%dynamic_smem_size" => Special::DynamicSmemSize,
        "%total_smem_size" => Special::TotalSmemSize,
        "%gridid" => Special::GridId,
        "%smid" => Special::SmId,
        "%nsmid" => Special::NSmId,
        "%cluster_ctaid" => Special::ClusterCtaId(axis(tail)?),
        "%cluster_nctaid" => Special::ClusterNCtaId(axis(tail)?),
        "%clusterid" => Special::ClusterId(axis(tail)?),
        "%nclusterid" => Special::NClusterId(axis(tail)?),
        // Values that differ from machine to machine, and may be anything.
        "%pm0" | "%pm1" | "%pm2" | "%pm3" | "%pm4" | "%pm5" | "%pm6" | "%pm7" => Special::Zero,
        "%clock_hi" | "%globaltimer_hi" | "%current_graph_exec" | "%aggr_smem_size" => Special::Zero,
        "%reserved_smem_offset_begin"
        | "%reserved_smem_offset_end"
        | "%reserved_smem_offset_cap"
        | "%reserved_smem_offset_0"
        | "%reserved_smem_offset_1" => Special::Zero,
        "%is_explicit_cluster" => Special::Zero,
        env if env.strip_prefix("%envreg").is_some_and(|n| n.parse().is_ok_and(|n: u8| n < 32)) => {
            Special::Zero
        }
        "%cluster_ctarank" => Special::ClusterCtaRank,
        "%cluster_nctarank" => Special::ClusterNCtaRank,
        _ => return None,
    })
}
