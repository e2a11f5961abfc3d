//! Emitted PTX on the simulator: the launcher's part, with host tensors for device memory.
//!
//! Arguments follow `docs/abi.md`: for each tensor that is present its pointer and one stride per dimension in elements,
//! then the run-time dimensions, then the scalars. Buffers are copied in, the grid runs, what may be written is copied
//! back. A refutation is a diagnostic with the PTX line, the CTA, the warp and the lane.

use ptx_sim::{Fault, FaultKind, Geometry, decode, ir::Kernel, memory::Memory, read};
use tile_base::{DType, Diagnostic, Signature, signature::ParamKind};
use tile_plan::Plan;
use tile_tensor::{Argument, Arguments, Scalar, convert};

/// Instructions one warp may execute before the run is given up.
const STEP_LIMIT: u64 = 1 << 32;

/// What the emitter says of one launch.
pub struct Emitted<'a> {
    pub ptx: &'a str,
    pub entry: &'a str,
    pub plan: &'a Plan,
    pub signature: &'a Signature,
}

/// Runs one launch on complete arguments; thread-instructions executed.
pub fn launch(emitted: &Emitted, arguments: &mut Arguments, dims: &[i64]) -> Result<u64, Vec<Diagnostic>> {
    let kernel = load(emitted).map_err(|d| vec![d])?;
    check_requirements(emitted, arguments)?;
    let mut memory = Memory::new();
    let mut block = Block::default();
    let buffers = pass_arguments(emitted.signature, arguments, dims, &mut memory, &mut block);
    let geometry = Geometry {
        grid: [blocks(emitted, dims).map_err(|d| vec![d])?, 1, 1],
        block: [emitted.plan.threads(), 1, 1],
        dynamic_shared: emitted.plan.shared_bytes() as usize,
        step_limit: STEP_LIMIT,
    };
    let summary =
        ptx_sim::run(&kernel, &mut memory, &geometry, &block.bytes).map_err(|f| vec![refuted(emitted, &f)])?;
    for (argument, base) in arguments.iter_mut().zip(buffers) {
        if let (Some(tensor), Some(base)) = (argument.tensor_mut(), base)
            && let Some(bytes) = memory.contents(base)
        {
            tensor.bytes_mut().copy_from_slice(&bytes);
        }
    }
    Ok(summary.thread_instructions)
}

fn load(emitted: &Emitted) -> Result<Kernel, Diagnostic> {
    let unreadable = |e: read::ReadError| {
        Diagnostic::global("T0791", format!("`{}`: the simulator cannot read the emitted PTX: {e}", emitted.entry))
    };
    let module = read::parse(emitted.ptx).map_err(unreadable)?;
    decode::kernel(&module, emitted.entry).map_err(unreadable)
}

fn refuted(emitted: &Emitted, fault: &Fault) -> Diagnostic {
    let code = if fault.kind == FaultKind::Launch { "T0792" } else { "T0790" };
    Diagnostic::global(code, format!("`{}` is refuted by the simulator: {fault}", emitted.entry))
}

/// The parameter block, each value at its natural alignment.
#[derive(Default)]
struct Block {
    bytes: Vec<u8>,
}

impl Block {
    fn push(&mut self, value: &[u8]) {
        self.bytes.resize(self.bytes.len().next_multiple_of(value.len()), 0);
        self.bytes.extend_from_slice(value);
    }
}

/// Places every tensor and fills the block; the base address of each argument's buffer.
fn pass_arguments(
    signature: &Signature,
    arguments: &Arguments,
    dims: &[i64],
    memory: &mut Memory,
    block: &mut Block,
) -> Vec<Option<u64>> {
    let mut buffers = vec![];
    for (param, argument) in signature.params.iter().zip(arguments.iter()) {
        let (ParamKind::Tensor(p), Argument::Tensor(t)) = (param, argument) else {
            buffers.push(None);
            continue;
        };
        if !p.present {
            buffers.push(None);
            continue;
        }
        let base = memory.allocate(&p.name, t.bytes());
        block.push(&(base + (t.offset() * t.dtype.bits() / 8) as u64).to_le_bytes());
        for stride in &t.strides {
            block.push(&stride.to_le_bytes());
        }
        buffers.push(Some(base));
    }
    for dim in dims {
        block.push(&dim.to_le_bytes());
    }
    for (param, argument) in signature.params.iter().zip(arguments.iter()) {
        if let (ParamKind::Scalar(p), Argument::Scalar(value)) = (param, argument) {
            push_scalar(block, p.dtype, *value);
        }
    }
    buffers
}

fn push_scalar(block: &mut Block, dtype: DType, value: Scalar) {
    let bits = if dtype.is_float() {
        convert::encode(dtype, value.to_f64())
    } else {
        convert::encode_int(dtype, value.to_i64())
    };
    block.push(&bits.to_le_bytes()[..dtype.bits().div_ceil(8)]);
}

/// Number of blocks: the product of the plan's grid axes at these dimensions.
fn blocks(emitted: &Emitted, dims: &[i64]) -> Result<u32, Diagnostic> {
    let names = &emitted.signature.dims;
    let lookup = |name: &str| names.iter().position(|n| n == name).map(|at| dims[at]);
    let mut total: i64 = 1;
    for axis in &emitted.plan.grid {
        let count = axis
            .count
            .eval(&lookup)
            .map_err(|e| Diagnostic::global("T0792", format!("`{}`: grid axis `{}`: {e}", emitted.entry, axis.name)))?;
        total = total.saturating_mul(count.max(0));
    }
    u32::try_from(total)
        .map_err(|_| Diagnostic::global("T0792", format!("`{}`: a grid of {total} blocks", emitted.entry)))
}

/// What the code assumes of strides and extents and the launcher has to look at.
fn check_requirements(emitted: &Emitted, arguments: &Arguments) -> Result<(), Vec<Diagnostic>> {
    let mut found = vec![];
    for r in &emitted.plan.requirements {
        let Some(t) = arguments.0.get(r.param).and_then(Argument::tensor) else { continue };
        let element = (t.dtype.bits() / 8).max(1) as i64;
        let unit = t.shape[r.unit] <= 1 || t.strides[r.unit] == 1;
        let aligned = (0..t.rank())
            .all(|d| d == r.unit || t.shape[d] <= 1 || t.strides[d] * element % r.bytes as i64 == 0)
            && t.offset() as i64 * element % r.bytes as i64 == 0;
        let whole = t.shape[r.unit] % r.multiple.max(1) as usize == 0;
        if !(unit && aligned && whole) {
            let message = format!(
                "`{}` has strides {:?} and extent {} along dimension {}; this code needs stride 1 there, {}-byte steps \
                 elsewhere and a multiple of {}",
                r.name, t.strides, t.shape[r.unit], r.unit, r.bytes, r.multiple
            );
            found.push(Diagnostic::global("T0793", message).help("compile for general strides"));
        }
    }
    if found.is_empty() { Ok(()) } else { Err(found) }
}
