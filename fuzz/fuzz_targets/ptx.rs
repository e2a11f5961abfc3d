//! Any text as PTX: read, decoded, and run for a few steps.
//!
//! What must hold: a kernel or a typed error, never a panic; a run ends within its step limit, with results or a fault.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ptx_sim::{Geometry, memory::Memory};

fuzz_target!(|text: &str| {
    let Ok(module) = ptx_sim::read::parse(text) else { return };
    for function in module.functions.iter().take(4) {
        let Ok(kernel) = ptx_sim::decode::kernel(&module, &function.name) else { continue };
        let mut memory = Memory::new();
        let at = memory.allocate("p", &[0; 256]);
        let parameters: Vec<u8> = at.to_le_bytes().repeat(16);
        let geometry = Geometry { block: [33, 1, 1], check: true, step_limit: 2000, ..Default::default() };
        let _ = ptx_sim::run(&kernel, &mut memory, &geometry, &parameters);
    }
});
