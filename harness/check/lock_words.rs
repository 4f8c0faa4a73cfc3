//! Times and names in the messages of lock checks.

use crate::history::Operation;

/// A time or a span, with as many digits as tell it from its neighbours.
pub(super) fn time(ns: u64) -> String {
    let (value, unit) = if ns >= 1_000_000_000 {
        (ns as f64 / 1e9, "s")
    } else {
        (ns as f64 / 1e6, "ms")
    };
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text} {unit}")
}

/// Who did it.
pub(super) fn who(operation: &Operation) -> String {
    format!("worker {}", operation.worker)
}

/// Two who did something; one worker may do it in two sessions.
pub(super) fn both(first: &Operation, second: &Operation) -> String {
    if first.worker == second.worker {
        format!(
            "worker {} in its sessions {} and {} both",
            first.worker, first.session, second.session
        )
    } else {
        format!("workers {} and {} both", first.worker, second.worker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        assert_eq!(time(12_300_000), "12.3 ms");
        assert_eq!(time(0), "0 ms");
        assert_eq!(time(1_000), "0.001 ms");
        assert_eq!(time(2_000_000_000), "2 s");
        assert_eq!(time(61_234_567_890), "61.235 s");
    }
}
