//! The lock table as a foreign process sees it: the host and stock SQLite may
//! not open one file in one process.

use crate::{Files, Process, System};
use serde_json::json;
use std::cell::RefCell;

/// Looks into the lock table, and changes it.
#[derive(Debug)]
pub struct Table(RefCell<Process>);

impl Table {
    /// Starts `program` (`CARGO_BIN_EXE_beaver-test-process`) to look.
    ///
    /// # Panics
    /// When it can't be started.
    pub fn of(program: &str, files: &Files) -> Self {
        Self(RefCell::new(Process::start(
            program,
            System::Native,
            &files.database(),
        )))
    }

    /// How many hold or await a lock.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn rows(&self, lock_name: &str) -> u64 {
        self.query(&format!(
            "SELECT count(*) FROM beaver_lock_waiters WHERE lock_name = '{lock_name}'"
        ))
    }

    /// Writes as a process would that keeps its own rules.
    ///
    /// # Panics
    /// When the process is gone or SQLite reports an error.
    pub fn change(&self, sql: &str) {
        self.query(&format!("{sql} RETURNING 1"));
    }

    /// A whole number out of the file.
    ///
    /// # Panics
    /// When the process is gone or SQLite reports an error.
    pub fn query(&self, sql: &str) -> u64 {
        self.0
            .borrow_mut()
            .call(json!({"op": "sql", "sql": sql}))
            .as_u64()
            .unwrap_or_else(|| panic!("{sql}: not a whole number"))
    }
}
