//! `beaver-harness`: see `beaver-harness help`.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
