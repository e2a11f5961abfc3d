//! f64 evaluation of specs and graphs.
