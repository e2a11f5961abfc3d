//! Layout algebra: registers, lanes, warps to tile coordinates to swizzled shared memory.
