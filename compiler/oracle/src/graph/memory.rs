//! The tensors that one launch sees, and who wrote what.
//!
//! What a launch reads, it reads from the program's buffers. What it writes, it writes into private storage that is
//! copied back when the launch has ended well; so a launch can be run again, and instances can run on several
//! threads without a lock: elements are atomics (relaxed, plain moves on every machine of interest), and beside each
//! element stands the number of the instance that wrote it. That number is the proof of rule 16:
//!
//! | mode | at a write | at a read | at the end |
//! | --- | --- | --- | --- |
//! | `out` | nobody was here | this instance was here | everybody was here |
//! | `inout` | nobody else was here | nobody else was here | no element has a writer and another reader |
//! | `sum` | logged, added in the order of instances | refused | |
//!
//! Invariant: results do not depend on threads. Two instances that touch one element are an error whichever comes
//! first, sums are added in the order of the instances, and everything else is private to an instance.

use super::value::Val;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use tile_base::{DType, Mode, Span};

/// Instance numbers start at 1; 0 is nobody.
pub type Who = u32;

/// More than one instance has read an element.
const MANY: Who = u32::MAX;

/// Elements as they are kept between launches.
#[derive(Clone, Debug)]
pub enum Data {
    Floats(Vec<f64>),
    Ints(Vec<i64>),
}

impl Data {
    pub fn zeros(dtype: DType, count: usize) -> Data {
        if dtype.is_float() { Data::Floats(vec![0.0; count]) } else { Data::Ints(vec![0; count]) }
    }

    pub fn bits(&self, at: usize) -> u64 {
        match self {
            Data::Floats(d) => d[at].to_bits(),
            Data::Ints(d) => d[at] as u64,
        }
    }

    pub fn set_bits(&mut self, at: usize, bits: u64) {
        match self {
            Data::Floats(d) => d[at] = f64::from_bits(bits),
            Data::Ints(d) => d[at] = bits as i64,
        }
    }
}

pub struct Memory<'a> {
    pub name: &'a str,
    pub dtype: DType,
    pub mode: Mode,
    pub declared: Span,
    /// Values that an element of an index tensor may have.
    pub limits: Option<(i64, i64)>,
    pub shape: Vec<usize>,
    /// In elements of the storage.
    pub strides: Vec<usize>,
    pub storage: Storage<'a>,
}

pub enum Storage<'a> {
    /// An optional tensor that the caller left out.
    Absent,
    /// Part of a buffer, from `offset`.
    Read {
        data: &'a Data,
        offset: usize,
    },
    Own(Owned),
}

/// Private dense storage of what a launch writes.
pub struct Owned {
    bits: Vec<AtomicU64>,
    writer: Vec<AtomicU32>,
    /// First reader of each element; `inout` only.
    reader: Vec<AtomicU32>,
    once: bool,
}

/// Why an instance may not touch an element.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conflict {
    WrittenBy(Who),
    WrittenTwice,
    NotWritten,
}

impl Owned {
    pub fn new(mode: Mode, initial: impl Iterator<Item = u64>) -> Owned {
        let bits: Vec<AtomicU64> = initial.map(AtomicU64::new).collect();
        let nobody = |n: usize| (0..n).map(|_| AtomicU32::new(0)).collect::<Vec<_>>();
        let (writers, readers) = match mode {
            Mode::Out => (bits.len(), 0),
            Mode::InOut => (bits.len(), bits.len()),
            _ => (0, 0),
        };
        Owned { writer: nobody(writers), reader: nobody(readers), once: mode == Mode::Out, bits }
    }

    pub fn get(&self, at: usize) -> u64 {
        self.bits[at].load(Relaxed)
    }

    pub fn write(&self, at: usize, bits: u64, me: Who) -> Result<(), Conflict> {
        let before = self.writer[at].swap(me, Relaxed);
        if before != 0 && before != me {
            return Err(Conflict::WrittenBy(before));
        }
        if before == me && self.once {
            return Err(Conflict::WrittenTwice);
        }
        self.bits[at].store(bits, Relaxed);
        Ok(())
    }

    pub fn read(&self, at: usize, me: Who) -> Result<u64, Conflict> {
        let writer = self.writer[at].load(Relaxed);
        if writer != 0 && writer != me {
            return Err(Conflict::WrittenBy(writer));
        }
        if writer == 0 && self.once {
            return Err(Conflict::NotWritten);
        }
        if let Some(reader) = self.reader.get(at) {
            let before = reader.load(Relaxed);
            if before != me && (before != 0 || reader.compare_exchange(0, me, Relaxed, Relaxed).is_err()) {
                reader.store(MANY, Relaxed);
            }
        }
        Ok(self.get(at))
    }

    /// Writes without a claim of ownership: sums, applied by one thread in order.
    pub fn put(&self, at: usize, bits: u64) {
        self.bits[at].store(bits, Relaxed);
    }

    pub fn len(&self) -> usize {
        self.bits.len()
    }

    /// Of an `out` tensor, the first element that nobody wrote, and how many there are.
    pub fn uncovered(&self) -> Option<(usize, usize)> {
        if !self.once {
            return None;
        }
        let mut missing = (0..self.writer.len()).filter(|&at| self.writer[at].load(Relaxed) == 0);
        missing.next().map(|first| (first, 1 + missing.count()))
    }

    /// The first element that one instance writes and another reads: position, writer, reader (`None`: several).
    pub fn read_elsewhere(&self) -> Option<(usize, Who, Option<Who>)> {
        self.reader.iter().enumerate().find_map(|(at, reader)| {
            let (reader, writer) = (reader.load(Relaxed), self.writer[at].load(Relaxed));
            (writer != 0 && reader != 0 && reader != writer).then_some((
                at,
                writer,
                (reader != MANY).then_some(reader),
            ))
        })
    }
}

impl Memory<'_> {
    pub fn is_float(&self) -> bool {
        self.dtype.is_float()
    }

    /// Coordinates of an offset into private storage.
    pub fn coordinates(&self, mut at: usize) -> Vec<usize> {
        let mut coordinates = vec![0; self.shape.len()];
        for (c, &extent) in coordinates.iter_mut().zip(&self.shape).rev() {
            *c = at % extent.max(1);
            at /= extent.max(1);
        }
        coordinates
    }
}

/// What the instances of one wave add to `sum` tensors, applied in their order.
#[derive(Default)]
pub struct SumLog {
    pub entries: Vec<SumEntry>,
}

pub struct SumEntry {
    pub object: u32,
    pub span: Span,
    /// (offset, step, length), one after the other over the value's elements.
    pub runs: Vec<(usize, usize, usize)>,
    pub value: Val,
}

/// Adds an entry; the first offset at which an integer sum leaves its dtype is an error.
pub fn apply(entry: &SumEntry, memory: &Memory<'_>) -> Result<(), usize> {
    let Storage::Own(own) = &memory.storage else { return Ok(()) };
    let places = entry.runs.iter().flat_map(|&(at, step, len)| (0..len).map(move |n| at + n * step));
    if memory.is_float() {
        for (at, x) in places.zip(entry.value.float_slice()) {
            own.put(at, (f64::from_bits(own.get(at)) + x).to_bits());
        }
        return Ok(());
    }
    for (at, &x) in places.zip(entry.value.int_slice()) {
        let sum = (own.get(at) as i64).checked_add(x).filter(|&s| super::number::fits(memory.dtype, s));
        own.put(at, sum.ok_or(at)? as u64);
    }
    Ok(())
}

/// Row-major strides of a shape in memory.
pub fn dense_strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis].max(1);
    }
    strides
}
