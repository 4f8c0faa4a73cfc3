//! An instance with one dict open, and native SQLite on the same file.

#![allow(clippy::unwrap_used)] // helpers of tests are tests to a reader, not to clippy
#![allow(dead_code)] // each of the tests uses a part

use beaver_host::client::{Database, Dict, OpenOptions};
use beaver_host::{Error, Grant, Host, Instance};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

pub(crate) struct Worker {
    pub(crate) instance: Instance,
    pub(crate) database: Database,
    dict: Dict,
}

impl Worker {
    pub(crate) async fn open(
        host: &Host,
        directory: &Path,
        name: &str,
        options: &OpenOptions,
    ) -> Result<Self, Error> {
        let grant = Grant::directory(directory).unwrap();
        let mut instance = host.instantiate(grant).await?;
        let database = instance.open(name, options).await?;
        let dict = instance.dict(&database, "d").await?;
        Ok(Self {
            instance,
            database,
            dict,
        })
    }

    pub(crate) async fn set(&mut self, key: &str, value: u32) -> Result<(), Error> {
        let value = value.to_string();
        self.dict.set(&mut self.instance, key, &value, None).await
    }

    pub(crate) async fn get(&mut self, key: &str) -> Result<Option<u32>, Error> {
        let found = self.dict.get(&mut self.instance, key).await?;
        Ok(found.map(|text| text.parse().unwrap()))
    }
}

/// Native SQLite in a process of its own, which keeps the database open.
pub(crate) struct Native {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Native {
    pub(crate) fn open(database: &Path) -> Self {
        let script = "import sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
for line in sys.stdin:
    print(c.execute(line.strip()).fetchall(), flush=True)";
        let mut child = Command::new("python3")
            .args(["-c", script])
            .arg(database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            stdin,
            stdout,
        }
    }

    pub(crate) fn sql(&mut self, sql: &str) -> String {
        writeln!(self.stdin, "{sql}").unwrap();
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn is_sound(database: &Path) {
    let found = Native::open(database).sql("PRAGMA integrity_check");
    assert_eq!(found, "[('ok',)]");
}
