//! Dictionaries whose values are encrypted with a secret, in the reference's form.
//!
//! The dictionary `__security__` holds, under each encrypted dictionary's name,
//! a salt and a verifier; from secret and salt PBKDF2 derives the key of a
//! [Fernet](https://github.com/fernet/spec/blob/master/Spec.md) cipher. A value
//! is the JSON text as a token, in Base64 once more.
//!
//! What must stay true:
//! - One dictionary is under one key: whoever writes to it verifies in the
//!   same transaction that the registration is the one it was opened with
//!   ([`Secret::check`]), so plain and encrypted values never mix by our doing,
//!   nor values of two keys.
//! - Nothing is decrypted whose signature doesn't match, and that is compared
//!   in constant time.
//! - Keys and the secret appear in no error and no `Debug`, and are wiped from
//!   memory after use.

use crate::database::Database;
use crate::error::{Error, Result};
use crate::events::{Event, Payload};
use crate::json::python_text;
use crate::manager::{Kind, Manager};
use crate::runtime::Runtime;
use crate::write::{Effect, Interference, Request};
use aes::Aes128;
use base64ct::{Base64, Base64Url, Encoding as _};
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use rusqlite::{Connection, OptionalExtension as _, params};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The reference's; changing it would make another key of the same secret.
const ROUNDS: u32 = 100_000;
const SALT_BYTES: usize = 16;
/// How often somebody else may have been first and have taken it back: a trigger of the file could for ever.
const TRIES_MAX: u32 = 10;
/// What a verifier is a token of.
const VERIFIED: &[u8] = b"beaver-secure";

/// The dictionary of registrations.
const REGISTRY: &str = "__security__";

/// Dictionaries that everybody must be able to read.
const NEVER_ENCRYPTED: [&str; 4] = [
    REGISTRY,
    "__metadata__",
    "__events__",
    "__beaver_event_registry__",
];

/// What opens the values of one dictionary.
pub(crate) struct Secret {
    cipher: Cipher,
    /// The registration that it was made from.
    registration: String,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret").finish_non_exhaustive()
    }
}

impl Secret {
    /// The secret of the dictionary `name`, which becomes an encrypted one if
    /// it holds nothing yet.
    pub(crate) fn of_dict(database: &Database, name: &str, secret: &str) -> Result<Self> {
        let refuse = |why: &str| {
            Err(Error::InvalidArgument(format!(
                "dictionary {name:?} can't be opened with a secret: {why}"
            )))
        };
        if secret.is_empty() {
            return refuse("the secret is empty");
        }
        if NEVER_ENCRYPTED.contains(&name) {
            return refuse("everybody must be able to read it");
        }
        for _ in 0..TRIES_MAX {
            // Deriving takes long: never inside a write transaction.
            if let Some(found) = database.read(|connection| registration(connection, name))? {
                return Self::registered(database, name, secret, found);
            }
            if database.inner.in_transaction.get() {
                // A rollback would take the salt away from under this handle.
                return Err(Error::InTransaction);
            }
            let made = Self::generate(secret, &*database.inner.runtime)?;
            if made.register(database, name)? {
                return Ok(made);
            }
            // Somebody else was first.
        }
        Err(Error::Busy)
    }

    fn registered(
        database: &Database,
        name: &str,
        secret: &str,
        registration: String,
    ) -> Result<Self> {
        let parsed = database.read(|connection| Ok(parse(connection, &registration)))?;
        let (salt, verifier) = parsed.ok_or_else(|| {
            Error::Corrupt(format!("the registration of encrypted dictionary {name:?}"))
        })?;
        let cipher = Cipher::derive(secret, &salt);
        if cipher.open(&verifier).as_deref() == Some(VERIFIED) {
            Ok(Self {
                cipher,
                registration,
            })
        } else {
            Err(Error::WrongSecret(name.to_owned()))
        }
    }

    fn generate(secret: &str, runtime: &dyn Runtime) -> Result<Self> {
        let salt: [u8; SALT_BYTES] = runtime.secure_random()?.to_le_bytes();
        let cipher = Cipher::derive(secret, &salt);
        let now = runtime.unix_seconds();
        let verifier = cipher.seal(VERIFIED, now, runtime.secure_random()?);
        let registration = python_text(&format!(
            r#"{{"salt": "{}", "verifier": "{}", "created_at": {now:?}}}"#,
            Base64::encode_string(&salt),
            Base64::encode_string(verifier.as_bytes()),
        ))?;
        Ok(Self {
            cipher,
            registration,
        })
    }

    /// Makes the dictionary `name` one under this secret. False when it is
    /// under one already.
    fn register(&self, database: &Database, name: &str) -> Result<bool> {
        let manager = Manager::new(Kind::Dict, name)?;
        let request = Request {
            manager: &Manager::new(Kind::Dict, REGISTRY)?,
            lease: None,
            interference: Interference::Possible,
            event: Some(Event::new("set", Payload::Key(name))),
            wait: database.inner.options.lock_wait,
            write_limit: None,
        };
        database.write(&request, |connection| {
            if registration(connection, name)?.is_some() {
                return Ok(Effect::Unchanged(false));
            }
            let now = database.inner.runtime.unix_seconds();
            // Whoever holds the dictionary's own lock, or is inside one of Python's
            // methods, means to write plain values.
            for lock_name in [&manager.lock_name, &manager.internal_lock_name] {
                if database.is_taken(lock_name)? {
                    return Err(Error::Locked(lock_name.clone()));
                }
            }
            connection.execute(
                "DELETE FROM beaver_dicts WHERE dict_name = ?1 AND expires_at <= ?2",
                params![name, now],
            )?;
            let plain: bool = connection.query_row(
                "SELECT EXISTS (SELECT 1 FROM beaver_dicts WHERE dict_name = ?1)",
                [name],
                |row| row.get(0),
            )?;
            if plain {
                return Err(Error::InvalidArgument(format!(
                    "dictionary {name:?} holds plain values, which nobody could read with a secret"
                )));
            }
            connection.execute(
                "INSERT INTO beaver_dicts (dict_name, key, value, expires_at)
                 VALUES (?1, ?2, ?3, NULL)",
                [REGISTRY, name, &self.registration],
            )?;
            Ok(Effect::Changed(true))
        })
    }

    /// Whether a handle that was opened with `secret` may write to `name`.
    /// Call inside the write's transaction.
    pub(crate) fn check(connection: &Connection, name: &str, secret: Option<&Self>) -> Result<()> {
        match (registration(connection, name)?, secret) {
            (None, None) => Ok(()),
            (Some(_), None) => Err(encrypted(name)),
            (now, Some(secret)) if now.as_ref() == Some(&secret.registration) => Ok(()),
            (_, Some(_)) => Err(Error::WrongSecret(name.to_owned())),
        }
    }

    /// The stored form of a JSON text.
    pub(crate) fn seal(&self, text: &str, runtime: &dyn Runtime) -> Result<String> {
        let token = self.cipher.seal(
            text.as_bytes(),
            runtime.unix_seconds(),
            runtime.secure_random()?,
        );
        Ok(Base64Url::encode_string(token.as_bytes()))
    }

    /// The JSON text of a stored value; none when it isn't one under this secret.
    pub(crate) fn open(&self, stored: &str) -> Option<String> {
        let token = String::from_utf8(Base64Url::decode_vec(stored).ok()?).ok()?;
        String::from_utf8(self.cipher.open(&token)?).ok()
    }
}

/// How many bytes are stored for a text of so many.
pub(crate) fn sealed_bytes(bytes: usize) -> usize {
    let base64 = |bytes: usize| bytes.div_ceil(3) * 4;
    let encrypted = (bytes / 16 + 1) * 16;
    base64(base64(HEAD_BYTES + encrypted + SIGNATURE_BYTES))
}

/// How many bytes the text has of which so many are stored, or up to a hundred more.
pub(crate) fn opened_bytes(stored_bytes: usize) -> usize {
    stored_bytes / 16 * 9
}

/// The error for whoever opens an encrypted dictionary without a secret.
pub(crate) fn encrypted(name: &str) -> Error {
    // Plain text among encrypted values could be read by nobody else.
    Error::UnsupportedFormat(format!(
        "dictionary {name:?} is encrypted: it opens with its secret only"
    ))
}

/// The registration of the encrypted dictionary `name`.
pub(crate) fn registration(connection: &Connection, name: &str) -> Result<Option<String>> {
    Ok(connection
        .prepare_cached("SELECT value FROM beaver_dicts WHERE dict_name = ?1 AND key = ?2")?
        .query_row([REGISTRY, name], |row| row.get(0))
        .optional()?
        // A registration named like the registry itself would lock everybody out.
        .filter(|_| name != REGISTRY))
}

/// Salt and verifier of a registration; none when it isn't one.
fn parse(connection: &Connection, registration: &str) -> Option<(Vec<u8>, String)> {
    let (salt, verifier): (String, String) = connection
        .query_row(
            "SELECT json_extract(?1, '$.salt'), json_extract(?1, '$.verifier')",
            [registration],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .ok()?;
    let decode = |text: &str| Base64::decode_vec(text).ok();
    Some((decode(&salt)?, String::from_utf8(decode(&verifier)?).ok()?))
}

/// A Fernet cipher.
struct Cipher {
    signing_key: Zeroizing<[u8; 16]>,
    encryption_key: Zeroizing<[u8; 16]>,
}

const VERSION: u8 = 0x80;
/// Version, time, initialization vector.
const HEAD_BYTES: usize = 1 + 8 + 16;
const SIGNATURE_BYTES: usize = 32;

impl Cipher {
    fn derive(secret: &str, salt: &[u8]) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        pbkdf2::pbkdf2_hmac::<Sha256>(secret.as_bytes(), salt, ROUNDS, &mut *key);
        Self::from_key(&key)
    }

    fn from_key(key: &[u8; 32]) -> Self {
        let half = |from: usize| {
            let mut half = Zeroizing::new([0; 16]);
            half.copy_from_slice(&key[from..from + 16]);
            half
        };
        Self {
            signing_key: half(0),
            encryption_key: half(16),
        }
    }

    /// A token of `plain`.
    fn seal(&self, plain: &[u8], unix_seconds: f64, random: u128) -> String {
        let initial = random.to_le_bytes();
        let encryptor =
            cbc::Encryptor::<Aes128>::new((&*self.encryption_key).into(), (&initial).into());
        let mut token = Vec::with_capacity(HEAD_BYTES + plain.len() + 16 + SIGNATURE_BYTES);
        token.push(VERSION);
        // A time before 1970 is none that a token could say.
        token.extend((unix_seconds as u64).to_be_bytes());
        token.extend(initial);
        token.extend(encryptor.encrypt_padded_vec::<Pkcs7>(plain));
        let signature = self.signature(&token).finalize().into_bytes();
        token.extend(signature);
        Base64Url::encode_string(&token)
    }

    /// What `token` is of; none when it isn't one of this cipher. Tokens don't expire.
    fn open(&self, token: &str) -> Option<Vec<u8>> {
        let token = Base64Url::decode_vec(token).ok()?;
        let (signed, signature) = token.split_last_chunk::<SIGNATURE_BYTES>()?;
        self.signature(signed).verify_slice(signature).ok()?;
        let (head, encrypted) = signed.split_first_chunk::<HEAD_BYTES>()?;
        let initial: &[u8; 16] = head.last_chunk()?;
        if head[0] != VERSION {
            return None;
        }
        let decryptor =
            cbc::Decryptor::<Aes128>::new((&*self.encryption_key).into(), initial.into());
        decryptor.decrypt_padded_vec::<Pkcs7>(encrypted).ok()
    }

    fn signature(&self, signed: &[u8]) -> Hmac<Sha256> {
        // One block of zero-padded key is what HMAC makes of a short key.
        let mut block = Zeroizing::new([0; 64]);
        block[..16].copy_from_slice(&*self.signing_key);
        let mut mac = Hmac::<Sha256>::new((&*block).into());
        mac.update(signed);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification (`generate.json`).
    const TOKEN: &str = "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";
    const TIME: f64 = 499_162_800.0;

    fn example() -> Cipher {
        let key = Base64Url::decode_vec("cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=").unwrap();
        Cipher::from_key(&key.try_into().unwrap())
    }

    #[test]
    fn tokens_are_those_of_the_specification() {
        let initial = u128::from_le_bytes(std::array::from_fn(|n| n as u8));
        assert_eq!(example().seal(b"hello", TIME, initial), TOKEN);
        assert_eq!(example().open(TOKEN).as_deref(), Some(&b"hello"[..]));
    }

    #[test]
    fn what_is_stored_has_as_many_bytes_as_are_told() {
        let secret = Secret {
            cipher: example(),
            registration: String::new(),
        };
        let runtime = crate::runtime::SystemRuntime::new();
        for bytes in (0..200).chain([1000, 10_000]) {
            let stored = secret.seal(&"x".repeat(bytes), &runtime).unwrap();
            assert_eq!(stored.len(), sealed_bytes(bytes));
            let opened = opened_bytes(stored.len());
            assert!((bytes..bytes + 100).contains(&opened), "{bytes}: {opened}");
        }
    }

    #[test]
    fn a_key_is_derived_as_pythons_cryptography_does() {
        // base64.urlsafe_b64encode(PBKDF2HMAC(SHA256(), 32, bytes(range(16)), 100_000).derive(b"secret"))
        let salt: [u8; 16] = std::array::from_fn(|n| n as u8);
        let cipher = Cipher::derive("secret", &salt);
        let key = [*cipher.signing_key, *cipher.encryption_key].concat();
        assert_eq!(
            Base64Url::encode_string(&key),
            "n7ndPI4pRDZreIx-eVpaY1DViEWyo9Ia1l8HtVGB-Dc="
        );
    }

    #[test]
    fn nothing_opens_that_was_changed_anywhere() {
        let cipher = example();
        let token = Base64Url::decode_vec(TOKEN).unwrap();
        for at in 0..token.len() {
            for bit in 0..8 {
                let mut changed = token.clone();
                changed[at] ^= 1 << bit;
                assert_eq!(cipher.open(&Base64Url::encode_string(&changed)), None);
            }
            assert_eq!(cipher.open(&Base64Url::encode_string(&token[..at])), None);
        }
        for text in ["", "=", "é", TOKEN.trim_end_matches('='), "gAAAAA=="] {
            assert_eq!(cipher.open(text), None, "{text}");
        }
        // Signed by us, but of another version, or not padded as it should be.
        for (version, cut) in [(0x81, 0), (VERSION, 8)] {
            let mut other = token[..token.len() - SIGNATURE_BYTES - cut].to_vec();
            other[0] = version;
            let signature = cipher.signature(&other).finalize().into_bytes();
            other.extend(signature);
            assert_eq!(cipher.open(&Base64Url::encode_string(&other)), None);
        }
    }

    #[test]
    fn every_length_comes_back() {
        for length in 0..70 {
            let plain = vec![b'x'; length];
            let token = example().seal(&plain, -1.0, 7);
            assert_eq!(example().open(&token), Some(plain));
        }
    }

    #[test]
    fn keys_do_not_show() {
        let secret = Secret {
            cipher: example(),
            registration: "salt".into(),
        };
        assert_eq!(format!("{secret:?}"), "Secret { .. }");
    }
}
