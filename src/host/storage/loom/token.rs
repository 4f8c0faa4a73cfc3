//! The change token's place in a model: an atomic that committers store to as
//! other processes and guests write the wal-index, without any order.

use super::error::ErrorCode;
use super::sync::{Arc, AtomicU64, Ordering};

#[derive(Clone, Debug)]
pub(crate) struct TokenSource(pub(crate) Arc<AtomicU64>);

impl TokenSource {
    pub(crate) fn token(&self) -> Result<u64, ErrorCode> {
        Ok(self.0.load(Ordering::Relaxed))
    }
}
