//! Compiles `vfs/fence.c` for wasm.

fn main() {
    println!("cargo::rerun-if-changed=vfs/fence.c");
    if std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("wasm32") {
        cc::Build::new()
            .file("vfs/fence.c")
            .flag("-matomics")
            .opt_level(2)
            .compile("beaver_fence");
    }
}
