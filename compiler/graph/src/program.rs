//! What a host calls: launches in order, temporaries between them, host integers (language rule 19).
//!
//! A kernel alone is a program of one launch whose arguments are the program's own parameters.

use crate::ir::Graph;
use std::collections::BTreeMap;
use tile_base::{DType, IndexKind, Signature, Size, signature::ParamKind};

/// A buffer that lives from its first writer to its last reader. It starts at zero when its writer's mode is `sum`.
#[derive(Clone, Debug)]
pub struct Temp {
    pub name: String,
    pub dtype: DType,
    pub index: Option<IndexKind>,
    pub shape: Vec<Size>,
    /// Made by the compiler between launches that it split: they read just what they wrote, which need not be all of it.
    pub workspace: bool,
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

/// Sizes of a launch in the program's own names.
impl Program {
    /// What the dimensions of a launched graph are: those that are an extent of an argument, alone or with a constant
    /// added (`NS + 1`).
    pub fn dims_of_launch(&self, graph: usize, args: &[Arg]) -> BTreeMap<String, Size> {
        let mut found = BTreeMap::new();
        for (param, arg) in self.graphs[graph].signature.params.iter().zip(args) {
            let (ParamKind::Tensor(t), Some(shape)) = (param, self.shape(arg)) else { continue };
            for (wanted, given) in t.shape.iter().zip(shape) {
                let [name] = wanted.names()[..] else { continue };
                let beyond = Size::Sub(wanted.clone().into(), Size::name(name).into()).simplified_const();
                let value = match beyond {
                    Some(0) => given,
                    Some(more) => Size::Sub(given.into(), Size::Const(more).into()),
                    None => continue,
                };
                found.entry(name.to_string()).or_insert(value);
            }
        }
        found
    }

    /// The shape of a tensor argument.
    fn shape(&self, arg: &Arg) -> Option<Vec<Size>> {
        match arg {
            Arg::Param(at) => match self.signature.params.get(*at)? {
                ParamKind::Tensor(t) if t.present => Some(t.shape.clone()),
                _ => None,
            },
            Arg::Temp(at) => Some(self.temps.get(*at)?.shape.clone()),
            Arg::Part { of, subscripts } => {
                let whole = self.shape(of)?;
                let kept =
                    whole.into_iter().enumerate().filter_map(|(axis, extent)| match subscripts.get(axis) {
                        Some(Part::At(_)) => None,
                        Some(Part::Range(lo, hi)) => Some(Size::Sub(hi.clone().into(), lo.clone().into())),
                        Some(Part::All) | None => Some(extent),
                    });
                Some(kept.collect())
            }
            Arg::Size(_) | Arg::Float(_) | Arg::Absent => None,
        }
    }
}
