//! Where in its life an actor was when it stopped, or when something befell it: in words.
//!
//! What must stay true: stops are counted as the scheduler counts them, host calls as faults do.

use beaver_host::machine::{HostCall, Reply};
use std::collections::BTreeMap;

/// A place, and its turn among all of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) turn: u64,
    pub(crate) words: String,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Places {
    turns: u64,
    actors: BTreeMap<u32, Actor>,
    /// What an open file is called, by its actor and number.
    files: BTreeMap<(u32, u32), &'static str>,
    stops: BTreeMap<(u32, u64), Place>,
    calls: BTreeMap<(u32, u64), Place>,
}

#[derive(Debug, Default)]
struct Actor {
    stops: u64,
    last: String,
    doing: Doing,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Doing {
    #[default]
    Begins,
    Asks,
    Waits,
    Computes,
}

impl Places {
    /// What the actor did at its stop of this number.
    pub(crate) fn stop(&self, actor: u32, number: u64) -> Option<&Place> {
        self.stops.get(&(actor, number))
    }

    /// The actor's host call of this number.
    pub(crate) fn call(&self, actor: u32, number: u64) -> Option<&Place> {
        self.calls.get(&(actor, number))
    }

    fn place(&mut self, words: String) -> Place {
        self.turns += 1;
        Place {
            turn: self.turns,
            words,
        }
    }

    pub(crate) fn stops(&mut self, actor: u32) {
        let known = self.actors.entry(actor).or_default();
        let words = match known.doing {
            Doing::Begins => "before its first host call".to_owned(),
            Doing::Asks => format!("before {}", known.last),
            Doing::Waits => format!("while it waits in {}", known.last),
            Doing::Computes => format!("after {}", known.last),
        };
        if known.doing == Doing::Asks {
            known.doing = Doing::Waits;
        }
        let number = known.stops;
        known.stops += 1;
        let place = self.place(words);
        self.stops.insert((actor, number), place);
    }

    pub(crate) fn asks(&mut self, actor: u32, number: u64, call: &HostCall<'_>) {
        let words = words(call, |file| {
            self.files.get(&(actor, file)).copied().unwrap_or("a file")
        });
        let known = self.actors.entry(actor).or_default();
        known.last.clone_from(&words);
        known.doing = Doing::Asks;
        let place = self.place(words);
        // Numbers begin anew once the program's premises are set up; faults come only after that.
        self.calls.insert((actor, number), place);
    }

    pub(crate) fn answered(&mut self, actor: u32, call: &HostCall<'_>, reply: &Reply) {
        self.actors.entry(actor).or_default().doing = Doing::Computes;
        if let (HostCall::OpenFile { name, .. }, Reply::Number(file)) = (call, reply)
            && let Ok(file) = u32::try_from(*file)
        {
            self.files.insert((actor, file), file_words(name));
        }
    }
}

fn file_words(name: &str) -> &'static str {
    if name.ends_with("-wal") {
        "the log"
    } else if name.ends_with("-journal") {
        "the rollback journal"
    } else if name.ends_with(".db") {
        "the database"
    } else {
        "a temporary file"
    }
}

/// As `wit/deps/beaver-host/storage.wit` names it, and what it is about.
fn words(call: &HostCall<'_>, of: impl Fn(u32) -> &'static str) -> String {
    match call {
        HostCall::OpenFile { name, .. } => format!("OpenFile of {}", file_words(name)),
        HostCall::DeleteFile { name, .. } => format!("DeleteFile of {}", file_words(name)),
        HostCall::FileExists { name } => format!("FileExists of {}", file_words(name)),
        HostCall::ReadAt { file, offset, len } => {
            format!("ReadAt of {len} bytes of {} at {offset}", of(*file))
        }
        HostCall::ReadInto {
            file,
            offset,
            buffer,
        } => {
            let len = buffer.len();
            format!("ReadInto of {len} bytes of {} at {offset}", of(*file))
        }
        HostCall::WriteAt { file, offset, data } => {
            let len = data.len();
            format!("WriteAt of {len} bytes of {} at {offset}", of(*file))
        }
        HostCall::Truncate { file, size } => {
            format!("Truncate of {} to {size} bytes", of(*file))
        }
        HostCall::Sync { file, .. } => format!("Sync of {}", of(*file)),
        HostCall::Lock { file, level } => format!("Lock {level:?} of {}", of(*file)),
        HostCall::Unlock { file, level } => format!("Unlock {level:?} of {}", of(*file)),
        HostCall::ShmLock {
            first, count, kind, ..
        } => format!("ShmLock {kind:?} of {}", slots(*first, *count)),
        HostCall::ShmLockWait {
            first, count, kind, ..
        } => format!("ShmLockWait {kind:?} of {}", slots(*first, *count)),
        HostCall::ShmUnlock {
            first, count, kind, ..
        } => format!("ShmUnlock {kind:?} of {}", slots(*first, *count)),
        HostCall::ShmMap { region, .. } => format!("ShmMap of region {region}"),
        other => {
            let debug = format!("{other:?}");
            let name = debug.split([' ', '{']).next().unwrap_or_default();
            name.to_owned()
        }
    }
}

/// The slots of the wal-index by SQLite's names.
fn slots(first: u32, count: u32) -> String {
    let name = |slot: u32| match slot {
        0 => "WRITE".to_owned(),
        1 => "CKPT".to_owned(),
        2 => "RECOVER".to_owned(),
        slot => format!("READ{}", slot - 3),
    };
    match count {
        0 | 1 => name(first),
        _ => format!("{} to {}", name(first), name(first + count - 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use beaver_host::machine::{FileKind, OpenFlags, SyncKind};

    #[test]
    fn a_stop_is_told_by_the_host_call_around_it() {
        let mut places = Places::default();
        places.stops(2);
        let open = HostCall::OpenFile {
            name: "store.db-wal",
            kind: FileKind::Wal,
            how: OpenFlags {
                create: true,
                ..OpenFlags::default()
            },
        };
        places.asks(2, 0, &open);
        places.answered(2, &open, &Reply::Number(5));
        let sync = HostCall::Sync {
            file: 5,
            kind: SyncKind::Full,
        };
        places.asks(2, 1, &sync);
        places.stops(2);
        places.stops(2);
        places.answered(2, &sync, &Reply::Done);
        places.stops(2);
        let told = |number| places.stop(2, number).map(|place| place.words.as_str());
        assert_eq!(told(0), Some("before its first host call"));
        assert_eq!(told(1), Some("before Sync of the log"));
        assert_eq!(told(2), Some("while it waits in Sync of the log"));
        assert_eq!(told(3), Some("after Sync of the log"));
        let call = places.call(2, 1).unwrap();
        assert_eq!(call.words, "Sync of the log");
        assert!(call.turn < places.stop(2, 1).unwrap().turn);
    }

    #[test]
    fn slots_have_sqlite_s_names() {
        assert_eq!(slots(0, 1), "WRITE");
        assert_eq!(slots(4, 4), "READ1 to READ4");
    }
}
