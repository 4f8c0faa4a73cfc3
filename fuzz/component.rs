//! The shipped component in the real host, for targets that call it as embedders do.
//!
//! What must stay true: the component never traps, whatever it is given: a trap is a panic in it. A
//! limit of the host may end it; what it is told by the host and tells its caller names no path of the
//! host's.

use crate::scratch::Scratch;
use beaver_host::client::{DbError, OpenOptions};
use beaver_host::{Error, Grant, Host, Instance};
use std::sync::OnceLock;
use std::time::Duration;

/// Far above what an input takes, where the component isn't led astray.
const CPU_LIMIT: Duration = Duration::from_secs(2);
/// Of waiting, too.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
const MEMORY_BYTES_MAX: u64 = 64 << 20;
const FILE_BYTES_MAX: u64 = 8 << 20;

/// Compiled once.
fn host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| {
        let host = Host::builder()
            .max_instances(16)
            .memory_limit_bytes(MEMORY_BYTES_MAX)
            .max_file_bytes(FILE_BYTES_MAX)
            .cpu_limit(CPU_LIMIT)
            .call_timeout(CALL_TIMEOUT);
        host.build().unwrap()
    })
}

/// Where an input's calls run.
pub(crate) fn run<T>(calls: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.unwrap().block_on(calls)
}

pub(crate) async fn instance(scratch: &Scratch) -> Instance {
    let grant = Grant::directory(scratch.folder()).unwrap();
    host().instantiate(grant).await.unwrap()
}

/// An instance is no more.
#[derive(Debug)]
pub(crate) struct Gone;

/// What a call came to: none if it was answered with an error. `may_fail`: with what messages it may
/// fail that has no kind of its own.
pub(crate) fn expect<T>(
    scratch: &Scratch,
    called: Result<T, Error>,
    may_fail: fn(&str) -> bool,
) -> Result<Option<T>, Gone> {
    let error = match called {
        Ok(value) => return Ok(Some(value)),
        Err(error) => error,
    };
    // Both what a person is shown and all that an embedder is given.
    let said = format!("{error}\n{error:?}");
    let path = scratch.folder().display().to_string();
    assert!(
        !said.contains(&path),
        "a path of the host's is told: {said}"
    );
    match error {
        Error::Db(DbError::Failed(failure)) => {
            assert!(may_fail(&failure.message), "{said}");
            Ok(None)
        }
        Error::Db(_) | Error::ForeignHandle => Ok(None),
        Error::CpuLimit(_) | Error::CallTimeout(_) | Error::MemoryLimit(_) | Error::Poisoned => {
            Err(Gone)
        }
        _ => panic!("{said}"),
    }
}

/// Whether the host serves the next one.
pub(crate) async fn still_serves() {
    let scratch = Scratch::new();
    let mut instance = instance(&scratch).await;
    let database = instance
        .open("next.db", &OpenOptions::default())
        .await
        .unwrap();
    let dict = instance.dict(&database, "d").await.unwrap();
    dict.set(&mut instance, "k", "1", None).await.unwrap();
    let value = dict.get(&mut instance, "k").await.unwrap();
    assert_eq!(value.as_deref(), Some("1"));
    drop((dict, database));
    instance.close().await.unwrap();
}

/// No file has become longer than the limit.
pub(crate) fn check_files(scratch: &Scratch) {
    for entry in std::fs::read_dir(scratch.folder()).unwrap() {
        let entry = entry.unwrap();
        let len = entry.metadata().unwrap().len();
        assert!(
            len <= FILE_BYTES_MAX,
            "{:?} has {len} bytes",
            entry.file_name()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use beaver_host::client::{Failure, Outcome};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// The check has to see a path, or it would show nothing.
    #[test]
    fn a_path_in_an_error_is_found() {
        let scratch = Scratch::new();
        let tried = |text: String| {
            let called = Err::<(), _>(Error::Db(DbError::InvalidArgument(text)));
            catch_unwind(AssertUnwindSafe(|| expect(&scratch, called, |_| true)))
        };
        assert!(matches!(tried("f.db".to_owned()), Ok(Ok(None))));
        assert!(tried(format!("{}: no", scratch.path().display())).is_err());
    }

    #[test]
    fn a_failure_without_a_kind_is_found() {
        let scratch = Scratch::new();
        let tried = |may_fail: fn(&str) -> bool| {
            let called = Err::<(), _>(Error::Db(DbError::Failed(Failure {
                message: "why".to_owned(),
                outcome: Outcome::NotApplied,
            })));
            catch_unwind(AssertUnwindSafe(|| expect(&scratch, called, may_fail)))
        };
        assert!(matches!(tried(|why| why == "why"), Ok(Ok(None))));
        assert!(tried(|_| false).is_err());
    }
}
