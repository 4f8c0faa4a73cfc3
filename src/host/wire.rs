//! The types of `beaver:host/storage` as wasmtime lifts and lowers them, and
//! their counterparts in the storage half, which knows nothing of wasmtime.

#![allow(unsafe_code)] // wasmtime's derives implement `unsafe` traits

use wasmtime::component::{ComponentType, Lift, Lower, flags};

use crate::storage;

/// An `enum` of the interface and its conversion from or to the storage half's.
macro_rules! wire_enum {
    ($name:ident $direction:ident $storage:path { $($case:ident = $wit:literal),* $(,)? }) => {
        #[derive(ComponentType, Lift, Lower, Clone, Copy, Debug, PartialEq, Eq)]
        #[component(enum)]
        #[repr(u8)]
        #[allow(dead_code)] // where only `Lift` makes the cases
        pub(crate) enum $name {
            $(#[component(name = $wit)] $case,)*
        }

        wire_enum!(@$direction $name, $storage, $($case)*);
    };
    (@from $name:ident, $storage:path, $($case:ident)*) => {
        impl From<$storage> for $name {
            fn from(value: $storage) -> Self {
                type Storage = $storage;
                match value { $(Storage::$case => Self::$case,)* }
            }
        }
    };
    (@into $name:ident, $storage:path, $($case:ident)*) => {
        impl From<$name> for $storage {
            fn from(value: $name) -> Self {
                match value { $($name::$case => Self::$case,)* }
            }
        }
    };
}

wire_enum!(ErrorCode from storage::ErrorCode {
    Access = "access",
    NotFound = "not-found",
    Exists = "exists",
    ReadOnly = "read-only",
    Full = "full",
    Busy = "busy",
    TimedOut = "timed-out",
    TooManyFiles = "too-many-files",
    InvalidArgument = "invalid-argument",
    Unsupported = "unsupported",
    Io = "io",
});

wire_enum!(FileKind into storage::FileKind {
    MainDb = "main-db",
    MainJournal = "main-journal",
    Wal = "wal",
});

wire_enum!(LockLevel into storage::LockLevel {
    Unlocked = "unlocked",
    Shared = "shared",
    Reserved = "reserved",
    Pending = "pending",
    Exclusive = "exclusive",
});

wire_enum!(SyncKind into storage::SyncKind {
    Data = "data",
    Full = "full",
});

wire_enum!(ShmLockKind into storage::ShmLockKind {
    Shared = "shared",
    Exclusive = "exclusive",
});

/// What came of a slot lock.
#[derive(ComponentType, Lift, Lower, Clone, Copy, Debug, PartialEq, Eq)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code)] // as above
pub(crate) enum ShmAnswer {
    #[component(name = "done")]
    Done,
    #[component(name = "busy")]
    Busy,
    #[component(name = "invalid-argument")]
    InvalidArgument,
    #[component(name = "unsupported")]
    Unsupported,
    #[component(name = "io")]
    Io,
}

impl From<Result<(), storage::ErrorCode>> for ShmAnswer {
    fn from(result: Result<(), storage::ErrorCode>) -> Self {
        match result {
            Ok(()) => Self::Done,
            Err(storage::ErrorCode::Busy) => Self::Busy,
            Err(storage::ErrorCode::InvalidArgument) => Self::InvalidArgument,
            Err(storage::ErrorCode::Unsupported) => Self::Unsupported,
            Err(_) => Self::Io,
        }
    }
}

/// `interest`.
#[derive(ComponentType, Lift, Clone, Copy, Debug)]
#[component(record)]
pub(crate) struct Interest {
    topic: u64,
    turn: Option<u64>,
    claim: Option<u64>,
}

impl From<Interest> for storage::Interest {
    fn from(interest: Interest) -> Self {
        Self {
            topic: interest.topic,
            turn: interest.turn,
            claim: interest.claim,
        }
    }
}

flags! {
    Capabilities {
        #[component(name = "shared-memory")]
        const SHARED_MEMORY;
        #[component(name = "direct-read")]
        const DIRECT_READ;
        #[component(name = "wait-change")]
        const WAIT_CHANGE;
        #[component(name = "claims")]
        const CLAIMS;
    }
}

flags! {
    OpenFlags {
        #[component(name = "create")]
        const CREATE;
        #[component(name = "exclusive")]
        const EXCLUSIVE;
        #[component(name = "read-only")]
        const READ_ONLY;
        #[component(name = "delete-on-close")]
        const DELETE_ON_CLOSE;
    }
}

impl From<storage::Capabilities> for Capabilities {
    fn from(offered: storage::Capabilities) -> Self {
        let mut flags = Self::default();
        for (offered, flag) in [
            (offered.shared_memory, Self::SHARED_MEMORY),
            // Nothing stands between guest and host on this import (see `View`).
            (true, Self::DIRECT_READ),
            (offered.wait_change, Self::WAIT_CHANGE),
            (offered.claims, Self::CLAIMS),
        ] {
            if offered {
                flags |= flag;
            }
        }
        flags
    }
}

impl From<OpenFlags> for storage::OpenFlags {
    fn from(flags: OpenFlags) -> Self {
        Self {
            create: flags.contains(OpenFlags::CREATE),
            exclusive: flags.contains(OpenFlags::EXCLUSIVE),
            read_only: flags.contains(OpenFlags::READ_ONLY),
            delete_on_close: flags.contains(OpenFlags::DELETE_ON_CLOSE),
        }
    }
}
