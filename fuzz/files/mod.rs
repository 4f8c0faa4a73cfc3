//! Real files, damaged or made by somebody with bad intentions.
//!
//! The input is lines of text, each an edit, its parts separated by spaces. A file is `f` (the
//! database), `w` (its log), `j` (its journal) or `s` (the wal-index).
//!
//! ```text
//! base N               which of the real files; without it the first
//! open HOW             ro, rollback, wal, existing; without it as by default
//! at FILE OFFSET HEX   other bytes there
//! end FILE LENGTH      cut, or lengthened with zeros
//! swap PAGE PAGE       of the database
//! move PAGE PAGE       the second becomes the same as the first
//! schema KIND TABLE    see `schemas.rs`
//! only PART            do no more with it; see `sweep.rs`
//! broken               the checksums of log and journal stay as they are
//! ```
//!
//! What must stay true: the file opens or doesn't, and every operation ends with a result or an error.

pub(crate) mod bases;
mod schemas;
mod seal;

use crate::Target;
use crate::failed::is_of_a_file;
use crate::hex::overwrite;
use crate::scratch::Scratch;
use crate::sweep::{Sweep, options};
use bases::{BASES, Base};
use beaver_core::{Error, JournalChoice, OpenMode, Options};
use std::path::PathBuf;

/// See the module.
pub const TARGET: Target = Target {
    name: "files",
    run,
    tries: 25,
    bytes_max: 1024,
};

const EDITS_MAX: usize = 24;

/// The longest file that is made of a real one.
const LENGTH_MAX: usize = 1 << 20;

fn run(bytes: &[u8]) {
    let scratch = Scratch::new();
    let files = Files::make(bytes, &scratch);
    let input = String::from_utf8_lossy(bytes);
    let mut lines = input.split('\n').take(EDITS_MAX);
    let only = lines.find_map(|line| line.strip_prefix("only "));
    let path = files.path.to_str().unwrap();
    if let Some(sweep) = Sweep::open(path, &files.options, expects) {
        sweep.everything(only);
    }
}

/// Whether a file can be why.
fn expects(error: &Error) -> bool {
    match error {
        Error::Failed { message, .. } => is_of_a_file(message),
        _ => true,
    }
}

/// A database and what is beside it, and how it is to be opened.
pub(crate) struct Files {
    path: PathBuf,
    pub(crate) options: Options,
    sealed: bool,
}

impl Files {
    /// As the input says.
    pub(crate) fn make(bytes: &[u8], scratch: &Scratch) -> Self {
        let input = String::from_utf8_lossy(bytes);
        let mut files = Self {
            path: scratch.path(),
            options: options(),
            sealed: true,
        };
        let lines: Vec<&str> = input.split('\n').take(EDITS_MAX).collect();
        let base = lines.iter().find_map(|line| line.strip_prefix("base "));
        let base: usize = base.map_or(0, |number| number.parse().unwrap_or(0));
        files.put(&BASES[base % BASES.len()]);
        for line in lines {
            let parts: Vec<&str> = line.split(' ').collect();
            files.edit(&parts);
        }
        if files.sealed {
            files.change("w", |log| seal::seal_log(log));
            files.change("j", |journal| seal::seal_journal(journal));
        }
        files
    }

    fn put(&self, base: &Base) {
        std::fs::write(&self.path, &base.database).unwrap();
        for (file, bytes) in [("w", &base.log), ("j", &base.journal)] {
            if let Some(bytes) = bytes {
                std::fs::write(self.name(file), bytes).unwrap();
            }
        }
    }

    fn name(&self, file: &str) -> PathBuf {
        let path = self.path.to_str().unwrap();
        match file {
            "w" => format!("{path}-wal").into(),
            "j" => format!("{path}-journal").into(),
            "s" => format!("{path}-shm").into(),
            _ => self.path.clone(),
        }
    }

    /// Changes a file's bytes, if it is there.
    fn change(&self, file: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let name = self.name(file);
        if let Ok(mut bytes) = std::fs::read(&name) {
            change(&mut bytes);
            std::fs::write(name, bytes).unwrap();
        }
    }

    fn edit(&mut self, parts: &[&str]) {
        let number = |text: &str| text.parse::<usize>().unwrap_or(0);
        match *parts {
            ["open", how] => match how {
                "ro" => self.options.mode = OpenMode::ReadOnly,
                "existing" => self.options.mode = OpenMode::Existing,
                "rollback" => self.options.journal = JournalChoice::Rollback,
                "wal" => self.options.journal = JournalChoice::Wal,
                _ => {}
            },
            ["at", file, offset, hex] => {
                self.change(file, |bytes| overwrite(bytes, number(offset), hex));
            }
            ["end", file, length] => {
                let length = number(length).min(LENGTH_MAX);
                // The wal-index and the journal may have to be made first.
                if !self.name(file).exists() {
                    std::fs::write(self.name(file), []).unwrap();
                }
                self.change(file, |bytes| bytes.resize(length, 0));
            }
            ["swap", one, other] => self.pages(number(one), number(other), |one, other| {
                one.swap_with_slice(other);
            }),
            ["move", one, other] => self.pages(number(one), number(other), |one, other| {
                other.copy_from_slice(one);
            }),
            ["schema", kind, table] => schemas::change(&self.path, kind, table),
            ["broken"] => self.sealed = false,
            _ => {}
        }
    }

    /// Does something with two pages, numbered from 1.
    fn pages(&self, one: usize, other: usize, what: impl FnOnce(&mut [u8], &mut [u8])) {
        self.change("f", |bytes| {
            let size = match bytes.get(16..18) {
                Some(size) => usize::from(size[0]) << 8 | usize::from(size[1]),
                None => return,
            };
            let mut pages: Vec<_> = bytes.chunks_exact_mut(size.max(1)).collect();
            let (one, other) = (one.wrapping_sub(1), other.wrapping_sub(1));
            if let Ok([one, other]) = pages.get_disjoint_mut([one, other]) {
                what(one, other);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use beaver_core::rusqlite::Connection;

    /// Were the seals wrong, SQLite would ignore log and journal, and their edits try nothing.
    #[test]
    fn log_and_journal_count() {
        let value = |base: &Base| {
            let scratch = Scratch::new();
            let files = Files {
                path: scratch.path(),
                options: options(),
                sealed: true,
            };
            files.put(base);
            let connection = Connection::open(&files.path).unwrap();
            let sql = "SELECT value FROM beaver_dicts WHERE key = 'k1'";
            connection
                .query_row(sql, [], |row| row.get::<_, String>(0))
                .unwrap()
        };
        let [_, small, log, hot] = &*BASES;
        assert_eq!(value(small), "\"some text\"");
        assert_eq!(value(log), "\"some text\" ");
        assert_eq!(value(hot), "\"some text\"");
        let torn = Base {
            database: hot.database.clone(),
            log: None,
            journal: None,
        };
        assert_eq!(value(&torn), "\"some text\" ");
    }
}
