//! The CPU device: a graph becomes machine code by Cranelift, its grid runs over threads.
//!
//! ```text
//! Graph ─ fuse ─▶ steps and groups ─ liveness ─▶ last reads ─ emit ─▶ CLIF ─ jit ─▶ code ─ grid ─▶ threads
//! ```
//!
//! Compiled code holds control flow, index arithmetic, masks and fused elementwise loops; dots, collectives and
//! checked accesses are calls into [`runtime`]. Tiles are f32, f64, i32, i64 or masks in an arena of each thread
//! ([`emit::buffers`]); narrow floats are held as f32 and rounded by each operation, as the language says.
//!
//! What this crate promises:
//! - an access outside of a tensor is a diagnostic, and nothing is read or written there, whatever page tables,
//!   ids and offsets hold;
//! - results do not depend on the number of threads;
//! - what is not lowered yet is a diagnostic (T0701) that names the construct.
//!
//! ```
//! use tile_base::DType;
//! use tile_graph::{Program, TileBinding, samples};
//! use tile_tensor::{Arguments, Tensor};
//! let graph = samples::add(DType::F32);
//! let tiles = TileBinding::named(&graph, &[("B", 4)]).unwrap();
//! let kernel = tile_cpu::compile(&Program::single(graph), &[tiles]).unwrap();
//! let a = Tensor::from_f32(&[5], &[1., 2., 3., 4., 5.]);
//! let mut arguments = Arguments(vec![a.clone().into(), a.into(), Tensor::zeros(DType::F32, &[5]).into()]);
//! kernel.run(&mut arguments, 2).unwrap();
//! assert_eq!(arguments[2].tensor().unwrap().to_f64_vec(), [2., 4., 6., 8., 10.]);
//! ```

pub mod bench;
mod diagnose;
pub mod emit;
pub mod fuse;
mod grid;
pub mod jit;
mod kernel;
pub mod liveness;
pub mod runtime;
mod sums;
mod views;

pub use kernel::{CodeFacts, CpuKernel, compile};
