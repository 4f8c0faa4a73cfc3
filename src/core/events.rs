//! The reference's events: what `on(event, callback)` hears in Python.
//!
//! Whoever listens counts itself in the dictionary `__events__` under
//! `<kind>:<name>:<event>`. A write of such a kind publishes its event on the
//! channel `__beaver_events__`, here in its own transaction.
//!
//! What must stay true:
//! - An event is published if and only if the write commits, and its text is
//!   what Python's would be: Python's listeners end with one that they can't read.
//! - Where nobody listens it costs no statement: the count is read with the
//!   locks (`write.rs`).
//! - The count is never less than there are listeners. It is more when one is
//!   killed: then events are published for nobody. A component's listeners are
//!   registered with a claim each, and the next one that registers
//!   withdraws those whose claim is gone.

use crate::channel::{self, Message};
use crate::database::Database;
use crate::error::{Error, Outcome, Result};
use crate::follow::{Follower, Start};
use crate::json::{compact_object, compact_string, python_text};
use crate::lease::WRITE_GRACE;
use crate::manager::{Kind, Manager, check_key};
use crate::options::GuardMode;
use crate::orphan::Orphan;
use crate::topic;
use crate::write::{Effect, Interference, Request, touch};
use rusqlite::Connection;
use std::rc::Rc;
use std::time::Duration;

/// Where all events are published.
pub(crate) const EVENTS_CHANNEL: &str = "__beaver_events__";
const EVENTS_NAMESPACE: &str = "channel:__beaver_events__";

/// The dictionary of the counts.
const REGISTRY: &str = "__events__";

/// Ours: a dictionary whose keys are the listeners that have a claim, as
/// `<waiter id> <topic>:<event>`.
const CLAIMED: &str = "__beaver_listeners__";

/// What a write says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event<'a> {
    /// The reference's word for it: `set`, `del`, `push`, …
    pub(crate) name: &'static str,
    pub(crate) payload: Payload<'a>,
}

/// What goes with an event, in the reference's form.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Payload<'a> {
    /// `{}`
    Nothing,
    /// `{"key": …}`
    Key(&'a str),
    /// `{"index": …}`
    Index(i64),
    /// `{"id": …}`
    Id(&'a str),
    /// `{"src_id": …, "tgt_id": …}`
    Edge { source: &'a str, target: &'a str },
}

impl<'a> Event<'a> {
    pub(crate) fn new(name: &'static str, payload: Payload<'a>) -> Self {
        Self { name, payload }
    }

    /// Under which its listeners are counted.
    pub(crate) fn registry_key(&self, manager: &Manager) -> String {
        registry_key(&manager.cache_namespace, self.name)
    }
}

impl Payload<'_> {
    fn text(&self) -> String {
        let mut text = String::from("{");
        let mut member = |name: &str, value: &str| {
            if text.len() > 1 {
                text.push(',');
            }
            compact_string(name, &mut text);
            text.push(':');
            compact_string(value, &mut text);
        };
        match *self {
            Self::Nothing => {}
            Self::Key(key) => member("key", key),
            Self::Id(id) => member("id", id),
            Self::Edge { source, target } => {
                member("src_id", source);
                member("tgt_id", target);
            }
            Self::Index(index) => text.push_str(&format!("\"index\":{index}")),
        }
        text.push('}');
        text
    }
}

fn registry_key(topic: &str, event: &str) -> String {
    format!("{topic}:{event}")
}

/// An event's text up to its payload, as pydantic prints it.
fn head(topic: &str, event: &str) -> String {
    let mut text = String::from("{\"topic\":");
    compact_string(topic, &mut text);
    text.push_str(",\"event\":");
    compact_string(event, &mut text);
    text.push_str(",\"payload\":");
    text
}

/// Publishes the event of a write for which somebody listens. Call inside its
/// transaction.
pub(crate) fn publish(
    database: &Database,
    manager: &Manager,
    event: Event<'_>,
    now: f64,
) -> Result<()> {
    publish_text(
        database,
        &manager.cache_namespace,
        event.name,
        &event.payload.text(),
        now,
    )
}

/// Publishes events beside the one of the write's request, if anybody listens
/// for them. Call inside the write's transaction.
pub(crate) fn publish_if_heard<'a>(
    database: &Database,
    manager: &Manager,
    name: &'static str,
    payloads: impl IntoIterator<Item = Payload<'a>>,
) -> Result<()> {
    let key = registry_key(&manager.cache_namespace, name);
    if is_heard(&database.inner.connection, &key)? {
        let now = database.inner.runtime.unix_seconds();
        for payload in payloads {
            publish(database, manager, Event::new(name, payload), now)?;
        }
    }
    Ok(())
}

fn publish_text(
    database: &Database,
    topic: &str,
    event: &str,
    payload: &str,
    now: f64,
) -> Result<()> {
    // The count may be there without a listener of ours or Python's.
    database.require(Kind::Channel)?;
    let mut text = head(topic, event);
    text.push_str(payload);
    text.push('}');
    database.concerns(topic::contents(EVENTS_NAMESPACE));
    channel::publish(&database.inner.connection, EVENTS_CHANNEL, &text, now)?;
    Ok(())
}

fn is_heard(connection: &Connection, key: &str) -> Result<bool> {
    Ok(connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM beaver_dicts
             WHERE dict_name = ?1 AND key = ?2 AND CAST(value AS INTEGER) > 0)",
        )?
        .query_row([REGISTRY, key], |row| row.get(0))?)
}

fn check_event(topic: &str, event: &str) -> Result<String> {
    if topic.is_empty() || event.is_empty() {
        return Err(Error::InvalidArgument(
            "an event has a topic and a name".into(),
        ));
    }
    let key = registry_key(topic, event);
    check_key(&key)?;
    Ok(key)
}

/// A listener's entry in the registry.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    key: String,
    /// The key in [`CLAIMED`].
    claimed: Option<String>,
}

impl Registration {
    /// Counts the listener. Call inside a write transaction, while nobody else
    /// changes the registry.
    fn add(&self, connection: &Connection) -> Result<()> {
        connection
            .prepare_cached(
                "INSERT INTO beaver_dicts (dict_name, key, value, expires_at)
                 VALUES (?1, ?2, '1', NULL)
                 ON CONFLICT (dict_name, key) DO UPDATE
                 SET value = CAST(max(CAST(value AS INTEGER), 0) + 1 AS TEXT), expires_at = NULL",
            )?
            .execute([REGISTRY, &self.key])?;
        if let Some(claimed) = &self.claimed {
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO beaver_dicts (dict_name, key, value, expires_at)
                     VALUES (?1, ?2, '1', NULL)",
                )?
                .execute([CLAIMED, claimed])?;
        }
        Ok(())
    }

    /// Uncounts the listener. Call inside a write transaction, at any time: if
    /// Python changes the count just then, it writes a greater one.
    pub(crate) fn withdraw(&self, connection: &Connection) -> Result<()> {
        if let Some(claimed) = &self.claimed {
            let withdrawn = connection
                .prepare_cached("DELETE FROM beaver_dicts WHERE dict_name = ?1 AND key = ?2")?
                .execute([CLAIMED, claimed])?;
            if withdrawn == 0 {
                return Ok(());
            }
        }
        connection
            .prepare_cached(
                "DELETE FROM beaver_dicts
                 WHERE dict_name = ?1 AND key = ?2 AND CAST(value AS INTEGER) <= 1",
            )?
            .execute([REGISTRY, &self.key])?;
        connection
            .prepare_cached(
                "UPDATE beaver_dicts SET value = CAST(CAST(value AS INTEGER) - 1 AS TEXT)
                 WHERE dict_name = ?1 AND key = ?2 AND CAST(value AS INTEGER) > 1",
            )?
            .execute([REGISTRY, &self.key])?;
        touch(connection, &format!("{}:{REGISTRY}", Kind::Dict.as_str()))
    }
}

impl Database {
    /// Listens for `event` of what `topic` names, `<kind>:<name>`: `set` of
    /// `dict:config`, `push` of `list:tasks`; or for one of one's own, which
    /// [`Database::emit`] publishes.
    ///
    /// Counts itself in the file, so that writers, Python's too, publish the event.
    ///
    /// ```
    /// # fn main() -> beaver_core::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("app.db");
    /// use beaver_core::{Database, Options};
    /// use std::time::Duration;
    ///
    /// let db = Database::open(path.to_str().unwrap(), &Options::default())?;
    /// let mut listener = db.on("dict:config", "set")?;
    /// db.dict("config")?.set("theme", r#""dark""#, None)?;
    /// let heard = listener.next_page(10, Some(Duration::from_secs(1)))?;
    /// assert_eq!(heard[0].payload, r#"{"key":"theme"}"#);
    /// listener.close()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for an empty topic or event, NUL, or more than
    /// [`MAX_KEY_BYTES`](crate::MAX_KEY_BYTES); [`Error::InTransaction`];
    /// [`Error::Locked`] while Python keeps the registry locked; and what
    /// writing may report.
    pub fn on(&self, topic: &str, event: &str) -> Result<Listener> {
        let key = check_event(topic, event)?;
        if self.inner.in_transaction.get() {
            return Err(Error::InTransaction);
        }
        self.require(Kind::Channel)?;
        let events = Rc::new(Manager::new(Kind::Channel, EVENTS_CHANNEL)?);
        let mut follower = Follower::unplaced(self, &channel::TABLE, &events)?;
        let claimed = self.waiter_ids().next_claimed();
        let registration = Registration {
            claimed: claimed.map(|id| format!("{id} {key}")),
            key,
        };
        let registry = Manager::new(Kind::Dict, REGISTRY)?;
        let request = Request {
            manager: &registry,
            lease: None,
            interference: Interference::Possible,
            event: None,
            wait: self.inner.options.lock_wait,
            write_limit: None,
        };
        // Python reads the count, then writes it, under the dictionary's lock:
        // one counted in between would be lost. So the lock binds here always.
        self.write_as(GuardMode::Mandatory, &request, |connection| {
            self.withdraw_gone(connection)?;
            registration.add(connection)?;
            follower.place(connection, Start::Now)?;
            Ok(Effect::Changed(()))
        })?;
        Ok(Listener {
            database: self.clone(),
            follower,
            head: head(topic, event),
            python_head: python_head(topic, event)?,
            registration: Some(registration),
        })
    }

    /// Publishes an event of one's own if anybody listens for it; false, and
    /// nothing changed, otherwise. `payload` is a JSON object.
    ///
    /// # Errors
    /// As [`Database::on`] for topic and event; [`Error::InvalidJson`], also for
    /// what Python's listeners couldn't read: a nesting of more than 199, half of
    /// a surrogate pair; and what writing may report.
    pub fn emit(&self, topic: &str, event: &str, payload: &str) -> Result<bool> {
        let key = check_event(topic, event)?;
        let payload = compact_object(payload)?;
        if !self.read(|connection| is_heard(connection, &key))? {
            return Ok(false);
        }
        self.write_unguarded(EVENTS_NAMESPACE, |_| {
            let now = self.inner.runtime.unix_seconds();
            publish_text(self, topic, event, &payload, now)?;
            Ok(Effect::Changed(true))
        })
    }

    /// Withdraws the listeners of instances that are gone.
    fn withdraw_gone(&self, connection: &Connection) -> Result<()> {
        let mut statement =
            connection.prepare_cached("SELECT key FROM beaver_dicts WHERE dict_name = ?1")?;
        let claimed: Vec<String> = statement
            .query_map([CLAIMED], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let inner = &*self.inner;
        for claimed in claimed {
            let Some((id, key)) = claimed.split_once(' ') else {
                continue;
            };
            let claim = self.waiter_ids().claim_of_other(id);
            if claim.is_some_and(|claim| inner.runtime.is_gone(&inner.connection, claim)) {
                Registration {
                    key: key.to_owned(),
                    claimed: Some(claimed.clone()),
                }
                .withdraw(connection)?;
            }
        }
        Ok(())
    }
}

/// An event's beginning as [`python_text`] prints it.
fn python_head(topic: &str, event: &str) -> Result<String> {
    let mut text = head(topic, event);
    text.push_str("{}}");
    let text = python_text(&text)?;
    Ok(text.strip_suffix("{}}").unwrap_or(&text).to_owned())
}

/// Hears an event: every one that is published after it was made, once, in
/// the order of the commits. Dropping it ends it.
#[derive(Debug)]
pub struct Listener {
    database: Database,
    follower: Follower,
    head: String,
    python_head: String,
    registration: Option<Registration>,
}

impl Listener {
    /// The next events, at least one and at most `max`. Waits for one up to
    /// `timeout` (none: for ever; zero: looks once). A message's payload is
    /// what went with the event: `{"key":…}`, `{"index":…}`, `{"id":…}` or `{}`.
    ///
    /// # Errors
    /// [`Error::Timeout`]: nothing was heard, and nothing is skipped.
    /// [`Error::InvalidArgument`] for a `max` of 0. [`Error::InTransaction`].
    pub fn next_page(&mut self, max: u32, timeout: Option<Duration>) -> Result<Vec<Message>> {
        let runtime = &*self.database.inner.runtime;
        let deadline = timeout.and_then(|timeout| runtime.monotonic().checked_add(timeout));
        loop {
            let left = deadline.map(|deadline| deadline.saturating_sub(runtime.monotonic()));
            let heard: Vec<Message> = self
                .follower
                .wait(max, left)?
                .into_iter()
                .filter_map(|record| {
                    Some(Message {
                        payload: payload_of(&record.data, &self.head, &self.python_head)?,
                        timestamp: record.timestamp,
                    })
                })
                .collect();
            if !heard.is_empty() {
                return Ok(heard);
            }
        }
    }

    /// Stops listening.
    ///
    /// # Errors
    /// [`Error::InTransaction`] and what writing may report: then it is done
    /// with the connection's next read or write, or its end.
    pub fn close(mut self) -> Result<()> {
        self.withdraw(None)
    }

    fn withdraw(&mut self, limit: Option<Duration>) -> Result<()> {
        let Some(registration) = self.registration.take() else {
            return Ok(());
        };
        let inner = &*self.database.inner;
        let withdraw = || {
            if !inner.connection.is_autocommit() {
                return Err(Error::InTransaction);
            }
            let transaction = self.database.begin_write(limit)?;
            registration.withdraw(&inner.connection)?;
            transaction.commit()
        };
        let result = withdraw();
        // Of a commit that may have happened: counting one too many is the safe side.
        let undone = |error: &Error| error.outcome() == Outcome::NotApplied;
        if result.as_ref().is_err_and(undone) {
            inner
                .orphans
                .borrow_mut()
                .push(Orphan::Listener(registration));
        }
        result
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.withdraw(Some(WRITE_GRACE));
    }
}

/// What goes with an event, if the text is one that begins so.
fn payload_of(text: &str, head: &str, python_head: &str) -> Option<String> {
    let payload = |text: &str, head: &str| {
        let rest = text.strip_prefix(head)?;
        Some(rest.strip_suffix('}')?.to_owned())
    };
    payload(text, head).or_else(|| {
        // Somebody may print the same otherwise.
        payload(&python_text(text).ok()?, python_head)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_printed_as_pydantic_does_and_read_either_way() {
        let head = head("dict:a\"é\u{1}", "set");
        assert_eq!(
            head,
            "{\"topic\":\"dict:a\\\"é\\u0001\",\"event\":\"set\",\"payload\":"
        );
        let python_head = python_head("dict:a\"é\u{1}", "set").unwrap();
        let text = format!("{head}{}}}", Payload::Key("k").text());
        for text in [
            text.clone(),
            python_text(&text).unwrap(),
            text.replace(':', " : "),
        ] {
            let payload = payload_of(&text, &head, &python_head);
            if text.contains(" : ") && text.contains("dict : ") {
                assert_eq!(payload, None, "another topic");
            } else {
                assert_eq!(python_text(&payload.unwrap()).unwrap(), "{\"key\": \"k\"}");
            }
        }
        for other in ["", "null", "{}", "nonsense", "{\"topic\":\"dict:b\"}"] {
            assert_eq!(payload_of(other, &head, &python_head), None);
        }
    }

    #[test]
    fn payloads_are_the_references() {
        for (payload, text) in [
            (Payload::Nothing, "{}"),
            (Payload::Key("a\"b"), r#"{"key":"a\"b"}"#),
            (Payload::Index(-1), r#"{"index":-1}"#),
            (Payload::Id("é"), r#"{"id":"é"}"#),
            (
                Payload::Edge {
                    source: "a",
                    target: "b",
                },
                r#"{"src_id":"a","tgt_id":"b"}"#,
            ),
        ] {
            assert_eq!(payload.text(), text);
        }
    }
}
