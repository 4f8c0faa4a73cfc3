//! What each kind of power loss leaves, and does not.

use super::*;
use rand::SeedableRng;
use std::collections::BTreeSet;

fn random(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

fn loss(style: LossStyle) -> Loss {
    Loss {
        style,
        ..Loss::default()
    }
}

/// A durable file `db` of `len` ones, and whoever has it open.
fn with_db(len: usize) -> (Disk, FileId) {
    let mut disk = Disk::new();
    let db = disk.open("db", true, false).unwrap();
    disk.write_at(db, 0, &vec![1; len]).unwrap();
    disk.sync_all();
    (disk, db)
}

/// What `db` holds after each of many losses.
fn outcomes(disk: &Disk, loss: Loss) -> BTreeSet<Option<Vec<u8>>> {
    (0..400)
        .map(|seed| {
            let mut disk = disk.clone();
            disk.power_loss(&loss, &mut random(seed));
            disk.contents("db")
        })
        .collect()
}

fn bytes(runs: &[(u8, usize)]) -> Option<Vec<u8>> {
    Some(
        runs.iter()
            .flat_map(|(byte, len)| vec![*byte; *len])
            .collect(),
    )
}

#[test]
fn nothing_and_everything() {
    let (mut disk, db) = with_db(1000);
    disk.write_at(db, 500, &[2; 1000]).unwrap();
    let nothing = outcomes(&disk, loss(LossStyle::Nothing));
    assert_eq!(nothing, BTreeSet::from([bytes(&[(1, 1000)])]));
    let everything = outcomes(&disk, loss(LossStyle::Everything));
    assert_eq!(everything, BTreeSet::from([bytes(&[(1, 500), (2, 1000)])]));
    assert_eq!(disk.durable_contents("db"), bytes(&[(1, 1000)]));
}

#[test]
fn what_is_left_is_durable_and_closed() {
    let (mut disk, db) = with_db(1000);
    disk.write_at(db, 0, &[2; 5000]).unwrap();
    let report = disk.power_loss(&loss(LossStyle::Nothing), &mut random(0));
    assert_eq!((report.changes_unsynced, report.names_unsynced), (1, 0));
    assert_eq!(
        report.files,
        [FileLoss {
            name: "db".into(),
            size_before: Some(5000),
            size_after: Some(1000),
            pages_changed: 2,
        }]
    );
    assert_eq!(disk.write_at(db, 0, &[3]), Err(DiskError::NotFound));
    assert_eq!(disk.read_at(db, 0, &mut [0]), 0);
    let report = disk.power_loss(&Loss::default(), &mut random(1));
    assert_eq!(report, LossReport::default());
    assert_eq!(disk.contents("db"), bytes(&[(1, 1000)]));
}

#[test]
fn a_prefix_ends_between_two_changes_or_between_two_sectors() {
    let (mut disk, db) = with_db(512);
    disk.write_at(db, 512, &[2; 1024]).unwrap();
    disk.write_at(db, 0, &[3; 100]).unwrap();
    let expected = BTreeSet::from([
        bytes(&[(1, 512)]),
        bytes(&[(1, 512), (2, 512)]),
        bytes(&[(1, 512), (2, 1024)]),
        bytes(&[(3, 100), (1, 412), (2, 1024)]),
    ]);
    assert_eq!(outcomes(&disk, loss(LossStyle::Prefix)), expected);
}

#[test]
fn a_prefix_goes_across_files() {
    let (mut disk, db) = with_db(1);
    let journal = disk.open("db-journal", true, false).unwrap();
    disk.write_at(journal, 0, &[2]).unwrap();
    disk.write_at(db, 0, &[3]).unwrap();
    disk.close(journal);
    disk.delete("db-journal", false).unwrap();
    let seen: BTreeSet<_> = (0..200)
        .map(|seed| {
            let mut disk = disk.clone();
            disk.power_loss(&loss(LossStyle::Prefix), &mut random(seed));
            (disk.contents("db"), disk.contents("db-journal"))
        })
        .collect();
    let (old, new) = (bytes(&[(1, 1)]), bytes(&[(3, 1)]));
    assert_eq!(
        seen,
        BTreeSet::from([
            (old.clone(), None),
            (old.clone(), bytes(&[])),
            (old, bytes(&[(2, 1)])),
            (new.clone(), bytes(&[(2, 1)])),
            (new, None),
        ])
    );
}

#[test]
fn any_reorders_sectors_and_keeps_old_versions() {
    let (mut disk, db) = with_db(1024);
    disk.write_at(db, 0, &[2; 1024]).unwrap();
    disk.write_at(db, 512, &[3; 10]).unwrap();
    let mut expected = BTreeSet::new();
    for first in [1, 2] {
        for second in [&[(1, 512)][..], &[(2, 512)], &[(3, 10), (2, 502)]] {
            expected.insert(bytes(&[&[(first, 512)], second].concat()));
        }
    }
    assert_eq!(outcomes(&disk, Loss::default()), expected);

    let large = Loss {
        sector: SectorSize::Bytes4096,
        ..Loss::default()
    };
    let together = outcomes(&disk, large);
    assert_eq!(
        together,
        BTreeSet::from([
            bytes(&[(1, 1024)]),
            bytes(&[(2, 1024)]),
            bytes(&[(2, 512), (3, 10), (2, 502)]),
        ])
    );
}

#[test]
fn a_sector_is_torn_only_if_asked_for() {
    let (mut disk, db) = with_db(512);
    disk.write_at(db, 100, &[2; 100]).unwrap();
    for style in [LossStyle::Prefix, LossStyle::Any] {
        assert_eq!(outcomes(&disk, loss(style)).len(), 2, "{style:?}");
        let torn = Loss {
            tears_sectors: true,
            ..loss(style)
        };
        let outcomes = outcomes(&disk, torn);
        assert!(outcomes.len() > 4, "{style:?}");
        for outcome in outcomes {
            let outcome = outcome.unwrap();
            // POWERSAFE_OVERWRITE: whatever happens, nothing beside the write changes.
            assert_eq!(outcome[..100], [1; 100]);
            assert_eq!(outcome[200..], [1; 312]);
        }
    }
}

#[test]
fn a_size_survives_without_its_data_as_zeros_or_garbage() {
    let (mut disk, db) = with_db(512);
    disk.write_at(db, 512, &[2; 512]).unwrap();
    disk.write_at(db, 1024, &[3; 512]).unwrap();
    let zeros = outcomes(&disk, Loss::default());
    assert!(zeros.contains(&bytes(&[(1, 512), (0, 512), (3, 512)])));
    assert!(zeros.contains(&bytes(&[(1, 512), (2, 512)])));
    for outcome in &zeros {
        let outcome = outcome.as_deref().unwrap();
        assert!(outcome[512..].chunks(512).all(|sector| {
            [0, 2, 3].contains(&sector[0]) && sector.iter().all(|byte| *byte == sector[0])
        }));
    }
    let garbage = Loss {
        unwritten: Unwritten::Garbage,
        ..Loss::default()
    };
    let mut is_seen = false;
    for outcome in outcomes(&disk, garbage) {
        let outcome = outcome.unwrap();
        assert_eq!(outcome[..512], [1; 512]);
        is_seen |= outcome[512..].iter().any(|byte| ![0, 2, 3].contains(byte));
    }
    assert!(is_seen);
}

#[test]
fn a_hole_that_nobody_wrote_to_is_never_garbage() {
    let (mut disk, db) = with_db(512);
    disk.truncate(db, 1024).unwrap();
    disk.write_at(db, 2048, &[2; 512]).unwrap();
    let garbage = Loss {
        unwritten: Unwritten::Garbage,
        ..Loss::default()
    };
    for outcome in outcomes(&disk, garbage) {
        let outcome = outcome.unwrap();
        assert!(outcome[512..].iter().take(1536).all(|byte| *byte == 0));
    }
}

#[test]
fn what_was_cut_off_is_not_seen_behind_a_cut() {
    let (mut disk, db) = with_db(1024);
    disk.truncate(db, 0).unwrap();
    disk.write_at(db, 0, &[2; 1024]).unwrap();
    for outcome in outcomes(&disk, Loss::default()) {
        let outcome = outcome.unwrap();
        let (old, new) = (outcome.contains(&1), outcome.contains(&2));
        assert!(!(old && new), "the cut was both lost and not");
    }
}

#[test]
fn a_name_is_durable_after_a_sync_of_the_directory() {
    let mut disk = Disk::new();
    let db = disk.open("db", true, false).unwrap();
    disk.write_at(db, 0, &[1]).unwrap();
    disk.sync(db, disk.sync_begins()).unwrap();
    let nothing = loss(LossStyle::Nothing);
    assert_eq!(outcomes(&disk, nothing), BTreeSet::from([None]));
    let journal = Loss {
        names: NameSync::Journal,
        ..nothing
    };
    assert_eq!(
        outcomes(&disk, journal),
        BTreeSet::from([bytes(&[(1, 1)])]),
        "ext4 and XFS commit the name with the file"
    );
    let either = BTreeSet::from([None, bytes(&[(1, 1)])]);
    assert_eq!(outcomes(&disk, Loss::default()), either);
    disk.sync_directory();
    assert_eq!(outcomes(&disk, nothing), BTreeSet::from([bytes(&[(1, 1)])]));
    assert_eq!(disk.power_loss(&journal, &mut random(0)).files, []);
}

#[test]
fn an_unsynced_name_may_be_found_empty() {
    let mut disk = Disk::new();
    let db = disk.open("db", true, false).unwrap();
    disk.write_at(db, 0, &[1]).unwrap();
    disk.sync_directory();
    assert_eq!(
        outcomes(&disk, loss(LossStyle::Nothing)),
        BTreeSet::from([bytes(&[])])
    );
}

#[test]
fn a_deletion_comes_undone_unless_the_directory_was_synced() {
    let (mut disk, db) = with_db(10);
    disk.close(db);
    let undeleted = disk.clone();
    disk.delete("db", false).unwrap();
    assert_eq!(disk.contents("db"), None);
    // A journal doesn't know of it either: only a new file's sync commits names.
    for names in [NameSync::Directory, NameSync::Journal] {
        let loss = Loss {
            names,
            ..Loss::default()
        };
        let either = BTreeSet::from([None, bytes(&[(1, 10)])]);
        assert_eq!(outcomes(&disk, loss), either);
    }
    let report = disk.power_loss(&loss(LossStyle::Nothing), &mut random(0));
    assert_eq!(disk.contents("db"), bytes(&[(1, 10)]));
    assert_eq!(
        (report.files[0].size_before, report.files[0].size_after),
        (None, Some(10))
    );

    let mut disk = undeleted;
    disk.delete("db", true).unwrap();
    assert!(disk.files.is_empty());
    assert_eq!(
        outcomes(&disk, loss(LossStyle::Nothing)),
        BTreeSet::from([None])
    );
}

#[test]
fn a_new_file_of_an_old_name_is_another_file() {
    let (mut disk, old) = with_db(10);
    disk.delete("db", false).unwrap();
    let new = disk.open("db", true, true).unwrap();
    disk.write_at(new, 0, &[2]).unwrap();
    disk.sync(new, disk.sync_begins()).unwrap();
    assert_eq!(disk.size(old), 10);
    assert_eq!(
        outcomes(&disk, Loss::default()),
        BTreeSet::from([bytes(&[(1, 10)]), None, bytes(&[(2, 1)])])
    );
    let journal = Loss {
        names: NameSync::Journal,
        ..Loss::default()
    };
    assert_eq!(
        outcomes(&disk, journal),
        BTreeSet::from([bytes(&[(2, 1)])]),
        "the deletion came before, in the same journal"
    );
}

#[test]
fn a_deleted_file_lasts_as_long_as_somebody_has_it_open() {
    let (mut disk, db) = with_db(10);
    assert_eq!(disk.open("db", false, false), Ok(db));
    disk.delete("db", true).unwrap();
    disk.close(db);
    disk.write_at(db, 0, &[9]).unwrap();
    let mut buffer = [0; 2];
    assert_eq!(disk.read_at(db, 0, &mut buffer), 2);
    assert_eq!(buffer, [9, 1]);
    disk.close(db);
    assert!(disk.files.is_empty());
    assert_eq!(disk.sync(db, disk.sync_begins()), Err(DiskError::NotFound));
}

#[test]
fn opening_says_why_not() {
    let mut disk = Disk::new();
    assert_eq!(disk.open("db", false, false), Err(DiskError::NotFound));
    assert_eq!(
        disk.open("db", false, true),
        Err(DiskError::InvalidArgument)
    );
    disk.open("db", true, true).unwrap();
    assert_eq!(disk.open("db", true, true), Err(DiskError::Exists));
    assert!(!disk.exists("db"), "it is empty");
    assert_eq!(disk.names().collect::<Vec<_>>(), ["db"]);
    assert_eq!(disk.delete("other", true), Err(DiskError::NotFound));
}

#[test]
fn a_full_disk_takes_what_fits_and_gives_room_back() {
    let (mut disk, db) = with_db(100);
    disk.set_capacity_bytes(Some(2 * 4096 + 1));
    assert_eq!(disk.write_at(db, 0, &[2; 9000]), Err(DiskError::Full));
    assert_eq!(disk.size(db), 8192);
    disk.write_at(db, 0, &[3; 8192]).unwrap();
    let wal = disk.open("db-wal", true, false).unwrap();
    assert_eq!(disk.write_at(wal, 0, &[1]), Err(DiskError::Full));
    assert_eq!(disk.size(wal), 0);
    disk.truncate(db, 4096).unwrap();
    disk.write_at(wal, 0, &[1]).unwrap();
    disk.delete("db-wal", false).unwrap();
    assert_eq!(disk.write_at(db, 4096, &[1]), Err(DiskError::Full));
    disk.close(wal);
    disk.write_at(db, 4096, &[1]).unwrap();
    disk.set_capacity_bytes(None);
    disk.write_at(db, 1 << 40, &[1]).unwrap();
    assert_eq!(disk.write_at(db, 1 << 50, &[1]), Err(DiskError::Full));
    assert_eq!(
        disk.write_at(db, u64::MAX, &[1]),
        Err(DiskError::InvalidArgument)
    );
    assert_eq!(disk.truncate(db, 1 << 63), Err(DiskError::InvalidArgument));
}

#[test]
fn a_short_write_is_a_part_from_the_start() {
    let (disk, db) = with_db(10);
    let lengths: BTreeSet<usize> = (0..100)
        .map(|seed| {
            let mut disk = disk.clone();
            let len = disk.short_write(db, 2, &[2; 5], &mut random(seed)).unwrap();
            assert_eq!(
                disk.contents("db"),
                bytes(&[(1, 2), (2, len), (1, 8 - len)])
            );
            len
        })
        .collect();
    assert_eq!(lengths, BTreeSet::from([0, 1, 2, 3, 4]));
}

#[test]
fn the_same_seed_loses_the_same() {
    let (mut disk, db) = with_db(5000);
    for at in 0..20 {
        disk.write_at(db, at * 700, &[2; 900]).unwrap();
    }
    let mut again = disk.clone();
    let loss = Loss::default();
    assert_eq!(
        disk.power_loss(&loss, &mut random(7)),
        again.power_loss(&loss, &mut random(7))
    );
    assert_eq!(disk.contents("db"), again.contents("db"));
}
