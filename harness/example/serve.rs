//! The store as a child process that speaks `PROTOCOL.md`: can be killed and stopped, also from
//! `beaver-harness run -- target/debug/serve-example`.

use beaver_harness::driver::{Embedded, serve};
use beaver_harness_example::Notes;

fn main() -> anyhow::Result<()> {
    serve::serve(&Embedded::<Notes>::new())
}
