//! The session: stages in order, diagnostics, cache keys.
