//! Takes single packages out of the Debian archive without touching the system: apt runs with a
//! configuration, lists and cache of its own, and packages are unpacked, never installed.
//!
//! What must stay true: the mirror comes from the machine's own apt sources, and whatever it
//! serves is verified against Debian's archive keyring.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::apt_sources::{Source, debian_mirrors, parse_deb822, parse_one_line};
use crate::paths::on_path;
use crate::process::{program, run_quiet, run_quiet_from};

/// Where current Rust sources are packaged; a newer release of Debian than most machines run,
/// which does no harm because nothing is installed from it.
const SUITES: [&str; 2] = ["trixie-backports", "trixie"];

const KEYRINGS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.pgp",
    "/usr/share/keyrings/debian-archive-keyring.gpg",
];

/// The Debian archive, seen through a private apt configuration.
pub(crate) struct Archive {
    dir: PathBuf,
}

impl Archive {
    /// Makes the configuration in `dir` and fetches the package lists.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        for tool in ["apt-get", "apt-cache", "dpkg-deb"] {
            ensure!(
                on_path(tool).is_some(),
                "there is no `{tool}` here, so this is no Debian"
            );
        }
        let codename = debian_codename()?;
        let keyring = KEYRINGS
            .iter()
            .find(|file| Path::new(file).is_file())
            .context("the package `debian-archive-keyring` is not installed")?;
        let mirrors = debian_mirrors(&machine_sources(), &codename);
        ensure!(
            !mirrors.is_empty(),
            "the machine's apt sources name no mirror of Debian {codename}"
        );

        let archive = Self {
            dir: dir.join("apt"),
        };
        for folder in ["lists/partial", "cache/archives/partial", "packages"] {
            fs::create_dir_all(archive.dir.join(folder))?;
        }
        let mut refusals = Vec::new();
        for mirror in mirrors {
            let sources: String = SUITES
                .iter()
                .map(|suite| format!("deb [signed-by={keyring}] {mirror} {suite} main\n"))
                .collect();
            fs::write(archive.dir.join("sources.list"), sources)?;
            // Without this option a mirror that can't be reached is only a warning.
            let update = run_quiet(archive.apt("apt-get").args([
                "-o",
                "APT::Update::Error-Mode=any",
                "update",
            ]));
            match update {
                Ok(_) => return Ok(archive),
                Err(error) => refusals.push(format!("{mirror}: {error:#}")),
            }
        }
        bail!("no mirror of Debian answered: {}", refusals.join("; "))
    }

    /// Unpacks the folder `part` of the newest version of `package` that `wanted` accepts, and
    /// returns that version.
    pub(crate) fn unpack(
        &self,
        package: &str,
        wanted: impl Fn(&str) -> bool,
        part: &str,
        into: &Path,
    ) -> Result<String> {
        let madison = run_quiet(self.apt("apt-cache").args(["madison", package]))?;
        let versions = versions(&madison, package);
        let version = versions
            .iter()
            .find(|version| wanted(version))
            .ok_or_else(|| {
                anyhow!(
                    "Debian ({}) has no fitting version of `{package}`, only: {}",
                    SUITES.join(", "),
                    versions.join(", ")
                )
            })?;
        let packages = self.dir.join("packages");
        run_quiet(
            self.apt("apt-get")
                .args(["download", &format!("{package}={version}")])
                .current_dir(&packages),
        )?;
        let prefix = format!("{package}_");
        let file = fs::read_dir(&packages)?
            .filter_map(Result::ok)
            .find(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
            .with_context(|| format!("apt-get downloaded no file for `{package}`"))?
            .path();
        extract(&file, part, into)?;
        Ok(version.clone())
    }

    fn apt(&self, tool: &str) -> Command {
        let mut apt = program(tool);
        let dir = |name: &str| self.dir.join(name).display().to_string();
        for option in [
            format!("Dir::Etc::sourcelist={}", dir("sources.list")),
            "Dir::Etc::sourceparts=-".to_owned(),
            format!("Dir::State::lists={}", dir("lists")),
            format!("Dir::Cache={}", dir("cache")),
            // As root, apt would hand downloads to a user who may not be allowed in here.
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Languages=none".to_owned(),
        ] {
            apt.arg("-o").arg(option);
        }
        apt.env("LC_ALL", "C");
        apt
    }
}

/// Of the Rust sources a tenth is the standard library, so only a part is written to disk.
fn extract(package: &Path, part: &str, into: &Path) -> Result<()> {
    fs::create_dir_all(into).with_context(|| format!("creating {}", into.display()))?;
    let mut dpkg = program("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped())
        .spawn()
        .context("could not start `dpkg-deb`")?;
    let files = dpkg.stdout.take().context("`dpkg-deb` has no output")?;
    let extracted = run_quiet_from(
        program("tar")
            .arg("--directory")
            .arg(into)
            .args(["--extract", &format!("./{part}")]),
        files.into(),
    );
    let unpacked = dpkg.wait().context("waiting for `dpkg-deb`")?;
    extracted?;
    ensure!(
        unpacked.success(),
        "`dpkg-deb` failed on {}",
        package.display()
    );
    Ok(())
}

/// Installs packages on the system, which only root may do.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    ensure!(on_path("apt-get").is_some(), "there is no `apt-get` here");
    let uid = run_quiet(program("id").arg("-u"))?;
    ensure!(uid.trim() == "0", "installing packages needs root");
    let install = || {
        run_quiet(
            program("apt-get")
                .args(["install", "-y", "-qq"])
                .args(packages)
                .env("DEBIAN_FRONTEND", "noninteractive")
                .env("LC_ALL", "C"),
        )
    };
    // The lists may be missing or name files that the mirror has replaced since.
    if install().is_err() {
        run_quiet(
            program("apt-get")
                .args(["update", "-qq"])
                .env("LC_ALL", "C"),
        )?;
        install()?;
    }
    Ok(())
}

fn debian_codename() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("reading /etc/os-release")?;
    let field = |name: &str| {
        release
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .map(|value| value.trim_matches('"').to_owned())
    };
    ensure!(
        field("ID").as_deref() == Some("debian"),
        "this system is not Debian"
    );
    Ok(field("VERSION_CODENAME").unwrap_or_else(|| "sid".to_owned()))
}

fn machine_sources() -> Vec<Source> {
    let etc = Path::new("/etc/apt");
    let mut files = vec![etc.join("sources.list")];
    if let Ok(entries) = fs::read_dir(etc.join("sources.list.d")) {
        files.extend(entries.filter_map(Result::ok).map(|entry| entry.path()));
    }
    files.sort();
    files
        .iter()
        .filter_map(|file| {
            let text = fs::read_to_string(file).ok()?;
            match file.extension()?.to_str()? {
                "list" => Some(parse_one_line(&text)),
                "sources" => Some(parse_deb822(&text)),
                _ => None,
            }
        })
        .flatten()
        .collect()
}

/// The versions in `apt-cache madison`'s table, newest first as apt prints them.
fn versions(madison: &str, package: &str) -> Vec<String> {
    let mut versions = Vec::new();
    for line in madison.lines() {
        let mut columns = line.split('|').map(str::trim);
        if columns.next() == Some(package)
            && let Some(version) = columns.next()
            && !versions.iter().any(|known| known == version)
        {
            versions.push(version.to_owned());
        }
    }
    versions
}

#[cfg(test)]
mod tests {
    use super::versions;

    #[test]
    fn madison_lists_each_version_once() {
        let table = "\
            rust-src | 1.96.1+dfsg1-2 | http://m.example t/main amd64 Packages\n\
            rust-src | 1.95.0+dfsg1-2 | http://m.example t/main amd64 Packages\n\
            rust-src | 1.95.0+dfsg1-2 | http://m.example u/main amd64 Packages\n\
            rust-src-web | 9 | http://m.example t/main amd64 Packages\n";
        assert_eq!(
            versions(table, "rust-src"),
            ["1.96.1+dfsg1-2", "1.95.0+dfsg1-2"]
        );
    }
}
