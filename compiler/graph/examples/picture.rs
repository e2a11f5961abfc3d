//! `cargo run -p tile-graph --features samples --example picture -- OUT.svg`: the picture of flash_fwd.

fn main() -> std::io::Result<()> {
    let graph = tile_graph::samples::flash(tile_base::DType::F16, 64, true);
    match std::env::args().nth(1) {
        Some(path) => std::fs::write(path, tile_graph::svg(&graph)),
        None => {
            print!("{}", tile_graph::svg(&graph));
            Ok(())
        }
    }
}
