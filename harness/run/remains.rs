//! What killed processes leave beside a database, looked at while nobody has it open.
//!
//! What must stay true: nothing here opens the database file itself. (Closing any descriptor of it
//! would drop the locks of whoever in this process has it open with SQLite.)

use crate::history::Seen;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// A loss of acknowledged commits, made on purpose while nobody has the file open: whoever judges
/// the run has to find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlantedLoss {
    /// How many commits are cut off the end of the log each time; all, if it has fewer.
    pub commits: u32,
}

/// What lies there.
pub(super) fn look(database: &Path) -> io::Result<Seen> {
    let wal_bytes = match fs::metadata(beside(database, "-wal")) {
        Ok(about) => about.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    let mut first = [0];
    let hot_journal = match File::open(beside(database, "-journal")) {
        // A journal that is done with has no header any more, or a header of zeros.
        Ok(mut journal) => journal.read(&mut first)? == 1 && first != [0],
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    Ok(Seen::Remains {
        wal_bytes,
        hot_journal,
    })
}

/// Cuts the last commits off the log; says how many.
pub(super) fn lose(database: &Path, loss: PlantedLoss) -> io::Result<usize> {
    let path = beside(database, "-wal");
    let log = match fs::read(&path) {
        Ok(log) => log,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let commits = commits(&log);
    let lost = commits.len().min(loss.commits as usize);
    if lost > 0 {
        let kept = commits.len() - lost;
        let end = kept.checked_sub(1).and_then(|last| commits.get(last));
        let length = end.copied().unwrap_or(WAL_HEADER_BYTES);
        let log = OpenOptions::new().write(true).open(&path)?;
        log.set_len(length as u64)?;
    }
    Ok(lost)
}

/// `database` with `suffix` behind its name, as SQLite names its files.
fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut path = OsString::from(database);
    path.push(suffix);
    path.into()
}

const WAL_HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;

/// Where each commit of a log ends (<https://sqlite.org/fileformat2.html#walformat>): frames of
/// this generation of the log, of which those that name a size of the database end a
/// transaction. Checksums aren't looked at: what isn't valid at its end is no commit that was lost.
fn commits(log: &[u8]) -> Vec<usize> {
    let page_bytes = big_endian(log, 8) as usize;
    let salts = log.get(16..24);
    let mut ends = Vec::new();
    let frames = log.get(WAL_HEADER_BYTES..).unwrap_or_default();
    let mut end = WAL_HEADER_BYTES;
    for frame in frames.chunks_exact(FRAME_HEADER_BYTES + page_bytes) {
        end += frame.len();
        if frame.get(8..16) != salts {
            break;
        }
        if big_endian(frame, 4) != 0 {
            ends.push(end);
        }
    }
    ends
}

/// The four bytes at `at`; 0 if there are fewer.
fn big_endian(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..)
        .and_then(|bytes| bytes.first_chunk::<4>())
        .map_or(0, |word| u32::from_be_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;

    /// A file with a log of three commits that nobody has open: a copy of one that somebody has.
    fn left_behind(folder: &Path) -> PathBuf {
        let lives = folder.join("lives.db");
        let connection = Connection::open(&lives).unwrap();
        connection
            .execute_batch(
                "PRAGMA journal_mode = wal; CREATE TABLE t (n); \
                 INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)",
            )
            .unwrap();
        let dead = folder.join("dead.db");
        for suffix in ["", "-wal"] {
            fs::copy(beside(&lives, suffix), beside(&dead, suffix)).unwrap();
        }
        dead
    }

    fn rows(database: &Path) -> Option<i64> {
        let connection = Connection::open(database).unwrap();
        let count = connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0));
        count.ok()
    }

    #[test]
    fn a_planted_loss_is_a_loss_and_leaves_a_whole_file() {
        for (commits, lost, rows_left) in [(0, 0, Some(2)), (1, 1, Some(1)), (9, 3, None)] {
            let folder = tempfile::tempdir().unwrap();
            let dead = left_behind(folder.path());
            assert_eq!(lose(&dead, PlantedLoss { commits }).unwrap(), lost);
            assert_eq!(rows(&dead), rows_left, "{commits}");
            assert_eq!(super::super::integrity::check(&dead).unwrap(), "ok");
        }
    }

    #[test]
    fn what_is_left_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let dead = left_behind(folder.path());
        let left = |wal_bytes, hot_journal| Seen::Remains {
            wal_bytes,
            hot_journal,
        };
        let log = fs::metadata(beside(&dead, "-wal")).unwrap().len();
        assert!(log > 0);
        assert_eq!(look(&dead).unwrap(), left(log, false));
        // The last who closes it takes the log away.
        rows(&dead);
        assert_eq!(look(&dead).unwrap(), left(0, false));
        fs::write(beside(&dead, "-journal"), [0; 512]).unwrap();
        assert_eq!(look(&dead).unwrap(), left(0, false));
        fs::write(beside(&dead, "-journal"), [0xd9; 512]).unwrap();
        assert_eq!(look(&dead).unwrap(), left(0, true));
        assert_eq!(lose(&dead, PlantedLoss { commits: 1 }).unwrap(), 0);
    }
}
