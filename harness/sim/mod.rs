//! The simulator: many instances of the component, each with its own SQLite, on one simulated machine,
//! in virtual time, under a scheduler that is driven by a seed.
//!
//! The component is the shipped one, byte for byte: all that it imports comes from here. Workers,
//! workloads, histories and checks are those of real systems, too. Beyond what they judge, an
//! [`audit`] of the files themselves says whether a commit was lost, and native SQLite whether what
//! is left is sound.
//!
//! What must stay true:
//! - The same component, seed and settings go the same way, on every machine, up to the last byte that is
//!   written ([`Simulated::trace_hash`]).
//! - No false alarm: the simulated machine does only what a real one may do.

mod allowed;
pub mod audit;
pub mod calibration;
mod calls;
pub mod cases;
mod checkpointing;
pub mod disk;
pub mod exhaustive;
mod fault;
mod hub;
pub mod locks;
mod machine;
mod places;
mod room;
mod run;
mod schedule;
mod script;
mod settings;
pub mod shrink;
mod simulated;
pub mod sweep;
mod time;
mod trace;
mod world;

pub use fault::{Blow, Fault, FaultPlan, GIVEN_LOSSES_END, Kind, given_loss};
pub use room::Defects;
pub use run::Simulator;
pub use schedule::{Choice, Policy};
pub use script::{Cut, Script, Switch};
pub use settings::{Checkpoints, Settings};
pub use simulated::Simulated;
