//! What the harness and a driver say to each other: `PROTOCOL.md`, as types.
//!
//! What must stay true: a line of any driver is either understood or gives an error that says
//! what is wrong with it; nothing in it can panic.

mod capability;
mod error;
mod lock_name;
mod message;
mod op;

pub use capability::Capability;
pub use error::{ErrorCode, Failure};
pub use lock_name::{LockKind, LockName, LockNameError};
pub use message::{Control, Description, Init, Reply, ReplyError, Request, VERSION};
pub use op::Op;
