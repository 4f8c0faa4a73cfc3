//! What an open main database has beyond any file: claims, the number of its last commit, and
//! waking.
//!
//! What must stay true: a handle speaks for a commit only if it was the writer when the count of
//! commits grew by one.

use super::OpenFile;
use crate::storage::claim;
use crate::storage::error::ErrorCode;
use crate::storage::grant::shm_name;
use crate::storage::hub::{ChangeWait, HUBS, SharedHub, Watch};
use crate::storage::registry::FileId;
use crate::storage::sync::{Arc, Mutex};
use crate::storage::token::TokenSource;
use crate::storage::watch::Interest;
use rangemap::RangeSet;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// In how many pieces a handle's claims may be. A connection's are in one, and in one more for each
/// row that it has given up and could not delete yet.
pub(super) const PIECES_MAX: usize = 16;
/// How many tokens a handle may claim, of 2^61: a guest isn't to keep all others from claiming.
pub(super) const CLAIMED_MAX: u64 = 1 << 32;

/// What is known of a handle's last time as the writer.
#[derive(Debug, Default)]
struct Writing {
    /// The last commit when it became the writer, if somebody waited then.
    since: Option<u32>,
    /// Its own commit, once it isn't the writer any more.
    committed: Option<u32>,
}

/// What an open main database has beyond any file.
#[derive(Debug)]
pub(super) struct MainDb {
    hub: SharedHub,
    pub(super) shm_name: Arc<str>,
    /// What it waits for, from one wait to the next.
    watch: Option<Arc<Watch>>,
    /// Whether it says what its commits concern.
    announces: bool,
    /// Changed by calls that share the handle.
    writing: Mutex<Writing>,
    claims: RangeSet<u64>,
}

impl MainDb {
    pub(super) fn new(id: FileId, name: &str) -> Self {
        Self {
            hub: HUBS.get(id, Default::default),
            shm_name: shm_name(name).into(),
            watch: None,
            announces: false,
            writing: Mutex::default(),
            claims: RangeSet::new(),
        }
    }

    /// Gives up all claims and the place among those who wait.
    pub(super) fn end(&mut self, fd: &OwnedFd) {
        if !self.claims.is_empty() {
            let _ = claim::release_all(fd);
        }
        // Wakes the next in turn, who is to find the claims gone.
        self.watch = None;
        if !self.claims.is_empty() {
            self.hub.claims_ended(|claim| self.claims.contains(&claim));
        }
    }
}

impl OpenFile {
    /// Claims the `count` tokens from `first` on until this file is dropped; see the WIT's `claim`.
    pub fn claim(&mut self, first: u64, count: u64) -> Result<(), ErrorCode> {
        self.check_writable()?;
        let main = self.main.as_mut().ok_or(ErrorCode::InvalidArgument)?;
        let tokens = claim::some(first, count)?;
        let mut claims = main.claims.clone();
        claims.insert(tokens.clone());
        let claimed: u64 = claims.iter().map(|piece| piece.end - piece.start).sum();
        if claims.len() > PIECES_MAX || claimed > CLAIMED_MAX {
            return Err(ErrorCode::Full);
        }
        claim::claim(&*self.fd, &tokens)?;
        main.claims = claims;
        Ok(())
    }

    /// Ends the claim on `token`; see the WIT's `end-claim`.
    pub fn end_claim(&mut self, token: u64) -> Result<(), ErrorCode> {
        let main = self.main.as_mut().ok_or(ErrorCode::InvalidArgument)?;
        let tokens = claim::one(token)?;
        if !main.claims.contains(&token) {
            return Ok(());
        }
        let mut claims = main.claims.clone();
        claims.remove(tokens.clone());
        if claims.len() > PIECES_MAX {
            return Err(ErrorCode::Full);
        }
        claim::end(&*self.fd, &tokens)?;
        main.claims = claims;
        main.hub.claims_ended(|claim| claim == token);
        Ok(())
    }

    /// Whether another handle has claimed `token`.
    pub fn is_claimed(&self, token: u64) -> Result<bool, ErrorCode> {
        self.main.as_ref().ok_or(ErrorCode::InvalidArgument)?;
        claim::is_claimed(&*self.fd, token)
    }

    /// A number that differs after every commit by anybody.
    pub fn change_token(&self) -> Result<u64, ErrorCode> {
        self.check_waking()?;
        let source = self.token_source().ok_or(ErrorCode::InvalidArgument)?;
        Ok(source.token()?.hash)
    }

    fn last_commit(&self) -> Result<u32, ErrorCode> {
        self.token_source()
            .ok_or(ErrorCode::InvalidArgument)?
            .commits()
    }

    /// Says what this handle waits for; see the WIT's `watch`.
    pub fn watch(&mut self, interest: Option<Interest>) -> Result<(), ErrorCode> {
        self.check_waking()?;
        let main = self.main.as_mut().ok_or(ErrorCode::InvalidArgument)?;
        let interest = interest.map(|interest| Interest {
            // Who can't take anything is in nobody's way.
            turn: interest.turn.filter(|_| !self.read_only),
            ..interest
        });
        match (interest, &main.watch) {
            (Some(interest), Some(watch)) => watch.change(interest),
            (Some(interest), None) => {
                main.watch = Some(Arc::new(Watch::new(&main.hub, Some(interest))));
            }
            (None, _) => main.watch = None,
        }
        Ok(())
    }

    /// Says what this handle's last commit concerned; see the WIT's `announce`.
    pub fn announce(&mut self, topics: &[u64]) -> Result<(), ErrorCode> {
        self.check_waking()?;
        let main = self.main.as_mut().ok_or(ErrorCode::InvalidArgument)?;
        main.announces = true;
        main.hub
            .announce(topics, main.writing.lock().committed.take());
        Ok(())
    }

    /// Waits until something that it watches has changed (`true`; without
    /// `watch`: until the token is no longer `seen`) or `timeout` has passed
    /// (`false`). The future borrows nothing.
    pub fn wait_change(&self, seen: u64, timeout: Duration) -> Result<ChangeWait, ErrorCode> {
        self.check_waking()?;
        let main = self.main.as_ref().ok_or(ErrorCode::InvalidArgument)?;
        let source = self.token_source().ok_or(ErrorCode::InvalidArgument)?;
        let watch = match &main.watch {
            Some(watch) => Arc::clone(watch),
            None => Arc::new(Watch::new(&main.hub, None)),
        };
        Ok(Watch::wait(&watch, source, seen, timeout))
    }

    fn token_source(&self) -> Option<TokenSource> {
        self.main.as_ref().map(|main| TokenSource {
            database: Arc::clone(&self.fd),
            shm: self.shm.clone(),
            shm_name: Arc::clone(&main.shm_name),
            grant: self.grant.clone(),
        })
    }

    /// It is the writer now: nobody else can commit.
    pub(super) fn note_writer(&self) {
        if let Some(main) = &self.main
            && main.announces
        {
            let watched = main.hub.is_watched();
            *main.writing.lock() = Writing {
                since: watched.then(|| self.last_commit().ok()).flatten(),
                committed: None,
            };
        }
    }

    /// Before the writer's lock is released. Not every transaction commits
    /// something: what it found there is somebody else's.
    pub(super) fn note_commit(&self) {
        if let Some(main) = &self.main
            && main.announces
        {
            let mut writing = main.writing.lock();
            writing.committed = writing.since.take().and_then(|since| {
                let last = self.last_commit().ok()?;
                (last == since.wrapping_add(1)).then_some(last)
            });
        }
    }

    /// After it: wakes this process's waiters if there was a commit that nobody
    /// will announce.
    pub(super) fn tell_of_commit(&self) {
        if let Some(main) = &self.main
            && !main.announces
        {
            main.hub.released(|| self.last_commit());
        }
    }

    fn check_waking(&self) -> Result<(), ErrorCode> {
        if self.grant.offers_waking() {
            Ok(())
        } else {
            Err(ErrorCode::Unsupported)
        }
    }
}
