//! Rows that somebody else wrote, of any types: above all in the lines for locks.
//!
//! The input is lines of text, each a row: a table (without `beaver_`) and its columns' values,
//! separated by tabs. A value begins with its type: `n`ull, `i`nteger, `r`eal (`rx` and its bits),
//! `t`ext, `u` for a text and `b` for a blob as hexadecimal digits. What is missing is null; a row that the
//! schema doesn't allow is left out.
//!
//! What must stay true: whatever stands there, each operation ends with a result or an error that
//! says what is wrong with the file, in no more time than it was given; and the file is whole.

use crate::Target;
use crate::files::bases::BASES;
use crate::hex::bytes_of;
use crate::scratch::Scratch;
use crate::sweep::{Sweep, options};
use beaver_core::Error;
use beaver_core::rusqlite::types::Value;
use beaver_core::rusqlite::{Connection, params_from_iter};

/// See the module.
pub const TARGET: Target = Target {
    name: "lock_rows",
    run,
    tries: 30,
    bytes_max: 4096,
};

const ROWS_MAX: usize = 24;

/// The tables without their prefix, and how many columns they have.
const TABLES: [(&str, usize); 17] = [
    ("lock_waiters", 4),
    ("lock_fencing", 2),
    ("manager_versions", 2),
    ("dicts", 4),
    ("priority_queues", 4),
    ("lists", 3),
    ("blobs", 4),
    ("blob_versions", 3),
    ("blob_parts", 4),
    ("logs", 3),
    ("pubsub_log", 3),
    ("collections", 4),
    ("fts_index", 4),
    ("trigrams", 4),
    ("edges", 5),
    ("vector_change_log", 4),
    ("collection_versions", 2),
];

fn run(bytes: &[u8]) {
    let scratch = Scratch::new();
    std::fs::write(scratch.path(), &BASES[0].database).unwrap();
    let connection = Connection::open(scratch.path()).unwrap();
    let input = String::from_utf8_lossy(bytes);
    for line in input.split('\n').take(ROWS_MAX) {
        insert(&connection, line);
    }
    drop(connection);
    let path = scratch.path();
    let sweep = Sweep::open(path.to_str().unwrap(), &options(), is_about_rows);
    sweep.unwrap().everything(None);
    let connection = Connection::open(path).unwrap();
    let said: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(said, "ok");
}

/// Errors that rows of strange types may lead to. A plain failure is none: it says nothing.
fn is_about_rows(error: &Error) -> bool {
    matches!(
        error,
        Error::Corrupt(_)
            | Error::InvalidArgument(_)
            | Error::OutOfRange
            | Error::Timeout
            | Error::Locked(_)
            | Error::LockLost(_)
            | Error::WaitCleared
            | Error::Changed
            // The greatest number is given out already.
            | Error::Full
    )
}

fn insert(connection: &Connection, line: &str) {
    let mut parts = line.split('\t');
    let table = parts.next().unwrap_or_default();
    let Some((table, columns)) = TABLES.iter().find(|(name, _)| *name == table) else {
        return;
    };
    let values: Vec<Value> = parts
        .map(value)
        .chain(std::iter::repeat(Value::Null))
        .take(*columns)
        .collect();
    let numbered = |place: usize| match line.split('\t').nth(place) {
        Some(text) if text.starts_with('u') => format!("CAST(?{place} AS TEXT)"),
        _ => format!("?{place}"),
    };
    let places: Vec<_> = (1..=*columns).map(numbered).collect();
    let sql = format!(
        "INSERT OR REPLACE INTO beaver_{table} VALUES ({})",
        places.join(", ")
    );
    // Of a type or a key that the schema doesn't allow.
    let _ = connection.execute(&sql, params_from_iter(values));
}

fn value(text: &str) -> Value {
    let mut characters = text.chars();
    let kind = characters.next();
    let rest = characters.as_str();
    match kind {
        Some('i') => Value::Integer(rest.parse().unwrap_or(i64::MIN)),
        Some('r') => Value::Real(match rest.strip_prefix('x') {
            Some(bits) => f64::from_bits(u64::from_str_radix(bits, 16).unwrap_or_default()),
            None => rest.parse().unwrap_or(f64::NAN),
        }),
        Some('t') => Value::Text(rest.to_owned()),
        Some('u' | 'b') => Value::Blob(bytes_of(rest)),
        _ => Value::Null,
    }
}
