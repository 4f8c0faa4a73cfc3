//! What no recorder can write.
//!
//! What must stay true: checks take each of these for granted, so a file with one of them is refused, not
//! judged.

/// In what way a line of a history contradicts those above it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the words say it")]
pub enum Contradiction {
    #[error(
        "the time goes back from {from_ns} ns to {to_ns} ns, but lines are in the order of their times"
    )]
    TimeGoesBack { from_ns: u64, to_ns: u64 },
    #[error(
        "the line was asked about at {asked_ns} ns, which is after the answer came, at {time_ns} ns"
    )]
    AskedLater { asked_ns: u64, time_ns: u64 },
    #[error("{what} {next} comes after {what} {last}, but numbers must grow")]
    NumberDoesNotGrow { what: What, last: u64, next: u64 },
    #[error("there is no worker {worker}: the header says that there are {workers}")]
    NoSuchWorker { worker: u32, workers: u32 },
    #[error("there is no session {0}: none of this number has begun")]
    NoSuchSession(u64),
    #[error("session {0} is over already")]
    SessionIsOver(u64),
    #[error(
        "operation {id} begins in session {session} while operation {open} of that session is under way"
    )]
    Overlap { id: u64, session: u64, open: u64 },
    #[error("operation {0} is not under way: it never began, or has ended")]
    NoSuchOperation(u64),
    #[error(
        "`fail` means that operation {0} definitely did not happen, but the line says `\"definite\":false`"
    )]
    IndefiniteFail(u64),
    #[error(
        "`info` means that nobody knows of operation {0}, but the line says `\"definite\":true`"
    )]
    DefiniteInfo(u64),
    #[error("task {0} is not under way: it never began, or has ended")]
    NoSuchTask(u64),
    #[error("task {task} of worker {worker} begins while task {open} of that worker is under way")]
    TaskWithinTask { task: u64, worker: u32, open: u64 },
    #[error("operation {id} is worker {worker}'s, but task {task} is worker {other}'s")]
    TaskOfAnother {
        id: u64,
        worker: u32,
        task: u64,
        other: u32,
    },
    #[error("{0} is the number of a pause, but the fault is none")]
    NoPause(u64),
    #[error("pause {0} is under way already")]
    PausedAlready(u64),
    #[error("nothing was paused that could be resumed")]
    NothingPaused,
}

/// What has a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words say it")]
pub enum What {
    Session,
    Task,
    Operation,
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Session => "session",
            Self::Task => "task",
            Self::Operation => "operation",
        })
    }
}
