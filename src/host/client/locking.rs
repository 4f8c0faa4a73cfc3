//! The lock's methods, which are the same on every manager.

/// Gives a handle type the lock's methods: `lock_methods!(Dict, beaver_db_dict, dict)`
/// for the resource `dict` of the interface `beaver:db/dict`.
macro_rules! lock_methods {
    ($type:ident, $interface:ident, $resource:ident) => {
        impl $type {
            /// Waits for the lock in FIFO order and takes it.
            pub async fn acquire(
                &self,
                instance: &mut $crate::Instance,
                options: $crate::client::LockOptions,
            ) -> Result<(), $crate::Error> {
                let this = self.0.on(instance)?;
                $crate::client::handle::call!(instance, |store, api| api
                    .$interface(&mut *store)?
                    .$resource()
                    .call_acquire(store, this, options.to_wit()))?
                .map_err($crate::Error::Db)
            }

            /// Takes the lock if nobody holds it or waits for it; false otherwise.
            pub async fn try_acquire(
                &self,
                instance: &mut $crate::Instance,
                ttl: Option<std::time::Duration>,
            ) -> Result<bool, $crate::Error> {
                let this = self.0.on(instance)?;
                let ttl = ttl.map($crate::client::options::nanoseconds);
                $crate::client::handle::call!(instance, |store, api| api
                    .$interface(&mut *store)?
                    .$resource()
                    .call_try_acquire(store, this, ttl))?
                .map_err($crate::Error::Db)
            }

            /// Gives the lock back. [`DbError::LockLost`](super::DbError::LockLost) when
            /// it was lost before; the handle is free again either way.
            pub async fn release(
                &self,
                instance: &mut $crate::Instance,
            ) -> Result<(), $crate::Error> {
                let this = self.0.on(instance)?;
                $crate::client::handle::call!(instance, |store, api| api
                    .$interface(&mut *store)?
                    .$resource()
                    .call_release(store, this))?
                .map_err($crate::Error::Db)
            }

            /// Lets the lock live `ttl` from now (`None`: the one it was taken with).
            pub async fn renew(
                &self,
                instance: &mut $crate::Instance,
                ttl: Option<std::time::Duration>,
            ) -> Result<(), $crate::Error> {
                let this = self.0.on(instance)?;
                let ttl = ttl.map($crate::client::options::nanoseconds);
                $crate::client::handle::call!(instance, |store, api| api
                    .$interface(&mut *store)?
                    .$resource()
                    .call_renew(store, this, ttl))?
                .map_err($crate::Error::Db)
            }

            /// The fencing token of the lock held: larger for every later grant.
            pub async fn fencing_token(
                &self,
                instance: &mut $crate::Instance,
            ) -> Result<Option<u64>, $crate::Error> {
                let this = self.0.on(instance)?;
                $crate::client::handle::call!(instance, |store, api| api
                    .$interface(&mut *store)?
                    .$resource()
                    .call_fencing_token(store, this))
            }
        }
    };
}
pub(super) use lock_methods;
