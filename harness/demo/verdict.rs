//! What a check says: passed, or why not, in words for a person.

use std::fmt::Display;

/// Reasons of one kind beyond this many are only counted.
const SHOWN_MAX: usize = 5;

/// Passed unless it has reasons not to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    reasons: Vec<String>,
}

impl Verdict {
    pub(crate) fn passed(&self) -> bool {
        self.reasons.is_empty()
    }

    pub(crate) fn reasons(&self) -> &[String] {
        &self.reasons
    }

    pub(crate) fn fail(&mut self, reason: impl Display) {
        self.reasons.push(reason.to_string());
    }

    /// Fails with the first few of `reasons`, if there are any.
    pub(crate) fn fail_each(&mut self, reasons: impl IntoIterator<Item = String>) {
        let mut more = 0;
        for (index, reason) in reasons.into_iter().enumerate() {
            if index < SHOWN_MAX {
                self.reasons.push(reason);
            } else {
                more += 1;
            }
        }
        if more > 0 {
            self.reasons.push(format!("… and {more} more of this kind"));
        }
    }
}

/// Who took part: for counting by kind and for naming in reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    pub(crate) kind: Kind,
    pub(crate) name: String,
}

/// What a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Instance,
    Native,
    Python,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Instance, Self::Native, Self::Python];
}

impl Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Instance => "instances",
            Self::Native => "native",
            Self::Python => "Python",
        })
    }
}

/// "instances 812, native 40, Python 7", of the kinds that take part.
pub(crate) fn by_kind<'a>(counts: impl IntoIterator<Item = (&'a Who, u64)>) -> Vec<(Kind, u64)> {
    let mut sums: Vec<(Kind, u64)> = Vec::new();
    for (who, count) in counts {
        match sums.iter_mut().find(|(kind, _)| *kind == who.kind) {
            Some((_, sum)) => *sum += count,
            None => sums.push((who.kind, count)),
        }
    }
    sums.sort_by_key(|(kind, _)| Kind::ALL.iter().position(|other| other == kind));
    sums
}

/// The same as text.
pub(crate) fn kinds_text(counts: &[(Kind, u64)]) -> String {
    let parts: Vec<String> = counts
        .iter()
        .map(|(kind, count)| format!("{kind} {count}"))
        .collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_reasons_are_counted() {
        let mut verdict = Verdict::default();
        assert!(verdict.passed());
        verdict.fail_each((0..8).map(|n| format!("reason {n}")));
        assert!(!verdict.passed());
        assert_eq!(verdict.reasons().len(), 6);
        assert_eq!(verdict.reasons()[5], "… and 3 more of this kind");
    }
}
