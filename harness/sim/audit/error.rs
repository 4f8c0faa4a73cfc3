//! What an audit may find wrong.

/// Something that no correct SQLite on a correct file system could have done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// The files hold a state that no commit has left: a mixture.
    #[error(
        "the files hold no commit's image (compared with commit {last}, pages {differing:?} differ)"
    )]
    NoSuchCommit {
        /// The newest commit.
        last: u64,
        /// The pages that aren't as after that commit.
        differing: Vec<u32>,
    },
    /// The files hold an older commit than they must.
    #[error("commit {bound} had to survive, but the files hold commit {found}")]
    Lost {
        /// The commit that had to survive, or a later one.
        bound: u64,
        /// The commit that the files hold.
        found: u64,
    },
    /// A checkpoint, a restart of the log or its deletion changed what the database holds.
    #[error("without a commit, pages {differing:?} are no longer as after commit {commit}")]
    CheckpointChangedImage {
        /// The newest commit.
        commit: u64,
        /// The pages that aren't as after that commit.
        differing: Vec<u32>,
    },
    /// The wal-index takes back frames of the log that were published.
    #[error("the wal-index went back from frame {from} to frame {to}, taking back commit {commit}")]
    Rewound {
        /// The newest commit.
        commit: u64,
        /// The last frame that had been published.
        from: u32,
        /// What the wal-index says is the last one.
        to: u32,
    },
    /// The frames of a published commit were replaced by others.
    #[error("the log's frames up to {mx_frame} were published twice, replacing commit {commit}")]
    Overwritten {
        /// The newest commit.
        commit: u64,
        /// The last frame.
        mx_frame: u32,
    },
    /// The wal-index speaks of frames that the log doesn't hold.
    #[error("the wal-index publishes frame {mx_frame}, but the log is valid only to {valid}")]
    Unreadable {
        /// What the wal-index says is the last frame.
        mx_frame: u32,
        /// The last commit frame that the log holds by its checksums.
        valid: u32,
    },
}
