//! Errors that have no kind of their own: findings, but where somebody's file is why.
//!
//! What must stay true: what isn't named here is a finding, with a code of SQLite's or without.

use beaver_core::rusqlite::ffi;

/// How such an error ends if it is SQLite's.
const CODE: &str = " (SQLite code ";

/// How it begins where nobody knows whether it happened, whatever its kind.
const AT_COMMIT: &str = "at commit: ";

/// What SQLite says without a code of its own when a table or a trigger of the file isn't ours, with
/// no place in the statement by which we could tell.
const NOT_OURS: [&str; 2] = [
    "ON CONFLICT clause does not match any PRIMARY KEY or UNIQUE constraint",
    "may not be modified",
];

/// Whether what is in a file can be why an operation failed with this message, though the statements
/// and the device are sound.
pub(crate) fn is_of_a_file(message: &str) -> bool {
    if let Some(what) = message.strip_prefix(AT_COMMIT) {
        return what.starts_with("corrupt: ") || is_of_a_file(what);
    }
    let Some((said, code)) = message.rsplit_once(CODE) else {
        return false;
    };
    match code.strip_suffix(')').map(str::parse::<i32>) {
        // The file's own constraints and triggers refuse what ours wouldn't.
        Some(Ok(code)) if code & 0xff == ffi::SQLITE_CONSTRAINT => true,
        Some(Ok(ffi::SQLITE_ERROR)) => NOT_OURS.iter().any(|end| said.ends_with(end)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_file_can_cause_is_excused() {
        for message in [
            "no (SQLite code 1811)",
            "at commit: no (SQLite code 1811)",
            "at commit: corrupt: database disk image is malformed",
            "table beaver_fts_index_data may not be modified (SQLite code 1)",
        ] {
            assert!(is_of_a_file(message), "{message}");
        }
        for message in [
            "",
            "corrupt: a kind of its own",
            "no such column: x (SQLite code 1)",
            "disk I/O error (SQLite code 10)",
            "at commit: disk I/O error (SQLite code 10)",
            "bad parameter or other API misuse (SQLite code 21)",
            "Query returned no rows",
            "no (SQLite code 1811",
        ] {
            assert!(!is_of_a_file(message), "{message}");
        }
    }
}
