//! Arguments of one program from those of another that has the same names.

use tile_base::{Signature, signature::ParamKind};
use tile_tensor::{Argument, Arguments};

/// What `given` knows by name; the rest, and every output, is absent.
pub(super) fn passed(signature: &Signature, given: &dyn Fn(&str) -> Option<Argument>) -> Arguments {
    let one = |p: &ParamKind| match p {
        ParamKind::Tensor(t) if !t.present || !t.mode.reads() => Argument::Absent,
        p => given(p.name()).unwrap_or(Argument::Absent),
    };
    Arguments(signature.params.iter().map(one).collect())
}
