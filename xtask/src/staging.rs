//! Installing something into the target folder so that it is either there completely or not at
//! all: it is made in a folder beside its final place and renamed at the end.
//!
//! What must stay true: only one process stages under one parent at a time (a file lock that
//! dies with its process), and whatever an interrupted one left is swept by the next.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub(crate) struct Staging {
    work: PathBuf,
    _lock: File,
}

impl Staging {
    /// Waits for other set-ups under `parent`; look again for the thing wanted afterwards.
    pub(crate) fn under(parent: &Path, name: &str) -> Result<Self> {
        fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
        let lock_path = parent.join(format!(".{name}.lock"));
        let lock = File::create(&lock_path)
            .with_context(|| format!("creating {}", lock_path.display()))?;
        if lock.try_lock().is_err() {
            eprintln!("waiting for another set-up that is under way …");
            lock.lock()
                .with_context(|| format!("locking {}", lock_path.display()))?;
        }
        let work = parent.join(format!(".{name}.work"));
        remove_dir(&work)?;
        fs::create_dir(&work).with_context(|| format!("creating {}", work.display()))?;
        Ok(Self { work, _lock: lock })
    }

    /// The folder to work in.
    pub(crate) fn path(&self) -> &Path {
        &self.work
    }

    /// Moves a finished folder from the work folder into its place.
    pub(crate) fn publish(&self, made: &Path, place: &Path) -> Result<()> {
        remove_dir(place)?;
        fs::rename(made, place)
            .with_context(|| format!("moving {} to {}", made.display(), place.display()))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // The next set-up sweeps what can't be removed now.
        let _ = remove_dir(&self.work);
    }
}

fn remove_dir(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", dir.display()))
        }
        _ => Ok(()),
    }
}
