//! Room for many instances: each holds about three descriptors, and the usual
//! soft limit (1,024) is a default for `select`, not a wish of anybody's.
//!
//! What must stay true: only the soft limit is touched, and only upwards.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::OnceLock;

/// Raises this process's soft limit of open files to the hard one, once, and
/// answers the limit in force (`u64::MAX`: none). Never fails: where the
/// system refuses, the old limit stays, and opening files later says
/// `too-many-files`.
pub fn raise_fd_limit() -> u64 {
    static LIMIT: OnceLock<u64> = OnceLock::new();
    *LIMIT.get_or_init(|| {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        if current != maximum {
            let _ = setrlimit(
                Resource::Nofile,
                Rlimit {
                    current: maximum,
                    maximum,
                },
            );
        }
        getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let limit = raise_fd_limit();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current, maximum);
        assert_eq!(limit, maximum.unwrap_or(u64::MAX));
    }
}
