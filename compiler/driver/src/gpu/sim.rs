//! The launches of a program on the simulator, on one memory, with what it finds as diagnostics.
//!
//! A finding carries a line of the PTX and, where the compiler wrote `.loc`, a line of the user's file; that line is what
//! the diagnostic points at.

use ptx_sim::{Fault, FaultKind, Severity, Summary, decode, memory::Memory, read};
use tile_base::{Diagnostic, Sources, Span};
use tile_runtime::{Launch, LaunchImage, Sequence, Storage};
use tile_tensor::Arguments;

/// Seeds from here on let asynchronous effects land at random.
const AT_RANDOM: u64 = 2;
/// Findings that are shown of one launch; they tend to repeat.
const SHOWN: usize = 4;

/// What a run is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Races, missing waits and undefined values are looked for.
    Check,
    /// Values alone, with CTAs begun and asynchronous effects landing in an order that this seed makes.
    Shuffle(u64),
}

/// A clean run.
#[derive(Debug, Default)]
pub struct Simulated {
    /// Of each launch.
    pub summaries: Vec<Summary>,
    /// What is suspicious and tolerated in practice (T0865).
    pub notes: Vec<Diagnostic>,
}

/// Runs launches in order; outputs land in the arguments. `ptx` are the modules that the launches name.
pub fn simulate(
    ptx: &[&str],
    sequence: &Sequence,
    arguments: &mut Arguments,
    sources: &Sources,
    purpose: Purpose,
) -> Result<Simulated, Vec<Diagnostic>> {
    let mut modules: Vec<Option<Code>> = ptx.iter().map(|_| None).collect();
    let mut memory = Memory::new();
    let place = |s: &Storage| memory.allocate(&s.name, &s.contents(arguments));
    let addresses: Vec<u64> = sequence.storages.iter().map(place).collect();
    let mut done = Simulated::default();
    for launch in &sequence.launches {
        for (address, bytes) in launch.cleared(&addresses) {
            memory.write(address, &vec![0; bytes]);
        }
        let image = &launch.image;
        if image.geometry.grid.contains(&0) {
            continue;
        }
        let code = match &mut modules[launch.module] {
            Some(read) => read,
            unread => unread.insert(Code::read(ptx[launch.module], image)?),
        };
        let (geometry, parameters) = (geometry(image, purpose), parameters(launch, &addresses)?);
        let summary = run(code, image, &geometry, &mut memory, &parameters, sources)?;
        done.notes.extend(shown(image, &code.module, &summary.notes, sources));
        done.summaries.push(summary);
    }
    for (storage, address) in sequence.storages.iter().zip(addresses) {
        if let (true, Some(bytes)) = (storage.fetched, memory.contents(address)) {
            sequence.store(storage, &bytes, arguments);
        }
    }
    Ok(done)
}

/// A module that was read, and its kernel.
pub(super) struct Code {
    pub module: read::Module,
    pub kernel: ptx_sim::ir::Kernel,
}

impl Code {
    pub fn read(ptx: &str, image: &LaunchImage) -> Result<Code, Vec<Diagnostic>> {
        let unreadable = |e: read::ReadError| vec![refused(image, &e.to_string())];
        let module = read::parse(ptx).map_err(unreadable)?;
        let kernel = decode::kernel(&module, &image.entry).map_err(unreadable)?;
        Ok(Code { module, kernel })
    }
}

/// One launch; what refutes it is an error.
fn run(
    code: &Code,
    image: &LaunchImage,
    geometry: &ptx_sim::Geometry,
    memory: &mut Memory,
    parameters: &[u8],
    sources: &Sources,
) -> Result<Summary, Vec<Diagnostic>> {
    let summary = ptx_sim::run(&code.kernel, memory, geometry, parameters)
        .map_err(|fault| shown(image, &code.module, &[fault], sources))?;
    match summary.findings.is_empty() {
        true => Ok(summary),
        false => Err(shown(image, &code.module, &summary.findings, sources)),
    }
}

/// The parameter bytes of a launch, tensor maps as the simulator has them.
pub(super) fn parameters(launch: &Launch, addresses: &[u64]) -> Result<Vec<u8>, Vec<Diagnostic>> {
    launch
        .parameters(addresses, tile_runtime::simulated)
        .map_err(|e| vec![refused(&launch.image, &format!("a tensor map: {e}"))])
}

pub(super) fn geometry(image: &LaunchImage, purpose: Purpose) -> ptx_sim::Geometry {
    let shuffle = match purpose {
        Purpose::Check => None,
        Purpose::Shuffle(seed) => Some(seed),
    };
    ptx_sim::Geometry {
        grid: image.geometry.grid,
        block: image.geometry.block,
        cluster: image.geometry.cluster,
        dynamic_shared: image.geometry.shared as usize,
        check: purpose == Purpose::Check,
        seed: shuffle.map_or(0, |seed| AT_RANDOM + seed),
        cta_order: shuffle,
        ..ptx_sim::Geometry::default()
    }
}

pub(super) fn shown(
    image: &LaunchImage,
    module: &read::Module,
    faults: &[Fault],
    sources: &Sources,
) -> Vec<Diagnostic> {
    // What check mode had found before a fault ended the run often is its cause.
    let mut all: Vec<&Fault> = faults.iter().flat_map(|f| f.before.iter().chain([f])).collect();
    all.sort_by_key(|f| f.severity);
    all.into_iter().take(SHOWN).map(|f| finding(image, module, f, sources)).collect()
}

pub(super) fn refused(image: &LaunchImage, why: &str) -> Diagnostic {
    Diagnostic::global("T0864", format!("the simulator does not run the PTX of `{}`: {why}", image.entry))
        .help("this is a fault of the compiler or of the simulator; `--emit ptx` shows the text")
}

fn finding(image: &LaunchImage, module: &read::Module, fault: &Fault, sources: &Sources) -> Diagnostic {
    if matches!(fault.kind, FaultKind::Launch | FaultKind::NotSupported | FaultKind::StepLimit) {
        return refused(image, &format!("{} (PTX line {})", fault.message, fault.line));
    }
    let (code, verdict) = match fault.severity {
        Severity::Refuted => ("T0863", "the simulator refutes"),
        Severity::Note => ("T0865", "the simulator has doubts about"),
    };
    let message = format!("{verdict} `{}`: {:?}: {}", image.entry, fault.kind, fault.message);
    let mut d = match place(module, fault.loc, sources) {
        Some(span) => Diagnostic::error(code, span, message).label("the instruction is of this line"),
        None => Diagnostic::global(code, message),
    };
    let lane = fault.lane.map(|l| format!(", lane {l}")).unwrap_or_default();
    let [x, y, z] = fault.cta;
    d = d.note(format!("PTX line {}, CTA {x},{y},{z}, warp {}{lane}", fault.line, fault.warp));
    if let Some(other) = &fault.other {
        let [x, y, z] = other.cta;
        let who = format!("PTX line {}, CTA {x},{y},{z}, warp {}", other.line, other.warp);
        d = match place(module, other.loc, sources) {
            Some(span) => d.also(span, format!("the other access: {who}")),
            None => d.note(format!("the other access: {who}")),
        };
    }
    if let Some(missing) = fault.missing {
        d = d.note(missing);
    }
    if fault.severity == Severity::Note {
        d.severity = tile_base::diagnostic::Severity::Note;
    }
    d.help("unless the kernel reads or writes out of its tensors, this is a fault of the compiler")
}

/// The line of a `.loc`, as far as it is of a file of this session.
fn place(module: &read::Module, (file, line): (u32, u32), sources: &Sources) -> Option<Span> {
    let (_, name) = module.files.iter().find(|(number, _)| *number == file)?;
    let found =
        |source: &str| name == source || name.ends_with(&format!("/{}", source.trim_start_matches('/')));
    let (id, source) = sources.iter().find(|(_, s)| found(&s.name))?;
    let before = source.text.split_inclusive('\n').take(line.checked_sub(1)? as usize);
    let start = before.map(str::len).sum::<usize>();
    let text = source.text.get(start..)?.lines().next()?;
    let indent = text.len() - text.trim_start().len();
    Some(Span::new(id, start + indent, start + text.trim_end().len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tile_base::{
        DType, Mode, Signature, Size,
        signature::{ParamKind, TensorParam},
    };
    use tile_runtime::Geometry;
    use tile_tensor::{Argument, Tensor};

    /// Thread n stores 1.0 to element n of `y`; line 2 of `k.tile` has it.
    const STORE: &str = r#"
.version 8.0
.target sm_80
.address_size 64
.visible .entry k(.param .u64 y, .param .u64 stride, .param .u64 m) {
    .reg .b64 %rd<4>; .reg .b32 %r<2>; .reg .f32 %f<2>;
    .loc 1 2 5
    ld.param.u64 %rd1, [y];
    mov.u32 %r1, %tid.x;
    mul.wide.u32 %rd2, %r1, 4;
    add.s64 %rd3, %rd1, %rd2;
    mov.f32 %f1, 0f3F800000;
    st.global.f32 [%rd3], %f1;
    ret;
}
.file 1 "/somewhere/k.tile"
"#;

    fn launch(elements: usize, ptx: &str) -> (Result<Simulated, Vec<Diagnostic>>, Arguments, Sources) {
        let y = TensorParam {
            name: "y".into(),
            mode: Mode::Out,
            optional: false,
            present: true,
            dtype: DType::F32,
            index: None,
            distinct: false,
            shape: vec![Size::name("M")],
        };
        let signature = Signature {
            kernel: "k".into(),
            params: vec![ParamKind::Tensor(y)],
            dims: vec!["M".into()],
            consts: vec![],
            facts: vec![],
        };
        let mut sources = Sources::default();
        sources.add("k.tile", "kernel k() {\n    y[i] = 1.0;\n}\n");
        let mut arguments = Arguments(vec![Argument::Tensor(Tensor::zeros(DType::F32, &[elements]))]);
        let geometry = Geometry { grid: [1; 3], block: [32, 1, 1], cluster: [1; 3], shared: 0 };
        let image = LaunchImage::new("k", &signature, &arguments, &[elements as i64], geometry).unwrap();
        let sequence = Sequence::single(&signature, &arguments, image);
        let result = simulate(&[ptx], &sequence, &mut arguments, &sources, Purpose::Check);
        (result, arguments, sources)
    }

    #[test]
    fn outputs_land_in_the_arguments() {
        let (result, arguments, _) = launch(32, STORE);
        assert_eq!(result.unwrap().summaries[0].ctas, 1);
        assert_eq!(arguments[0].tensor().unwrap().to_f64_vec(), [1.0; 32]);
    }

    #[test]
    fn a_store_past_the_end_is_shown_at_the_line_of_the_kernel() {
        let (result, _, sources) = launch(20, STORE);
        let found = result.unwrap_err();
        assert_eq!(found[0].code, "T0863");
        assert!(found[0].message.contains("OutOfBounds"), "{}", found[0].message);
        assert_eq!(sources.snippet(found[0].primary.unwrap()), "y[i] = 1.0;");
        assert!(found[0].notes[0].contains("lane 20"), "{:?}", found[0].notes);
    }

    #[test]
    fn what_the_simulator_cannot_read_is_no_finding_about_the_kernel() {
        let (result, ..) = launch(32, &STORE.replace("mul.wide.u32", "frobnicate.u32"));
        let found = result.unwrap_err();
        assert!(found[0].code == "T0864" && found[0].message.contains("frobnicate"), "{found:?}");
    }

    #[test]
    fn a_location_is_found_in_the_file_it_names() {
        let mut sources = Sources::default();
        let file = sources.add("dir/k.tile", "kernel k() {\n    y[i] = x[i];\n}\n");
        let module = read::Module { files: vec![(1, "/elsewhere/dir/k.tile".into())], ..Default::default() };
        assert_eq!(place(&module, (1, 2), &sources), Some(Span::new(file, 17, 29)));
        assert_eq!(sources.snippet(place(&module, (1, 2), &sources).unwrap()), "y[i] = x[i];");
        assert_eq!(place(&module, (2, 2), &sources), None);
        assert_eq!(place(&module, (1, 99), &sources), None);
    }
}
