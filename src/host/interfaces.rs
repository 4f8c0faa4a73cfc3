//! The exported interfaces of one instance, each looked up when it is first used.
//!
//! wasmtime compares the types of every function that it looks up. For all of
//! them together that takes longer than starting an instance, which mostly uses
//! one or two managers.

use std::sync::OnceLock;

use wasmtime::component::{Instance, InstancePre};
use wasmtime::{AsContextMut, Result};

use crate::bindings::exports::beaver::db;

macro_rules! interfaces {
    ($($function:ident: $interface:ident,)*) => {
        /// Where a component's interfaces are: the same for all of its instances.
        pub(crate) struct Indices {
            $($interface: db::$interface::GuestIndices,)*
        }

        impl Indices {
            /// An error when one of them is missing.
            pub(crate) fn new<T>(pre: &InstancePre<T>) -> Result<Self> {
                Ok(Self {
                    $($interface: db::$interface::GuestIndices::new(pre)?,)*
                })
            }
        }

        /// Those of one instance.
        pub(crate) struct Interfaces {
            instance: Instance,
            $($interface: OnceLock<db::$interface::Guest>,)*
        }

        impl Interfaces {
            pub(crate) fn new(instance: Instance) -> Self {
                Self {
                    instance,
                    $($interface: OnceLock::new(),)*
                }
            }
        }

        impl Api<'_> {
            $(
                /// An error when a function of it has another type than in `wit/`.
                pub(crate) fn $function(
                    &self,
                    store: impl AsContextMut,
                ) -> Result<&db::$interface::Guest> {
                    let place = &self.interfaces.$interface;
                    if let Some(known) = place.get() {
                        return Ok(known);
                    }
                    let found = self
                        .indices
                        .$interface
                        .load(store, &self.interfaces.instance)?;
                    Ok(place.get_or_init(|| found))
                }
            )*
        }
    };
}

/// What a call into an instance finds its function with.
#[derive(Clone, Copy)]
pub(crate) struct Api<'a> {
    pub(crate) indices: &'a Indices,
    pub(crate) interfaces: &'a Interfaces,
}

interfaces! {
    beaver_db_database: database,
    beaver_db_dict: dict,
    beaver_db_list: list,
    beaver_db_queue: queue,
    beaver_db_collection: collection,
    beaver_db_blob: blob,
    beaver_db_dump: dump,
    beaver_db_log: log,
    beaver_db_channel: channel,
    beaver_db_events: events,
    beaver_db_lock: lock,
    beaver_db_transaction: transaction,
}
