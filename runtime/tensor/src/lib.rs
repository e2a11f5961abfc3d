//! Tensors in host memory: strides, dtypes, files, random data.
