//! Who holds a lock and is no more, or is only stopped, or gave it up: who gets the lock next, and when.
//!
//! Where a death is known the time to live is an hour here, so that nothing but
//! that knowledge can have freed the lock. Where it isn't known, time is made to
//! pass by writing another time into the dead one's rows.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

mod given_up;
mod hammered;
mod in_process;
mod native;
mod of_other_kinds;
mod stopped;

use beaver_tests::{Process, eventually};
use serde_json::json;

const PROGRAM: &str = env!("CARGO_BIN_EXE_beaver-test-process");

/// How many hold or await the lock of the dictionary `d`, by a process of its own.
fn in_line(table: &mut Process) -> u64 {
    let rows = "SELECT count(*) FROM beaver_lock_waiters WHERE lock_name = '__lock__dict__d'";
    table
        .call(json!({"op": "sql", "sql": rows}))
        .as_u64()
        .unwrap()
}

/// Waits until so many do.
fn until_in_line(table: &mut Process, count: u64) {
    eventually("in line", || in_line(table) == count);
}

/// As if their time to live had passed: for rows of whoever can't renew them any more.
fn let_time_pass(table: &mut Process, owners: &str) {
    // SQLite makes the whole change before it returns the first row.
    let change = format!(
        "UPDATE beaver_lock_waiters SET expires_at = 0 WHERE waiter_id LIKE '{owners}' RETURNING 1"
    );
    table.call(json!({"op": "sql", "sql": change}));
}
