//! Formats the file named on the command line to standard output; with `--tree`, shows its tree.

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let tree = args.iter().position(|a| a == "--tree").map(|at| args.remove(at)).is_some();
    for path in args {
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let parsed = tile_syntax::parse(tile_base::FileId(0), &text);
        for d in &parsed.diagnostics {
            eprintln!(
                "{path}: {} {} at {:?} {:?}",
                d.code,
                d.message,
                d.primary.map(|s| &text[s.range()]),
                d.help
            );
        }
        print!(
            "{}",
            if tree { tile_syntax::print_tree(&parsed.file) } else { tile_syntax::format(&parsed.file) }
        );
    }
}
