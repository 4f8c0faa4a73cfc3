//! `beaver:db/lock`, and the lock methods that every manager has.

use crate::Component;
use crate::bindings::exports::beaver::db::database::DatabaseBorrow;
use crate::bindings::exports::beaver::db::lock as wit;
use crate::bindings::exports::beaver::db::types::Error;
use beaver_core::{Database, Lock};

/// The methods with which `dict`, `queue` and `lock` resources take and give
/// back their locks: the same in three generated traits. Core's methods of the
/// same names do the work.
macro_rules! lock_methods {
    () => {
        fn acquire(
            &self,
            options: crate::bindings::exports::beaver::db::types::LockOptions,
        ) -> Result<(), Error> {
            Ok(self.acquire(&crate::convert::lock_options(options))?)
        }

        fn try_acquire(&self, ttl: Option<u64>) -> Result<bool, Error> {
            Ok(self.try_acquire(crate::convert::duration(ttl))?)
        }

        fn release(&self) -> Result<(), Error> {
            Ok(self.release()?)
        }

        fn renew(&self, ttl: Option<u64>) -> Result<(), Error> {
            Ok(self.renew(crate::convert::duration(ttl))?)
        }

        fn fencing_token(&self) -> Option<u64> {
            self.fencing_token()
        }
    };
}
pub(crate) use lock_methods;

impl wit::Guest for Component {
    type Lock = Lock;
}

impl wit::GuestLock for Lock {
    fn open(db: DatabaseBorrow<'_>, name: String) -> Result<wit::Lock, Error> {
        Ok(wit::Lock::new(db.get::<Database>().lock(&name)?))
    }

    lock_methods!();

    fn clear(&self) -> Result<u64, Error> {
        Ok(self.clear()?)
    }
}
