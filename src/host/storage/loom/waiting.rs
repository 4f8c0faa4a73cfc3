//! The wal-index's lock queue and the change hub, with the futures that wait
//! for them.
//!
//! What must stay true: each module here names its file, for `build.rs` to put
//! another in its place.
#![allow(dead_code, unreachable_pub)]

#[path = "../claim.rs"]
mod claim;
#[path = "../commits.rs"]
mod commits;
#[path = "../error.rs"]
mod error;
#[path = "../extent.rs"]
mod extent;
#[path = "../file_limit.rs"]
mod file_limit;
#[path = "../grant.rs"]
mod grant;
#[path = "../hub.rs"]
mod hub;
#[path = "../kinds.rs"]
mod kinds;
#[path = "../lock.rs"]
mod lock;
#[path = "../mapping.rs"]
mod mapping;
#[path = "../ofd.rs"]
mod ofd;
#[path = "../queue.rs"]
mod queue;
#[path = "../quota.rs"]
mod quota;
#[path = "../registry.rs"]
mod registry;
#[path = "../shm.rs"]
mod shm_of;
#[path = "../shm_wait.rs"]
mod shm_wait;
#[path = "../sigbus.rs"]
mod sigbus;
#[path = "../thread_time.rs"]
mod thread_time;
#[path = "../watch.rs"]
mod watch;

#[path = "kernel.rs"]
mod kernel;
#[path = "sync.rs"]
mod sync;
#[path = "timer.rs"]
mod timer;
#[path = "token.rs"]
mod token;

#[path = "models/hub.rs"]
pub mod hub_models;
#[path = "models/polled.rs"]
mod polled;
#[path = "models/queue.rs"]
pub mod queue_models;

mod shm {
    //! Attachments whose locks are the model's, for `shm_wait` to wait with.
    pub(crate) use super::shm_of::Attempt;
    pub(crate) type Shm = super::shm_of::Shm<super::kernel::Handle>;
}
