//! Clients in this process, each on a thread of its own.
//!
//! What must stay true: whoever asks has an answer in time, whatever the client does. A call
//! can't be ended from outside, so a thread that isn't done in time is left behind, its client
//! is gone, and what the call does later nobody hears of.

use super::{Abandon, Answer, Client, ended, gone};
use crate::protocol::{ErrorCode, Failure, Op};
use serde_json::Value;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
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
        answer: SyncSender<Answer>,
    },
    Close {
        answer: SyncSender<Answer>,
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
}

impl Seat {
    fn ask(
        &mut self,
        limit: Option<Duration>,
        request: impl FnOnce(SyncSender<Answer>) -> Request,
    ) -> Answer {
        let (sender, answer) = sync_channel(1);
        let Some(requests) = &self.requests else {
            return Err(ended("the client has ended"));
        };
        let received = match requests.send(request(sender)) {
            Err(_) => Err(RecvTimeoutError::Disconnected),
            Ok(()) => match limit {
                Some(limit) => answer.recv_timeout(limit),
                None => answer.recv().map_err(RecvTimeoutError::from),
            },
        };
        received.unwrap_or_else(|error| {
            self.requests = None;
            Err(gone(why(error)))
        })
    }
}

impl Client for Seat {
    fn call(&mut self, op: &Op, certify: bool, patience: Duration) -> Answer {
        let limit = super::limit(op, patience);
        let op = op.clone();
        self.ask(limit, |answer| Request::Call {
            op,
            certify,
            answer,
        })
    }

    fn close(mut self: Box<Self>) -> Result<(), Failure> {
        self.ask(Some(LIMIT), |answer| Request::Close { answer })
            .map(drop)
    }

    fn abandoner(&self) -> Arc<dyn Abandon> {
        Arc::new(Never)
    }
}

struct Never;

impl Abandon for Never {
    fn abandon(&self, _trap: bool) -> Result<(), Failure> {
        Err(Failure::new(
            ErrorCode::Unsupported,
            "a client on a thread can't be abandoned in the middle of a call",
        ))
    }
}
