//! The fused tile graph: operations, regions, memory effects, obligations.
