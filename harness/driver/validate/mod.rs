//! `check-driver`: tries everything that a driver claims to offer, and says in one sentence
//! what is wrong with it.
//!
//! What must stay true: it is for people who write drivers. So it never reports what the
//! protocol allows, it goes from the simple to the difficult, and the first fault is the only
//! one, because those after it may be its consequences.

mod capabilities;
mod ending;
mod locks;
mod talk;
mod waiting;

use super::StdioDriver;
use crate::protocol::{Capability, Description};
use serde_json::{Map, Value};
use std::time::Duration;
use talk::Talk;

/// What is wrong, in one sentence.
type Fault = String;

/// What came of the trial of a driver.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What it said of itself.
    pub description: Option<Description>,
    /// What was tried without a fault, in order, in words.
    pub tried: Vec<String>,
    /// What is wrong, in one sentence, if anything is.
    pub fault: Option<String>,
    /// The end of what it wrote to standard error.
    pub notes: String,
}

/// How long an answer may take, unless somebody knows better.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Tries a driver in a temporary folder. An answer that takes longer than `patience` beyond its
/// operation's own timeout is none. Takes some seconds.
///
/// # Errors
/// There is no temporary folder to be had.
pub fn validate(
    driver: &StdioDriver,
    settings: &Map<String, Value>,
    patience: Duration,
) -> anyhow::Result<Verdict> {
    let folder = tempfile::tempdir()?;
    let mut trial = Trial {
        driver: driver.clone(),
        settings: settings.clone(),
        patience,
        folder,
        tried: Vec::new(),
        description: None,
        notes: String::new(),
    };
    let fault = trial.run().err();
    Ok(Verdict {
        description: trial.description,
        tried: trial.tried,
        fault,
        notes: trial.notes,
    })
}

/// A driver that is being tried.
struct Trial {
    driver: StdioDriver,
    settings: Map<String, Value>,
    patience: Duration,
    folder: tempfile::TempDir,
    tried: Vec<String>,
    description: Option<Description>,
    notes: String,
}

impl Trial {
    fn run(&mut self) -> Result<(), Fault> {
        let mut talk = Talk::spawn(self, "store.db", 0)?;
        let done = self.try_all(&mut talk);
        self.notes = talk.notes();
        done?;
        self.try_the_end(talk)
    }

    fn try_all(&mut self, talk: &mut Talk) -> Result<(), Fault> {
        talk.open(0)?;
        self.done("starts, describes itself and opens a client");
        self.try_manners(talk)?;
        for capability in Capability::ALL {
            if talk.offers(*capability) && capabilities::try_one(talk, *capability)? {
                self.done(&format!("does what `{capability}` stands for"));
            }
        }
        let mut pair = self.pair(talk)?;
        self.try_waiting(talk, &mut pair)?;
        self.try_locks(talk)?;
        self.try_clock()?;
        self.try_abandoning(talk, &mut pair)?;
        self.try_closing(talk, &mut pair)
    }

    fn done(&mut self, what: &str) {
        self.tried.push(what.to_owned());
    }

    /// What is the same for all operations.
    fn try_manners(&mut self, talk: &mut Talk) -> Result<(), Fault> {
        talk.unknown_operation(0)?;
        self.done("answers what it doesn't know with `unsupported`");
        if let Some((op, answer)) = capabilities::harmless(talk) {
            let mut with_more = op.clone();
            if let Value::Object(fields) = &mut with_more {
                fields.insert("from_the_future".into(), serde_json::json!({"a": [1]}));
            }
            talk.expect(
                0,
                "an operation with a field that the driver doesn't know",
                with_more,
                &answer,
            )?;
            self.done("ignores fields that it doesn't know");
        }
        Ok(())
    }

    /// Another client: in the same process if there can be one, else in a second.
    fn pair(&mut self, talk: &mut Talk) -> Result<Other, Fault> {
        if talk.offers(Capability::Clients) {
            talk.open(1)?;
            self.done("opens a second client");
            return Ok(Other { own: None });
        }
        let mut second = Talk::spawn(self, "store.db", 0)?;
        second.open(0)?;
        self.done("starts a second process on the same database");
        Ok(Other { own: Some(second) })
    }

    fn try_clock(&mut self) -> Result<(), Fault> {
        let offers = |description: &Description| description.offers(Capability::Clock);
        if self.description.as_ref().is_some_and(offers) {
            Talk::spawn(self, "clock.db", 3_600_000)?.open(0)?;
            self.done("starts with a wall clock that is off");
        }
        Ok(())
    }
}

/// The second client, and its process if that is another.
struct Other {
    own: Option<Talk>,
}

impl Other {
    /// Whom to talk to, and as which client.
    fn seat<'a>(&'a mut self, first: &'a mut Talk) -> (&'a mut Talk, u32) {
        match &mut self.own {
            Some(own) => (own, 0),
            None => (first, 1),
        }
    }
}
