//! What an embedder lets an instance name, and every opening of a file.
//!
//! What must stay true: each open, stat and delete is one path component
//! relative to the granted directory's descriptor and never follows a symbolic
//! link; what is opened is a regular file that has no second name; no host path leaves this module,
//! in an error or otherwise.

use super::error::ErrorCode;
use super::kinds::FileKind;
use super::quota::{FILE_BYTES_MIN, Quota, Taken};
use super::sync::{Arc, RwLockReadGuard, RwLockWriteGuard};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

/// The longest file name on Linux.
const NAME_BYTES_MAX: usize = 255;
/// What SQLite appends to a database's name; nothing else may end so.
const SUFFIXES: [&str; 3] = ["-journal", "-wal", "-shm"];
const SHM_SUFFIX: &str = "-shm";
/// What a new database file may be read by, before the umask (SQLite's default).
const NEW_FILE_MODE: u32 = 0o644;

/// The files that an instance may use. Cheap to clone.
///
/// Every guest that may write a database is as trusted as any process that may
/// write that file: the wal-index is mapped into its memory.
///
/// A file that has a second name (a hard link) is refused, whatever its first: the
/// directory says nothing of who else it belongs to, and SQLite's locks and logs go by one name.
/// See [`allow_hard_links`](Grant::allow_hard_links).
#[derive(Clone, Debug)]
pub struct Grant {
    directory: Arc<OwnedFd>,
    /// The one database, or `None`: any name in the directory.
    only: Option<Arc<str>>,
    read_only: bool,
    shared_memory: bool,
    waking: bool,
    hard_links: bool,
    /// Shared by clones.
    quota: Option<Arc<Quota>>,
}

impl Grant {
    /// Grants all files directly in the directory `path`.
    pub fn directory(path: impl AsRef<Path>) -> io::Result<Grant> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        // Readable, so that it can be synced; a directory that only lets us
        // pass still serves, without that.
        let directory = match rustix::fs::open(path.as_ref(), flags | OFlags::RDONLY, Mode::empty())
        {
            Err(Errno::ACCESS) => {
                rustix::fs::open(path.as_ref(), flags | OFlags::PATH, Mode::empty())?
            }
            other => other?,
        };
        Ok(Grant {
            directory: Arc::new(directory),
            only: None,
            read_only: false,
            shared_memory: true,
            waking: true,
            hard_links: false,
            quota: None,
        })
    }

    /// Grants one database file, which need not exist, and the files that
    /// SQLite keeps beside it. The guest names it by its file name.
    pub fn file(path: impl AsRef<Path>) -> io::Result<Grant> {
        let path = path.as_ref();
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
        let name = path
            .file_name()
            .and_then(OsStr::to_str)
            .ok_or_else(|| invalid("a database needs a file name in UTF-8"))?;
        if has_sqlite_suffix(name) {
            return Err(invalid(
                "a database's name may not end in -journal, -wal or -shm",
            ));
        }
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        Ok(Grant {
            only: Some(name.into()),
            ..Grant::directory(parent)?
        })
    }

    /// Takes write access away. A read-only database in WAL mode can't be
    /// opened (its readers write to the wal-index).
    #[must_use]
    pub fn read_only(mut self) -> Grant {
        self.read_only = true;
        self
    }

    /// Limits what the granted files may hold together, in bytes: of a directory, all that lies
    /// in it. Whatever would make them larger answers `full`. It holds for all instances that
    /// are given this grant or a clone of it, together, also while several of them write; what was
    /// deleted counts until nobody has it open. Each file counts as 4096 bytes at
    /// least, so their number is limited too. The directory has to be one that can be listed.
    /// Default: no limit but the disk's.
    #[must_use]
    pub fn max_total_bytes(mut self, bytes: u64) -> Grant {
        self.quota = Some(Arc::new(Quota::new(bytes)));
        self
    }

    /// Opens files that have further names, too: for directories that are kept
    /// by linking (`cp --link`). That nobody uses a database by two names at a time is the
    /// embedder's business then, and that no name leads to a file which guests may not touch.
    #[must_use]
    pub fn allow_hard_links(mut self) -> Grant {
        self.hard_links = true;
        self
    }

    /// Doesn't offer a shared wal-index, as a host that can't map memory.
    #[must_use]
    pub fn without_shared_memory(mut self) -> Grant {
        self.shared_memory = false;
        self
    }

    /// Doesn't offer to wake whoever waits for a commit, as a host that can't: the
    /// guest then looks by itself, every millisecond.
    #[must_use]
    pub fn without_waking(mut self) -> Grant {
        self.waking = false;
        self
    }

    pub(crate) fn offers_waking(&self) -> bool {
        self.waking
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only
    }

    pub(crate) fn offers_shared_memory(&self) -> bool {
        self.shared_memory && !self.read_only && super::mapping::can_map()
    }

    /// Whether the guest may name this.
    pub(crate) fn check_name(&self, name: &str) -> Result<(), ErrorCode> {
        let is_component = !name.is_empty()
            && name.len() <= NAME_BYTES_MAX
            && !name.bytes().any(|byte| byte == b'/' || byte == 0)
            && name != "."
            && name != "..";
        let is_granted = match &self.only {
            None => true,
            Some(only) => name
                .strip_prefix(&**only)
                .is_some_and(|rest| rest.is_empty() || SUFFIXES.contains(&rest)),
        };
        if is_component && is_granted {
            Ok(())
        } else {
            Err(ErrorCode::Access)
        }
    }

    /// Whether the guest may open this as a `kind`.
    pub(crate) fn check_kind(&self, name: &str, kind: FileKind) -> Result<(), ErrorCode> {
        self.check_name(name)?;
        let fits = match kind {
            FileKind::MainDb => !has_sqlite_suffix(name),
            FileKind::MainJournal => database_of(name, "-journal").is_some(),
            FileKind::Wal => database_of(name, "-wal").is_some(),
        };
        if fits { Ok(()) } else { Err(ErrorCode::Access) }
    }

    /// Opens a regular file. `O_NONBLOCK` so that a fifo in its place can't
    /// hang the host before it is found out; regular files ignore it.
    pub(crate) fn open(
        &self,
        name: &str,
        flags: OFlags,
        mode: Mode,
    ) -> Result<(OwnedFd, Stat), ErrorCode> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = retry(|| rustix::fs::openat(&self.directory, name, flags, mode))?;
        let stat = rustix::fs::fstat(&fd)?;
        if !is_regular(&stat) || (stat.st_nlink > 1 && !self.hard_links) {
            return Err(ErrorCode::Access);
        }
        Ok((fd, stat))
    }

    /// Opens, creating if need be, with the permissions and (as root) the
    /// owner of `like`: whoever may use the database must be able to use what
    /// lies beside it.
    pub(crate) fn create_like(
        &self,
        name: &str,
        flags: OFlags,
        like: Option<&Stat>,
    ) -> Result<(OwnedFd, Stat), ErrorCode> {
        let _taken = if self.has_quota() && matches!(self.stat(name), Err(ErrorCode::NotFound)) {
            self.take_bytes(FILE_BYTES_MIN)?
        } else {
            None
        };
        // The guest names it: what a link or a folder allows is nothing to go by.
        let Some(like) = like.filter(|like| is_regular(like)) else {
            return self.open(
                name,
                flags | OFlags::CREATE,
                Mode::from_raw_mode(NEW_FILE_MODE),
            );
        };
        // Nobody runs a journal.
        let wanted = like.st_mode & 0o666;
        let mode = Mode::from_raw_mode(wanted);
        let (fd, stat) = self.open(name, flags | OFlags::CREATE, mode)?;
        // Empty: most likely made by us just now, with the umask applied. As
        // in SQLite, failing to adjust it is nobody's error.
        if stat.st_size == 0 && stat.st_mode & 0o777 != wanted {
            let _ = rustix::fs::fchmod(&fd, mode);
        }
        let same_owner = stat.st_uid == like.st_uid && stat.st_gid == like.st_gid;
        if !same_owner && rustix::process::geteuid().is_root() {
            let (user, group) = (Uid::from_raw(like.st_uid), Gid::from_raw(like.st_gid));
            let _ = rustix::fs::fchown(&fd, Some(user), Some(group));
        }
        Ok((fd, stat))
    }

    /// To be asked before `bytes` are added to a file, and kept until they are. `full`: they may
    /// not.
    pub(crate) fn take_bytes(&self, bytes: u64) -> Result<Option<Taken>, ErrorCode> {
        match &self.quota {
            Some(quota) => quota.take(bytes, || self.named_bytes()).map(Some),
            None => Ok(None),
        }
    }

    /// To be held from looking at a file's size until what is written to it is written.
    pub(crate) fn keep_sizes(&self) -> Option<RwLockReadGuard<'_, ()>> {
        self.quota.as_ref().map(|quota| quota.keep_sizes())
    }

    /// To be held while a file is made shorter.
    pub(crate) fn change_sizes(&self) -> Option<RwLockWriteGuard<'_, ()>> {
        self.quota.as_ref().map(|quota| quota.change_sizes())
    }

    /// To be told of each opened file: it may lose its name and still grow.
    pub(crate) fn remember(&self, file: &Arc<OwnedFd>) {
        if let Some(quota) = &self.quota {
            quota.remember(file);
        }
    }

    /// Whether [`take_bytes`](Self::take_bytes) may refuse.
    pub(crate) fn has_quota(&self) -> bool {
        self.quota.is_some()
    }

    /// What all files that may be named have now.
    fn named_bytes(&self) -> Result<u64, ErrorCode> {
        let mut used = 0_u64;
        let mut add = |name: &CStr| {
            // Gone meanwhile, or nothing that grows.
            if let Ok(stat) = rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW)
                && is_regular(&stat)
            {
                used = used.saturating_add(stat.st_size.unsigned_abs().max(FILE_BYTES_MIN));
            }
        };
        match &self.only {
            Some(only) => {
                for suffix in SUFFIXES.iter().copied().chain([""]) {
                    let name = CString::new(format!("{only}{suffix}"));
                    add(&name.map_err(|_| ErrorCode::InvalidArgument)?);
                }
            }
            None => {
                for entry in rustix::fs::Dir::read_from(&self.directory)? {
                    add(entry?.file_name());
                }
            }
        }
        Ok(used)
    }

    pub(crate) fn stat(&self, name: &str) -> Result<Stat, ErrorCode> {
        Ok(rustix::fs::statat(
            &self.directory,
            name,
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }

    pub(crate) fn unlink(&self, name: &str) -> Result<(), ErrorCode> {
        Ok(rustix::fs::unlinkat(
            &self.directory,
            name,
            AtFlags::empty(),
        )?)
    }

    /// Makes creations and deletions durable. As in SQLite, a directory that
    /// can't be synced (not readable, or a file system that refuses) isn't an
    /// error: there is nothing that anybody could do.
    pub(crate) fn sync_directory(&self) -> Result<(), ErrorCode> {
        loop {
            match rustix::fs::fsync(&self.directory) {
                Err(Errno::INTR) => {}
                // EBADF: opened only to pass through (`Grant::directory`).
                Err(Errno::BADF | Errno::INVAL | Errno::OPNOTSUPP | Errno::ROFS) => return Ok(()),
                other => return Ok(other?),
            }
        }
    }
}

/// The wal-index's file name.
pub(crate) fn shm_name(database: &str) -> String {
    format!("{database}{SHM_SUFFIX}")
}

/// The database that `name` belongs to, if it ends in `suffix`.
pub(crate) fn database_of<'name>(name: &'name str, suffix: &str) -> Option<&'name str> {
    name.strip_suffix(suffix)
        .filter(|database| !database.is_empty())
}

fn has_sqlite_suffix(name: &str) -> bool {
    SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

pub(crate) fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// Repeats a call that a signal interrupted.
pub(crate) fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, ErrorCode> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other.map_err(ErrorCode::from),
        }
    }
}

#[cfg(test)]
#[path = "grant_tests.rs"]
mod tests;
