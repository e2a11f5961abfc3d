//! Prints a typed kernel: `cargo run -p tile-sema --example typed -- FILE KERNEL T=f16 D=64`.

#[path = "../tests/support/mod.rs"]
mod support;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [file, kernel, rest @ ..] = &args[..] else {
        eprintln!("usage: typed FILE KERNEL [NAME=VALUE]…");
        std::process::exit(2);
    };
    let loaded = support::load_file(std::path::Path::new(file));
    print!("{}", support::show(&loaded, &loaded.syntax));
    match tile_sema::instantiate(&loaded.module, kernel, &support::instance(&rest.join(" "))) {
        Ok(k) => print!("{}", k.print()),
        Err(diagnostics) => print!("{}", support::show(&loaded, &diagnostics)),
    }
}
