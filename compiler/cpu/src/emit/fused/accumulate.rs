//! From values with names to a machine with one accumulator.
//!
//! The walk over a pass gives *lines*, each with a name for its result; the machine of [`crate::runtime::rows`] has an
//! accumulator, and a register costs a store of 512 bytes and a load. So a value stays in the accumulator when the next
//! line wants it, is kept in a register only when something else comes in between, and what is read from memory or is
//! the same along the row is an operand where it is used:
//!
//! ```text
//! a = load s                take s
//! b = splat scale
//! c = a * b                 x * scale
//! e = exp2 c                exp2 x
//! f = load dp               keep 0        e is wanted later
//! g = splat delta           take dp
//! h = f - g                 x - delta
//! i = e * h                 0 * x
//! store i                   store
//! ```
//!
//! An operand in memory that is used after something has been stored is read before the store: the store may go over it.

use crate::runtime::rows::{
    Action, Binary, Logic, MaskId, Operand, Order, REGISTERS, RegId, RowProgram, RowStep, Unary, Word,
};

/// A value of the pass.
pub(super) type Name = u16;

#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Line {
    Load {
        d: Name,
        from: Word,
    },
    Splat {
        d: Name,
        from: Word,
    },
    Constant {
        d: Name,
        value: f32,
    },
    Unary {
        op: Unary,
        d: Name,
        a: Name,
    },
    Binary {
        op: Binary,
        d: Name,
        a: Name,
        b: Name,
    },
    Select {
        d: Name,
        condition: MaskId,
        a: Name,
        b: Name,
    },
    Compare {
        order: Order,
        d: MaskId,
        a: Name,
        b: Name,
    },
    ComparePosition {
        order: Order,
        d: MaskId,
        with: Word,
    },
    SplatMask {
        d: MaskId,
        from: Word,
    },
    Logic {
        op: Logic,
        d: MaskId,
        a: MaskId,
        b: MaskId,
    },
    Not {
        d: MaskId,
        a: MaskId,
    },
    Store {
        a: Name,
        to: Word,
    },
    /// Folds into the program's reduction `n`.
    Reduce {
        n: u8,
        a: Name,
    },
}

impl Line {
    fn reads(&self) -> [Option<Name>; 2] {
        match *self {
            Line::Unary { a, .. } | Line::Store { a, .. } | Line::Reduce { a, .. } => [Some(a), None],
            Line::Binary { a, b, .. } | Line::Select { a, b, .. } | Line::Compare { a, b, .. } => {
                [Some(a), Some(b)]
            }
            _ => [None, None],
        }
    }
}

/// Fills in the steps of a program whose reductions are known; `None` if it takes more registers than there are.
pub(super) fn accumulate(lines: &[Line], mut program: RowProgram) -> Option<RowProgram> {
    let names = lines.iter().flat_map(|l| l.reads()).flatten().max().map_or(0, |n| n as usize + 1);
    let mut last = vec![0; names];
    for (at, line) in lines.iter().enumerate() {
        line.reads().into_iter().flatten().for_each(|n| last[n as usize] = at);
    }
    let mut machine = Machine { steps: vec![], at: 0, held: None, place: vec![None; names], last, kept: 0 };
    for (at, line) in lines.iter().enumerate() {
        machine.at = at;
        let store = lines[at..].iter().position(|l| matches!(l, Line::Store { .. })).map(|n| at + n);
        machine.line(line, store, &program)?;
    }
    program.steps = machine.steps;
    Some(program)
}

struct Machine {
    steps: Vec<RowStep>,
    /// The line in progress.
    at: usize,
    /// What the accumulator holds.
    held: Option<Name>,
    /// Where else a value can be had.
    place: Vec<Option<Operand>>,
    /// The last line that reads each value.
    last: Vec<usize>,
    /// Registers in use.
    kept: usize,
}

impl Machine {
    /// `store`: the next line that stores, this one or a later one.
    fn line(&mut self, line: &Line, store: Option<usize>, program: &RowProgram) -> Option<()> {
        match *line {
            Line::Load { d, from } => {
                let read_after = store.is_some_and(|s| self.last.get(d as usize).is_some_and(|&l| l > s));
                if read_after {
                    self.save()?;
                    self.step(Action::Take, Operand::Memory(from));
                    self.held = Some(d);
                    self.keep(d)?;
                } else {
                    self.had(d, Operand::Memory(from));
                }
            }
            Line::Splat { d, from } => self.had(d, Operand::Splat(from)),
            Line::Constant { d, value } => self.had(d, Operand::Constant(value)),
            Line::Unary { op, d, a } => {
                self.bring(a)?;
                self.result(d, Action::Unary(op), Operand::None)?;
            }
            Line::Binary { op, d, a, b } => match self.second(a, b)? {
                (with, false) => self.result(d, Action::Binary(op), with)?,
                (with, true) => self.result(d, Action::Reversed(op), with)?,
            },
            Line::Select { d, condition, a, b } => match self.second(a, b)? {
                (with, false) => self.result(d, Action::Select(condition), with)?,
                (with, true) => self.result(d, Action::SelectOther(condition), with)?,
            },
            Line::Compare { order, d, a, b } => match self.second(a, b)? {
                (with, false) => self.step(Action::Compare(order, d), with),
                (with, true) => self.step(Action::Compare(swapped(order), d), with),
            },
            Line::ComparePosition { order, d, with } => {
                self.step(Action::ComparePosition { order, d, with }, Operand::None);
            }
            Line::SplatMask { d, from } => self.step(Action::SplatMask { d, from }, Operand::None),
            Line::Logic { op, d, a, b } => self.step(Action::Logic { op, d, a, b }, Operand::None),
            Line::Not { d, a } => self.step(Action::Not { d, a }, Operand::None),
            Line::Store { a, to } => {
                self.bring(a)?;
                self.step(Action::Store(to), Operand::None);
            }
            Line::Reduce { n, a } => {
                self.bring(a)?;
                let kind = program.reductions.get(n as usize)?.kind;
                self.step(Action::Reduce(kind, n), Operand::None);
            }
        }
        Some(())
    }

    fn step(&mut self, action: Action, with: Operand) {
        self.steps.push(RowStep { action, with });
    }

    /// A value that is an operand wherever it is used; one that nothing reads is forgotten.
    fn had(&mut self, d: Name, operand: Operand) {
        if let Some(place) = self.place.get_mut(d as usize) {
            *place = Some(operand);
        }
    }

    fn keep(&mut self, name: Name) -> Option<()> {
        if self.kept == REGISTERS {
            return None;
        }
        let register = self.kept as RegId;
        self.kept += 1;
        self.step(Action::Keep(register), Operand::None);
        self.had(name, Operand::Register(register));
        Some(())
    }

    /// Keeps what the accumulator holds, if this line or a later one reads it and it can be had nowhere else.
    fn save(&mut self) -> Option<()> {
        self.save_if_read_from(self.at)
    }

    fn save_if_read_from(&mut self, line: usize) -> Option<()> {
        let Some(held) = self.held else { return Some(()) };
        let read = self.last.get(held as usize).is_some_and(|&last| last >= line);
        if read && self.place[held as usize].is_none() {
            self.keep(held)?;
        }
        Some(())
    }

    /// The value into the accumulator.
    fn bring(&mut self, a: Name) -> Option<()> {
        if self.held == Some(a) {
            return Some(());
        }
        self.save()?;
        let from = self.place[a as usize]?;
        self.step(Action::Take, from);
        self.held = Some(a);
        Some(())
    }

    /// One of two operands into the accumulator; where the other is, and whether that is the first.
    fn second(&mut self, a: Name, b: Name) -> Option<(Operand, bool)> {
        if self.held == Some(b) && a != b {
            return Some((self.place[a as usize]?, true));
        }
        self.bring(a)?;
        // x op x
        if a == b {
            return Some((Operand::None, false));
        }
        Some((self.place[b as usize]?, false))
    }

    /// A step whose result takes the accumulator over.
    fn result(&mut self, d: Name, action: Action, with: Operand) -> Option<()> {
        self.save_if_read_from(self.at + 1)?;
        self.step(action, with);
        self.held = Some(d);
        Some(())
    }
}

/// The order with its sides changed.
fn swapped(order: Order) -> Order {
    match order {
        Order::Lt => Order::Gt,
        Order::Le => Order::Ge,
        Order::Gt => Order::Lt,
        Order::Ge => Order::Le,
        same => same,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(lines: &[Line]) -> Vec<(Action, Operand)> {
        let program = accumulate(lines, RowProgram::default()).expect("few registers");
        program.steps.iter().map(|s| (s.action, s.with)).collect()
    }

    /// The example of the file's header.
    #[test]
    fn a_value_is_kept_only_while_another_is_made() {
        let lines = [
            Line::Load { d: 0, from: 0 },
            Line::Splat { d: 1, from: 1 },
            Line::Binary { op: Binary::Mul, d: 2, a: 0, b: 1 },
            Line::Unary { op: Unary::Exp2, d: 3, a: 2 },
            Line::Load { d: 4, from: 2 },
            Line::Splat { d: 5, from: 3 },
            Line::Binary { op: Binary::Sub, d: 6, a: 4, b: 5 },
            Line::Binary { op: Binary::Mul, d: 7, a: 3, b: 6 },
            Line::Store { a: 7, to: 4 },
        ];
        let want = [
            (Action::Take, Operand::Memory(0)),
            (Action::Binary(Binary::Mul), Operand::Splat(1)),
            (Action::Unary(Unary::Exp2), Operand::None),
            (Action::Keep(0), Operand::None),
            (Action::Take, Operand::Memory(2)),
            (Action::Binary(Binary::Sub), Operand::Splat(3)),
            (Action::Reversed(Binary::Mul), Operand::Register(0)),
            (Action::Store(4), Operand::None),
        ];
        assert_eq!(steps(&lines), want);
    }

    #[test]
    fn what_a_store_may_go_over_is_read_before() {
        let lines = [
            Line::Load { d: 0, from: 0 },
            Line::Unary { op: Unary::Neg, d: 1, a: 0 },
            Line::Store { a: 1, to: 0 },
            Line::Unary { op: Unary::Abs, d: 2, a: 0 },
            Line::Store { a: 2, to: 1 },
        ];
        let want = [
            (Action::Take, Operand::Memory(0)),
            (Action::Keep(0), Operand::None),
            (Action::Unary(Unary::Neg), Operand::None),
            (Action::Store(0), Operand::None),
            (Action::Take, Operand::Register(0)),
            (Action::Unary(Unary::Abs), Operand::None),
            (Action::Store(1), Operand::None),
        ];
        assert_eq!(steps(&lines), want);
    }

    #[test]
    fn a_square_and_a_comparison_from_the_right() {
        let lines = [
            Line::Load { d: 0, from: 0 },
            Line::Binary { op: Binary::Mul, d: 1, a: 0, b: 0 },
            Line::Constant { d: 2, value: 4.0 },
            Line::Compare { order: Order::Lt, d: 0, a: 2, b: 1 },
            Line::Select { d: 3, condition: 0, a: 1, b: 0 },
            Line::Store { a: 3, to: 1 },
        ];
        let want = [
            (Action::Take, Operand::Memory(0)),
            (Action::Binary(Binary::Mul), Operand::None),
            (Action::Compare(Order::Gt, 0), Operand::Constant(4.0)),
            (Action::Select(0), Operand::Memory(0)),
            (Action::Store(1), Operand::None),
        ];
        assert_eq!(steps(&lines), want);
    }

    #[test]
    fn more_registers_than_there_are_is_no_program() {
        let n = REGISTERS as Name + 1;
        let mut lines = vec![];
        for d in 0..n {
            lines.push(Line::Load { d: 2 * d, from: d });
            lines.push(Line::Unary { op: Unary::Neg, d: 2 * d + 1, a: 2 * d });
        }
        lines.extend((0..n).map(|d| Line::Store { a: 2 * d + 1, to: d }));
        assert!(accumulate(&lines, RowProgram::default()).is_none());
    }
}
