//! Calls: the callee's body is read in the caller's place, with names of its own.
//!
//! `.param` blocks become local memory that caller and callee both name, so passing a value is a store and a load:
//!
//! ```text
//! .param .b32 p; st.param.b32 [p], %r1;        p = local bytes 0..4, stored
//! .param .b32 q; call (q), twice, (p);         twice's parameter is p's block, its result q's
//! ld.param.b32 %r2, [q];
//! ```
//!
//! A callee's `ret` is a branch to the end of its body. A function that can come to call itself cannot be read this way; it
//! is read once, and called ([`super::recursion`]). A call through a pointer becomes a comparison with each function it can
//! mean, and `brx.idx` one with each index of its table.

use super::{Decode, Decoder, Names, Words};
use crate::{
    ir::*,
    read::{Function, Instruction, Operand, Space, Variable},
};

/// The inlined functions being read.
#[derive(Default)]
pub(super) struct Calls {
    /// The label at the end of each.
    open: Vec<String>,
    fresh: u32,
}

/// What a call names.
pub(super) struct Call<'i> {
    pub(super) results: &'i [Operand],
    pub(super) target: &'i Operand,
    pub(super) arguments: &'i [Operand],
    /// A prototype or a table of targets.
    table: Option<&'i str>,
}

impl<'i> Call<'i> {
    pub(super) fn of(i: &'i Instruction) -> Result<Call<'i>, &'static str> {
        let mut operands = i.operands.iter().peekable();
        let results = match operands.peek() {
            Some(Operand::List(list)) => {
                operands.next();
                &list[..]
            }
            // `call _, f, (p)`: nobody takes the result.
            Some(Operand::Sink) => {
                operands.next();
                &[]
            }
            _ => &[],
        };
        let target = operands.next().ok_or("`call` of nothing")?;
        let arguments = match operands.peek() {
            Some(Operand::List(list)) => {
                operands.next();
                &list[..]
            }
            _ => &[],
        };
        let table = match (operands.next(), operands.next()) {
            (None, _) => None,
            (Some(Operand::Name(name)), None) => Some(name.as_str()),
            _ => return Err("`call` with operands that are not understood"),
        };
        Ok(Call { results, target, arguments, table })
    }

    /// Whether a function has a body and as many parameters as the call.
    pub(super) fn fits(&self, f: &Function) -> bool {
        !f.entry
            && f.body.is_some()
            && f.params.len() == self.arguments.len()
            && (self.results.is_empty() || f.results.len() == self.results.len())
    }
}

impl<'a> Decoder<'a> {
    pub(super) fn call(&mut self, i: &Instruction, w: &mut Words) -> Decode<Option<Op>> {
        if w.name() != "call" {
            return Ok(None);
        }
        w.take_hints();
        let call = Call::of(i).map_err(|message| self.error(message))?;
        let Operand::Name(name) = call.target else {
            return Err(self.error("`call` needs the name of a function or a register"));
        };
        // The body is not under the guard: its own guards would have to be joined with it.
        let after = self.fresh_label();
        if let Some((p, negated)) = self.guard.take() {
            self.push_branch(Some((p, !negated)), &after);
        }
        if self.names.register_bits(name).is_some() {
            self.call_through_pointer(&call)?;
        } else {
            let number = self.names.function(name);
            let number = number.ok_or_else(|| self.error(format!("no function `{name}` to call")))?;
            self.call_function(number, &call)?;
        }
        self.place_label(&after);
        Ok(Some(Op::Nop))
    }

    pub(super) fn fresh_label(&mut self) -> String {
        self.calls.fresh += 1;
        format!("lowered/{}", self.calls.fresh)
    }

    /// Where `ret` goes: the end of the callee, or nowhere in an entry.
    pub(super) fn return_label(&self) -> Option<String> {
        self.calls.open.last().cloned()
    }

    fn call_function(&mut self, number: u32, call: &Call) -> Decode<()> {
        let module = self.module;
        let Some(function) = module.functions.get(number as usize) else {
            return Err(self.error("no such function"));
        };
        let Some(number) = super::recursion::defined(module, number) else {
            return self.call_builtin(function, call);
        };
        let function = &module.functions[number as usize];
        let (results, arguments) = (&function.results, &function.params);
        if (results.len() != call.results.len() && !call.results.is_empty())
            || arguments.len() != call.arguments.len()
        {
            return Err(self.error(format!(
                "`{}` takes {} arguments and gives {} results",
                function.name,
                arguments.len(),
                results.len()
            )));
        }
        let mut blocks = vec![];
        for (formal, actual) in arguments.iter().zip(call.arguments) {
            blocks.push(self.argument(formal, actual)?);
        }
        let mut taken = vec![];
        for (n, formal) in results.iter().enumerate() {
            let (block, register) = self.result(formal, call.results.get(n))?;
            blocks.push(block);
            taken.extend(register.map(|d| (formal, block, d)));
        }
        if self.recursion.calls_itself(module, number) {
            self.call_routine(number, &blocks);
        } else {
            self.inline(function, &blocks)?;
        }
        for (formal, block, d) in taken {
            self.local_load(formal, block, d);
        }
        Ok(())
    }

    fn inline(&mut self, function: &'a Function, blocks: &[Block]) -> Decode<()> {
        let (line, loc) = (self.line, self.loc);
        let local = self.names.enter_function();
        self.body(function, blocks)?;
        self.names.leave_function(local);
        (self.line, self.loc) = (line, loc);
        Ok(())
    }

    /// A callee's body, with the blocks of its parameters and then of its results.
    pub(super) fn body(&mut self, function: &'a Function, blocks: &[Block]) -> Decode<()> {
        let (params, results) = (&function.params, &function.results);
        for (formal, block) in params.iter().chain(results).zip(blocks) {
            self.bind(formal, *block)?;
        }
        let end = self.fresh_label();
        self.calls.open.push(end.clone());
        self.guard = None;
        if let Some(body) = &function.body {
            self.statements(body)?;
        }
        self.guard = None;
        self.calls.open.pop();
        self.place_label(&end);
        for (formal, block) in results.iter().zip(&blocks[params.len().min(blocks.len())..]) {
            self.return_register(formal, *block)?;
        }
        Ok(())
    }

    /// The block of local memory that holds an argument.
    fn argument(&mut self, formal: &Variable, actual: &Operand) -> Decode<Block> {
        if let Operand::Name(name) = actual
            && let Some(at) = self.names.stack(name)
        {
            return Ok(at);
        }
        let a = self.source(actual, formal.ty.bits, formal.ty.kind == crate::read::TypeKind::Float)?;
        let at = self.names.stack_block(formal)?;
        self.local_store(formal, at, a);
        Ok(at)
    }

    /// The block that takes a result, and the register it is copied to afterwards.
    fn result(&mut self, formal: &Variable, actual: Option<&Operand>) -> Decode<(Block, Option<Slot>)> {
        if let Some(Operand::Name(name)) = actual
            && let Some(block) = self.names.stack(name)
        {
            return Ok((block, None));
        }
        match actual {
            None | Some(Operand::Sink) => Ok((self.names.stack_block(formal)?, None)),
            Some(register) => {
                let d = self.dest(register, formal.ty.bits)?;
                Ok((self.names.stack_block(formal)?, Some(d)))
            }
        }
    }

    /// Gives a formal its meaning inside the callee. A `.reg` parameter is loaded into a register first.
    fn bind(&mut self, formal: &Variable, at: Block) -> Decode<()> {
        if formal.space != Space::Reg {
            self.names.bind_stack(&formal.name, at);
            return Ok(());
        }
        self.names.declare(formal)?;
        let d = self.names.dest(&formal.name, formal.ty.bits, self.line)?;
        self.local_load(formal, at, d);
        Ok(())
    }

    /// A `.reg` result is stored at the end of the callee.
    fn return_register(&mut self, formal: &Variable, at: Block) -> Decode<()> {
        if formal.space == Space::Reg {
            let a = self.names.source(&formal.name, formal.ty.bits, self.line)?;
            self.local_store(formal, at, a);
        }
        Ok(())
    }

    fn local_address(&mut self, at: Block) -> Addr {
        Addr { base: self.names.block_address(at, 64), wide: true, offset: 0 }
    }

    fn local_store(&mut self, v: &Variable, at: Block, a: Slot) {
        let addr = self.local_address(at);
        let (bytes, wide) = (v.ty.bytes().min(8) as u8, v.ty.bits == 64);
        self.push(Op::Store { space: MemSpace::Local, bytes, a: vec![a], wide, addr, order: Order::WEAK });
    }

    fn local_load(&mut self, v: &Variable, at: Block, d: Slot) {
        let addr = self.local_address(at);
        let (bytes, wide) = (v.ty.bytes().min(8) as u8, v.ty.bits == 64);
        let signed = v.ty.kind == crate::read::TypeKind::Signed;
        let d = vec![Some(d)];
        self.push(Op::Load { space: MemSpace::Local, bytes, signed, d, wide, addr, order: Order::WEAK });
    }

    // ---- through pointers and tables

    fn call_through_pointer(&mut self, call: &Call) -> Decode<()> {
        let pointer = self.source(call.target, 64, false)?;
        let candidates = match call.table.and_then(|name| self.table(name)) {
            Some(names) => {
                let find = |n: &String| {
                    self.names.function(n).ok_or_else(|| self.error(format!("no function `{n}`")))
                };
                names.iter().map(find).collect::<Decode<Vec<u32>>>()?
            }
            None => self.functions_that_fit(call),
        };
        let done = self.fresh_label();
        for number in candidates {
            let next = self.fresh_label();
            let p = self.equals(pointer, Names::function_address(number), 64);
            self.push_branch(Some((p, true)), &next);
            self.call_function(number, call)?;
            self.push_branch(None, &done);
            self.place_label(&next);
        }
        self.push(Op::Refuse("a call through a pointer to no function that fits".into()));
        self.place_label(&done);
        Ok(())
    }

    /// Functions with a body whose parameters have the sizes of the call's.
    fn functions_that_fit(&self, call: &Call) -> Vec<u32> {
        let all = self.module.functions.iter().enumerate();
        all.filter(|(_, f)| call.fits(f)).map(|(n, _)| n as u32).collect()
    }

    /// A new predicate: does the value equal the constant?
    fn equals(&mut self, a: Slot, value: u64, bits: u8) -> Pred {
        let p = self.names.scratch_pred();
        let b = self.names.constant(value, bits as u32);
        let ty = Scalar::Int { signed: false, bits };
        self.push(Op::Setp { cmp: Compare::Eq, ty, ftz: false, combine: None, p: Some(p), q: None, a, b });
        p
    }

    /// `brx.idx index, table;`
    pub(super) fn branch_indexed(&mut self, i: &Instruction, w: &mut Words) -> Decode<Op> {
        if !w.take("idx") {
            return Err(self.error(format!("`{}` is not understood", w.text())));
        }
        w.take_hints();
        self.operand_count(i, &[2])?;
        let index = self.source(&i.operands[0], 32, false)?;
        let Operand::Name(table) = &i.operands[1] else {
            return Err(self.error("`brx.idx` needs a table of labels"));
        };
        let labels = self.table(table).ok_or_else(|| self.error(format!("no table `{table}`")))?;
        let after = self.fresh_label();
        if let Some((p, negated)) = self.guard.take() {
            self.push_branch(Some((p, !negated)), &after);
        }
        for (n, label) in labels.iter().enumerate() {
            let p = self.equals(index, n as u64, 32);
            let key = self.names.label_key(label);
            self.push_branch(Some((p, false)), &key);
        }
        self.push(Op::Refuse(format!("`brx.idx` beyond the {} labels of `{table}`", labels.len()).into()));
        self.place_label(&after);
        Ok(Op::Nop)
    }

    // ---- functions of the device's own library

    fn call_builtin(&mut self, function: &Function, call: &Call) -> Decode<()> {
        let mut block = |n: usize| -> Decode<Slot> {
            let formal = function.params.get(n).ok_or_else(|| self.error("too few parameters"))?;
            let actual = call.arguments.get(n).ok_or_else(|| self.error("too few arguments"))?;
            let at = self.argument(formal, actual)?;
            let d = self.names.scratch(formal.ty.bits);
            self.local_load(formal, at, d);
            Ok(d)
        };
        match function.name.as_str() {
            "vprintf" => {
                let (format, arguments) = (block(0)?, block(1)?);
                let d = self.names.scratch(32);
                self.push(Op::Print { d, format, arguments });
                if let (Some(formal), Some(actual)) = (function.results.first(), call.results.first()) {
                    let (at, register) = self.result(formal, Some(actual))?;
                    self.local_store(formal, at, d);
                    if let Some(register) = register {
                        self.push(Op::Copy { to: vec![register], from: vec![d] });
                    }
                }
            }
            "__assertfail" | "__assert_fail" => {
                let (message, file, line, place) = (block(0)?, block(1)?, block(2)?, block(3)?);
                self.push(Op::AssertFail { message, file, line, place });
            }
            name => {
                return Err(self.error(format!("`{name}` is declared and not defined; it cannot be called")));
            }
        }
        Ok(())
    }
}
