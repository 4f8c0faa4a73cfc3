//! All processes of a run die at once, and the file is looked at while nobody is left.
//!
//! What must stay true: between the last death and the first look nobody starts; with
//! `sqlite_first` SQLite is the next to open the file, else one of the system's own processes is.
//! SQLite opens it in this process, which no driver with processes of its own does.

use super::super::integrity;
use super::super::remains;
use super::{Crew, Doom, Live, Started, lock};
use crate::history::Seen;
use crate::program::Fault;
use anyhow::Context as _;
use std::time::{Duration, Instant};

/// How long to wait for somebody of the system's own to open the file first.
const REOPEN_LIMIT: Duration = Duration::from_secs(30);

impl Crew<'_> {
    /// Does it; returns whether there was anybody to do it to.
    pub(super) fn kill_all(&self, fault: Fault, sqlite_first: bool) -> anyhow::Result<bool> {
        // Another one who has the file open would be somebody who is left.
        self.reap_writers(true);
        let openings: Vec<_> = self.slots.iter().map(|slot| lock(&slot.opening)).collect();
        let started: Vec<Option<Started>> = self
            .slots
            .iter()
            .map(|slot| lock(&slot.started).take())
            .collect();
        if started.iter().all(Option::is_none) {
            return Ok(false);
        }
        let slot_of = |worker: usize| worker % self.slots.len();
        // Those of a slot without a process have ended otherwise, as their workers will say.
        let hit = (0..self.live.len()).filter(|worker| started[slot_of(*worker)].is_some());
        let mut doomed = self.doom(fault, hit, Doom::Dying);
        let endings: Vec<_> = std::thread::scope(|scope| {
            let kill = |one: &Started| {
                let process = one.process.clone();
                scope.spawn(move || process.kill())
            };
            let kills: Vec<_> = started.iter().map(|one| one.as_ref().map(kill)).collect();
            let joined = kills.into_iter().map(|kill| kill?.join().ok());
            joined.collect()
        });
        let mut first_trouble = Ok(true);
        for (slot, (started, ending)) in started.iter().zip(endings).enumerate() {
            let Some(Started {
                number, process, ..
            }) = started
            else {
                continue;
            };
            let ending = ending.unwrap_or_else(|| Err(anyhow::anyhow!("killing it panicked")));
            self.keep_notes(*number, process);
            let (of_slot, others): (Vec<(u32, Live)>, _) = doomed
                .into_iter()
                .partition(|(worker, _)| slot_of(*worker as usize) == slot);
            doomed = others;
            self.bury(*number, of_slot, &ending);
            if let Err(error) = ending {
                first_trouble = first_trouble.and(Err(error));
            }
        }
        first_trouble?;
        if !self.on_file.is_sqlite {
            return Ok(true);
        }
        self.look_at_remains()?;
        if sqlite_first {
            self.ask_sqlite()?;
        }
        drop(openings);
        Ok(true)
    }

    /// Asks SQLite about the file once somebody of the system's own has opened it, which is not who
    /// asks for this.
    pub(in crate::run) fn ask_sqlite_second(&self) -> anyhow::Result<()> {
        if self.on_file.is_sqlite && self.is_reopened() {
            self.ask_sqlite()?;
        }
        Ok(())
    }

    fn look_at_remains(&self) -> anyhow::Result<()> {
        let database = &self.init.database;
        let left = remains::look(database).context("what is left beside the file")?;
        self.recorder.seen(left);
        if let Some(planted) = self.on_file.planted {
            let lost = remains::lose(database, planted).context("the planted loss")?;
            let note = format!("planted: {lost} commits were cut off the log");
            self.recorder.seen(Seen::Note(note));
        }
        Ok(())
    }

    fn ask_sqlite(&self) -> anyhow::Result<()> {
        let said = integrity::check(&self.init.database).context("integrity_check")?;
        self.recorder.seen(Seen::IntegrityCheck(said));
        Ok(())
    }

    /// Waits until somebody has a client again; false if nobody gets one, or wants to.
    fn is_reopened(&self) -> bool {
        let began = Instant::now();
        while !self.is_halted() && !self.idle() && began.elapsed() < REOPEN_LIMIT {
            if self.live.iter().any(|live| lock(live).is_some()) {
                return true;
            }
            self.sleep(Duration::from_millis(5));
        }
        false
    }
}
