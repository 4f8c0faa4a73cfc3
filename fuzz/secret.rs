//! What an encrypted dictionary stores, tampered with.
//!
//! The input is lines of text, each an edit, its parts separated by spaces; keys are `0` to `3`.
//!
//! ```text
//! at KEY OFFSET HEX      other bytes in the stored text
//! token KEY OFFSET HEX   other bytes in the token that it stands for
//! cut KEY LENGTH         a shorter text
//! move KEY KEY           the text of the first also under the second
//! blob KEY               the same bytes, as a blob
//! raw KEY TEXT           another text
//! registry OFFSET HEX    other bytes in the registration of salt and verifier
//! registered TEXT        another registration
//! ```
//!
//! What must stay true: a read gives one of the values that were set or says `corrupt`, and what wasn't
//! touched can be read; the secret opens the dictionary, or is wrong, or the registration is corrupt.
//! A value under another key is none that can be told: in the reference's format it isn't bound to its
//! key.

use crate::Target;
use crate::clock::Clock;
use crate::hex::overwrite;
use crate::scratch::Scratch;
use crate::sweep::options;
use base64ct::{Base64Url, Encoding as _};
use beaver_core::rusqlite::types::Value;
use beaver_core::rusqlite::{Connection, params};
use beaver_core::{Database, Dict, Error};
use std::rc::Rc;

/// See the module.
pub const TARGET: Target = Target {
    name: "secret",
    run,
    tries: 200,
    bytes_max: 1024,
};

const EDITS_MAX: usize = 16;

/// A key is its place.
const VALUES: [&str; 4] = ["\"a secret\"", "1", "{\"k\": [null]}", "null"];

const SECRET: &str = "open sesame";

/// A dictionary that is made once in each thread, since deriving its key takes long.
struct Fixture {
    clock: Rc<Clock>,
    database: Database,
    dict: Dict,
    /// Somebody who writes to the file.
    stranger: Connection,
    stored: Vec<String>,
    registration: String,
    _scratch: Scratch,
}

thread_local! {
    static FIXTURE: Fixture = Fixture::new();
}

fn run(bytes: &[u8]) {
    FIXTURE.with(|fixture| fixture.run(bytes));
}

impl Fixture {
    fn new() -> Self {
        let scratch = Scratch::new();
        let path = scratch.path();
        let clock = Clock::new();
        let database = Database::open_with(path.to_str().unwrap(), &options(), clock.clone());
        let database = database.unwrap();
        let dict = database.dict_encrypted("e", SECRET).unwrap();
        for (key, value) in VALUES.iter().enumerate() {
            dict.set(&key.to_string(), value, None).unwrap();
        }
        let stranger = Connection::open(&path).unwrap();
        let read = |name: &str, key: &str| {
            let sql = "SELECT value FROM beaver_dicts WHERE dict_name = ?1 AND key = ?2";
            stranger.query_row(sql, [name, key], |row| row.get(0))
        };
        let stored = (0..VALUES.len()).map(|key| read("e", &key.to_string()).unwrap());
        Self {
            stored: stored.collect(),
            registration: read("__security__", "e").unwrap(),
            clock,
            database,
            dict,
            stranger,
            _scratch: scratch,
        }
    }

    fn put(&self, name: &str, key: &str, value: &Value) {
        self.stranger
            .execute(
                "INSERT OR REPLACE INTO beaver_dicts VALUES (?1, ?2, ?3, NULL)",
                params![name, key, value],
            )
            .unwrap();
    }

    fn run(&self, bytes: &[u8]) {
        self.clock.begin();
        let input = String::from_utf8_lossy(bytes);
        let mut values: Vec<Value> = self.stored.iter().cloned().map(Value::Text).collect();
        let mut registration = self.registration.clone();
        for line in input.split('\n').take(EDITS_MAX) {
            edit(line, &mut values, &mut registration);
        }
        for (key, value) in values.iter().enumerate() {
            self.put("e", &key.to_string(), value);
        }
        self.put("__security__", "e", &Value::Text(registration.clone()));
        self.read(&values);
        if registration != self.registration {
            self.open();
        }
    }

    fn read(&self, values: &[Value]) {
        let dict = &self.dict;
        let (mut whole, mut items) = (true, dict.items().unwrap());
        for (key, value) in values.iter().enumerate() {
            let name = key.to_string();
            let untouched = *value == Value::Text(self.stored[key].clone());
            let read = dict.get(&name);
            match &read {
                Ok(Some(text)) if untouched => assert_eq!(text, VALUES[key]),
                Ok(Some(text)) => assert!(VALUES.contains(&text.as_str()), "{text}"),
                Err(Error::Corrupt(_)) if !untouched => whole = false,
                other => panic!("{key}: {other:?}"),
            }
            assert_eq!(dict.contains(&name), Ok(true));
        }
        let page = items.next_page(10);
        match page {
            Ok(page) => {
                assert!(whole);
                for entry in page {
                    assert_eq!(dict.get(&entry.key), Ok(Some(entry.value)));
                }
            }
            Err(Error::Corrupt(_)) => assert!(!whole),
            Err(error) => panic!("{error}"),
        }
        assert_eq!(dict.len(), Ok(VALUES.len() as u64));
    }

    /// With another registration.
    fn open(&self) {
        match self.dict.set("0", "1", None) {
            Err(Error::WrongSecret(_)) => {}
            other => panic!("the handle of another registration: {other:?}"),
        }
        match self.database.dict_encrypted("e", SECRET) {
            // It means the same.
            Ok(dict) => {
                let read = dict.get("0");
                let right = match &read {
                    Ok(Some(text)) => VALUES.contains(&text.as_str()),
                    Err(Error::Corrupt(_)) => true,
                    _ => false,
                };
                assert!(right, "{read:?}");
            }
            Err(Error::WrongSecret(_) | Error::Corrupt(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn edit(line: &str, values: &mut [Value], registration: &mut String) {
    let parts: Vec<&str> = line.splitn(4, ' ').collect();
    let number = |text: &str| text.parse::<usize>().unwrap_or(0);
    let key = parts.get(1).map_or(0, |text| number(text)) % VALUES.len();
    let old = match &values[key] {
        Value::Text(text) => text.clone(),
        _ => String::new(),
    };
    match *parts {
        ["at", _, offset, hex] => {
            values[key] = Value::Text(replaced(&old, number(offset), hex));
        }
        ["token", _, offset, hex] => {
            let Some(mut token) = token_of(&old) else {
                return;
            };
            overwrite(&mut token, number(offset), hex);
            let token = Base64Url::encode_string(&token);
            values[key] = Value::Text(Base64Url::encode_string(token.as_bytes()));
        }
        ["cut", _, length] => values[key] = Value::Text(old.chars().take(number(length)).collect()),
        ["move", _, to] => values[number(to) % VALUES.len()] = values[key].clone(),
        ["blob", _] => values[key] = Value::Blob(old.into_bytes()),
        ["raw", ..] => {
            let text = line.splitn(3, ' ').nth(2).unwrap_or_default();
            values[key] = Value::Text(text.to_owned());
        }
        ["registry", offset, hex] => *registration = replaced(registration, number(offset), hex),
        ["registered", ..] => {
            line.split_once(' ')
                .map_or("", |(_, text)| text)
                .clone_into(registration);
        }
        _ => {}
    }
}

/// The bytes of a stored value, which are encoded twice.
fn token_of(stored: &str) -> Option<Vec<u8>> {
    let token = Base64Url::decode_vec(stored).ok()?;
    Base64Url::decode_vec(std::str::from_utf8(&token).ok()?).ok()
}

fn replaced(text: &str, offset: usize, hex: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    overwrite(&mut bytes, offset, hex);
    String::from_utf8_lossy(&bytes).into_owned()
}
