//! What kills hit, and what was left to recover: counted, not judged.
//!
//! What must stay true: a kill counts if a session died of it; what is counted as hit was
//! certainly so when the kill was entered.

use super::words::{count, counted};
use crate::history::{FaultRecord, History, Operation, Outcome, Seen, SessionEnd};
use crate::program::Fault;
use crate::protocol::{LockName, Op};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::AddAssign;

/// Counts of one or more runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crashes {
    /// Moments at which one process or all were killed.
    pub kills: u64,
    /// Those at which all were.
    pub of_all: u64,
    /// Processes that died.
    pub processes: u64,
    /// Sessions that died with them.
    pub sessions: u64,
    /// Kills that hit at least one open transaction.
    pub in_transaction: u64,
    /// Kills that hit at least one operation that had not been answered.
    pub under_way: u64,
    /// Kills that hit at least one holder of a lock.
    pub of_holders: u64,
    /// How often all were dead and a log with commits was left.
    pub logs: u64,
    /// How often all were dead and a hot journal was left.
    pub hot_journals: u64,
    /// How often SQLite was the first to open what was left.
    pub by_sqlite: u64,
    /// How often SQLite checked the file.
    pub checked: u64,
    /// How often it found nothing wrong.
    pub whole: u64,
    /// Operations that were answered with success.
    pub acknowledged: u64,
}

impl Crashes {
    /// Of one run.
    pub fn of(history: &History) -> Self {
        let mut all = Self::default();
        let operations = operations_by_session(history);
        for fault in &history.faults {
            all.add(history, fault, &operations);
        }
        for observation in &history.observations {
            match &observation.seen {
                Seen::Remains {
                    wal_bytes,
                    hot_journal,
                } => {
                    all.logs += u64::from(*wal_bytes > 0);
                    all.hot_journals += u64::from(*hot_journal);
                }
                Seen::IntegrityCheck(said) => {
                    all.checked += 1;
                    all.whole += u64::from(said == "ok");
                }
                _ => {}
            }
        }
        let answered = |operation: &&Operation| operation.ok().is_some();
        all.acknowledged = history.operations.iter().filter(answered).count() as u64;
        all
    }

    fn add(
        &mut self,
        history: &History,
        fault: &FaultRecord,
        operations: &HashMap<u64, Vec<&Operation>>,
    ) {
        let of_all = match fault.fault {
            Fault::Kill { .. } => false,
            Fault::KillAll { sqlite_first } => {
                self.by_sqlite += u64::from(sqlite_first);
                true
            }
            _ => return,
        };
        let killed = fault.sessions.iter().filter_map(|session| {
            let known = history.session(*session)?;
            matches!(known.over, Some((_, SessionEnd::Killed))).then_some(known)
        });
        let killed: Vec<_> = killed.collect();
        if killed.is_empty() {
            return;
        }
        let processes: HashSet<u32> = killed.iter().map(|session| session.process).collect();
        let hit: Vec<Hit> = killed
            .iter()
            .map(|session| Hit::of(operations.get(&session.session), fault.at_ns))
            .collect();
        let any = |is: fn(&Hit) -> bool| u64::from(hit.iter().any(is));
        self.kills += 1;
        self.of_all += u64::from(of_all);
        self.processes += processes.len() as u64;
        self.sessions += killed.len() as u64;
        self.in_transaction += any(|hit| hit.in_transaction);
        self.under_way += any(|hit| hit.under_way);
        self.of_holders += any(|hit| hit.holds_lock);
    }
}

fn operations_by_session(history: &History) -> HashMap<u64, Vec<&Operation>> {
    let mut all: HashMap<u64, Vec<&Operation>> = HashMap::new();
    for operation in &history.operations {
        all.entry(operation.session).or_default().push(operation);
    }
    all
}

/// What a session was doing when its process was killed.
#[derive(Default)]
struct Hit {
    in_transaction: bool,
    under_way: bool,
    holds_lock: bool,
}

impl Hit {
    fn of(operations: Option<&Vec<&Operation>>, at_ns: u64) -> Self {
        let mut hit = Self::default();
        let mut locks: HashSet<&LockName> = HashSet::new();
        for operation in operations.into_iter().flatten() {
            let answered = operation.completed_ns.is_some_and(|at| at < at_ns)
                && !matches!(operation.outcome, Outcome::Info(_));
            if !answered {
                // It was the last, and whatever it was to end may not have ended.
                hit.under_way = operation.invoked_ns < at_ns;
                break;
            }
            let done = operation.ok().is_some();
            match &operation.op {
                Op::Begin => hit.in_transaction |= done,
                Op::Commit | Op::Rollback => hit.in_transaction &= !done,
                Op::LockAcquire { lock, .. } if done => {
                    locks.insert(lock);
                }
                Op::LockRelease { lock } => {
                    locks.remove(lock);
                }
                _ => {}
            }
        }
        hit.holds_lock = !locks.is_empty();
        hit
    }
}

impl AddAssign for Crashes {
    fn add_assign(&mut self, other: Self) {
        // All of it: what comes to be counted has to be added.
        let Self {
            kills,
            of_all,
            processes,
            sessions,
            in_transaction,
            under_way,
            of_holders,
            logs,
            hot_journals,
            by_sqlite,
            checked,
            whole,
            acknowledged,
        } = other;
        self.kills += kills;
        self.of_all += of_all;
        self.processes += processes;
        self.sessions += sessions;
        self.in_transaction += in_transaction;
        self.under_way += under_way;
        self.of_holders += of_holders;
        self.logs += logs;
        self.hot_journals += hot_journals;
        self.by_sqlite += by_sqlite;
        self.checked += checked;
        self.whole += whole;
        self.acknowledged += acknowledged;
    }
}

impl fmt::Display for Crashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({} of all processes at once), {} and {} dead; {} hit an open transaction, {} an operation under \
             way, {} the holder of a lock; with nobody left: {} with a log, {} with a hot journal, SQLite the \
             first to open {}; integrity_check ok {} of {}; {} acknowledged",
            counted(self.kills, "kill", "kills"),
            count(self.of_all),
            counted(self.processes, "process", "processes"),
            counted(self.sessions, "session", "sessions"),
            count(self.in_transaction),
            count(self.under_way),
            count(self.of_holders),
            count(self.logs),
            count(self.hot_journals),
            count(self.by_sqlite),
            count(self.whole),
            count(self.checked),
            counted(self.acknowledged, "operation", "operations"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::CheckSpec;
    use crate::check::script::Script;
    use crate::protocol::LockKind;
    use serde_json::json;

    #[test]
    fn what_a_kill_hit_is_what_was_so_when_it_was_entered() {
        let lock = || LockName::new(LockKind::Lock, "l");
        let acquire = Op::LockAcquire {
            lock: lock(),
            timeout_ms: None,
            ttl_ms: None,
        };
        let mut script = Script::new(CheckSpec::Completion);
        let sessions: Vec<u64> = (0..4).map(|worker| script.session(worker, 0)).collect();
        // One in a transaction; one that had ended its own, and holds a lock; one in its commit.
        script.ok(sessions[0], 1, 2, Op::Begin, ());
        script.ok(sessions[1], 1, 2, Op::Begin, ());
        script.ok(sessions[2], 1, 2, Op::Begin, ());
        script.ok(sessions[1], 3, 4, Op::Rollback, ());
        script.ok(sessions[1], 5, 6, acquire, json!({}));
        script.info(sessions[2], 7, None, Op::Commit);
        script.fault(10, Fault::Kill { worker: 1 }, &sessions[1..2], None);
        script.over(sessions[1], 11, SessionEnd::Killed);
        let all = Fault::KillAll { sqlite_first: true };
        let hit = [sessions[0], sessions[2], sessions[3]];
        script.fault(20, all, &hit, None);
        script.over(sessions[0], 21, SessionEnd::Killed);
        script.over(sessions[2], 21, SessionEnd::Killed);
        // This one had died before.
        script.over(sessions[3], 21, SessionEnd::Lost);
        script.seen(
            22,
            Seen::Remains {
                wal_bytes: 9,
                hot_journal: false,
            },
        );
        script.seen(23, Seen::IntegrityCheck("ok".into()));
        script.seen(24, Seen::IntegrityCheck("not ok".into()));
        let expected = Crashes {
            kills: 2,
            of_all: 1,
            processes: 3,
            sessions: 3,
            in_transaction: 1,
            under_way: 1,
            of_holders: 1,
            logs: 1,
            hot_journals: 0,
            by_sqlite: 1,
            checked: 2,
            whole: 1,
            acknowledged: 5,
        };
        assert_eq!(Crashes::of(&script.history), expected);
        let mut twice = expected;
        twice += expected;
        assert_eq!((twice.kills, twice.acknowledged), (4, 10));
    }
}
