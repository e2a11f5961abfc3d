//! The hand-written kernels with their inputs, launches and expected results, for tests of the kernels and of what
//! happens when they are broken.
//!
//! Inputs are small integers, so sums are exact in any order and results are compared bit for bit.

mod attention;
mod gemm;
mod sums;

pub use attention::attention;
pub use gemm::{gemm_cluster, gemm_cp_async, gemm_tma};
pub use sums::{device_map, exchange, split_k, stream_reduce};

use half::bf16;
use ptx_sim::{FaultKind, Geometry, Severity, decode, memory::Memory, read};
use tile_machine::{
    Swizzle, TensorMap,
    tensor_map::{ElementType, Spec},
};

/// Far more than any of the kernels needs.
const MOST_STEPS: u64 = 1 << 18;

/// One launch of a kernel and what it has to leave behind.
pub struct Problem {
    pub entry: &'static str,
    pub memory: Memory,
    pub params: Params,
    pub geometry: Geometry,
    pub output: u64,
    pub expected: Vec<u8>,
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// Refuting findings: class and text.
    pub findings: Vec<(FaultKind, String)>,
    pub notes: Vec<String>,
    /// Whether the output is the expected one; `None` when the run was cut short.
    pub right: Option<bool>,
}

impl Outcome {
    /// Right, and nothing to remark on.
    pub fn clean(&self) -> bool {
        self.findings.is_empty() && self.notes.is_empty() && self.right == Some(true)
    }
}

impl Problem {
    pub fn run(mut self, ptx: &str, check: bool, seed: u64) -> Outcome {
        let module = read::parse(ptx).unwrap_or_else(|e| panic!("{}: {e}", self.entry));
        let kernel = decode::kernel(&module, self.entry).unwrap_or_else(|e| panic!("{}: {e}", self.entry));
        let geometry = Geometry { check, seed, step_limit: MOST_STEPS, ..self.geometry };
        match ptx_sim::run(&kernel, &mut self.memory, &geometry, &self.params.bytes()) {
            Ok(summary) => {
                let result = self.memory.contents(self.output).unwrap_or_default();
                Outcome {
                    findings: summary.findings.iter().map(|f| (f.kind, f.to_string())).collect(),
                    notes: summary.notes.iter().map(|f| f.to_string()).collect(),
                    right: Some(result == self.expected),
                }
            }
            Err(fault) => {
                let all = fault.before.iter().chain([&fault]);
                let (notes, findings): (Vec<_>, Vec<_>) = all.partition(|f| f.severity == Severity::Note);
                Outcome {
                    findings: findings.iter().map(|f| (f.kind, f.to_string())).collect(),
                    notes: notes.iter().map(|f| f.to_string()).collect(),
                    right: None,
                }
            }
        }
    }
}

/// A parameter of a kernel, as something that can be moved to other addresses.
pub enum Parameter {
    U32(u32),
    /// In the memory of the problem.
    Address(u64),
    Map(TensorMap),
}

impl Parameter {
    /// As the simulator takes it.
    fn bytes(&self) -> Vec<u8> {
        match self {
            Parameter::U32(v) => v.to_le_bytes().to_vec(),
            Parameter::Address(v) => v.to_le_bytes().to_vec(),
            Parameter::Map(map) => map.encode().to_vec(),
        }
    }
}

/// The parameters of a kernel in order.
#[derive(Default)]
pub struct Params(pub Vec<Parameter>);

impl Params {
    fn with(mut self, parameter: Parameter) -> Self {
        self.0.push(parameter);
        self
    }

    pub fn u32(self, v: u32) -> Self {
        self.with(Parameter::U32(v))
    }

    pub fn address(self, v: u64) -> Self {
        self.with(Parameter::Address(v))
    }

    pub fn map(self, map: &TensorMap) -> Self {
        self.with(Parameter::Map(*map))
    }

    /// The parameter block, each entry at its natural alignment, that of a map being 64.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = vec![];
        for parameter in &self.0 {
            let bytes = parameter.bytes();
            out.resize(usize::next_multiple_of(out.len(), bytes.len().min(64)), 0);
            out.extend(bytes);
        }
        out
    }
}

/// A row-major matrix of small integers.
pub struct Matrix {
    pub rows: usize,
    pub columns: usize,
    pub values: Vec<i32>,
}

impl Matrix {
    /// Values from −`limit` to `limit`, the same for the same seed.
    pub fn random(rows: usize, columns: usize, limit: i32, seed: u32) -> Matrix {
        let mut state = seed.wrapping_mul(2654435761) | 1;
        let values = (0..rows * columns).map(|_| {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            (state >> 16) as i32 % (2 * limit + 1) - limit
        });
        Matrix { rows, columns, values: values.collect() }
    }

    pub fn at(&self, row: usize, column: usize) -> i32 {
        self.values[row * self.columns + column]
    }

    pub fn bf16(&self) -> Vec<u8> {
        self.values.iter().flat_map(|&v| bf16::from_f32(v as f32).to_le_bytes()).collect()
    }

    pub fn f32(&self) -> Vec<u8> {
        self.values.iter().flat_map(|&v| (v as f32).to_le_bytes()).collect()
    }

    /// self · otherᵀ
    pub fn times_transposed(&self, other: &Matrix) -> Matrix {
        let value = |i: usize, j: usize| (0..self.columns).map(|x| self.at(i, x) * other.at(j, x)).sum();
        let values = (0..self.rows).flat_map(|i| (0..other.rows).map(move |j| (i, j)));
        Matrix { rows: self.rows, columns: other.rows, values: values.map(|(i, j)| value(i, j)).collect() }
    }

    /// self · other
    pub fn times(&self, other: &Matrix) -> Matrix {
        let value = |i: usize, j: usize| (0..self.columns).map(|x| self.at(i, x) * other.at(x, j)).sum();
        let values = (0..self.rows).flat_map(|i| (0..other.columns).map(move |j| (i, j)));
        Matrix { rows: self.rows, columns: other.columns, values: values.map(|(i, j)| value(i, j)).collect() }
    }
}

/// The map of a row-major bf16 matrix, boxes of 64 columns (128 bytes, the widest swizzle) by `rows`.
pub fn bf16_map(address: u64, rows: usize, columns: usize, box_rows: u32) -> TensorMap {
    TensorMap::new(Spec {
        address,
        dims: &[columns as u64, rows as u64],
        strides: &[columns as u64 * 2],
        box_dims: &[64, box_rows],
        element_strides: &[1, 1],
        swizzle: Swizzle::B128,
        ..Spec::new(ElementType::Bf16)
    })
    .unwrap()
}

pub fn grid(x: usize, y: usize) -> [u32; 3] {
    [x as u32, y as u32, 1]
}
