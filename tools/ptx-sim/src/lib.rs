//! Runs PTX on the CPU, warp by warp.
//!
//! The way of the data: text → [`read`] → module → [`decode`] → [`ir::Kernel`] → [`exec`] over [`memory`] → values, or a
//! [`fault::Fault`] with a witness. [`flow`] finds where diverged lanes meet again.
//!
//! ```
//! let ptx = "
//! .version 8.0
//! .target sm_80
//! .address_size 64
//! .visible .entry twice(.param .u64 p) {
//!     .reg .b64 %rd<4>; .reg .b32 %r<4>;
//!     ld.param.u64 %rd1, [p];
//!     mov.u32 %r1, %tid.x;
//!     mul.wide.u32 %rd2, %r1, 4;
//!     add.s64 %rd3, %rd1, %rd2;
//!     ld.global.u32 %r2, [%rd3];
//!     shl.b32 %r3, %r2, 1;
//!     st.global.u32 [%rd3], %r3;
//!     ret;
//! }";
//! let module = ptx_sim::read::parse(ptx).unwrap();
//! let kernel = ptx_sim::decode::kernel(&module, "twice").unwrap();
//! let mut memory = ptx_sim::memory::Memory::new();
//! let at = memory.allocate("p", &[1, 0, 0, 0, 5, 0, 0, 0]);
//! let geometry = ptx_sim::Geometry { block: [2, 1, 1], check: true, ..Default::default() };
//! ptx_sim::run(&kernel, &mut memory, &geometry, &at.to_le_bytes()).unwrap();
//! assert_eq!(memory.contents(at).unwrap(), [2, 0, 0, 0, 10, 0, 0, 0]);
//! ```

pub mod decode;
pub mod exec;
pub mod fault;
pub mod flow;
pub mod ir;
pub mod memory;
pub mod profile;
pub mod read;
pub mod time;

pub use exec::check::{ShadowUse, earlier::GridLog};
pub use exec::grid::{Geometry, Summary, place_variables, run, run_in_module};
pub use fault::{Fault, FaultKind, Other, Severity};
