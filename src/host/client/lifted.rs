//! What came out of a guest's memory.
//!
//! What must stay true: no text leaves this crate that isn't UTF-8. wasmtime checks a text where it lies
//! and then copies it; if it lies in a mapped wal-index, another instance or process can change it in
//! between. So each copy is checked again, before anybody takes it for a text.

use crate::client::{
    BlobContent, DbError, Document, Edge, Entry, Failure, Fused, FusedHit, Hit, Item, Journal,
    LogEntry, ManagerEntry, ManagerKind, Message, Outcome, Stats, Step, Window,
};
use wasmtime::component::ResourceAny;

/// A result of a call.
pub(crate) trait Lifted {
    /// Whether all texts in it are UTF-8. Asks only for their bytes.
    fn is_utf8(&self) -> bool;
}

impl Lifted for String {
    fn is_utf8(&self) -> bool {
        std::str::from_utf8(self.as_bytes()).is_ok()
    }
}

impl<T: Lifted> Lifted for Vec<T> {
    fn is_utf8(&self) -> bool {
        self.iter().all(Lifted::is_utf8)
    }
}

impl<T: Lifted> Lifted for Option<T> {
    fn is_utf8(&self) -> bool {
        self.iter().all(Lifted::is_utf8)
    }
}

impl<T: Lifted, E: Lifted> Lifted for Result<T, E> {
    fn is_utf8(&self) -> bool {
        match self {
            Ok(value) => value.is_utf8(),
            Err(error) => error.is_utf8(),
        }
    }
}

impl Lifted for DbError {
    fn is_utf8(&self) -> bool {
        match self {
            Self::InvalidArgument(text)
            | Self::InvalidJson(text)
            | Self::Locked(text)
            | Self::LockLost(text)
            | Self::UnsupportedFormat(text)
            | Self::WrongSecret(text)
            | Self::Corrupt(text) => text.is_utf8(),
            Self::Deadlock(locks) => locks.is_utf8(),
            Self::Failed(failure) => failure.is_utf8(),
            Self::TooLarge(_)
            | Self::OutOfRange
            | Self::Timeout
            | Self::NotHeld
            | Self::AlreadyHeld
            | Self::WaitCleared
            | Self::Busy
            | Self::InTransaction
            | Self::NoTransaction
            | Self::Changed
            | Self::ReadOnly
            | Self::Full
            | Self::WalUnsupported
            | Self::NotFound
            | Self::Exists
            | Self::AccessDenied
            | Self::OutOfMemory => true,
        }
    }
}

macro_rules! without_texts {
    ($($type:ty),* $(,)?) => {
        $(impl Lifted for $type {
            fn is_utf8(&self) -> bool {
                true
            }
        })*
    };
}

without_texts!(
    (),
    bool,
    u8,
    u32,
    u64,
    f32,
    f64,
    ResourceAny,
    Journal,
    ManagerKind,
    Outcome
);

/// Each field is named: a new one doesn't go by unseen.
macro_rules! records {
    ($($type:ty { $($field:ident),* $(,)? })*) => {
        $(impl Lifted for $type {
            fn is_utf8(&self) -> bool {
                let Self { $($field),* } = self;
                $($field.is_utf8())&&*
            }
        })*
    };
}

records! {
    Failure { message, outcome }
    BlobContent { data, metadata }
    Message { timestamp, payload }
    Document { id, body, embedding }
    Hit { document, score }
    FusedHit { document, score, text_rank, vector_rank }
    Fused { id, score }
    Edge { source, target, label, metadata }
    Step { document, depth }
    ManagerEntry { kind, name, count, size_bytes }
    Stats {
        page_size_bytes, pages, free_pages, log_frames, log_frames_copied, journal, format_version,
        sqlite_version, data_version,
    }
    Entry { key, value }
    LogEntry { timestamp, data }
    Window { start, end, cleared }
    Item { priority, timestamp, data }
}

#[cfg(test)]
#[allow(unsafe_code)] // a text that is none
mod tests {
    use super::*;

    #[test]
    fn a_text_that_was_changed_while_it_was_copied_is_found() {
        let changed = || {
            // SAFETY: nothing asks it for more than its bytes.
            unsafe { String::from_utf8_unchecked(vec![b'a', 0xf0]) }
        };
        let text = || "ä".to_owned();
        let entry = |key, value| Entry { key, value };
        assert!(Ok::<_, DbError>(vec![entry(text(), text())]).is_utf8());
        assert!(!Ok::<_, DbError>(vec![entry(text(), text()), entry(text(), changed())]).is_utf8());
        assert!(!Ok::<_, DbError>(Some(changed())).is_utf8());
        for error in [
            DbError::Corrupt(changed()),
            DbError::Deadlock(vec![text(), changed()]),
            DbError::Failed(Failure {
                message: changed(),
                outcome: Outcome::Unknown,
            }),
        ] {
            assert!(!Err::<(), _>(error).is_utf8());
        }
    }
}
