//! Checks files (`typed FILE…`) or prints one typed kernel or op (`typed --print FILE NAME T=f16 D=64 -absent`).

#[path = "../tests/support/mod.rs"]
mod support;

use std::{path::Path, time::Instant};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args[..] {
        [flag, file, name, rest @ ..] if flag == "--print" => print(file, name, &rest.join(" ")),
        files => files.iter().for_each(|f| check(f)),
    }
}

fn print(file: &str, name: &str, instance: &str) {
    let loaded = support::load_file(Path::new(file));
    print!("{}", support::show(&loaded, &loaded.syntax));
    let instance = support::instance(instance);
    let text = match loaded.module.op(loaded.module.main(), name) {
        Some(_) => tile_sema::instantiate_op(&loaded.module, name, &instance).map(|p| p.print()),
        None => tile_sema::instantiate(&loaded.module, name, &instance).map(|k| k.print()),
    };
    match text {
        Ok(text) => print!("{text}"),
        Err(diagnostics) => print!("{}", support::show(&loaded, &diagnostics)),
    }
}

fn check(file: &str) {
    let loaded = support::load_file(Path::new(file));
    let start = Instant::now();
    let found = tile_sema::check(&loaded.module);
    println!("{file}: {} in {:.2} ms", found.len(), start.elapsed().as_secs_f64() * 1e3);
    print!("{}{}", support::show(&loaded, &loaded.syntax), support::show(&loaded, &found));
}
