//! The ledger beside native SQLite: what is a commit, what isn't, and what is wrong.

use super::testing::{Native, Snapshot, Watched, insert};
use super::{AuditError, Journal, Ledger, recovered_image};
use proptest::prelude::*;

#[test]
fn a_commit_is_seen_once_and_nothing_else_is_one() {
    let mut watched = Watched::with_table();
    assert_eq!(watched.commit(&insert(3, 50, 1)), 1);
    assert_eq!(watched.look(), Ok(0));
    watched.idle("SELECT * FROM t");
    watched.idle("BEGIN IMMEDIATE; DELETE FROM t; ROLLBACK");
    watched.idle("PRAGMA wal_checkpoint(PASSIVE)");
    watched.idle("PRAGMA wal_checkpoint(RESTART)");
    assert_eq!(watched.commit(&insert(3, 50, 2)), 2);
    watched.idle("PRAGMA wal_checkpoint(TRUNCATE)");
    watched.idle("PRAGMA wal_checkpoint(TRUNCATE)");
    assert_eq!(watched.commit("DELETE FROM t"), 3);
    let last = watched.ledger.last();
    assert_eq!((last.number, last.at_ns), (3, 11));
    assert_eq!(last.journal, Journal::WriteAheadLog);
    let salts: Vec<_> = watched.ledger.commits().iter().map(|c| c.salts).collect();
    assert!(salts[1] != salts[2] && salts[2] != salts[3]);
}

#[test]
fn commits_between_two_looks_are_all_found() {
    let mut watched = Watched::with_table();
    for salt in 0..3 {
        watched.native.run(&insert(1, 10, salt));
    }
    watched.native.run("PRAGMA wal_checkpoint(PASSIVE)");
    assert_eq!(watched.look(), Ok(3));
    let numbers: Vec<_> = watched.ledger.commits().iter().map(|c| c.change).collect();
    assert!(numbers[1..].windows(2).all(|pair| pair[1] == pair[0] + 1));
    watched.idle("PRAGMA wal_checkpoint(TRUNCATE)");
    for salt in 0..3 {
        watched.native.run(&insert(1, 10, salt));
    }
    watched.native.run("PRAGMA wal_checkpoint(PASSIVE)");
    assert_eq!(watched.look(), Ok(3));
}

#[test]
fn a_rebuilt_or_torn_index_is_no_commit() {
    let mut watched = Watched::with_table();
    watched.commit("INSERT INTO t VALUES (1, 1)");
    let header = watched.native.index().unwrap();
    let mut rebuilt = header;
    // `iChange` begins anew. The checksum is as in `walIndexWriteHdr`.
    rebuilt[8..12].fill(0);
    let mut sum = [0_u32; 2];
    for pair in rebuilt[..40].as_chunks::<4>().0.as_chunks::<2>().0 {
        let [low, high] = pair.map(u32::from_le_bytes);
        sum[0] = sum[0].wrapping_add(low).wrapping_add(sum[1]);
        sum[1] = sum[1].wrapping_add(high).wrapping_add(sum[0]);
    }
    rebuilt[40..44].copy_from_slice(&sum[0].to_le_bytes());
    rebuilt[44..].copy_from_slice(&sum[1].to_le_bytes());
    assert_ne!(rebuilt, header);
    let files = watched.native.files();
    assert_eq!(watched.ledger.observe(&files, Some(&rebuilt), 9), Ok(0));
    rebuilt[9] = 1;
    assert_eq!(watched.ledger.observe(&files, Some(&rebuilt), 9), Ok(0));
    watched.commit("UPDATE t SET v = 2");
}

#[test]
fn an_index_rebuilt_from_the_log_that_was_about_to_restart_shows_no_commit() {
    let mut watched = Watched::with_table();
    watched.commit(&insert(3, 50, 1));
    watched.commit(&insert(3, 50, 2));
    let before = watched.native.files();
    watched.idle("PRAGMA wal_checkpoint(TRUNCATE)");
    assert_eq!(watched.ledger.last().number, 2);
    // As if the log had not yet been truncated when all died.
    let files = Snapshot {
        wal: before.wal,
        ..watched.native.files()
    };
    watched.native = Native::from(&files);
    watched.idle("SELECT * FROM t");
    assert_eq!(watched.commit(&insert(3, 50, 3)), 3);
}

#[test]
fn from_an_empty_file_to_a_log_and_back() {
    let native = Native::with("");
    let mut watched = Watched::new(native);
    assert_eq!(watched.ledger.last().pages, 0);
    watched.commit("CREATE TABLE t (k, v)");
    watched.idle("BEGIN IMMEDIATE; INSERT INTO t VALUES (1, 1); ROLLBACK");
    watched.commit("INSERT INTO t VALUES (1, 1)");
    watched.commit("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0");
    assert_eq!(watched.ledger.last().journal, Journal::Rollback);
    watched.commit("INSERT INTO t VALUES (2, 1)");
    assert_eq!(watched.ledger.last().journal, Journal::WriteAheadLog);
    watched.commit("PRAGMA journal_mode=DELETE");
    assert_eq!(watched.ledger.last().journal, Journal::Rollback);
    watched.commit("PRAGMA journal_mode=PERSIST; INSERT INTO t VALUES (3, 1)");
    watched.commit("INSERT INTO t VALUES (4, 1)");
    watched.commit("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0");
    watched.commit("INSERT INTO t VALUES (5, 1)");
    let image = watched.ledger.image(&watched.native.files());
    assert!(image == watched.native.truth());
}

#[test]
fn a_transaction_in_a_rollback_journal_is_no_commit_until_the_journal_is_gone() {
    let mut watched = Watched::new(Native::with("PRAGMA cache_size=5"));
    watched.commit("CREATE TABLE t (k, v)");
    let before = watched.native.files().database;
    watched.idle(&format!("BEGIN; {}", insert(40, 900, 1)));
    assert!(watched.native.files().database != before);
    let files = watched.native.files();
    assert!(watched.ledger.image(&files) == before);
    assert_eq!(watched.ledger.database_synced(&files), Ok(()));
    watched.commit("COMMIT");
}

#[test]
fn while_the_index_is_gone_and_the_log_is_there_nothing_is_decided() {
    let mut watched = Watched::with_table();
    watched.commit(&insert(3, 50, 1));
    watched.idle("PRAGMA wal_checkpoint(PASSIVE)");
    watched.commit(&insert(3, 50, 2));
    let files = watched.native.files();
    assert_eq!(watched.ledger.observe(&files, None, 9), Ok(0));
    assert!(watched.ledger.image(&files) == files.truth());
}

#[test]
fn a_log_that_came_and_went_is_forgotten_if_it_was_copied_and_else_missed() {
    let native = Native::new();
    native.run("CREATE TABLE t (k, v); INSERT INTO t VALUES (5, 5)");
    let closed = |files: &Snapshot| Snapshot {
        database: files.truth(),
        ..Snapshot::default()
    };
    let before = closed(&native.files());
    for was_copied in [true, false] {
        let mut ledger = Ledger::new(&before, 0);
        assert_eq!(ledger.observe(&before, None, 1), Ok(0));
        let mut watched = Watched::new(Native::from(&before));
        watched.ledger = ledger;
        watched.idle("SELECT * FROM t");
        // The first page, where the change counter is, stays as it was.
        let commit = watched.commit("UPDATE t SET v = 6");
        let differing = vec![2];
        let lost = AuditError::CheckpointChangedImage { commit, differing };
        let after = closed(&watched.native.files());
        let (files, expected) = if was_copied {
            (&after, Ok(0))
        } else {
            (&before, Err(lost))
        };
        assert_eq!(watched.ledger.observe(files, None, 2), expected);
    }
}

#[test]
fn a_database_that_is_written_while_the_journal_is_hot_is_no_commit() {
    let mut watched = Watched::new(Native::with("PRAGMA cache_size=5"));
    watched.commit("CREATE TABLE t (k, v)");
    watched
        .native
        .run(&format!("BEGIN; {}", insert(40, 900, 1)));
    let journal = watched.native.files().journal;
    watched.native.run("COMMIT");
    let files = Snapshot {
        journal,
        ..watched.native.files()
    };
    assert_eq!(watched.ledger.observe(&files, None, 9), Ok(0));
    assert_eq!(watched.look(), Ok(1));
}

#[test]
fn pages_past_the_end_that_the_header_tells_do_not_count_and_missing_ones_do() {
    let digest = |files: &Snapshot| Ledger::new(files, 0).last().digest;
    let native = Native::with("CREATE TABLE t (k, v)");
    native.run(&insert(3, 900, 1));
    let files = native.files();
    let mut longer = files.clone();
    longer.database.extend([0; 4096]);
    assert_eq!(digest(&longer), digest(&files));
    let mut counted = longer.clone();
    counted.database[31] += 1;
    let mut missing = files.clone();
    missing.database[31] += 1;
    assert_ne!(digest(&counted), digest(&missing));
    // Whoever wrote the file last didn't know of the count.
    let mut stale = files.clone();
    stale.database[95] ^= 1;
    let mut stale_longer = longer.clone();
    stale_longer.database[95] ^= 1;
    assert_ne!(digest(&stale), digest(&stale_longer));
}

/// What changes the files without a commit, and what of it is found at the next look, or when the database
/// is synced.
fn planted(
    watched: &mut Watched,
    files: &Snapshot,
    index: Option<[u8; 48]>,
) -> Result<(), AuditError> {
    watched.ledger.observe(files, index.as_ref(), 99)?;
    watched.ledger.database_synced(files)
}

#[test]
fn a_checkpoint_that_changes_a_page_is_found() {
    let mut watched = Watched::with_table();
    watched.commit(&insert(30, 900, 1));
    watched.idle("PRAGMA wal_checkpoint(PASSIVE)");
    let mut files = watched.native.files();
    assert_eq!(watched.ledger.database_synced(&files), Ok(()));
    // The log still has the page.
    files.database[4096 * 4 + 7] ^= 1;
    assert_eq!(watched.ledger.database_synced(&files), Ok(()));
    watched.native.run("PRAGMA wal_checkpoint(RESTART)");
    watched.native.run("DELETE FROM t WHERE k = 1001");
    let index = watched.native.index();
    let mut files = watched.native.files();
    files.database[4096 * 4 + 7] ^= 1;
    let found = watched
        .ledger
        .observe(&files, index.as_ref(), 9)
        .unwrap_err();
    let differing = vec![5];
    assert_eq!(
        found,
        AuditError::CheckpointChangedImage {
            commit: 2,
            differing
        }
    );
}

#[test]
fn a_log_that_is_deleted_before_it_was_copied_is_found() {
    let mut watched = Watched::with_table();
    let mut files = watched.native.files();
    watched.commit(&insert(30, 900, 1));
    files.wal.clear();
    let found = planted(&mut watched, &files, None).unwrap_err();
    assert!(matches!(
        found,
        AuditError::CheckpointChangedImage { commit: 1, .. }
    ));
}

#[test]
fn published_frames_that_are_taken_back_or_replaced_or_broken_are_found() {
    let mut watched = Watched::with_table();
    watched.commit(&insert(1, 10, 1));
    let earlier = watched.native.index();
    let fork = watched.native.files();
    let commit = watched.commit(&insert(1, 10, 2));
    let files = watched.native.files();
    let mx_frame = watched.ledger.last().mx_frame;
    let found = planted(&mut watched, &files, earlier).unwrap_err();
    let (from, to) = (mx_frame, mx_frame - 1);
    assert_eq!(found, AuditError::Rewound { commit, from, to });

    // Two writers at once: the other one began where this one did.
    let other = Native::from(&fork);
    other.run(&insert(1, 10, 3));
    let found = planted(&mut watched, &other.files(), other.index()).unwrap_err();
    assert_eq!(found, AuditError::Overwritten { commit, mx_frame });

    // The index of one writer, the log of the other.
    other.run(&insert(1, 10, 4));
    watched.native.run(&insert(1, 10, 5));
    let files = watched.native.files();
    let mx_frame = mx_frame + 1;
    let valid = mx_frame;
    let found = Ledger::new(&fork, 0)
        .observe(&files, other.index().as_ref(), 9)
        .unwrap_err();
    assert_eq!(found, AuditError::Unreadable { mx_frame, valid });

    let mut files = watched.native.files();
    *files.wal.last_mut().unwrap() ^= 1;
    let index = watched.native.index();
    let found = planted(&mut watched, &files, index).unwrap_err();
    let valid = mx_frame - 1;
    assert_eq!(found, AuditError::Unreadable { mx_frame, valid });
}

#[derive(Clone, Debug)]
enum Act {
    Write {
        connection: usize,
        rows: u32,
        bytes: u32,
    },
    Delete {
        below: u32,
    },
    Checkpoint(&'static str),
    Read {
        begin: bool,
    },
    Vacuum,
    CloseAndOpen,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let mode = prop::sample::select(vec!["PASSIVE", "FULL", "RESTART", "TRUNCATE"]);
    let act = prop_oneof![
        6 => (0..2_usize, 1..20_u32, 1..3000_u32)
            .prop_map(|(connection, rows, bytes)| Act::Write { connection, rows, bytes }),
        2 => (0..20_000_u32).prop_map(|below| Act::Delete { below }),
        3 => mode.prop_map(Act::Checkpoint),
        2 => any::<bool>().prop_map(|begin| Act::Read { begin }),
        1 => Just(Act::Vacuum),
        1 => Just(Act::CloseAndOpen),
    ];
    prop::collection::vec(act, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(25))]

    #[test]
    fn each_commit_has_the_image_that_native_sqlite_has(acts in acts(), spill in any::<bool>()) {
        let mut watched = Watched::with_table();
        if spill {
            watched.idle("PRAGMA cache_size=2");
        }
        let mut others = [watched.native.another(), watched.native.another()];
        let mut salt = 0;
        for act in acts {
            let before = watched.ledger.last().clone();
            let mut is_commit = false;
            match act {
                Act::Write { connection, rows, bytes } => {
                    salt += 1;
                    others[connection % 2].execute_batch(&insert(rows, bytes, salt)).ok();
                    is_commit = true;
                }
                Act::Delete { below } => {
                    watched.native.attempt(&format!("DELETE FROM t WHERE k < {below}"));
                    is_commit = true;
                }
                Act::Checkpoint(mode) => watched.native.attempt(&format!("PRAGMA wal_checkpoint({mode})")),
                Act::Read { begin: true } => {
                    others[1].execute_batch("BEGIN; SELECT count(*) FROM t").ok();
                }
                Act::Read { begin: false } => {
                    others[1].execute_batch("COMMIT").ok();
                    is_commit = true;
                }
                Act::Vacuum => {
                    watched.native.attempt("VACUUM");
                    is_commit = true;
                }
                Act::CloseAndOpen => others[0] = watched.native.another(),
            }
            let found = watched.look();
            prop_assert!(matches!(found, Ok(0 | 1)), "{found:?}");
            prop_assert!(is_commit || found == Ok(0));
            let files = watched.native.files();
            let truth = files.truth();
            prop_assert_eq!(watched.ledger.database_synced(&files), Ok(()));
            prop_assert!(watched.ledger.image(&files) == truth);
            prop_assert!(recovered_image(&files) == truth);
            let anew = Ledger::new(&files, 0);
            prop_assert_eq!(anew.last().digest, watched.ledger.last().digest);
            prop_assert_eq!(anew.last().pages, watched.ledger.last().pages);
            prop_assert_eq!(
                watched.ledger.last().number,
                before.number + found.unwrap_or(0) as u64
            );
        }
    }
}
