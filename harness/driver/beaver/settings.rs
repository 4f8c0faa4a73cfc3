//! `--set KEY=VALUE` for our own drivers.

use anyhow::{Context as _, bail};
use serde_json::{Map, Value};
use std::time::Duration;

/// How databases are opened.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// `guard-mode=advisory`.
    pub(crate) advisory: bool,
    /// `durability=full`.
    pub(crate) full_durability: bool,
    /// `journal=rollback`.
    pub(crate) rollback_journal: bool,
    /// `lock-wait-ms`.
    pub(crate) lock_wait: Duration,
    /// `busy-timeout-ms`.
    pub(crate) busy_timeout: Duration,
}

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    /// An unknown key or value.
    pub(crate) fn read(settings: &Map<String, Value>) -> anyhow::Result<Self> {
        let mut read = Self {
            advisory: false,
            full_durability: false,
            rollback_journal: false,
            lock_wait: Duration::from_secs(5),
            busy_timeout: Duration::from_secs(30),
        };
        for (key, value) in settings {
            let value = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let one_of = |off: &str, on: &str| match &*value {
                text if text == off => Ok(false),
                text if text == on => Ok(true),
                _ => bail!("the setting {key} is {off} or {on}, not {value}"),
            };
            let ms = || -> anyhow::Result<Duration> {
                let ms = value
                    .parse()
                    .with_context(|| format!("the setting {key} is a number, not {value}"))?;
                Ok(Duration::from_millis(ms))
            };
            match &**key {
                "guard-mode" => read.advisory = one_of("mandatory", "advisory")?,
                "durability" => read.full_durability = one_of("normal", "full")?,
                "journal" => read.rollback_journal = one_of("automatic", "rollback")?,
                "lock-wait-ms" => read.lock_wait = ms()?,
                "busy-timeout-ms" => read.busy_timeout = ms()?,
                _ => bail!(
                    "there is no setting {key}: guard-mode, durability, journal, lock-wait-ms, \
                     busy-timeout-ms"
                ),
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(settings: Value) -> anyhow::Result<Settings> {
        Settings::read(settings.as_object().unwrap())
    }

    #[test]
    fn values_come_as_texts_or_as_they_are() {
        let settings =
            read(json!({"guard-mode": "advisory", "lock-wait-ms": "250", "busy-timeout-ms": 7}))
                .unwrap();
        assert!(settings.advisory && !settings.full_durability);
        assert_eq!(settings.lock_wait, Duration::from_millis(250));
        assert_eq!(settings.busy_timeout, Duration::from_millis(7));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (settings, words) in [
            (json!({"durabilty": "full"}), "no setting durabilty"),
            (json!({"durability": "most"}), "normal or full"),
            (json!({"lock-wait-ms": "soon"}), "is a number"),
        ] {
            let said = read(settings).unwrap_err().to_string();
            assert!(said.contains(words), "{said}");
        }
    }
}
