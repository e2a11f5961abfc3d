//! Tokens, nom parser with recovery, AST, formatter.
