//! Graph to Cranelift to callable code, the grid over threads.
