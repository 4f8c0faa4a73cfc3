//! What guests are granted, and what lies beside it.
//!
//! What must stay true: the mark is in no file that was granted, so whoever has it in its memory has
//! read beyond.

use super::guest::FILE_BYTES_MAX;
use crate::scratch::Scratch;
use arbitrary::{Result, Unstructured};
use beaver_host::Grant;
use rustix::fs::{FlockOperation, fcntl_lock};
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

/// What stands in files that were granted to nobody.
pub(super) const MARK: u64 = u64::from_le_bytes(*b"\xffSECRET\xfe");

/// The database that one guest is granted by name.
const ONE: &str = "one.db";
/// What all files of the folder may hold together where that is limited, in bytes.
const TOTAL_BYTES_MAX: u64 = 256 << 10;
const SUFFIXES: [&str; 4] = ["", "-journal", "-wal", "-shm"];

pub(super) struct Folder {
    /// Gone when this is dropped.
    scratch: Scratch,
    outside: BTreeMap<PathBuf, Vec<u8>>,
    /// What it holds before any guest comes, in bytes.
    first_bytes: u64,
}

impl Folder {
    pub(super) fn new() -> Self {
        let scratch = Scratch::new();
        let secret = MARK.to_le_bytes().repeat(8);
        let root = scratch.folder();
        fs::create_dir(root.join("granted")).unwrap();
        fs::create_dir(root.join("granted/folder.db")).unwrap();
        fs::write(root.join("secret.db"), &secret).unwrap();
        fs::write(root.join("granted").join(ONE), b"granted").unwrap();
        fs::write(root.join("second.db"), &secret).unwrap();
        fs::hard_link(root.join("second.db"), root.join("granted/second.db")).unwrap();
        symlink("../secret.db", root.join("granted/link.db")).unwrap();
        symlink("../secret.db", root.join("granted/one.db-wal")).unwrap();
        symlink("..", root.join("granted/up")).unwrap();
        let mut folder = Self {
            outside: outside(root),
            first_bytes: 0,
            scratch,
        };
        folder.first_bytes = folder.total_bytes();
        folder
    }

    fn granted(&self) -> PathBuf {
        self.scratch.folder().join("granted")
    }

    /// All of the folder, with a limit that all clones share.
    pub(super) fn limited(&self) -> Grant {
        let grant = Grant::directory(self.granted()).unwrap();
        grant.max_total_bytes(TOTAL_BYTES_MAX)
    }

    /// All of the folder or one file; `how`: with what restrictions.
    pub(super) fn grant(&self, is_of_one_file: bool, how: u8) -> Grant {
        let grant = match is_of_one_file {
            true => Grant::file(self.granted().join(ONE)),
            false => Grant::directory(self.granted()),
        };
        Self::restricted(grant.unwrap(), how)
    }

    pub(super) fn restricted(mut grant: Grant, how: u8) -> Grant {
        if how & 1 != 0 {
            grant = grant.read_only();
        }
        if how & 2 != 0 {
            grant = grant.without_shared_memory();
        }
        if how & 4 != 0 {
            grant = grant.without_waking();
        }
        grant
    }

    /// A guest has opened this name.
    pub(super) fn may_be_open(&self, name: &[u8], is_of_one_file: bool) {
        let name = std::str::from_utf8(name).expect("a name that is no text was opened");
        assert!(
            !name.contains('/') && !name.contains('\0'),
            "{name:?} was opened"
        );
        if is_of_one_file {
            let rest = name.strip_prefix(ONE).unwrap_or("another file");
            assert!(SUFFIXES.contains(&rest), "{name:?} was opened");
        }
        // It may have been deleted since.
        if let Ok(found) = fs::symlink_metadata(self.granted().join(name)) {
            assert!(found.is_file(), "{name:?} was opened");
        }
    }

    /// Where all guests that write share the limit, at any time.
    pub(super) fn check_total(&self) {
        let bytes = self.total_bytes();
        let most = TOTAL_BYTES_MAX.max(self.first_bytes);
        assert!(bytes <= most, "all files have {bytes} bytes");
    }

    /// The files that have a name here, and those that are open without one.
    fn total_bytes(&self) -> u64 {
        let mut files = HashMap::new();
        let mut add = |found: fs::Metadata| {
            if found.is_file() {
                files.insert((found.dev(), found.ino()), found.len());
            }
        };
        for entry in fs::read_dir(self.granted()).unwrap() {
            add(entry.unwrap().metadata().unwrap());
        }
        for descriptor in fs::read_dir("/proc/self/fd").unwrap().flatten() {
            // One of another thread's may be closed meanwhile.
            if let (Ok(leads), Ok(found)) = (
                fs::read_link(descriptor.path()),
                fs::metadata(descriptor.path()),
            ) && leads.starts_with(self.granted())
            {
                add(found);
            }
        }
        files.values().sum()
    }

    /// When all guests are gone.
    pub(super) fn check(&self) {
        let root = self.scratch.folder();
        assert_eq!(
            outside(root),
            self.outside,
            "what wasn't granted was changed"
        );
        let mark = format!("{}/", root.display());
        let open = fs::read_dir("/proc/self/fd").unwrap();
        for descriptor in open.flatten() {
            let leads = fs::read_link(descriptor.path()).unwrap_or_default();
            assert!(
                !leads.starts_with(&mark),
                "{} is still open",
                leads.display()
            );
        }
        for line in fs::read_to_string("/proc/self/maps").unwrap().lines() {
            assert!(!line.contains(&mark), "still mapped: {line}");
        }
        for entry in fs::read_dir(self.granted()).unwrap() {
            let path = entry.unwrap().path();
            if !fs::symlink_metadata(&path).unwrap().is_file() {
                continue;
            }
            let file = File::options().read(true).write(true).open(&path).unwrap();
            let len = file.metadata().unwrap().len();
            assert!(len <= FILE_BYTES_MAX, "{} has {len} bytes", path.display());
            let locked = fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive);
            assert_eq!(locked, Ok(()), "{} is still locked", path.display());
        }
    }
}

/// All that isn't in the granted folder, and the folder's own names that nobody is granted: those of
/// links, of folders, and of files that have another name.
fn outside(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut add = |folder: &Path, is_all: bool| {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is = fs::symlink_metadata(&path).unwrap();
            let bytes = if is.is_symlink() {
                fs::read_link(&path).unwrap().into_os_string().into_vec()
            } else if is.is_dir() {
                Vec::new()
            } else if is_all || is.nlink() > 1 {
                fs::read(&path).unwrap()
            } else {
                continue;
            };
            found.insert(path, bytes);
        }
    };
    add(root, true);
    add(&root.join("granted"), false);
    add(&root.join("granted/folder.db"), true);
    found
}

/// Names of all kinds.
pub(super) fn name(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let given = [
        "one.db",
        "two.db",
        "link.db",
        "second.db",
        "folder.db",
        "up",
        "../secret.db",
        "up/secret.db",
        "/etc/passwd",
        "./one.db",
        "folder.db/../one.db",
        "",
        ".",
        "..",
        "/",
        "one.db/",
        "one.db\0",
        "\0",
        "-wal",
        "one.db-wal-wal",
        "ONE.DB",
        "ö\u{202e}.db",
    ];
    let suffixes = ["", "", "", "-journal", "-wal", "-shm", "-shm-wal"];
    Ok(match input.int_in_range(0..=9)? {
        0 => input.bytes(input.len().min(16))?.to_vec(),
        1 => vec![b'n'; *input.choose(&[240, 251, 252, 255, 256, 4096, 40_000])?],
        2 => b"\xff.db".to_vec(),
        3..=6 => (input.choose(&["one.db", "two.db"])?.to_string() + input.choose(&suffixes)?)
            .into_bytes(),
        _ => (input.choose(&given)?.to_string() + input.choose(&suffixes)?).into_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// Each check has to see what it is for, or it would show nothing.
    #[test]
    fn what_must_not_be_is_found() {
        let is_found = |what: &dyn Fn(&Folder) -> Option<File>| {
            let folder = Folder::new();
            folder.check();
            let kept = what(&folder);
            let found = catch_unwind(AssertUnwindSafe(|| folder.check())).is_err();
            drop(kept);
            found
        };
        let one = |folder: &Folder| folder.granted().join(ONE);
        assert!(is_found(&|folder| {
            fs::write(folder.scratch.folder().join("secret.db"), b"changed").unwrap();
            None
        }));
        assert!(is_found(&|folder| {
            fs::write(folder.scratch.folder().join("new.db"), b"").unwrap();
            None
        }));
        assert!(is_found(&|folder| Some(File::open(one(folder)).unwrap())));
        assert!(is_found(&|folder| {
            let file = File::options().write(true).open(one(folder)).unwrap();
            file.set_len(FILE_BYTES_MAX + 1).unwrap();
            None
        }));
        for name in ["link.db", "up", "one.db-wal", "second.db"] {
            assert!(is_found(&|folder| {
                fs::remove_file(folder.granted().join(name)).unwrap();
                None
            }));
        }
        assert!(is_found(&|folder| {
            fs::remove_file(folder.granted().join("up")).unwrap();
            symlink(".", folder.granted().join("up")).unwrap();
            None
        }));
        assert!(is_found(&|folder| {
            fs::remove_dir(folder.granted().join("folder.db")).unwrap();
            None
        }));
        assert!(is_found(&|folder| {
            fs::write(folder.granted().join("folder.db/in.db"), b"").unwrap();
            None
        }));
        assert!(!is_found(&|folder| {
            fs::write(folder.granted().join("two.db"), b"any").unwrap();
            None
        }));
        assert!(!is_found(&|_| None));
    }

    #[test]
    fn too_much_in_all_is_found() {
        let folder = Folder::new();
        folder.check_total();
        let path = folder.granted().join("two.db");
        let file = File::create(&path).unwrap();
        let rest = TOTAL_BYTES_MAX - folder.first_bytes;
        file.set_len(rest).unwrap();
        folder.check_total();
        // It counts once, whether it has a name or is only open.
        fs::remove_file(&path).unwrap();
        folder.check_total();
        file.set_len(rest + 1).unwrap();
        let is_found = || catch_unwind(AssertUnwindSafe(|| folder.check_total())).is_err();
        assert!(is_found());
        drop(file);
        assert!(!is_found());
        File::create(&path).unwrap().set_len(rest + 1).unwrap();
        assert!(is_found());
    }
}
