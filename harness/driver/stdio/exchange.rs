//! Who waits for which answer.
//!
//! What must stay true: every request that was begun ends, with its answer or because the
//! process counts as lost; an answer that nobody waits for is a fault of the driver's.

use super::super::ended;
use crate::protocol::{Failure, Reply};
use std::collections::HashMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Default)]
pub(in crate::driver) struct Exchange {
    state: Mutex<State>,
    lost: Condvar,
}

#[derive(Default)]
struct State {
    last_id: u64,
    waiting: HashMap<u64, SyncSender<Reply>>,
    /// Why there will be no more answers.
    lost: Option<Lost>,
}

/// Why a process is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::driver) enum Lost {
    /// It said what is no answer.
    Nonsense(String),
    /// It didn't answer in time.
    Silence(String),
    /// It didn't answer an operation that waits for ever as long as anybody wanted to wait.
    GivenUp(String),
    /// It has ended, by itself or because it was to.
    Ended(String),
}

impl Lost {
    pub(in crate::driver) fn why(&self) -> &str {
        match self {
            Self::Nonsense(why) | Self::Silence(why) | Self::GivenUp(why) | Self::Ended(why) => why,
        }
    }
}

impl Exchange {
    /// A number for a request, and where its answer will come.
    ///
    /// # Errors
    /// `gone`, and not begun: the process is lost.
    pub(in crate::driver) fn begin(&self) -> Result<(u64, Receiver<Reply>), Failure> {
        let mut state = self.state();
        if let Some(lost) = &state.lost {
            return Err(ended(lost.why()));
        }
        state.last_id += 1;
        let id = state.last_id;
        let (sender, receiver) = sync_channel(1);
        state.waiting.insert(id, sender);
        Ok((id, receiver))
    }

    /// Gives an answer to whoever waits for it.
    ///
    /// # Errors
    /// In words: nobody does.
    pub(super) fn answer(&self, reply: Reply) -> Result<(), String> {
        let id = reply.id;
        let mut state = self.state();
        let Some(waiting) = state.waiting.remove(&id) else {
            return Err(if id >= 1 && id <= state.last_id {
                format!("request {id} was answered twice")
            } else {
                format!("there is an answer with the id {id}, which no request had")
            });
        };
        // There is room for one, and there is one.
        let _ = waiting.try_send(reply);
        Ok(())
    }

    /// Ends all requests. The first reason stands.
    pub(in crate::driver) fn lose(&self, lost: Lost) {
        let mut state = self.state();
        state.lost.get_or_insert(lost);
        state.waiting.clear();
        drop(state);
        self.lost.notify_all();
    }

    /// Waits until the process is lost for its own reasons; after `limit` for this one.
    pub(in crate::driver) fn wait_until_lost(&self, why: &str, limit: Duration) {
        let waited = self
            .lost
            .wait_timeout_while(self.state(), limit, |state| state.lost.is_none());
        drop(waited);
        self.lose(Lost::Ended(why.to_owned()));
    }

    /// Why the process is lost, if it is.
    pub(in crate::driver) fn lost(&self) -> Option<Lost> {
        self.state().lost.clone()
    }

    /// The same in words.
    pub(super) fn why(&self) -> String {
        self.lost()
            .map_or_else(String::new, |lost| lost.why().to_owned())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn reply(id: u64) -> Reply {
        Reply {
            id,
            result: Ok(Value::Null),
            commit: None,
        }
    }

    #[test]
    fn answers_go_to_whoever_asked() {
        let exchange = Exchange::default();
        let (first, first_answer) = exchange.begin().unwrap();
        let (second, second_answer) = exchange.begin().unwrap();
        exchange.answer(reply(second)).unwrap();
        assert_eq!(second_answer.recv().unwrap().id, second);
        assert!(first_answer.try_recv().is_err());
        assert!(
            exchange
                .answer(reply(second))
                .unwrap_err()
                .contains("twice")
        );
        assert!(
            exchange
                .answer(reply(9))
                .unwrap_err()
                .contains("no request")
        );
        exchange.answer(reply(first)).unwrap();
    }

    #[test]
    fn a_lost_process_ends_all_but_what_is_answered() {
        let exchange = Exchange::default();
        let (answered, answer) = exchange.begin().unwrap();
        let (_, unanswered) = exchange.begin().unwrap();
        exchange.answer(reply(answered)).unwrap();
        exchange.lose(Lost::Nonsense("one".into()));
        exchange.lose(Lost::Ended("two".into()));
        assert!(answer.recv().is_ok());
        assert!(unanswered.recv().is_err());
        assert_eq!(exchange.why(), "one");
        assert_eq!(exchange.begin().unwrap_err().message, "one");
    }
}
