//! Names, types, symbolic shapes, specialisation: AST to typed kernel.
