//! The abstract machine of docs/machine.md as types: what the simulator executes, the plan checker proves and the
//! launcher encodes are the same thing because all three take it from here.
//!
//! | module | says |
//! | --- | --- |
//! | [`agent`] | who performs accesses, and where an asynchronous one ends |
//! | [`order`] | what an access or a fence orders, and for whom |
//! | [`proxy`] | the ways to memory, and when a fence has to stand between two of them |
//! | [`swizzle`] | how tiles are permuted in shared memory |
//! | [`tensor_map`] | the 128 bytes that describe a tensor to bulk copies |
//! | [`matrix`] | the 64 bits that describe a tile in shared memory to `wgmma` |
//!
//! Nothing here reads or writes memory; all functions are pure.

pub mod agent;
pub mod matrix;
pub mod order;
pub mod proxy;
pub mod swizzle;
pub mod tensor_map;

pub use agent::Agent;
pub use matrix::{Major, MatrixDescriptor};
pub use order::{Order, Scope, Semantics};
pub use proxy::Proxy;
pub use swizzle::Swizzle;
pub use tensor_map::{TensorMap, TensorMapError};
