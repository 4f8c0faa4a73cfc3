//! Proves or refutes what a concurrent store claims: atomic read-modify-write,
//! exactly-once queues, locks that are exclusive, fair and bounded in time, crash safety.
//!
//! A *driver* makes a system usable ([`driver`]; any language, `PROTOCOL.md`). A *workload* or a
//! *scenario* says what its clients do ([`step`], [`program`]), the runner does it, injects
//! faults and writes a *history* ([`history`], `HISTORY.md`), and *checks* read the history and
//! say what is certainly wrong with it ([`check`]).
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
pub mod step;
pub mod suite;
pub mod workload;
