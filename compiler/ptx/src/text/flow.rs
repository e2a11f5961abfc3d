//! Loops and branches: scopes that end as basic blocks of the `llvm` dialect.
//!
//! Whoever emits opens and closes scopes; what is written are blocks with arguments, which is what LLVM's phis become.
//! The structured dialect `scf` reads nicer, but MLIR then has to rewrite the whole module three times to get here, which
//! costs more than all of the emission.
//!
//! ```text
//! open_for      llvm.br ^bb0(%lo, %zero : i64, f32)          in the text of the loop's own scope, so that what its
//!             ^bb0(%iv: i64, %sum: f32):                     body hoists still goes before it
//!               %more = llvm.icmp "slt" %iv, %hi : i64
//!               llvm.cond_br %more, ^bb1, ^bb2
//!             ^bb1:                                          the body
//! close_for     %next = llvm.add %iv, %step : i64
//!               llvm.br ^bb0(%next, %sum2 : i64, f32)
//!             ^bb2:                                          the scope around it goes on; the result is %sum
//! ```

use super::{Scope, Text, Ty, V, lists};

/// A basic block by its number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block(u32);

/// What closes a scope.
#[derive(Default)]
pub(super) enum Frame {
    /// The function's end.
    #[default]
    Function,
    /// The block that asks, the one behind the loop, the variable with its step, and the values that the loop gives.
    Loop { asks: Block, after: Block, variable: Option<(V, V)>, results: Vec<V> },
    /// The block of the other arm, and once that is open the block where both meet.
    Branch { other: Block, meet: Option<Block>, results: Vec<V> },
}

impl Text {
    fn block(&mut self) -> Block {
        self.blocks += 1;
        Block(self.blocks - 1)
    }

    /// Ends the current block by a jump.
    fn jump(&mut self, Block(to): Block, values: &[V]) {
        match values {
            [] => self.effect(&format!("llvm.br ^bb{to}")),
            _ => {
                let (args, types) = lists(values);
                self.effect(&format!("llvm.br ^bb{to}({args} : {types})"));
            }
        }
    }

    fn either(&mut self, condition: V, Block(then): Block, Block(otherwise): Block) {
        self.effect(&format!("llvm.cond_br {condition}, ^bb{then}, ^bb{otherwise}"));
    }

    /// Begins a block with arguments.
    fn label(&mut self, Block(block): Block, arguments: &[V]) {
        let at = self.at;
        let list: Vec<String> = arguments.iter().map(|v| format!("{v}: {} loc(#s{at})", v.ty)).collect();
        let list = if list.is_empty() { String::new() } else { format!("({})", list.join(", ")) };
        if let Some(scope) = self.scopes.last_mut() {
            scope.text.push_str(&format!("^bb{block}{list}:\n"));
        }
    }

    fn open(&mut self) {
        self.scopes.push(Scope::default());
    }

    /// Ends the scope: its text joins the one around it, to which its results belong from now on.
    fn close(&mut self, results: Vec<V>) -> Vec<V> {
        if let Some(inner) = self.scopes.pop()
            && let Some(outer) = self.scopes.last_mut()
        {
            outer.text.push_str(&inner.text);
        }
        let here = self.here();
        for v in &results {
            let depth = &mut self.depth[v.id as usize];
            *depth = (*depth).min(here as u8);
        }
        results
    }

    /// Opens a loop; its variable and the carried values.
    pub fn open_for(&mut self, (lo, hi, step): (V, V, V), initial: &[V]) -> (V, Vec<V>) {
        let (asks, body, after) = (self.block(), self.block(), self.block());
        self.open();
        let variable = self.argument(lo.ty);
        let carried: Vec<V> = initial.iter().map(|v| self.argument(v.ty)).collect();
        self.jump(asks, &[&[lo], initial].concat());
        self.label(asks, &[&[variable], &carried[..]].concat());
        let more = self.pinned(&format!("llvm.icmp \"slt\" {variable}, {hi} : {}", lo.ty), Ty::I1);
        self.either(more, body, after);
        self.label(body, &[]);
        self.frame(Frame::Loop { asks, after, variable: Some((variable, step)), results: carried.clone() });
        (variable, carried)
    }

    fn frame(&mut self, frame: Frame) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.frame = frame;
        }
    }

    fn taken(&mut self) -> Frame {
        self.scopes.last_mut().map(|s| std::mem::take(&mut s.frame)).unwrap_or_default()
    }

    /// Ends a loop with what it carries on; its results.
    pub fn close_for(&mut self, next: &[V]) -> Vec<V> {
        let Frame::Loop { asks, after, variable, results } = self.taken() else { return vec![] };
        let mut values = vec![];
        if let Some((v, step)) = variable {
            values.push(self.pinned(&format!("llvm.add {v}, {step} : {}", v.ty), v.ty));
        }
        values.extend(next);
        self.jump(asks, &values);
        self.label(after, &[]);
        self.close(results)
    }

    /// Opens a loop that asks before each trip; the carried values, as the question sees them.
    pub fn open_while(&mut self, initial: &[V]) -> Vec<V> {
        let (asks, after) = (self.block(), self.block());
        self.open();
        let carried: Vec<V> = initial.iter().map(|v| self.argument(v.ty)).collect();
        self.jump(asks, initial);
        self.label(asks, &carried);
        self.frame(Frame::Loop { asks, after, variable: None, results: vec![] });
        carried
    }

    /// Ends the question and opens the body. The carried values stay as they are; they are the loop's results.
    pub fn does(&mut self, holds: V, carried: &[V]) {
        let body = self.block();
        let Some(Scope { frame: Frame::Loop { after, results, .. }, .. }) = self.scopes.last_mut() else {
            return;
        };
        *results = carried.to_vec();
        let after = *after;
        self.either(holds, body, after);
        self.label(body, &[]);
    }

    /// Ends the body with what it carries on; the loop's results.
    pub fn close_while(&mut self, next: &[V]) -> Vec<V> {
        self.close_for(next)
    }

    /// Opens the first arm of a branch with results of these types.
    pub fn open_if(&mut self, condition: V, types: &[Ty]) {
        let results: Vec<V> = types.iter().map(|&ty| self.argument(ty)).collect();
        let (then, other) = (self.block(), self.block());
        self.open();
        self.either(condition, then, other);
        self.label(then, &[]);
        self.frame(Frame::Branch { other, meet: None, results });
    }

    /// Ends the first arm and opens the second.
    pub fn otherwise(&mut self, values: &[V]) {
        let Frame::Branch { other, results, .. } = self.taken() else { return };
        let meet = self.block();
        self.jump(meet, values);
        self.label(other, &[]);
        self.frame(Frame::Branch { other, meet: Some(meet), results });
        // What the first arm computed is not there in the second.
        if let Some(scope) = self.scopes.last_mut() {
            scope.numbered.clear();
        }
    }

    /// Ends the branch; its results.
    pub fn close_if(&mut self, values: &[V]) -> Vec<V> {
        let Frame::Branch { other, meet, results } = self.taken() else { return vec![] };
        let meet = meet.unwrap_or(other);
        self.jump(meet, values);
        self.label(meet, &results);
        self.close(results)
    }
}
