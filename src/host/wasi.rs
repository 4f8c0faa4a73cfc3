//! What a guest gets of WASI: clocks, random numbers, waiting for them, and what Rust's standard library
//! wants to be there (an empty environment, the end of the program, standard streams).
//!
//! What must stay true: no file system and no sockets, not even empty ones. A component that imports them
//! isn't started.

use wasmtime::component::Linker;
use wasmtime_wasi::WasiView;
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::p2;
use wasmtime_wasi::p2::bindings::{cli, random};
use wasmtime_wasi::random::WasiRandom;

/// Clocks, random numbers, streams and the streams of the command line come in one call, because they are
/// what wasmtime links for HTTP handlers.
pub(crate) fn add_to_linker<T: WasiView>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    p2::add_to_linker_proxy_interfaces_async(linker)?;
    random::insecure::add_to_linker::<T, WasiRandom>(linker, |view| view.ctx().ctx.random())?;
    random::insecure_seed::add_to_linker::<T, WasiRandom>(linker, |view| view.ctx().ctx.random())?;
    cli::environment::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    cli::exit::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    cli::terminal_input::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    cli::terminal_output::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    cli::terminal_stdin::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    cli::terminal_stdout::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    cli::terminal_stderr::add_to_linker::<T, WasiCli>(linker, T::cli)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::State;
    use wasmtime::Engine;
    use wasmtime::component::Component;

    #[test]
    fn files_and_sockets_are_not_there_to_be_imported() {
        let engine = Engine::default();
        let mut linker = Linker::<State>::new(&engine);
        add_to_linker(&mut linker).unwrap();
        let is_linked = |name: &str, function: &str| {
            let text = format!(
                r#"(component (import "wasi:{name}@0.2.0" (instance (export "{function}" (func)))))"#
            );
            let component = Component::new(&engine, wat::parse_str(text).unwrap()).unwrap();
            let said = linker.instantiate_pre(&component).err();
            // If it is there, its type is another.
            !format!("{:#}", said.unwrap()).ends_with("implementation is missing")
        };
        assert!(is_linked("random/random", "get-random-u64"));
        assert!(is_linked("cli/environment", "get-environment"));
        assert!(!is_linked("filesystem/preopens", "get-directories"));
        assert!(!is_linked("sockets/instance-network", "instance-network"));
        assert!(!is_linked("sockets/tcp-create-socket", "create-tcp-socket"));
        assert!(!is_linked("http/outgoing-handler", "handle"));
    }
}
