//! What a host calls: launches in order, temporaries between them, host integers (language rule 19).
//!
//! A kernel alone is a program of one launch whose arguments are the program's own parameters.

use crate::ir::Graph;
use tile_base::{DType, IndexKind, Signature, Size};

/// A buffer that lives from its first writer to its last reader. It starts at zero when its writer's mode is `sum`.
#[derive(Clone, Debug)]
pub struct Temp {
    pub name: String,
    pub dtype: DType,
    pub index: Option<IndexKind>,
    pub shape: Vec<Size>,
}

/// An argument of a launch.
#[derive(Clone, Debug)]
pub enum Arg {
    /// Parameter of the program, by position.
    Param(usize),
    /// A temporary, by position.
    Temp(usize),
    /// Part of one: dimensions fixed at host integers (dropped) or cut to `lo..hi`.
    Part {
        of: Box<Arg>,
        subscripts: Vec<Part>,
    },
    /// A scalar.
    Size(Size),
    Float(f64),
    /// An optional parameter that is left out.
    Absent,
}

#[derive(Clone, Debug)]
pub enum Part {
    At(Size),
    All,
    Range(Size, Size),
}

/// Host code. It computes integers and launches; it never reads device data.
#[derive(Clone, Debug)]
pub enum Step {
    Launch { graph: usize, args: Vec<Arg> },
    Let { name: String, value: Size },
    For { name: String, lo: Size, hi: Size, body: Vec<Step> },
    If { lhs: Size, op: tile_base::signature::Relation, rhs: Size, then: Vec<Step>, otherwise: Vec<Step> },
}

#[derive(Clone, Debug)]
pub struct Program {
    pub signature: Signature,
    pub temps: Vec<Temp>,
    pub graphs: Vec<Graph>,
    pub steps: Vec<Step>,
}

impl Program {
    /// A kernel alone.
    pub fn single(graph: Graph) -> Program {
        let signature = graph.signature.clone();
        let args = (0..signature.params.len()).map(Arg::Param).collect();
        Program {
            signature,
            temps: vec![],
            graphs: vec![graph],
            steps: vec![Step::Launch { graph: 0, args }],
        }
    }
}
