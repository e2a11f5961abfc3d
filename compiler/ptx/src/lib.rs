//! Plan to MLIR (melior) to LLVM (inkwell) to PTX: the only crate that links LLVM.
