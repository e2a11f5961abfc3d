//! LLVM's globals are initialised when the backend is first used, not when the process starts.
//!
//! LLVM and MLIR hold over six hundred initialisers (command-line options, registries). Run at the start of the process
//! they cost every command some milliseconds, also `tilec check`, which never touches LLVM. A binary that links this
//! crate with `native/late_init.ld` keeps them in a section of its own; [`ensure`] runs that section once. Linked without
//! the script (tests), they run at the start as usual and [`ensure`] does nothing.

use std::sync::Once;

unsafe extern "C" {
    fn tile_ptx_late_init();
}

/// Before the first call into LLVM or MLIR.
pub fn ensure() {
    static ONCE: Once = Once::new();
    // SAFETY: the section holds initialisers that the linker put there, and nothing of LLVM has run before.
    ONCE.call_once(|| unsafe { tile_ptx_late_init() });
}
