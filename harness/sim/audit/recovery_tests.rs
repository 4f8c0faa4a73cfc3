//! What the files hold after a crash or a power loss, and what they must.

use super::testing::{Native, Snapshot, Watched, insert};
use super::{AuditError, Durability, Fall, Recovered};
use proptest::prelude::*;

const NORMAL: Fall = Fall::PowerLoss(Durability::Normal);
const FULL: Fall = Fall::PowerLoss(Durability::Full);
const HEADER_BYTES: usize = 32;
const FRAME_BYTES: usize = 24 + 4096;

fn known(commit: u64) -> Result<Recovered, AuditError> {
    Ok(Recovered {
        commit,
        was_unpublished: false,
    })
}

/// A database with three commits in its log, the second of them under a completed sync.
fn three_commits() -> (Watched, Snapshot) {
    let mut watched = Watched::with_table();
    watched.commit(&insert(20, 900, 1));
    watched.commit(&insert(20, 900, 2));
    let begun = watched.ledger.sync_begins();
    watched.commit(&insert(20, 900, 3));
    watched.ledger.wal_synced(begun);
    let files = watched.native.files();
    (watched, files)
}

#[test]
fn what_was_published_survives_a_crash() {
    let (mut watched, files) = three_commits();
    assert_eq!(watched.ledger.recovered(&files, Fall::Crash, 9), known(3));
    let (mut watched, mut files) = three_commits();
    files.wal.pop();
    let lost = AuditError::Lost { bound: 3, found: 2 };
    assert_eq!(watched.ledger.recovered(&files, Fall::Crash, 9), Err(lost));
}

#[test]
fn a_power_loss_leaves_what_was_synced_and_under_full_all_that_was_published() {
    let (watched, _) = three_commits();
    assert_eq!(watched.ledger.durable_bound(Durability::Normal), 2);
    assert_eq!(watched.ledger.durable_bound(Durability::Full), 3);
    let second = watched.ledger.commits()[2].mx_frame as usize;
    for (frames, normal, full) in [
        (
            second,
            known(2),
            Err(AuditError::Lost { bound: 3, found: 2 }),
        ),
        (
            second - 1,
            Err(AuditError::Lost { bound: 2, found: 1 }),
            Err(AuditError::Lost { bound: 3, found: 1 }),
        ),
    ] {
        for (fall, expected) in [(NORMAL, normal), (FULL, full)] {
            let (mut watched, mut files) = three_commits();
            files.wal.truncate(HEADER_BYTES + frames * FRAME_BYTES);
            assert_eq!(watched.ledger.recovered(&files, fall, 9), expected);
        }
    }
}

#[test]
fn numbers_go_on_after_a_loss_and_what_survived_is_durable() {
    let (mut watched, mut files) = three_commits();
    let second = watched.ledger.commits()[2].mx_frame as usize;
    files.wal.truncate(HEADER_BYTES + second * FRAME_BYTES);
    assert_eq!(watched.ledger.recovered(&files, NORMAL, 9), known(2));
    assert_eq!(watched.ledger.durable_bound(Durability::Full), 2);
    watched.native = Native::from(&files);
    // The wal-index is rebuilt.
    watched.idle("SELECT * FROM t");
    assert_eq!(watched.commit(&insert(1, 10, 4)), 4);
    assert_eq!(watched.ledger.durable_bound(Durability::Normal), 2);
    assert_eq!(watched.ledger.durable_bound(Durability::Full), 4);
}

#[test]
fn a_transaction_that_was_written_but_not_published_may_come_back() {
    let mut watched = Watched::with_table();
    watched.commit(&insert(20, 900, 1));
    watched.native.run(&insert(20, 900, 2));
    let files = watched.native.files();
    let back = Recovered {
        commit: 2,
        was_unpublished: true,
    };
    assert_eq!(watched.ledger.recovered(&files, Fall::Crash, 9), Ok(back));
    // Whoever rebuilds the wal-index publishes it, without a sync.
    watched.native = Native::from(&files);
    watched.idle("SELECT * FROM t");
    assert_eq!(watched.ledger.durable_bound(Durability::Full), 1);
    let begun = watched.ledger.sync_begins();
    watched.ledger.wal_synced(begun);
    assert_eq!(watched.ledger.durable_bound(Durability::Full), 2);
}

#[test]
fn a_rebuilt_index_publishes_what_a_dead_writer_left_and_that_needs_a_sync() {
    let mut watched = Watched::with_table();
    watched.commit(&insert(20, 900, 1));
    watched.native.run(&insert(20, 900, 2));
    watched.native = Native::from(&watched.native.files());
    watched.native.run("SELECT * FROM t");
    assert_eq!(watched.look(), Ok(1));
    assert_eq!(watched.ledger.durable_bound(Durability::Full), 1);
    assert_eq!(watched.commit(&insert(1, 900, 3)), 3);
    assert_eq!(watched.ledger.durable_bound(Durability::Full), 3);
}

#[test]
fn what_nobody_published_may_come_back_only_on_top_of_what_had_to_survive() {
    let mut watched = Watched::with_table();
    watched.commit(&insert(20, 900, 1));
    let fork = Native::from(&watched.native.files());
    watched.commit(&insert(20, 900, 2));
    fork.run(&insert(20, 900, 3));
    let lost = AuditError::Lost { bound: 2, found: 1 };
    let files = fork.files();
    assert_eq!(watched.ledger.recovered(&files, FULL, 9), Err(lost));
    let back = Recovered {
        commit: 3,
        was_unpublished: true,
    };
    assert_eq!(watched.ledger.recovered(&files, NORMAL, 9), Ok(back));
}

#[test]
fn a_mixture_is_found() {
    let mut watched = Watched::with_table();
    watched.commit(&insert(40, 900, 1));
    watched.idle("PRAGMA wal_checkpoint(TRUNCATE)");
    let older = watched.native.files();
    watched.commit("UPDATE t SET k = k + 1");
    watched.idle("PRAGMA wal_checkpoint(TRUNCATE)");
    let newer = watched.native.files();
    let pages = newer.database.len() / 4096;
    for page in 1..pages {
        let place = page * 4096..(page + 1) * 4096;
        let mut files = newer.clone();
        files.database[place.clone()].copy_from_slice(&older.database[place.clone()]);
        if files == newer {
            continue;
        }
        let found = watched.ledger.recovered(&files, NORMAL, 9);
        let (last, differing) = (2, vec![page as u32 + 1]);
        assert_eq!(found, Err(AuditError::NoSuchCommit { last, differing }));
        let mut files = newer.clone();
        files.database[page * 4096 + 100] ^= 1;
        assert!(watched.ledger.recovered(&files, NORMAL, 9).is_err());
    }
    let mut files = newer.clone();
    files.database.truncate((pages - 1) * 4096);
    assert!(watched.ledger.recovered(&files, NORMAL, 9).is_err());
    assert_eq!(watched.ledger.recovered(&newer, NORMAL, 9), known(2));
}

#[test]
fn an_old_log_over_a_newer_database_is_found() {
    let mut watched = Watched::with_table();
    watched.commit(&insert(40, 900, 1));
    let whole = watched.native.files().wal;
    watched.idle("PRAGMA wal_checkpoint(TRUNCATE)");
    watched.commit("UPDATE t SET k = k + 1 WHERE k < 5000");
    let part = watched.native.files().wal;
    watched.idle("PRAGMA wal_checkpoint(TRUNCATE)");
    watched.commit("UPDATE t SET k = k + 2");
    watched.idle("PRAGMA wal_checkpoint(TRUNCATE)");
    let mut files = watched.native.files();
    files.wal = whole;
    let lost = AuditError::Lost { bound: 3, found: 1 };
    assert_eq!(watched.ledger.recovered(&files, FULL, 9), Err(lost));
    files.wal = part;
    let (last, differing) = (3, vec![3]);
    let mixture = AuditError::NoSuchCommit { last, differing };
    assert_eq!(watched.ledger.recovered(&files, NORMAL, 9), Err(mixture));
}

/// The log's header and nothing valid after it: the next writer begins with the same salts.
fn only_header(files: &Snapshot) -> Snapshot {
    let mut files = files.clone();
    files.wal.truncate(HEADER_BYTES + 512);
    files
}

#[test]
fn the_first_of_a_log_may_come_back_but_not_over_what_the_same_log_already_brought() {
    let mut watched = Watched::with_table();
    watched.commit(&insert(40, 900, 1));
    watched.idle("PRAGMA wal_checkpoint(RESTART)");
    watched.commit("UPDATE t SET k = k + 2");
    let fork = Native::from(&only_header(&watched.native.files()));
    fork.run("UPDATE t SET k = k + 1 WHERE k < 5000");
    let forked = fork.files();
    assert_eq!(
        forked.wal[..HEADER_BYTES],
        watched.native.files().wal[..HEADER_BYTES]
    );
    watched.idle("PRAGMA wal_checkpoint(TRUNCATE)");
    let files = Snapshot {
        wal: forked.wal.clone(),
        ..watched.native.files()
    };
    let found = watched.ledger.recovered(&files, NORMAL, 9);
    assert!(
        matches!(found, Err(AuditError::NoSuchCommit { last: 2, .. })),
        "{found:?}"
    );
    let back = Recovered {
        commit: 3,
        was_unpublished: true,
    };
    assert_eq!(watched.ledger.recovered(&forked, NORMAL, 9), Ok(back));
}

#[test]
fn what_is_written_upon_frames_of_an_older_log_is_a_mixture_too() {
    let mut watched = Watched::with_table();
    watched.commit(&insert(40, 900, 1));
    watched.idle("PRAGMA wal_checkpoint(TRUNCATE)");
    watched.commit("UPDATE t SET k = k + 2 WHERE k > 30000");
    let fork = Native::from(&watched.native.files());
    fork.run("UPDATE t SET k = k + 1 WHERE k < 5000");
    watched.idle("PRAGMA wal_checkpoint(TRUNCATE)");
    watched.commit("DELETE FROM t WHERE k > 15000 AND k < 20000");
    watched.idle("PRAGMA wal_checkpoint(TRUNCATE)");
    let files = Snapshot {
        wal: fork.files().wal,
        ..watched.native.files()
    };
    let found = watched.ledger.recovered(&files, NORMAL, 9);
    assert!(
        matches!(found, Err(AuditError::NoSuchCommit { last: 3, .. })),
        "{found:?}"
    );
}

#[test]
fn a_ledger_may_begin_with_a_log_that_holds_nothing() {
    let watched = Watched::with_table();
    watched.native.run("PRAGMA wal_checkpoint(RESTART)");
    watched.native.run(&insert(3, 50, 1));
    let mut watched = Watched::new(Native::from(&only_header(&watched.native.files())));
    watched.native.run(&insert(3, 50, 1));
    let back = Recovered {
        commit: 1,
        was_unpublished: true,
    };
    let files = watched.native.files();
    assert_eq!(watched.ledger.recovered(&files, FULL, 9), Ok(back));
}

#[test]
fn of_equal_images_the_newest_counts() {
    let mut watched = Watched::with_table();
    watched.commit("INSERT INTO t VALUES (5, 5)");
    let files = watched.native.files();
    watched.commit("UPDATE t SET v = 6");
    watched.commit("UPDATE t SET v = 5");
    let commits = watched.ledger.commits();
    assert_eq!(commits[1].digest, commits[3].digest);
    assert_eq!(watched.ledger.recovered(&files, FULL, 9), known(3));
}

#[test]
fn a_hot_journal_is_played_back_and_a_deleted_one_may_come_back_until_the_directory_is_synced() {
    let mut watched = Watched::new(Native::with("PRAGMA cache_size=5"));
    watched.commit("CREATE TABLE t (k, v)");
    watched.commit(&insert(20, 900, 1));
    watched.idle(&format!("BEGIN; {}", insert(40, 900, 2)));
    let files = watched.native.files();
    assert_eq!(watched.ledger.recovered(&files, Fall::Crash, 9), known(2));
    let begun = watched.ledger.sync_begins();
    watched.commit("COMMIT");
    let committed = watched.native.files();
    watched.ledger.directory_synced(begun);
    assert_eq!(watched.ledger.durable_bound(Durability::Normal), 2);
    assert_eq!(watched.ledger.durable_bound(Durability::Full), 3);
    let begun = watched.ledger.sync_begins();
    watched.ledger.directory_synced(begun);
    assert_eq!(watched.ledger.durable_bound(Durability::Normal), 3);
    let back = Snapshot {
        journal: files.journal,
        ..committed
    };
    let lost = AuditError::Lost { bound: 3, found: 2 };
    assert_eq!(watched.ledger.recovered(&back, NORMAL, 9), Err(lost));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn whatever_is_lost_of_the_log_leaves_the_last_whole_commit(
        cut in 0.0..1.0_f64,
        torn in prop::option::of(0.0..1.0_f64),
        checkpoint in any::<bool>(),
    ) {
        let mut watched = Watched::with_table();
        watched.commit(&insert(5, 900, 1));
        if checkpoint {
            watched.idle("PRAGMA wal_checkpoint(TRUNCATE)");
        }
        let first = watched.ledger.last().number;
        for salt in 2..6 {
            watched.commit(&insert(5, 900, salt));
        }
        let mut files = watched.native.files();
        let size = files.wal.len();
        files.wal.truncate((size as f64 * cut) as usize);
        if let Some(torn) = torn {
            let at = (size as f64 * torn) as usize / 512 * 512;
            let end = files.wal.len().min(at + 512);
            if at < end {
                files.wal[at..end].fill(0xa5);
            }
        }
        let intact = files.wal.iter().zip(&watched.native.files().wal).take_while(|(a, b)| a == b).count();
        let whole = watched.ledger.commits().iter().rev().find(|commit| {
            let needs = HEADER_BYTES + commit.mx_frame as usize * FRAME_BYTES;
            (commit.mx_frame > 0 && needs <= intact && (!checkpoint || commit.number > first))
                || (checkpoint && commit.number == first)
                || commit.number == 0
        });
        let expected = if checkpoint || intact >= HEADER_BYTES + 2 * FRAME_BYTES {
            known(whole.unwrap().number)
        } else {
            // The ledger began with two frames in the log, which nobody may lose.
            let found = watched.ledger.recovered(&files, NORMAL, 9);
            prop_assert!(found.is_err());
            return Ok(());
        };
        prop_assert_eq!(watched.ledger.recovered(&files, NORMAL, 9), expected);
    }
}
