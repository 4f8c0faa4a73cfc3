//! Dumps with any text in any pieces.
//!
//! The input's first line is a kind of manager and how many bytes go in at a time; the rest is the dump.
//!
//! What must stay true: it is loaded or an error says what is wrong with the text, the same whatever
//! the pieces, and then nothing is loaded; what was loaded is dumped, and that loads back equal.

use crate::Target;
use crate::clock::Clock;
use crate::scratch::Scratch;
use crate::sweep::options;
use beaver_core::{Database, Dump, Error, IndexOptions, Loader};
use std::io::Read;

/// See the module.
pub const TARGET: Target = Target {
    name: "dump",
    run,
    tries: 150,
    bytes_max: 4096,
};

fn run(bytes: &[u8]) {
    let first = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (first, text) = bytes.split_at(first);
    let first = String::from_utf8_lossy(first);
    let (kind, piece) = first.split_once(' ').unwrap_or((&first, ""));
    let piece = piece.parse().unwrap_or(1000_usize).max(1);
    let (one, two) = (Store::new(kind), Store::new(kind));
    let read = one.load_from(Pieces { text, piece });
    if let Ok(text) = std::str::from_utf8(text) {
        assert_eq!(two.load(text, piece), read);
        assert_eq!(two.dump(), one.dump());
    }
    match read {
        Ok(_) => {
            let text = one.dump();
            let copy = Store::new(kind);
            let count = copy.load(&text, usize::MAX).unwrap();
            assert_eq!(copy.dump(), text);
            assert!(text.contains(&format!("\"count\": {count},")), "{text}");
        }
        // Less than a batch was read.
        Err(Error::InvalidJson(_) | Error::InvalidArgument(_)) => {
            assert_eq!(one.dump(), Store::new(kind).dump());
        }
        Err(error) => panic!("{error}"),
    }
}

/// A reader that gives no more at a time.
struct Pieces<'a> {
    text: &'a [u8],
    piece: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.piece.min(buffer.len());
        self.text.read(&mut buffer[..count])
    }
}

/// One manager of its own database.
struct Store {
    kind: String,
    database: Database,
    _scratch: Scratch,
}

impl Store {
    fn new(kind: &str) -> Self {
        let scratch = Scratch::new();
        let path = scratch.path();
        let database = Database::open_with(path.to_str().unwrap(), &options(), Clock::new());
        Self {
            kind: kind.to_owned(),
            database: database.unwrap(),
            _scratch: scratch,
        }
    }

    fn load(&self, text: &str, piece: usize) -> Result<u64, Error> {
        let mut loader = self.loader();
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.ceil_char_boundary(piece);
            loader.write(&rest[..end])?;
            rest = &rest[end..];
        }
        loader.finish()
    }

    fn loader(&self) -> Loader {
        let database = &self.database;
        let loader = match self.kind.as_str() {
            "list" => database.list("m").unwrap().loader(),
            "queue" => database.queue("m").unwrap().loader(),
            "log" => database.log("m").unwrap().loader(),
            "blob" => database.blob("m").unwrap().loader(),
            "collection" => database.collection("m").unwrap().loader(&index_options()),
            _ => database.dict("m").unwrap().loader(),
        };
        loader.unwrap()
    }

    fn load_from(&self, reader: impl Read) -> Result<u64, Error> {
        let database = &self.database;
        match self.kind.as_str() {
            "list" => database.list("m").unwrap().load_from(reader),
            "queue" => database.queue("m").unwrap().load_from(reader),
            "log" => database.log("m").unwrap().load_from(reader),
            "blob" => database.blob("m").unwrap().load_from(reader),
            "collection" => {
                let collection = database.collection("m").unwrap();
                collection.load_from(reader, &index_options())
            }
            _ => database.dict("m").unwrap().load_from(reader),
        }
    }

    fn dump(&self) -> String {
        let database = &self.database;
        let dump: Result<Dump, _> = match self.kind.as_str() {
            "list" => database.list("m").unwrap().dump(),
            "queue" => database.queue("m").unwrap().dump(),
            "log" => database.log("m").unwrap().dump(),
            "blob" => database.blob("m").unwrap().dump(),
            "collection" => database.collection("m").unwrap().dump(),
            _ => database.dict("m").unwrap().dump(),
        };
        dump.unwrap().map(Result::unwrap).collect()
    }
}

fn index_options() -> IndexOptions {
    IndexOptions {
        fuzzy: true,
        ..IndexOptions::default()
    }
}
