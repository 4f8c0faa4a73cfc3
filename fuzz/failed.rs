//! Errors that have no kind of their own: findings, but where somebody's file is why.
//!
//! What must stay true: what isn't named here is a finding, with a code of SQLite's or without.

use beaver_core::rusqlite::ffi;

/// How such an error ends if it is SQLite's.
const CODE: &str = " (SQLite code ";

/// How it begins where nobody knows whether it happened, whatever its kind.
const AT_COMMIT: &str = "at commit: ";

/// Whether what is in a file can be why an operation failed with this message, though the statements
/// and the device are sound.
pub(crate) fn is_of_a_file(message: &str) -> bool {
    if let Some(what) = message.strip_prefix(AT_COMMIT) {
        return what.starts_with("corrupt: ") || is_of_a_file(what);
    }
    let Some((_, code)) = message.rsplit_once(CODE) else {
        return false;
    };
    // The file's own constraints and triggers refuse what ours wouldn't.
    code.strip_suffix(')')
        .and_then(|code| code.parse::<i32>().ok())
        .is_some_and(|code| code & 0xff == ffi::SQLITE_CONSTRAINT)
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
        ] {
            assert!(is_of_a_file(message), "{message}");
        }
        for message in [
            "",
            "corrupt: a kind of its own",
            "no such column: x (SQLite code 1)",
            "table beaver_fts_index_data may not be modified (SQLite code 1)",
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
