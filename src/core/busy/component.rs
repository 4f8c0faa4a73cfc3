//! Waiting in the host, for slots of the wal-index in the order of those who wait there.

use super::clamp;
use crate::error::Result;
use crate::runtime::Runtime;
use rusqlite::Connection;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// How long a connection waits.
#[derive(Debug)]
pub(crate) struct Patience(Cell<Duration>);

impl Patience {
    /// From now on this connection waits for so long.
    pub(crate) fn of(
        connection: &Connection,
        _: &Rc<dyn Runtime>,
        timeout: Duration,
    ) -> Result<Self> {
        connection.busy_timeout(clamp(timeout))?;
        Ok(Self(Cell::new(timeout)))
    }

    /// Takes effect with the connection's next call.
    pub(crate) fn set(&self, connection: &Connection, timeout: Duration) -> Result<()> {
        if self.0.get() != timeout {
            connection.busy_timeout(clamp(timeout))?;
            self.0.set(timeout);
        }
        Ok(())
    }
}
