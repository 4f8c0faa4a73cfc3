//! The change token: one number that differs after every commit by anybody, and
//! the number of the last commit, by which commits can be counted.
//!
//! What goes in, and why all of it:
//! - The wal-index header (its first copy, 48 bytes: change counter, frame
//!   count, salts, checksums). Each commit in WAL mode rewrites it last.
//! - The database's change counter (bytes 24..28). Each commit with a rollback
//!   journal changes it.
//! - The database's size and time of change. When the last user leaves, the
//!   wal-index is folded into the database and deleted: the next one's header
//!   may look like one that was there before, but the database was written.
//!
//! What must stay true: every handle of a database computes the same token at
//! the same moment, whether it is attached to the wal-index or not. An absent
//! or short file counts as zeros.
//!
//! Read with `pread`, which costs about a microsecond, not through a mapping:
//! these files belong to others too, and reading a mapping of a file that
//! somebody has truncated is a SIGBUS. (`pread` and the guests' mappings see
//! the same pages.)

use super::error::ErrorCode;
use super::grant::{Grant, retry};
use super::shm::Shm;
use super::sync::Arc;
use rustix::fs::{Mode, OFlags};
use std::hash::{DefaultHasher, Hasher};
use std::os::fd::OwnedFd;

const HEADER_BYTES: usize = 48;
const COUNTER_AT: u64 = 24;
const COUNTER_BYTES: usize = 4;

/// What a database shows of its last commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) hash: u64,
    /// One more after each commit, unless the log was recovered or has gone
    /// (then it may be anything): the wal-index's `iChange` where there is one, else the
    /// database's change counter.
    pub(crate) commits: u32,
}

/// Where a database's token is read. Keeps the descriptors open.
#[derive(Clone, Debug)]
pub(crate) struct TokenSource {
    pub(crate) database: Arc<OwnedFd>,
    pub(crate) shm: Option<Arc<Shm>>,
    pub(crate) shm_name: Arc<str>,
    pub(crate) grant: Grant,
}

impl TokenSource {
    pub(crate) fn token(&self) -> Result<Token, ErrorCode> {
        let header = self.header()?;
        let counter = self.counter()?;
        let stat = rustix::fs::fstat(&self.database)?;

        // `new` has fixed keys: the token is the same for all handles. The
        // header may be caught half written: then the token differs from the
        // one before and from the one after, which is all that is asked.
        let mut hasher = DefaultHasher::new();
        hasher.write(&header);
        hasher.write(&counter);
        hasher.write_i64(stat.st_size);
        hasher.write_i64(stat.st_mtime);
        hasher.write_u64(stat.st_mtime_nsec);
        Ok(Token {
            hash: hasher.finish(),
            commits: commits(&header).unwrap_or(u32::from_be_bytes(counter)),
        })
    }

    /// The number of the last commit, as in [`Token`].
    pub(crate) fn commits(&self) -> Result<u32, ErrorCode> {
        match commits(&self.header()?) {
            Some(commits) => Ok(commits),
            None => Ok(u32::from_be_bytes(self.counter()?)),
        }
    }

    fn header(&self) -> Result<[u8; HEADER_BYTES], ErrorCode> {
        let mut header = [0; HEADER_BYTES];
        match &self.shm {
            Some(shm) => read_exactly(shm.fd(), 0, &mut header)?,
            None => {
                match self
                    .grant
                    .open(&self.shm_name, OFlags::RDONLY, Mode::empty())
                {
                    Ok((fd, _)) => read_exactly(&fd, 0, &mut header)?,
                    // Nobody uses the WAL.
                    Err(ErrorCode::NotFound) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(header)
    }

    fn counter(&self) -> Result<[u8; COUNTER_BYTES], ErrorCode> {
        let mut counter = [0; COUNTER_BYTES];
        read_exactly(&self.database, COUNTER_AT, &mut counter)?;
        Ok(counter)
    }
}

/// `WalIndexHdr.iChange` ("Counter incremented each transaction"), in the
/// machine's byte order; none while the header is empty (`iVersion` is 0).
fn commits(header: &[u8; HEADER_BYTES]) -> Option<u32> {
    let [v0, v1, v2, v3, _, _, _, _, c0, c1, c2, c3, ..] = *header;
    let version = u32::from_ne_bytes([v0, v1, v2, v3]);
    (version != 0).then_some(u32::from_ne_bytes([c0, c1, c2, c3]))
}

/// Fills `buffer`, or leaves it zeroed if the file ends before.
fn read_exactly(fd: &OwnedFd, at: u64, buffer: &mut [u8]) -> Result<(), ErrorCode> {
    if retry(|| rustix::io::pread(fd, &mut *buffer, at))? < buffer.len() {
        buffer.fill(0);
    }
    Ok(())
}
