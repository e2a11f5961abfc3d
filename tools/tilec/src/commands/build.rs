//! `tilec build`: one kernel through the stages, any of them printed.

use super::{given, show, show_times, taken};
use crate::{
    cli::{Build, Stage},
    output,
};
use tile_base::Diagnostic;
use tile_driver::{Session, emit, functions};

pub fn run(args: Build) -> bool {
    let mut session = Session::new();
    let result = build(&mut session, &args);
    let good = match result {
        Ok(texts) => write(&session, &args, &texts),
        Err(found) => show(&session, &found),
    };
    if args.time {
        show_times(&session);
    }
    good
}

fn name(stage: Stage) -> emit::Stage {
    match stage {
        Stage::Ast => emit::Stage::Ast,
        Stage::Typed => emit::Stage::Typed,
        Stage::Graph => emit::Stage::Graph,
        Stage::Plan => emit::Stage::Plan,
        Stage::Mlir => emit::Stage::Mlir,
        Stage::Llvm => emit::Stage::Llvm,
        Stage::Ptx => emit::Stage::Ptx,
    }
}

fn build(session: &mut Session, args: &Build) -> Result<Vec<(emit::Stage, String)>, Vec<Diagnostic>> {
    let given = given(&args.choose)?;
    let loaded = session.load_with(&args.file, &functions::modules(&given))?;
    let stages: Vec<emit::Stage> = args.emit.iter().map(|&s| name(s)).collect();
    let built = emit::build(session, &loaded, args.choose.kernel.as_deref(), &given, &args.target, &stages)?;
    if let Some(line) = taken(&built.taken, &built.test) {
        output::tell(&line);
    }
    show(session, &built.notes);
    Ok(built.texts)
}

fn write(session: &Session, args: &Build, texts: &[(emit::Stage, String)]) -> bool {
    let mut good = true;
    for (stage, text) in texts {
        match &args.output {
            None if texts.len() == 1 => output::print(text),
            None => output::print(&format!("// ==== {} ====\n{text}\n", stage.name())),
            Some(path) => {
                let path = if texts.len() == 1 { path.clone() } else { format!("{path}.{}", stage.name()) };
                if let Err(e) = std::fs::write(&path, text) {
                    let d = Diagnostic::global("T0846", format!("`{path}` cannot be written: {e}"))
                        .help("check the folder and its rights");
                    good &= show(session, &[d]);
                }
            }
        }
    }
    good
}
