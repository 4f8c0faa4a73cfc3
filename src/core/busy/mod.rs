//! How long, and how, a connection waits for locks of SQLite's that others hold.
//!
//! SQLite's own way asks again after 1, 2, 5, 10 … and in the end 100 ms. Beside writers that ask
//! more often, as instances in a host do, whoever waits so gets few turns: the more it has waited,
//! the fewer. So a native connection asks as a host does (`native.rs`). In the component SQLite
//! waits in the host, and is only told how long (`component.rs`).
//!
//! What must stay true: whoever waits asks once more when its time is over, and then not again.

#[cfg(target_family = "wasm")]
mod component;
#[cfg(not(target_family = "wasm"))]
mod native;

#[cfg(target_family = "wasm")]
pub(crate) use component::Patience;
#[cfg(not(target_family = "wasm"))]
pub(crate) use native::Patience;

use std::time::Duration;

/// The longest time that SQLite can be told.
pub(crate) fn clamp(timeout: Duration) -> Duration {
    timeout.min(Duration::from_millis(i32::MAX as u64))
}
