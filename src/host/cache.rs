//! Compiled components, kept between processes.
//!
//! Compiling takes seconds, loading what was compiled a few milliseconds. An
//! entry is two files: `<key>.cwasm`, machine code, and `<key>.sha256`, its
//! digest. The key covers the component's bytes, wasmtime's version and
//! everything of the engine's configuration that changes the code.
//!
//! Invariants:
//! - Files appear whole (written aside, synced, renamed), whoever else writes
//!   the same entry at the same time or loses power.
//! - What is loaded is machine code and runs with the rights of this process.
//!   So an entry is loaded only from a directory and a file that belong to this
//!   user and that nobody else may write, and only when the digest fits. The
//!   directories above must be as trustworthy; that is the user's part.
//! - The cache only ever saves time: an entry that can't be used is compiled
//!   anew and replaced.

#![allow(unsafe_code)] // `Component::deserialize_file`

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::Error;

/// A directory of compiled components.
pub(crate) struct Cache {
    directory: PathBuf,
}

impl Cache {
    /// Opens `directory`, making it (for this user alone) if need be. An error
    /// when anybody else could write it.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        let directory = directory.canonicalize()?;
        check_private(&fs::metadata(&directory)?)?;
        Ok(Self { directory })
    }

    /// `$XDG_CACHE_HOME/beaver-wasm`, else `~/.cache/beaver-wasm`; none when
    /// neither variable is set.
    pub(crate) fn default_directory() -> Option<PathBuf> {
        let absolute = |name| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        absolute("XDG_CACHE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
            .map(|cache| cache.join("beaver-wasm"))
    }

    /// The component, from the cache when it is there, else compiled and kept.
    pub(crate) fn load_or_compile(
        &self,
        engine: &Engine,
        bytes: &[u8],
    ) -> Result<Component, Error> {
        let stem = self.directory.join(key(engine, bytes));
        let (code, digest) = (stem.with_extension("cwasm"), stem.with_extension("sha256"));
        if let Ok(component) = load(engine, &code, &digest) {
            return Ok(component);
        }
        let compiled = engine
            .precompile_component(bytes)
            .map_err(Error::component)?;
        let kept = replace(&code, &compiled)
            .and_then(|()| replace(&digest, hex(&Sha256::digest(&compiled)).as_bytes()));
        if kept.is_ok()
            && let Ok(component) = load(engine, &code, &digest)
        {
            // Loaded from the file, its pages are shared with other processes.
            return Ok(component);
        }
        // A full or read-only disk is no reason not to run.
        // SAFETY: these bytes come from `precompile_component` of this engine, just now.
        unsafe { Component::deserialize(engine, &compiled) }.map_err(Error::component)
    }
}

/// The entry, if it is there, ours, and whole.
fn load(engine: &Engine, code: &Path, digest: &Path) -> Result<Component, io::Error> {
    check_private(&fs::metadata(code)?)?;
    check_private(&fs::metadata(digest)?)?;
    if fs::read(digest)? != hex(&Sha256::digest(fs::read(code)?)).as_bytes() {
        return Err(io::Error::other("the digest does not fit"));
    }
    // SAFETY: the file must hold what `precompile_component` wrote, and nobody
    // may change it while it is mapped. It lies in a directory that only this
    // user can write (checked when it was opened), belongs to this user and is
    // writable by nobody else (checked above), and its digest is the one that
    // was written beside it by `load_or_compile`, so it is whole. This crate
    // never writes into an existing entry: it renames a new file over it, which
    // leaves the mapped one alone. wasmtime itself refuses code of another
    // version, configuration or processor.
    unsafe { Component::deserialize_file(engine, code) }
        .map_err(|error| io::Error::other(error.into_boxed_dyn_error()))
}

/// Writes `path` so that anybody sees the old file or the whole new one.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let aside = path.with_extension(format!(
        "{}-{}.new",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    ));
    let written = (|| {
        let mut file: File = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&aside, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&aside);
    }
    written
}

/// An error unless only this user can write it.
fn check_private(metadata: &fs::Metadata) -> io::Result<()> {
    // SAFETY: `geteuid` has no preconditions and can't fail.
    let user = unsafe { libc::geteuid() };
    if metadata.uid() != user || metadata.mode() & 0o022 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "a cache of machine code must belong to this user and be writable by nobody else",
        ));
    }
    Ok(())
}

/// The name of an entry.
fn key(engine: &Engine, bytes: &[u8]) -> String {
    /// Feeds what a `Hash` hashes to SHA-256.
    struct Sink(Sha256);
    impl Hasher for Sink {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0 // never asked for: the digest is taken from the field
        }
    }
    let mut sink = Sink(Sha256::new());
    // Covers wasmtime's version, the target and every setting that matters.
    engine.precompile_compatibility_hash().hash(&mut sink);
    sink.0.update((bytes.len() as u64).to_le_bytes());
    sink.0.update(bytes);
    hex(&sink.0.finalize())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a `String` can't fail
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const EMPTY: &[u8] = b"(component)";

    fn bytes() -> Vec<u8> {
        wat::parse_bytes(EMPTY).unwrap().into_owned()
    }

    fn engine() -> Engine {
        let mut config = wasmtime::Config::new();
        crate::configure(&mut config);
        Engine::new(&config).unwrap()
    }

    fn entries(directory: &Path) -> Vec<PathBuf> {
        let mut paths: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        paths
    }

    #[test]
    fn an_entry_is_made_once_and_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().join("deep/cache");
        let cache = Cache::open(&directory).unwrap();
        cache.load_or_compile(&engine(), &bytes()).unwrap();
        let made = entries(&directory);
        assert_eq!(made.len(), 2, "{made:?}");
        let time = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
        let before = time(&made[0]);
        cache.load_or_compile(&engine(), &bytes()).unwrap();
        assert_eq!(entries(&directory), made);
        assert_eq!(time(&made[0]), before);
    }

    #[test]
    fn a_damaged_entry_is_compiled_anew() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path()).unwrap();
        cache.load_or_compile(&engine(), &bytes()).unwrap();
        let code = &entries(&cache.directory)[0];
        let good = fs::read(code).unwrap();
        for damage in [good[..good.len() / 2].to_vec(), vec![0; good.len()], vec![]] {
            fs::write(code, damage).unwrap();
            cache.load_or_compile(&engine(), &bytes()).unwrap();
            assert_eq!(fs::read(code).unwrap(), good);
        }
    }

    #[test]
    fn another_configuration_is_another_entry() {
        let bytes = bytes();
        let mut config = wasmtime::Config::new();
        crate::configure(&mut config);
        config.epoch_interruption(true);
        let other = Engine::new(&config).unwrap();
        assert_ne!(key(&engine(), &bytes), key(&other, &bytes));
        assert_eq!(key(&engine(), &bytes), key(&engine(), &bytes));
        assert_ne!(key(&engine(), &bytes), key(&engine(), &bytes[1..]));
    }

    #[test]
    fn what_others_can_write_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o770)).unwrap();
        let error = Cache::open(directory.path()).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);

        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let cache = Cache::open(directory.path()).unwrap();
        cache.load_or_compile(&engine(), &bytes()).unwrap();
        let code = &entries(&cache.directory)[0];
        fs::set_permissions(code, fs::Permissions::from_mode(0o666)).unwrap();
        cache.load_or_compile(&engine(), &bytes()).unwrap();
        let mode = fs::metadata(code).unwrap().mode();
        assert_eq!(mode & 0o022, 0, "replaced by a file of our own");
    }

    #[test]
    fn bytes_that_are_no_component_are_a_component_error() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path()).unwrap();
        let error = cache.load_or_compile(&engine(), b"nonsense").map(|_| ());
        assert!(matches!(error, Err(Error::Component(_))), "{error:?}");
        assert!(entries(&cache.directory).is_empty());
    }
}
