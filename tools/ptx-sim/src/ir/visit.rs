//! What an operation reads and writes: every row and predicate, each in its role.
//!
//! Check mode asks for it at every step (are the sources defined, does an undefined value steer an address), the profile
//! and the tests ask for it once. Example: `ld.shared.u64 %rd1, [%r2];` has the address row of r2 and the two rows of rd1,
//! which it defines; what memory holds is not the operation's affair.

use super::*;

#[inline(always)]
fn rows(f: &mut impl FnMut(Role), slot: Slot, count: u32, def: bool) {
    for s in slot..slot + count {
        f(if def { Role::Def(s) } else { Role::Use(s) });
    }
}

#[inline(always)]
fn address(f: &mut impl FnMut(Role), a: &Addr) {
    f(Role::Address(a.base));
    if a.wide {
        f(Role::Address(a.base + 1));
    }
}

/// How an operation touches a row or a predicate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Use(Slot),
    Def(Slot),
    UsePred(Pred),
    DefPred(Pred),
    /// A row that forms an address, a barrier number or a lane mask.
    Address(Slot),
}

impl Op {
    /// Names every row and predicate the operation touches. Memory contents are not among them: what a load gives is
    /// the memory's affair.
    pub fn visit(&self, f: &mut impl FnMut(Role)) {
        let two = |wide: bool| if wide { 2 } else { 1 };
        match self {
            Op::Copy { to, from } => {
                from.iter().for_each(|&s| f(Role::Use(s)));
                to.iter().for_each(|&s| f(Role::Def(s)));
            }
            Op::Pack16 { d, lo, hi } => {
                rows(f, *lo, 1, false);
                rows(f, *hi, 1, false);
                rows(f, *d, 1, true);
            }
            Op::Unpack16 { lo, hi, a } => {
                rows(f, *a, 1, false);
                lo.iter().chain(hi).for_each(|&s| f(Role::Def(s)));
            }
            Op::Int { op, width, d, a, b, c, .. } => {
                let n = if *width == Width::W64 { 2 } else { 1 };
                let wide = matches!(op, IntOp::MulWide | IntOp::MadWide) && *width == Width::W32;
                let amount = matches!(op, IntOp::Shl | IntOp::Shr | IntOp::Bfe);
                rows(f, *a, n, false);
                rows(f, *b, if amount { 1 } else { n }, false);
                if op.reads_c() {
                    let word = *op == IntOp::Bfe;
                    rows(
                        f,
                        *c,
                        if word {
                            1
                        } else if wide {
                            2
                        } else {
                            n
                        },
                        false,
                    );
                }
                let narrow = matches!(op, IntOp::Popc | IntOp::Clz | IntOp::Bfind | IntOp::BfindShift);
                rows(
                    f,
                    *d,
                    if narrow {
                        1
                    } else if wide {
                        2
                    } else {
                        n
                    },
                    true,
                );
            }
            Op::Float { op, ty, d, a, b, c, .. } => {
                let n = two(*ty == FloatType::F64);
                rows(f, *a, n, false);
                rows(f, *b, n, false);
                if *op == FloatOp::Fma {
                    rows(f, *c, n, false);
                }
                rows(f, *d, n, true);
            }
            Op::Convert { to, from, d, a, b, .. } => {
                let n = |ty: &Scalar| two(matches!(ty, Scalar::F64 | Scalar::Int { bits: 64, .. }));
                rows(f, *a, n(from), false);
                rows(f, *b, n(from), false);
                rows(f, *d, n(to), true);
            }
            Op::Setp { ty, combine, p, q, a, b, .. } => {
                let n = two(matches!(ty, Scalar::F64 | Scalar::Int { bits: 64, .. }));
                rows(f, *a, n, false);
                rows(f, *b, n, false);
                if let Some((_, c, _)) = combine {
                    f(Role::UsePred(*c));
                }
                p.iter().chain(q).for_each(|&p| f(Role::DefPred(p)));
            }
            Op::Select { rows: n, d, a, b, p } => {
                rows(f, *a, *n as u32, false);
                rows(f, *b, *n as u32, false);
                f(Role::UsePred(*p));
                rows(f, *d, *n as u32, true);
            }
            Op::PredLogic { d, a, b, .. } => {
                f(Role::UsePred(*a));
                f(Role::UsePred(*b));
                f(Role::DefPred(*d));
            }
            Op::TestClass { p, a, wide, .. } => {
                rows(f, *a, two(*wide), false);
                f(Role::DefPred(*p));
            }
            Op::Load { d, wide, addr, .. } => {
                address(f, addr);
                d.iter().flatten().for_each(|&s| rows(f, s, two(*wide), true));
            }
            Op::LoadParam { d, wide, .. } => d.iter().flatten().for_each(|&s| rows(f, s, two(*wide), true)),
            Op::Store { a, wide, addr, .. } => {
                address(f, addr);
                a.iter().for_each(|&s| rows(f, s, two(*wide), false));
            }
            Op::Atomic { ty, d, addr, a, b, .. } => {
                let n = match ty {
                    Scalar::Int { bits: 128, .. } => 4,
                    Scalar::F64 | Scalar::Int { bits: 64, .. } => 2,
                    _ => 1,
                };
                address(f, addr);
                rows(f, *a, n, false);
                rows(f, *b, n, false);
                d.iter().for_each(|&s| rows(f, s, n, true));
            }
            Op::Cvta { d, a, wide, .. } => {
                rows(f, *a, two(*wide), false);
                rows(f, *d, two(*wide), true);
            }
            Op::LoadMatrix(load) => {
                address(f, &load.addr);
                load.d.iter().for_each(|&s| f(Role::Def(s)));
            }
            Op::StoreMatrix { a, addr, .. } => {
                address(f, addr);
                a.iter().for_each(|&s| f(Role::Use(s)));
            }
            Op::CopyAsync { source, to, from, .. } => {
                address(f, to);
                address(f, from);
                source.iter().for_each(|&s| f(Role::Address(s)));
            }
            Op::Shuffle { d, p, a, lane, clamp, members, .. } => {
                rows(f, *a, 1, false);
                [lane, clamp, members].into_iter().for_each(|&s| f(Role::Address(s)));
                rows(f, *d, 1, true);
                p.iter().for_each(|&p| f(Role::DefPred(p)));
            }
            Op::VotePred { d, a, members, .. } => {
                f(Role::UsePred(*a));
                f(Role::Address(*members));
                f(Role::DefPred(*d));
            }
            Op::VoteBallot { d, a, members, .. } => {
                f(Role::UsePred(*a));
                f(Role::Address(*members));
                rows(f, *d, 1, true);
            }
            Op::MatchAny { wide, d, a, members } => {
                rows(f, *a, two(*wide), false);
                f(Role::Address(*members));
                rows(f, *d, 1, true);
            }
            Op::MatchAll { wide, d, p, a, members } => {
                rows(f, *a, two(*wide), false);
                f(Role::Address(*members));
                d.iter().for_each(|&s| f(Role::Def(s)));
                p.iter().for_each(|&p| f(Role::DefPred(p)));
            }
            Op::TransposeMatrix { d, a } => {
                rows(f, *a, 1, false);
                rows(f, *d, 1, true);
            }
            Op::Redux { d, a, members, .. } => {
                rows(f, *a, 1, false);
                f(Role::Address(*members));
                rows(f, *d, 1, true);
            }
            Op::Elect { d, p, members } => {
                f(Role::Address(*members));
                d.iter().for_each(|&s| f(Role::Def(s)));
                f(Role::DefPred(*p));
            }
            Op::ActiveMask { d } => rows(f, *d, 1, true),
            Op::Mma { a_type, d, a, b, c, sparse, .. } => {
                let n = two(*a_type == MatrixType::F64);
                sparse.iter().for_each(|s| f(Role::Use(s.metadata)));
                a.iter().chain(b).chain(c).for_each(|&s| rows(f, s, n, false));
                d.iter().for_each(|&s| rows(f, s, n, true));
            }
            Op::MmaQuads(op) => {
                op.a.iter().chain(&op.b).chain(&op.c).for_each(|&s| f(Role::Use(s)));
                op.d.iter().for_each(|&s| f(Role::Def(s)));
            }
            Op::Barrier { id, count, .. } => {
                f(Role::Address(*id));
                count.iter().for_each(|&s| f(Role::Address(s)));
            }
            Op::BarrierReduce { id, count, a, result, .. } => {
                f(Role::Address(*id));
                count.iter().for_each(|&s| f(Role::Address(s)));
                f(Role::UsePred(*a));
                f(match *result {
                    BarrierResult::Count(d) => Role::Def(d),
                    BarrierResult::All(p) | BarrierResult::Any(p) => Role::DefPred(p),
                });
            }
            Op::Carry { op, wide, carry_in, carry_out, d, a, b, c, .. } => {
                let n = two(*wide);
                rows(f, *a, n, false);
                rows(f, *b, n, false);
                if matches!(op, CarryOp::MadLo | CarryOp::MadHi) {
                    rows(f, *c, n, false);
                }
                carry_in.iter().for_each(|&p| f(Role::UsePred(p)));
                rows(f, *d, n, true);
                carry_out.iter().for_each(|&p| f(Role::DefPred(p)));
            }
            Op::IsSpace { p, a, .. } => {
                rows(f, *a, 2, false);
                f(Role::DefPred(*p));
            }
            Op::Print { d, format, arguments } => {
                for s in [format, arguments] {
                    f(Role::Address(*s));
                    f(Role::Address(s + 1));
                }
                rows(f, *d, 1, true);
            }
            Op::AssertFail { .. } | Op::Refuse(_) => {}
            Op::WarpSync { members } => f(Role::Address(*members)),
            Op::Clock { d, wide } => rows(f, *d, two(*wide), true),
            Op::Nop
            | Op::CopyAsyncCommit
            | Op::CopyAsyncWait { .. }
            | Op::Branch { .. }
            | Op::Return { .. }
            | Op::Exit
            | Op::Trap => {}
            Op::Call { formals, .. } => {
                formals.iter().flat_map(|&s| [s, s + 1]).for_each(|s| f(Role::Address(s)));
            }
            Op::NanoSleep { time } => rows(f, *time, 1, false),
            Op::Fence(Fence::TensorMapAcquire { at, .. }) => address(f, at),
            Op::Fence(_) => {}
            Op::Hopper(op) => op.visit(f),
        }
    }

    /// Whether a lane's result depends on other lanes' operands.
    pub fn mixes_lanes(&self) -> bool {
        matches!(
            self,
            Op::Shuffle { .. }
                | Op::VotePred { .. }
                | Op::VoteBallot { .. }
                | Op::MatchAny { .. }
                | Op::MatchAll { .. }
                | Op::TransposeMatrix { .. }
                | Op::BarrierReduce { .. }
                | Op::Redux { .. }
                | Op::Mma { .. }
                | Op::MmaQuads(_)
        )
    }
}
