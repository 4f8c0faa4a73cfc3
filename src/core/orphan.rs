//! What a handle left in the file when it was dropped at a bad moment, and how it goes.
//!
//! What must stay true: it goes with the connection's next transaction that commits, the oldest
//! first, or with the connection; deleting what is gone already does no harm.

use crate::database::Database;
use crate::error::Result;
use crate::events::Registration;
use crate::lease::Lease;
use crate::write::WriteTransaction;
use std::time::Duration;

/// How long a path that can't report waits for SQLite's write lock.
const REAP_WAIT: Duration = Duration::from_millis(100);

/// See the module.
pub(crate) enum Orphan {
    Lease {
        lock_name: String,
        waiter_id: String,
        /// Whether the claim on the row has ended.
        is_given_up: bool,
    },
    Listener(Registration),
}

impl Orphan {
    pub(crate) fn put_away(&self, transaction: &WriteTransaction<'_>) -> Result<()> {
        match self {
            Self::Lease {
                lock_name,
                waiter_id,
                ..
            } => Lease::give_back_row(transaction, lock_name, waiter_id).map(|_| ()),
            Self::Listener(registration) => registration.withdraw(transaction.connection()),
        }
    }

    /// Whether it is this lock row.
    pub(crate) fn is_row(&self, row: &str) -> bool {
        matches!(self, Self::Lease { waiter_id, .. } if waiter_id == row)
    }

    fn is_given_up(&self) -> bool {
        matches!(
            self,
            Self::Lease {
                is_given_up: true,
                ..
            }
        )
    }
}

impl Database {
    /// Whether something is to be put away, or made again.
    pub(crate) fn is_due(&self) -> bool {
        !self.inner.orphans.borrow().is_empty() || !self.inner.unmade.borrow().is_empty()
    }

    /// Puts away what was given up inside a transaction, and makes again what went
    /// with it, now that it has ended. What can't be done now is left to the next
    /// read or write.
    pub(crate) fn reap(&self) {
        if self.is_due()
            && let Ok(transaction) = self.begin_write(Some(REAP_WAIT))
        {
            let _ = transaction.commit();
        }
    }

    /// The oldest `reaped` orphans are put away.
    pub(crate) fn forget_orphans(&self, reaped: usize) {
        let inner = &*self.inner;
        let put_away: Vec<_> = inner.orphans.borrow_mut().drain(..reaped).collect();
        // The claims in one piece again, of which a connection may have few. All at once: one by one,
        // in any order, they might be in more in between. The ids aren't used again.
        if put_away.iter().any(Orphan::is_given_up)
            && !inner.orphans.borrow().iter().any(Orphan::is_given_up)
            && let Some(tokens) = self.waiter_ids().tokens()
        {
            inner.runtime.claim(&inner.connection, tokens);
        }
    }
}
