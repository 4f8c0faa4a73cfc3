//! The change token's place in a model: an atomic that counts commits, which
//! committers change as other processes and guests do the wal-index, without
//! any order.

use super::error::ErrorCode;
use super::kernel::Handle;
use super::sync::{Arc, AtomicU64, Ordering};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) hash: u64,
    pub(crate) commits: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct TokenSource {
    /// Asked for claims.
    pub(crate) database: Arc<Handle>,
    pub(crate) commits: Arc<AtomicU64>,
}

impl TokenSource {
    pub(crate) fn token(&self) -> Result<Token, ErrorCode> {
        let hash = self.commits.load(Ordering::Relaxed);
        Ok(Token {
            hash,
            commits: hash as u32,
        })
    }

    pub(crate) fn commits(&self) -> Result<u32, ErrorCode> {
        Ok(self.token()?.commits)
    }
}
