//! What compiled code calls: dots, strided loads and stores with checks, collectives, scalar functions.
//!
//! Compiled code and these functions share the [`Env`] of one thread. A function takes its arguments as 64-bit
//! words in a buffer on the caller's stack (`args`), so that one calling convention serves all; it returns 0, or 1
//! after it has put an [`Fault`] into the environment. Buffers of tiles lie in the thread's arena and are laid out
//! by the code generator; nothing here keeps a pointer beyond the call.
//!
//! Invariant: only [`memory`] and the views that the code generator checks itself touch tensors, and both check
//! every coordinate against the tensor's shape before the access.

#![allow(
    clippy::missing_safety_doc,
    reason = "every function takes the words that the code generator wrote for it, as said above"
)]

pub mod collective;
pub mod convert;
pub mod gemm;
pub mod math;
pub mod memory;
pub mod ordering;
pub mod pack;
pub mod print;
pub mod rows;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Most axes of a tensor or a tile.
pub const MAX_RANK: usize = 8;

/// How a tile's elements lie in the arena. Narrow floats are held as `f32` and rounded by `.to`, narrow integers as
/// `i32`; a bool is an `i32` of all zeros or all ones, which is what vector selects want.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Class {
    F32,
    F64,
    I32,
    I64,
    Bool,
}

impl Class {
    pub fn of(dtype: tile_base::DType) -> Class {
        use tile_base::DType::*;
        match dtype {
            F64 => Class::F64,
            F32 | Tf32 | F16 | Bf16 | F8e4m3 | F8e5m2 | F4e2m1 => Class::F32,
            I64 => Class::I64,
            I32 | I16 | I8 | U8 | I4 | U4 | I2 => Class::I32,
            Bool => Class::Bool,
        }
    }

    pub fn bytes(self) -> u64 {
        match self {
            Class::F64 | Class::I64 => 8,
            Class::F32 | Class::I32 | Class::Bool => 4,
        }
    }
}

/// A tensor as compiled code sees it. Strides are in elements.
#[repr(C)]
pub struct ObjectRecord {
    /// Element 0 of the tensor, or of its storage for elements smaller than a byte.
    pub ptr: *mut u8,
    /// Elements from `ptr` to element 0; only for elements smaller than a byte.
    pub offset: i64,
    pub dims: [i64; MAX_RANK],
    pub strides: [i64; MAX_RANK],
    pub dtype: tile_base::DType,
    /// Values that may be stored: those of the tensor's index type.
    pub least: i64,
    pub greatest: i64,
}

// SAFETY: threads read inputs, and write elements of outputs that are each one instance's own (language rule 16).
unsafe impl Sync for ObjectRecord {}

impl ObjectRecord {
    pub const PTR: i32 = 0;
    pub const DIMS: i32 = 16;
    pub const STRIDES: i32 = 16 + 8 * MAX_RANK as i32;
    pub const SIZE: i32 = size_of::<ObjectRecord>() as i32;
}

/// Why a run stopped: the place in [`crate::emit::Sites`] and what was found there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Fault {
    pub site: i64,
    /// The dimension, for an access.
    pub dim: i64,
    pub value: i64,
    pub lo: i64,
    pub hi: i64,
    /// The instance it happened in.
    pub ticket: i64,
}

/// What the threads of one launch share.
pub struct Shared {
    /// The next instance that nobody has taken.
    pub next: AtomicU64,
    pub stop: AtomicBool,
}

/// The state of one thread.
#[repr(C)]
pub struct Env {
    pub arena: *mut u8,
    pub objects: *const ObjectRecord,
    pub dims: *const i64,
    /// Scalar parameters, one 64-bit word for each parameter of the signature.
    pub scalars: *const u64,
    /// The instance to run next, in the order of the `par` nest; negative: none.
    pub ticket: i64,
    pub shared: *const Shared,
    /// A fixed range of instances (lanes of `crate::sums`) instead of the shared counter.
    pub last_of_range: i64,
    pub fault: Fault,
    /// Labels of `print`, by site.
    pub labels: *const Vec<String>,
    pub packing: *mut pack::Packing,
    pub rows: *mut rows::Scratch,
    /// Where a walk that counts notes the first instance of each group of `crate::sums`.
    pub groups: *mut Vec<i64>,
}

impl Env {
    pub const ARENA: i32 = 0;
    pub const OBJECTS: i32 = 8;
    pub const DIMS: i32 = 16;
    pub const SCALARS: i32 = 24;
    pub const TICKET: i32 = 32;
    /// The ticket of a walk that only counts.
    pub const COUNTS: i64 = -2;

    /// Takes the next instance; -1 when there is none or another thread has failed.
    pub fn take_ticket(&mut self) -> i64 {
        // SAFETY: `shared` outlives the launch.
        let shared = unsafe { &*self.shared };
        self.ticket = if shared.stop.load(Ordering::Relaxed) {
            -1
        } else if self.last_of_range >= 0 {
            if self.ticket < self.last_of_range { self.ticket + 1 } else { -1 }
        } else {
            shared.next.fetch_add(1, Ordering::Relaxed) as i64
        };
        self.ticket
    }

    pub fn fail(&mut self, site: i64, dim: i64, value: i64, lo: i64, hi: i64) -> i64 {
        self.fault = Fault { site, dim, value, lo, hi, ticket: self.ticket };
        1
    }
}

/// A function of this module as compiled code calls it.
pub type Entry = unsafe extern "C" fn(*mut Env, *const i64) -> i64;

pub unsafe extern "C" fn take_ticket(env: *mut Env, _: *const i64) -> i64 {
    // SAFETY: the environment of the calling thread.
    unsafe { (*env).take_ticket() }
}

/// `[instance]`: the first of a group.
pub unsafe extern "C" fn begin_group(env: *mut Env, args: *const i64) -> i64 {
    // SAFETY: one word; a walk that counts has a list.
    unsafe {
        if let Some(groups) = (*env).groups.as_mut() {
            groups.push(*args);
        }
    }
    0
}

/// `[site, dim, value, lo, hi]`.
pub unsafe extern "C" fn fail(env: *mut Env, args: *const i64) -> i64 {
    // SAFETY: five words, written by the code generator.
    let a = unsafe { std::slice::from_raw_parts(args, 5) };
    unsafe { (*env).fail(a[0], a[1], a[2], a[3], a[4]) }
}

/// Reads argument words one after the other.
pub struct Words<'a> {
    rest: &'a [i64],
}

impl<'a> Words<'a> {
    /// # Safety
    /// `args` points to at least as many words as are read.
    pub unsafe fn new(args: *const i64, count: usize) -> Words<'a> {
        Words { rest: unsafe { std::slice::from_raw_parts(args, count) } }
    }

    #[expect(clippy::should_implement_trait, reason = "it cannot end")]
    pub fn next(&mut self) -> i64 {
        let (first, rest) = self.rest.split_first().expect("the code generator wrote enough words");
        self.rest = rest;
        *first
    }

    pub fn many(&mut self, n: usize) -> &'a [i64] {
        let (first, rest) = self.rest.split_at(n);
        self.rest = rest;
        first
    }
}
