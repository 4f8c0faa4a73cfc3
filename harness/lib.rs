//! Proves or refutes what a concurrent store claims: atomic read-modify-write,
//! exactly-once queues, locks that are exclusive, fair and bounded in time, crash safety.
//!
//! A *driver* makes a system usable ([`driver`]; any language, `PROTOCOL.md`). A *workload* or a
//! *scenario* says what its clients do ([`step`], [`program`]), the runner does it, injects
//! faults and writes a *history* ([`history`], `HISTORY.md`), and *checks* read the history and
//! say what is certainly wrong with it ([`check`]).
//!
//! # In `cargo test`
//!
//! A store in Rust implements [`driver::Store`]; then one line in `tests/suite.rs` makes a test of
//! every workload and scenario that it offers enough for:
//!
//! ```
//! # mod tests {
//! # use beaver_harness::driver::Store;
//! # use beaver_harness::protocol::{Capability, Failure, Init, Op};
//! # struct MyStore;
//! # impl Store for MyStore {
//! #     const NAME: &'static str = "my-store";
//! #     const CAPABILITIES: &'static [Capability] = &[];
//! #     fn open(_: &Init) -> Result<Self, Failure> { Ok(Self) }
//! #     fn call(&mut self, _: &Op) -> Result<serde_json::Value, Failure> { todo!() }
//! # }
//! beaver_harness::suite!(beaver_harness::driver::Embedded::<MyStore>::new());
//! # }
//! ```
//!
//! `cargo test lock_` runs what is about locks. A test that fails says what is wrong, where the
//! history is kept, and how to run it again with the same seed. Any [`Driver`](driver::Driver)
//! will do: a [`StdioDriver`](driver::StdioDriver) for another language, or for processes that can
//! be killed. See [`suite!`], [`suite::assert`] for a test of one's own, and the crate
//! `beaver-harness-example` beside this one.
//!
//! # Invariant
//!
//! What must stay true: whatever decides about right or wrong is in a check, and a check is a
//! pure function of the history. So a verdict can be reproduced from the file alone.

pub mod catalog;
pub mod check;
pub mod driver;
pub mod history;
pub mod program;
pub mod protocol;
pub mod report;
pub mod run;
pub mod scenario;
pub mod shrink;
#[cfg(feature = "component")]
pub mod sim;
pub mod step;
pub mod suite;
pub mod workload;
