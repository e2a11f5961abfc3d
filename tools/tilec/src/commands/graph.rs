//! `tilec graph`: the graph of a kernel as Graphviz text or as a picture.

use super::{given, show, taken};
use crate::{cli::Graph, output};
use tile_base::Diagnostic;
use tile_driver::{Session, emit, functions};

pub fn run(args: Graph) -> bool {
    let mut session = Session::new();
    match draw(&mut session, &args) {
        Ok(()) => true,
        Err(found) => show(&session, &found),
    }
}

fn draw(session: &mut Session, args: &Graph) -> Result<(), Vec<Diagnostic>> {
    let given = given(&args.choose)?;
    let loaded = session.load_with(&args.file, &functions::modules(&given))?;
    let stage = if args.format.svg { emit::Stage::Svg } else { emit::Stage::Dot };
    let built = emit::build(session, &loaded, args.choose.kernel.as_deref(), &given, "sm_90", &[stage])?;
    if let Some(line) = taken(&built.taken, &built.test) {
        output::tell(&line);
    }
    let text = built.texts.into_iter().map(|(_, t)| t).collect::<String>();
    match &args.output {
        None => output::print(&text),
        Some(path) => std::fs::write(path, text).map_err(|e| {
            let message = format!("`{path}` cannot be written: {e}");
            vec![Diagnostic::global("T0846", message).help("check the folder and its rights")]
        })?,
    }
    Ok(())
}
