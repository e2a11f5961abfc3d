//! Recursive functions: which ones they are, and their code.
//!
//! A function is recursive if a way through the calls leads from it back to it. A call through a pointer leads to every
//! function that it could mean. All others are read in their callers' places, inside recursive ones, too:
//!
//! ```text
//! entry -> f -> g -> f      f and g are recursive: read once each, behind the entry, and called
//!               g -> h      h stands in g's code
//! ```

use super::{Decode, Decoder, calls::Call, names::function_numbers};
use crate::{
    ir::*,
    read::{Module, Operand, Stmt},
};
use std::collections::{HashMap, HashSet};

/// What is known of the module's calls, and the recursive functions that are called.
pub(super) struct Recursion {
    numbers: HashMap<String, u32>,
    callees: HashMap<u32, Vec<u32>>,
    recursive: HashMap<u32, bool>,
    /// Functions that have (or will have) code, in the order of their numbers as routines.
    routines: Vec<u32>,
}

/// The function that has the body, where one is declared first.
pub(super) fn defined(module: &Module, number: u32) -> Option<u32> {
    let name = &module.functions.get(number as usize)?.name;
    module.functions.iter().position(|f| f.name == *name && f.body.is_some()).map(|n| n as u32)
}

impl Recursion {
    pub(super) fn new(module: &Module) -> Recursion {
        Recursion {
            numbers: function_numbers(module),
            callees: HashMap::new(),
            recursive: HashMap::new(),
            routines: vec![],
        }
    }

    /// Whether a call of a function can lead to another one of it.
    pub(super) fn calls_itself(&mut self, module: &Module, function: u32) -> bool {
        if let Some(&known) = self.recursive.get(&function) {
            return known;
        }
        let mut seen = HashSet::new();
        let mut open = vec![function];
        while let Some(at) = open.pop() {
            let callees = self.callees.entry(at).or_insert_with(|| callees(module, &self.numbers, at));
            open.extend(callees.iter().filter(|n| seen.insert(**n)));
        }
        let found = seen.contains(&function);
        self.recursive.insert(function, found);
        found
    }

    /// The number of a function as a routine.
    fn routine(&mut self, function: u32) -> u32 {
        let found = self.routines.iter().position(|n| *n == function);
        let number = found.unwrap_or_else(|| {
            self.routines.push(function);
            self.routines.len() - 1
        });
        number as u32
    }
}

/// The functions with bodies that a function's calls may mean.
fn callees(module: &Module, numbers: &HashMap<String, u32>, function: u32) -> Vec<u32> {
    let mut found = vec![];
    let mut open: Vec<&[Stmt]> = vec![];
    open.extend(module.functions.get(function as usize).and_then(|f| f.body.as_deref()));
    while let Some(stmts) = open.pop() {
        for stmt in stmts {
            match stmt {
                Stmt::Scope(inner) => open.push(inner),
                Stmt::Targets { labels, .. } => {
                    found.extend(labels.iter().filter_map(|name| numbers.get(name)));
                }
                Stmt::Instruction(i) if i.words[0] == "call" => {
                    let Ok(call) = Call::of(i) else { continue };
                    match call.target {
                        Operand::Name(name) if numbers.contains_key(name) => found.push(numbers[name]),
                        _ => {
                            let all = module.functions.iter().enumerate();
                            found.extend(all.filter(|(_, f)| call.fits(f)).map(|(n, _)| n as u32));
                        }
                    }
                }
                _ => {}
            }
        }
    }
    let mut found: Vec<u32> = found.into_iter().filter_map(|n| defined(module, n)).collect();
    found.sort_unstable();
    found.dedup();
    found
}

impl Decoder<'_> {
    /// A call of a recursive function, with the blocks of its parameters and then of its results.
    pub(super) fn call_routine(&mut self, function: u32, blocks: &[Block]) {
        let routine = self.recursion.routine(function);
        let formals = blocks.iter().map(|block| self.names.block_address(*block, 64)).collect();
        self.push(Op::Call { routine, formals });
    }

    /// The code of all recursive functions that are called, and of those that they call.
    pub(super) fn routines(&mut self) -> Decode<Vec<Routine>> {
        let module = self.module;
        let mut routines = vec![];
        while let Some(&number) = self.recursion.routines.get(routines.len()) {
            let Some(function) = module.functions.get(number as usize) else { break };
            let (routine, start) = (routines.len() as u32, self.code.len() as u32);
            self.line = function.line;
            self.names.enter_routine();
            let formals = (function.params.len() + function.results.len()) as u32;
            let blocks: Vec<Block> = (0..formals).map(|n| Block { base: Base::Formal(n), at: 0 }).collect();
            self.body(function, &blocks)?;
            self.push(Op::Return { routine });
            routines.extend(self.names.leave_routine(&function.name, start));
        }
        Ok(routines)
    }
}
