//! Typed kernel to fused tile graph.
