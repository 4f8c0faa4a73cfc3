//! `beaver:db/lock`, and the lock methods that every manager has.

use crate::Component;
use crate::bindings::exports::beaver::db::database::DatabaseBorrow;
use crate::bindings::exports::beaver::db::lock as wit;
use crate::bindings::exports::beaver::db::types::{Error, LockOptions};
use crate::convert::lock_options;
use beaver_core::{Blob, Collection, Database, Dict, List, Lock, Lockable, Queue};

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

    fn acquire_all(
        db: DatabaseBorrow<'_>,
        handles: Vec<wit::Lockable<'_>>,
        options: LockOptions,
    ) -> Result<(), Error> {
        let handles: Vec<&dyn Lockable> = handles
            .iter()
            .map(|handle| -> &dyn Lockable {
                match handle {
                    wit::Lockable::Dict(dict) => dict.get::<Dict>(),
                    wit::Lockable::List(list) => list.get::<List>(),
                    wit::Lockable::Queue(queue) => queue.get::<Queue>(),
                    wit::Lockable::Collection(collection) => collection.get::<Collection>(),
                    wit::Lockable::Blob(blob) => blob.get::<Blob>(),
                    wit::Lockable::Lock(lock) => lock.get::<Lock>(),
                }
            })
            .collect();
        let db = db.get::<Database>();
        Ok(db.acquire_all(&handles, &lock_options(options))?)
    }
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
