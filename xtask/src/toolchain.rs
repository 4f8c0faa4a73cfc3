//! Rust's standard library for wasm32-wasip2, from the first of: the active toolchain, a private
//! sysroot that an earlier set-up built, rustup, and Debian's packaged Rust sources.
//!
//! What must stay true: the user's toolchain is changed by rustup only; a private sysroot belongs
//! to exactly one compiler (its name says which), so a new compiler gets a new one; and nothing
//! here sets `RUSTFLAGS`, because that would rebuild everything native too.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::c_compiler::{self, AR, CC, CFLAGS, CLibrary, Compiler};
use crate::debian::Archive;
use crate::paths::{self, on_path};
use crate::process::{cargo, program, run_quiet};
use crate::staging::Staging;

pub(crate) const TARGET: &str = "wasm32-wasip2";

/// Part of a private sysroot's name: raise it when the way it is built changes.
const RECIPE: u32 = 1;

const RUST_FEATURES: &str =
    "-Ctarget-feature=+simd128,+bulk-memory -Clink-arg=--initial-memory=2097152";
const C_FEATURES: &str = "-O3 -mbulk-memory -msign-ext -mnontrapping-fptoint -msimd128";

/// SQLite in the guest; `libsqlite3-sys` appends these to its own flags, so `-U` takes back what
/// it defines. ARCHITECTURE.md says why each is there.
const SQLITE_FLAGS: [&str; 20] = [
    "-DSQLITE_OS_OTHER=1",
    "-DSQLITE_TEMP_STORE=3",
    "-DSQLITE_MAX_MMAP_SIZE=0",
    "-DSQLITE_DQS=0",
    "-DSQLITE_DEFAULT_MEMSTATUS=0",
    "-DSQLITE_DEFAULT_PCACHE_INITSZ=0",
    "-DSQLITE_LIKE_DOESNT_MATCH_BLOBS",
    "-DSQLITE_TRUSTED_SCHEMA=0",
    "-DSQLITE_OMIT_DEPRECATED",
    "-DSQLITE_OMIT_SHARED_CACHE",
    "-DSQLITE_ENABLE_SETLK_TIMEOUT=1",
    "-USQLITE_ENABLE_LOAD_EXTENSION",
    "-DSQLITE_OMIT_LOAD_EXTENSION",
    "-USQLITE_ENABLE_API_ARMOR",
    "-USQLITE_ENABLE_COLUMN_METADATA",
    "-USQLITE_SOUNDEX",
    "-USQLITE_ENABLE_FTS3",
    "-USQLITE_ENABLE_FTS3_PARENTHESIS",
    "-USQLITE_ENABLE_RTREE",
    "-USQLITE_ENABLE_STAT4",
];

/// Everything that a wasm build needs besides the active toolchain.
pub(crate) struct Toolchain {
    /// Only when the active toolchain lacks the target.
    private_sysroot: Option<PathBuf>,
    compiler: Compiler,
    library: CLibrary,
}

impl Toolchain {
    /// The variables that make a plain `cargo build --target wasm32-wasip2` work.
    pub(crate) fn env(&self) -> Vec<(&'static str, String)> {
        let sysroot = self
            .private_sysroot
            .as_ref()
            .map(|sysroot| format!("--sysroot={} ", sysroot.display()))
            .unwrap_or_default();
        vec![
            (
                "CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS",
                format!("{sysroot}{RUST_FEATURES}"),
            ),
            (CC, self.compiler.cc.display().to_string()),
            (AR, self.compiler.ar.display().to_string()),
            (
                CFLAGS,
                format!(
                    "--sysroot={} -isystem {} {C_FEATURES}",
                    self.library.sysroot.display(),
                    self.library.headers().display()
                ),
            ),
            ("LIBSQLITE3_FLAGS", SQLITE_FLAGS.join(" ")),
        ]
    }
}

/// The compiler that cargo will use.
struct Rustc {
    release: String,
    commit: String,
    host: String,
    sysroot: PathBuf,
}

impl Rustc {
    fn active() -> Result<Self> {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let version = run_quiet(program(&rustc).arg("-vV"))?;
        let sysroot = run_quiet(program(&rustc).args(["--print", "sysroot"]))?;
        let field = |name: &str| {
            version_field(&version, name)
                .with_context(|| format!("`rustc -vV` does not print its {name}"))
        };
        Ok(Self {
            release: field("release")?,
            commit: field("commit-hash")?,
            host: field("host")?,
            sysroot: PathBuf::from(sysroot.trim()),
        })
    }

    fn private_sysroot(&self) -> PathBuf {
        let commit = self.commit.get(..9).unwrap_or(&self.commit);
        paths::wasm_toolchain().join(format!("rust-{}-{commit}-{RECIPE}", self.release))
    }

    /// The folder that holds a toolchain's own tools; a private sysroot links to it.
    fn host_lib(&self) -> PathBuf {
        self.sysroot.join("lib").join("rustlib").join(&self.host)
    }

    /// rustc links components with this program.
    fn check_linker(&self) -> Result<()> {
        let linker = "wasm-component-ld";
        let own = self.host_lib().join("bin").join(linker);
        ensure!(
            own.is_file() || on_path(linker).is_some(),
            "the active toolchain ({}) has no `{linker}`: use one from rustup, or \
             `cargo install {linker}`",
            self.sysroot.display()
        );
        Ok(())
    }
}

fn version_field(version: &str, name: &str) -> Option<String> {
    version
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        .map(str::to_owned)
}

/// Finds or makes the toolchain; says nothing when it only had to find it.
pub(crate) fn ready() -> Result<Toolchain> {
    let rustc = Rustc::active()?;
    let forced = force_private()?;
    let private = rustc.private_sysroot();
    let mut rustup_says = None;

    let has_std = !forced && has_std(&rustc.sysroot);
    let has_private = || has_std_private(&rustc, &private);
    let mut private_sysroot = None;
    let mut missing_std = false;
    if !has_std {
        if has_private() {
            private_sysroot = Some(private.clone());
        } else if forced {
            missing_std = true;
        } else if let Err(error) = rustup_target_add(&rustc) {
            rustup_says = Some(format!("{error:#}"));
            missing_std = true;
        }
    }

    let compiler = Compiler::ready()?;
    let mut library = CLibrary::find();
    if missing_std || library.is_none() {
        let staging = Staging::under(&paths::wasm_toolchain(), "setup")?;
        // Another process may have made them while we waited for our turn.
        library = CLibrary::find();
        missing_std = missing_std && !has_private();
        if missing_std || library.is_none() {
            no_blanks(&paths::wasm_toolchain())?;
            let what = if missing_std {
                "Rust sources and C library"
            } else {
                "C library"
            };
            eprintln!("fetching the {what} for wasm from the Debian archive …");
            let archive = Archive::open(staging.path())
                .and_then(|archive| {
                    if missing_std {
                        build_sysroot(&rustc, &archive, &staging, &private)?;
                    }
                    Ok(archive)
                })
                .map_err(|error| explain(missing_std, &rustc, rustup_says.as_deref(), &error))?;
            if library.is_none() {
                library = Some(
                    c_compiler::unpack_library(&archive, &staging)
                        .map_err(|error| explain(false, &rustc, None, &error))?,
                );
            }
        }
        if !has_std && has_private() {
            private_sysroot = Some(private);
        }
    }
    rustc.check_linker()?;
    Ok(Toolchain {
        private_sysroot,
        compiler,
        library: library.context("the C library for wasm vanished during set-up")?,
    })
}

/// What was tried, and what a person can do about it.
fn explain(
    std: bool,
    rustc: &Rustc,
    rustup_says: Option<&str>,
    debian_says: &anyhow::Error,
) -> anyhow::Error {
    let otherwise = "set BEAVER_COMPONENT to a component that was built elsewhere";
    if std {
        let rustup = rustup_says.unwrap_or("not tried (BEAVER_WASM_TOOLCHAIN=private)");
        anyhow!(
            "rustc {} has no standard library for {TARGET}, and it could not be had:\n  \
             - from rustup: {rustup}\n  \
             - from Debian's rust-src: {debian_says:#}\n\
             Get it with `rustup target add {TARGET}`, or {otherwise}.",
            rustc.release
        )
    } else {
        anyhow!(
            "there is no C library for {TARGET}, and it could not be had from the Debian \
             archive: {debian_says:#}\n\
             Install wasi-sdk and set WASI_SDK_PATH, or install your distribution's wasi-libc, \
             or {otherwise}."
        )
    }
}

fn force_private() -> Result<bool> {
    match std::env::var("BEAVER_WASM_TOOLCHAIN").as_deref() {
        Err(_) | Ok("") => Ok(false),
        Ok("private") => Ok(true),
        Ok(other) => bail!("BEAVER_WASM_TOOLCHAIN can only be `private`, not `{other}`"),
    }
}

/// cargo and cc split their flags at blanks, so a path with one would be torn.
fn no_blanks(path: &Path) -> Result<()> {
    ensure!(
        !path.to_string_lossy().contains(char::is_whitespace),
        "the path {} contains blanks, which compiler flags can't carry; set CARGO_TARGET_DIR to \
         a folder without",
        path.display()
    );
    Ok(())
}

fn target_lib(sysroot: &Path) -> PathBuf {
    sysroot.join("lib").join("rustlib").join(TARGET).join("lib")
}

fn has_std(sysroot: &Path) -> bool {
    fs::read_dir(target_lib(sysroot)).is_ok_and(|entries| {
        entries.filter_map(Result::ok).any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with("libstd-") && name.ends_with(".rlib")
        })
    })
}

/// A private sysroot is useless once the toolchain that it links to has moved.
fn has_std_private(rustc: &Rustc, private: &Path) -> bool {
    let link = private.join("lib").join("rustlib").join(&rustc.host);
    has_std(private) && fs::canonicalize(link).ok() == fs::canonicalize(rustc.host_lib()).ok()
}

fn rustup_target_add(rustc: &Rustc) -> Result<()> {
    ensure!(on_path("rustup").is_some(), "rustup is not installed");
    eprintln!("asking rustup for {TARGET} …");
    let mut rustup = program("rustup");
    rustup.args(["target", "add", TARGET]);
    // Without a network there is another way below: don't let retries hold it up.
    for (name, value) in [
        ("RUSTUP_MAX_RETRIES", "0"),
        ("RUSTUP_DOWNLOAD_TIMEOUT", "20"),
    ] {
        if std::env::var_os(name).is_none() {
            rustup.env(name, value);
        }
    }
    run_quiet(&mut rustup)?;
    ensure!(
        has_std(&rustc.sysroot),
        "rustup added the target to another toolchain than {}",
        rustc.sysroot.display()
    );
    Ok(())
}

/// Builds std from Debian's `rust-src` of exactly the active compiler's version.
fn build_sysroot(rustc: &Rustc, archive: &Archive, staging: &Staging, place: &Path) -> Result<()> {
    // The standard library links wasi-libc, whatever C library SQLite is compiled against.
    let libc = staging.path().join("libc");
    archive.unpack("wasi-libc", |_| true, "usr/lib", &libc)?;
    let unpacked = staging.path().join("rust-src");
    let prefix = format!("{}+", rustc.release);
    let part = format!("usr/src/rustc-{}/library", rustc.release);
    let version = archive.unpack(
        "rust-src",
        |version| version.starts_with(&prefix),
        &part,
        &unpacked,
    )?;
    let library = unpacked.join(part);

    let sysroot = staging.path().join("sysroot");
    let self_contained = target_lib(&sysroot).join("self-contained");
    fs::create_dir_all(&self_contained)?;
    for file in ["crt1-command.o", "crt1-reactor.o", "libc.a"] {
        let from = libc.join("usr/lib").join(TARGET).join(file);
        fs::copy(&from, self_contained.join(file))
            .with_context(|| format!("copying {}", from.display()))?;
    }
    let rustlib = sysroot.join("lib").join("rustlib");
    link_dir(&rustc.host_lib(), &rustlib.join(&rustc.host))?;

    eprintln!("building Rust's standard library for {TARGET} from rust-src {version} …");
    build_std(rustc, staging, &sysroot, &library)?;
    staging.publish(&sysroot, place)
}

fn build_std(rustc: &Rustc, staging: &Staging, sysroot: &Path, library: &Path) -> Result<()> {
    let package = staging.path().join("empty");
    fs::create_dir_all(package.join("src"))?;
    fs::write(package.join("src/lib.rs"), "")?;
    fs::write(
        package.join("Cargo.toml"),
        "[package]\nname = \"empty\"\nedition = \"2024\"\n\n[workspace]\n",
    )?;
    let built = staging.path().join("built");
    run_quiet(
        cargo()
            .args(["build", "--release", "-Zbuild-std=std,panic_abort"])
            .args(["--target", TARGET])
            .current_dir(&package)
            .env(paths::TARGET_DIR_ENV, &built)
            .env("RUSTC_BOOTSTRAP", "1")
            // Cargo looks for sources in the active toolchain only, which is not ours to change.
            .env("__CARGO_TESTS_ONLY_SRC_ROOT", library)
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env(
                "CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS",
                // Bitcode lets the component be linked with LTO; the remapped paths are those
                // of official builds, so that a component doesn't tell where it was made.
                format!(
                    "--sysroot={} -Cembed-bitcode=yes {RUST_FEATURES} \
                     --remap-path-prefix={}=/rustc/{}/library",
                    sysroot.display(),
                    library.display(),
                    rustc.commit
                ),
            ),
    )?;
    let libs = built.join(TARGET).join("release").join("deps");
    for entry in fs::read_dir(&libs).with_context(|| format!("listing {}", libs.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        let name_text = name.to_string_lossy();
        if name_text.ends_with(".rlib") && !name_text.starts_with("libempty-") {
            fs::copy(entry.path(), target_lib(sysroot).join(&name))?;
        }
    }
    ensure!(has_std(sysroot), "cargo built no standard library");
    Ok(())
}

fn link_dir(to: &Path, at: &Path) -> Result<()> {
    #[cfg(unix)]
    let linked = std::os::unix::fs::symlink(to, at);
    #[cfg(windows)]
    let linked = std::os::windows::fs::symlink_dir(to, at);
    linked.with_context(|| format!("linking {} to {}", at.display(), to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_rustc_version() {
        let text = "rustc 1.95.0 (59807616e 2026-04-14)\nbinary: rustc\nhost: x86_64-unknown\n\
                    release: 1.95.0\n";
        assert_eq!(version_field(text, "release").as_deref(), Some("1.95.0"));
        assert_eq!(
            version_field(text, "host").as_deref(),
            Some("x86_64-unknown")
        );
        assert_eq!(version_field(text, "commit-hash"), None);
    }

    #[test]
    fn sqlite_flags_are_what_libsqlite3_sys_understands() {
        for flag in SQLITE_FLAGS {
            assert!(flag.starts_with("-D") || flag.starts_with("-U"), "{flag}");
            assert!(!flag.contains(' '), "{flag}");
        }
    }

    #[test]
    fn blanks_in_the_path_are_refused() {
        assert!(no_blanks(Path::new("/a/b")).is_ok());
        assert!(no_blanks(Path::new("/a b/c")).is_err());
    }
}
