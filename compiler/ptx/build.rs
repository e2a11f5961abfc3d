//! Compiles `native/late_init.c`.

fn main() {
    println!("cargo:rerun-if-changed=native/late_init.c");
    cc::Build::new().file("native/late_init.c").compile("tile_late_init");
}
