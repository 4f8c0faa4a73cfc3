//! What every manager's file here is made of.

/// The methods that are the same on both sides.
macro_rules! forward {
    ($($(#[$meta:meta])* $name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        $(
            $(#[$meta])*
            /// As the core's method of this name.
            ///
            /// # Errors
            /// As the core's.
            pub fn $name(&self, $($argument: $type),*) -> crate::Result<$result> {
                match self {
                    Self::Native(handle) => handle.$name($($argument),*),
                    Self::Component(handle) => {
                        handle.run(async |handle, instance| handle.$name(instance, $($argument),*).await)
                    }
                }
            }
        )*
    };
}

/// The lock's methods, which every manager has.
macro_rules! locking {
    ($type:ty) => {
        impl $type {
            forward! {
                try_acquire(ttl: Option<std::time::Duration>) -> bool;
                release() -> ();
                renew(ttl: Option<std::time::Duration>) -> ();
            }

            /// As the core's `acquire`.
            ///
            /// # Errors
            /// As the core's.
            pub fn acquire(&self, options: &crate::LockOptions) -> crate::Result<()> {
                match self {
                    Self::Native(handle) => handle.acquire(options),
                    Self::Component(handle) => {
                        let options = ::beaver_host::client::LockOptions {
                            timeout: options.timeout,
                            ttl: options.ttl,
                        };
                        handle.run(async |handle, instance| handle.acquire(instance, options).await)
                    }
                }
            }

            /// As the core's `fencing_token`.
            ///
            /// # Panics
            /// When the instance is gone.
            pub fn fencing_token(&self) -> Option<u64> {
                match self {
                    Self::Native(handle) => handle.fencing_token(),
                    Self::Component(handle) => handle
                        .run(async |handle, instance| handle.fencing_token(instance).await)
                        .unwrap_or_else(|error| panic!("fencing_token: {error}")),
                }
            }
        }
    };
}

/// `dump`, which every manager with contents has.
macro_rules! dumping {
    ($type:ty) => {
        impl $type {
            /// As the core's `dump`.
            ///
            /// # Errors
            /// As the core's.
            pub fn dump(&self) -> crate::Result<crate::Dump> {
                match self {
                    Self::Native(handle) => handle.dump().map(crate::Dump::Native),
                    Self::Component(handle) => handle
                        .open(async |handle, instance| handle.dump(instance).await)
                        .map(crate::Dump::Component),
                }
            }
        }
    };
}

/// `loader`, where it takes no options.
macro_rules! loading {
    ($type:ty) => {
        impl $type {
            /// As the core's `loader`.
            ///
            /// # Errors
            /// As the core's.
            pub fn loader(&self) -> crate::Result<crate::Loader> {
                match self {
                    Self::Native(handle) => {
                        let loader = handle.loader()?;
                        Ok(crate::Loader::Native(Box::new(loader)))
                    }
                    Self::Component(handle) => handle
                        .open(async |handle, instance| handle.loader(instance).await)
                        .map(crate::Loader::Component),
                }
            }
        }
    };
}
