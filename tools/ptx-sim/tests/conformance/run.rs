//! Runs cases on the simulator and compares.

use super::case::{Case, Tolerance};
use ptx_sim::{Geometry, decode, memory::Memory, read};

/// The output, or what went wrong.
fn simulate(case: &Case) -> Result<Vec<u8>, String> {
    let text = format!("{}{}", case.target.header(), case.text);
    let module = read::parse(&text).map_err(|e| e.to_string())?;
    let kernel = decode::kernel(&module, &case.entry).map_err(|e| e.to_string())?;
    let mut memory = Memory::new();
    let input = memory.allocate("in", &case.input);
    let output = memory.allocate("out", &case.before);
    let params = [input.to_le_bytes(), output.to_le_bytes()].concat();
    let geometry = Geometry {
        grid: [case.blocks, 1, 1],
        block: [case.threads, 1, 1],
        step_limit: 1 << 20,
        ..Geometry::default()
    };
    ptx_sim::run(&kernel, &mut memory, &geometry, &params).map_err(|f| f.to_string())?;
    memory.contents(output).ok_or_else(|| "no output".into())
}

/// The first difference between what came out and what had to.
pub fn difference(case: &Case, got: &[u8]) -> Option<String> {
    let step = match case.tolerance {
        Tolerance::Exact => 8,
        Tolerance::Single { .. } => 4,
        Tolerance::Relative { bits, .. } => bits as usize / 8,
    };
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |v, b| v << 8 | *b as u64);
    for (n, (g, e)) in got.chunks(step).zip(case.expected.chunks(step)).enumerate() {
        let (g, e) = (word(g), word(e));
        let equal = g == e
            || match case.tolerance {
                Tolerance::Exact => false,
                Tolerance::Single { ulps, absolute } => {
                    let (x, y) = (f32::from_bits(g as u32), f32::from_bits(e as u32));
                    let apart = (x as f64 - y as f64).abs();
                    apart <= absolute || apart <= ulps as f64 * (y.abs().next_up() - y.abs()) as f64
                }
                Tolerance::Relative { error, .. } => {
                    let (x, y) =
                        (half::f16::from_bits(g as u16).to_f64(), half::f16::from_bits(e as u16).to_f64());
                    (x - y).abs() <= error * y.abs().max(1e-4)
                }
            };
        if !equal {
            let at = n * step;
            return Some(format!("at byte {at}: {g:#x}, not {e:#x}{}", input_at(case, at)));
        }
    }
    (got.len() != case.expected.len()).then(|| format!("{} bytes, not {}", got.len(), case.expected.len()))
}

/// The input of the thread that wrote the byte, where each has an equal share.
fn input_at(case: &Case, byte: usize) -> String {
    let threads = (case.blocks * case.threads) as usize;
    if !case.input.len().is_multiple_of(8 * threads)
        || !case.expected.len().is_multiple_of(threads)
        || case.input.is_empty()
    {
        return String::new();
    }
    let (per_input, per_output) = (case.input.len() / threads, case.expected.len() / threads);
    let from = byte / per_output * per_input;
    let slots: Vec<String> = case.input[from..from + per_input]
        .chunks(8)
        .map(|c| format!("{:#x}", u64::from_le_bytes(c.try_into().unwrap())))
        .collect();
    format!(" of ({})", slots.join(", "))
}

fn check(family: &str) {
    let (_, make) = super::FAMILIES.iter().find(|(name, _)| *name == family).unwrap();
    let cases = make();
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| match simulate(case) {
            Err(error) => Some(format!("{}: {error}", case.name)),
            Ok(got) => difference(case, &got).map(|d| format!("{}: {d}", case.name)),
        })
        .collect();
    println!("{family}: {} cases", cases.len());
    let shown = failures.iter().take(40).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} of {} cases differ\n{shown}", failures.len(), cases.len());
}

a_test_for_each_family!();
