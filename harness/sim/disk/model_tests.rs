//! The disk against plain vectors of bytes that remember every version.

use super::*;
use proptest::prelude::*;
use rand::SeedableRng;

const NAMES: [&str; 2] = ["db", "db-journal"];
const SECTOR: usize = 512;

#[derive(Clone, Debug)]
enum Op {
    Create(usize),
    Delete(usize, bool),
    Write(usize, usize, usize),
    Resize(usize, usize),
    Sync(usize),
    SyncDirectory,
}

fn op() -> impl Strategy<Value = Op> {
    let name = 0..NAMES.len();
    prop_oneof![
        2 => name.clone().prop_map(Op::Create),
        1 => (name.clone(), any::<bool>()).prop_map(|(name, sync)| Op::Delete(name, sync)),
        8 => (name.clone(), 0usize..6000, 1usize..3000)
            .prop_map(|(name, at, len)| Op::Write(name, at, len)),
        2 => (name.clone(), 0usize..8000).prop_map(|(name, size)| Op::Resize(name, size)),
        1 => name.prop_map(Op::Sync),
        1 => Just(Op::SyncDirectory),
    ]
}

/// One version of a file, and what made it.
#[derive(Clone)]
struct Version {
    time: usize,
    bytes: Vec<u8>,
    change: Option<Made>,
}

#[derive(Clone, Copy)]
enum Made {
    Written { at: usize, end: usize },
    Resized,
}

/// All versions since the last sync, that one first.
#[derive(Clone)]
struct ModelFile {
    id: FileId,
    versions: Vec<Version>,
}

impl ModelFile {
    fn live(&self) -> &[u8] {
        &self.versions.last().unwrap().bytes
    }
}

#[derive(Default)]
struct Model {
    files: Vec<ModelFile>,
    /// By name, the files since the last sync of the directory and when each came; that one first.
    names: [Vec<(usize, Option<usize>)>; NAMES.len()],
    time: usize,
}

impl Model {
    fn find(&self, name: usize) -> Option<usize> {
        self.names[name].last().unwrap().1
    }

    fn change(&mut self, file: usize, time: usize, bytes: Vec<u8>, made: Made) {
        self.files[file].versions.push(Version {
            time,
            bytes,
            change: Some(made),
        });
    }
}

/// Does the same to both. Each byte that is written says when.
fn play(ops: &[Op]) -> (Disk, Model) {
    let mut disk = Disk::new();
    let mut model = Model {
        names: std::array::from_fn(|_| vec![(0, None)]),
        ..Model::default()
    };
    for op in ops {
        model.time += 1;
        let time = model.time;
        let byte = (time % 250 + 1) as u8;
        match *op {
            Op::Create(name) => {
                let id = disk.open(NAMES[name], true, false).unwrap();
                // A name keeps a file as well as an opener does.
                if time.is_multiple_of(2) {
                    disk.close(id);
                }
                if model.find(name).is_none() {
                    let file = model.files.len();
                    model.files.push(ModelFile {
                        id,
                        versions: vec![Version {
                            time,
                            bytes: vec![],
                            change: None,
                        }],
                    });
                    model.names[name].push((time, Some(file)));
                }
            }
            Op::Delete(name, sync) => {
                let expected = model.find(name).map(drop).ok_or(DiskError::NotFound);
                assert_eq!(disk.delete(NAMES[name], sync), expected);
                if expected.is_ok() {
                    model.names[name].push((time, None));
                    if sync {
                        sync_names(&mut model);
                    }
                }
            }
            Op::Write(name, at, len) => {
                if let Some(file) = model.find(name) {
                    let data = vec![byte; len];
                    let id = model.files[file].id;
                    disk.write_at(id, at as u64, &data).unwrap();
                    let mut bytes = model.files[file].live().to_vec();
                    let end = at + len;
                    bytes.resize(bytes.len().max(end), 0);
                    bytes[at..end].fill(byte);
                    model.change(file, time, bytes, Made::Written { at, end });
                }
            }
            Op::Resize(name, size) => {
                if let Some(file) = model.find(name) {
                    disk.truncate(model.files[file].id, size as u64).unwrap();
                    let mut bytes = model.files[file].live().to_vec();
                    bytes.resize(size, 0);
                    model.change(file, time, bytes, Made::Resized);
                }
            }
            Op::Sync(name) => {
                if let Some(file) = model.find(name) {
                    disk.sync(model.files[file].id, disk.sync_begins()).unwrap();
                    let versions = &mut model.files[file].versions;
                    versions.drain(..versions.len() - 1);
                    versions[0].change = None;
                }
            }
            Op::SyncDirectory => {
                disk.sync_directory();
                sync_names(&mut model);
            }
        }
        for (index, name) in NAMES.into_iter().enumerate() {
            let live = model.find(index).map(|file| model.files[file].live());
            assert_eq!(disk.contents(name).as_deref(), live);
        }
    }
    (disk, model)
}

fn sync_names(model: &mut Model) {
    for versions in &mut model.names {
        versions.drain(..versions.len() - 1);
    }
}

type Found = [Option<Vec<u8>>; NAMES.len()];

fn found(disk: &Disk) -> Found {
    NAMES.map(|name| disk.contents(name))
}

impl Model {
    /// What is found when the changes up to `time` survive, and of the one after it, if it is a
    /// write, the part before `torn_end`.
    fn at(&self, time: usize, torn_end: usize) -> Found {
        std::array::from_fn(|name| {
            let versions = &self.names[name];
            let index = versions.iter().rposition(|(at, _)| *at <= time);
            let file = &self.files[versions[index.unwrap_or(0)].1?];
            let index = (file.versions.iter())
                .rposition(|version| version.time <= time)
                .unwrap_or(0);
            let mut bytes = file.versions[index].bytes.clone();
            if let Some(next) = file.versions.get(index + 1)
                && next.time == time + 1
                && let Some(Made::Written { at, end }) = next.change
            {
                let torn_end = torn_end.clamp(at, end);
                if torn_end > at {
                    bytes.resize(bytes.len().max(torn_end), 0);
                    bytes[at..torn_end].copy_from_slice(&next.bytes[at..torn_end]);
                }
            }
            Some(bytes)
        })
    }

    fn allows_any(&self, found: &Found, unwritten: Unwritten) -> bool {
        (self.names.iter().zip(found)).all(|(versions, found)| {
            (versions.iter()).any(|(_, file)| match (file, found) {
                (None, None) => true,
                (Some(file), Some(found)) => self.files[*file].allows_any(found, unwritten),
                _ => false,
            })
        })
    }
}

impl ModelFile {
    /// Whether there is a moment up to which the metadata survived that explains everything.
    fn allows_any(&self, found: &[u8], unwritten: Unwritten) -> bool {
        (0..self.versions.len()).any(|kept| {
            self.allows_size(kept, found.len())
                && (0..found.len().div_ceil(SECTOR)).all(|sector| {
                    (0..self.versions.len())
                        .any(|version| self.allows_sector(kept, sector, version, found))
                        || (unwritten == Unwritten::Garbage && self.allows_garbage(kept, sector))
                })
        })
    }

    /// Whether a sector that the file didn't have came to it by a write, and stayed.
    fn allows_garbage(&self, kept: usize, sector: usize) -> bool {
        let start = sector * SECTOR;
        let had_it = |version: &Version| version.bytes.len() > start;
        let last_without = (self.versions[..=kept].iter()).rposition(|version| !had_it(version));
        last_without.is_some_and(|index| {
            (self.versions[index..].iter().take(kept + 2 - index)).any(|version| {
                let made = version.change;
                matches!(made, Some(Made::Written { at, end }) if at < start + SECTOR && end > start)
            })
        })
    }

    fn allows_size(&self, kept: usize, size: usize) -> bool {
        let kept_size = self.versions[kept].bytes.len();
        let next = self.versions.get(kept + 1);
        let end = match next.and_then(|next| next.change) {
            Some(Made::Written { end, .. }) => end,
            _ => 0,
        };
        size == kept_size || (size > kept_size && size <= end && size.is_multiple_of(SECTOR))
    }

    fn allows_sector(&self, kept: usize, sector: usize, version: usize, found: &[u8]) -> bool {
        let start = sector * SECTOR;
        let end = (start + SECTOR).min(found.len());
        let cut_by = |index: usize| {
            let (before, after) = (&self.versions[index - 1], &self.versions[index]);
            let is_cut = after.bytes.len() < before.bytes.len();
            is_cut.then_some(after.bytes.len())
        };
        // Written beyond a cut that was lost: to other blocks.
        if (kept + 1..=version).any(|index| {
            cut_by(index).is_some_and(|size| size.next_multiple_of(PAGE_BYTES) <= start)
        }) {
            return false;
        }
        let bytes = &self.versions[version].bytes;
        let cut_at = (version + 1..=kept)
            .filter_map(cut_by)
            .fold(bytes.len(), usize::min);
        (start..end).all(|at| found[at] == if at < cut_at { bytes[at] } else { 0 })
    }
}

proptest! {
    #[test]
    fn nothing_is_exactly_what_was_synced(ops in prop::collection::vec(op(), 0..40), seed: u64) {
        let (mut disk, model) = play(&ops);
        let durable = NAMES.map(|name| disk.durable_contents(name));
        lose(&mut disk, LossStyle::Nothing, seed);
        prop_assert_eq!(&found(&disk), &durable);
        prop_assert_eq!(found(&disk), model.at(0, 0));
    }

    #[test]
    fn everything_is_exactly_what_was_seen(ops in prop::collection::vec(op(), 0..40), seed: u64) {
        let (mut disk, model) = play(&ops);
        lose(&mut disk, LossStyle::Everything, seed);
        prop_assert_eq!(found(&disk), model.at(usize::MAX - 1, 0));
    }

    #[test]
    fn a_prefix_is_a_moment_of_all_files(ops in prop::collection::vec(op(), 0..40), seed: u64) {
        let (mut disk, model) = play(&ops);
        lose(&mut disk, LossStyle::Prefix, seed);
        let found = found(&disk);
        let is_allowed = (0..=model.time).any(|time| {
            (0..=9000).step_by(SECTOR).any(|torn_end| model.at(time, torn_end) == found)
        });
        prop_assert!(is_allowed);
    }

    #[test]
    fn any_has_a_version_of_each_sector(
        ops in prop::collection::vec(op(), 0..30),
        seeds in prop::collection::vec(any::<u64>(), 8),
    ) {
        let (disk, model) = play(&ops);
        for seed in seeds {
            let mut disk = disk.clone();
            lose(&mut disk, LossStyle::Any, seed);
            prop_assert!(model.allows_any(&found(&disk), Unwritten::Zeros));
        }
    }

    #[test]
    fn garbage_is_only_where_a_write_was_to_be(
        ops in prop::collection::vec(op(), 0..30),
        seeds in prop::collection::vec(any::<u64>(), 8),
    ) {
        let (disk, model) = play(&ops);
        let loss = Loss {
            unwritten: Unwritten::Garbage,
            ..Loss::default()
        };
        for seed in seeds {
            let mut disk = disk.clone();
            disk.power_loss(&loss, &mut ChaCha8Rng::seed_from_u64(seed));
            prop_assert!(model.allows_any(&found(&disk), Unwritten::Garbage));
        }
    }

    #[test]
    fn what_is_left_is_durable(ops in prop::collection::vec(op(), 0..40), seed: u64) {
        let (mut disk, _) = play(&ops);
        lose(&mut disk, LossStyle::Any, seed);
        let first = found(&disk);
        lose(&mut disk, LossStyle::Any, seed);
        prop_assert_eq!(found(&disk), first);
    }
}

fn lose(disk: &mut Disk, style: LossStyle, seed: u64) {
    let loss = Loss {
        style,
        ..Loss::default()
    };
    disk.power_loss(&loss, &mut ChaCha8Rng::seed_from_u64(seed));
}
