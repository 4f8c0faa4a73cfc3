//! Clients in this process, each on a thread of its own.
//!
//! What must stay true: whoever asks has an answer in time, whatever the client does. A call
//! can't be ended from outside, so a thread that isn't done in time is left behind, its client
//! is gone, and what the call does later nobody hears of.

use super::{Abandon, Answer, Client, ended, gone, waits_for_ever};
use crate::protocol::{ErrorCode, Failure, Op};
use serde_json::Value;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// How long opening and closing may take.
pub(super) const LIMIT: Duration = Duration::from_secs(30);

/// What is served on the thread. It is made there and stays there.
pub(super) trait Session: Sized + 'static {
    fn call(&mut self, op: &Op, certify: bool) -> Answer;

    /// Ends it in good order.
    fn close(self) -> Result<(), Failure>;
}

/// Opens a session on a thread of its own.
///
/// # Errors
/// What `open` says; [`ErrorCode::Failed`] also if there is no answer within [`LIMIT`].
pub(super) fn open<S: Session>(
    client: u32,
    open: impl FnOnce() -> Result<S, Failure> + Send + 'static,
) -> Result<Box<dyn Client>, Failure> {
    let (sender, requests) = sync_channel(1);
    let (opened, outcome) = sync_channel(1);
    std::thread::Builder::new()
        .name(format!("client-{client}"))
        .spawn(move || match open() {
            Ok(session) => {
                // Nobody waits for it any more if this fails, and then nobody asks it either.
                let _ = opened.send(Ok(()));
                serve(session, &requests);
            }
            Err(failure) => {
                let _ = opened.send(Err(failure));
            }
        })
        .map_err(|error| Failure::new(ErrorCode::Failed, format!("a thread: {error}")))?;
    outcome
        .recv_timeout(LIMIT)
        .map_err(|error| Failure::new(ErrorCode::Failed, why(error)))??;
    Ok(Box::new(Seat {
        requests: Some(sender),
        patience: Arc::default(),
        late: false,
        given_up: false,
    }))
}

fn why(error: RecvTimeoutError) -> &'static str {
    match error {
        RecvTimeoutError::Timeout => "no answer in time",
        RecvTimeoutError::Disconnected => "the client's thread ended",
    }
}

enum Request {
    Call {
        op: Op,
        certify: bool,
        answer: Arc<SyncSender<Answer>>,
    },
    Close {
        answer: Arc<SyncSender<Answer>>,
    },
}

fn serve(mut session: impl Session, requests: &Receiver<Request>) {
    for request in requests {
        // Whoever lost patience doesn't want the answer any more.
        match request {
            Request::Call {
                op,
                certify,
                answer,
            } => {
                let _ = answer.send(session.call(&op, certify));
            }
            Request::Close { answer } => {
                let _ = answer.send(session.close().map(|()| (Value::Null, None)));
                return;
            }
        }
    }
}

/// The other end of a client's thread.
struct Seat {
    /// None once it has ended.
    requests: Option<SyncSender<Request>>,
    patience: Arc<Patience>,
    /// It did not answer in time.
    late: bool,
    /// That was an operation that waits for ever.
    given_up: bool,
}

/// Whether anybody wants answers, and where the next one is awaited.
#[derive(Default)]
struct Patience(Mutex<State>);

#[derive(Default)]
struct State {
    over: bool,
    /// Weak: it is disconnected when the client's thread has ended.
    awaited: Weak<SyncSender<Answer>>,
}

impl Patience {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an answer there is still wanted.
    fn awaits(&self, answer: &Arc<SyncSender<Answer>>) -> bool {
        let mut state = self.state();
        state.awaited = Arc::downgrade(answer);
        !state.over
    }
}

impl Seat {
    fn ask(
        &mut self,
        limit: Option<Duration>,
        request: impl FnOnce(Arc<SyncSender<Answer>>) -> Request,
    ) -> Answer {
        let (sender, answer) = sync_channel(1);
        let sender = Arc::new(sender);
        let Some(requests) = &self.requests else {
            return Err(ended("the client has ended"));
        };
        if !self.patience.awaits(&sender) {
            return Err(ended("the client was given up"));
        }
        let received = match requests.send(request(sender)) {
            Err(_) => Err(RecvTimeoutError::Disconnected),
            Ok(()) => match limit {
                Some(limit) => answer.recv_timeout(limit),
                None => answer.recv().map_err(RecvTimeoutError::from),
            },
        };
        received.unwrap_or_else(|error| {
            self.requests = None;
            self.late = error == RecvTimeoutError::Timeout;
            Err(gone(why(error)))
        })
    }
}

impl Client for Seat {
    fn call(&mut self, op: &Op, certify: bool, patience: Duration) -> Answer {
        let limit = super::limit(op, patience);
        let for_ever = waits_for_ever(op);
        let op = op.clone();
        let answer = self.ask(limit, |answer| Request::Call {
            op,
            certify,
            answer,
        });
        self.given_up |= self.late && for_ever;
        answer
    }

    fn close(mut self: Box<Self>) -> Result<(), Failure> {
        self.ask(Some(LIMIT), |answer| Request::Close { answer })
            .map(drop)
    }

    fn was_given_up(&self) -> bool {
        self.given_up
    }

    fn abandoner(&self) -> Arc<dyn Abandon> {
        Arc::<Patience>::clone(&self.patience)
    }
}

impl Abandon for Patience {
    fn abandon(&self, _trap: bool) -> Result<(), Failure> {
        Err(Failure::new(
            ErrorCode::Unsupported,
            "a client on a thread can't be abandoned in the middle of a call",
        ))
    }

    fn give_up(&self) {
        let mut state = self.state();
        state.over = true;
        if let Some(awaited) = state.awaited.upgrade() {
            // There is room, unless the answer itself has just come.
            let _ = awaited.try_send(Err(gone("the call was given up")));
        }
    }
}
