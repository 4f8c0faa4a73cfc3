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

/// From when to when; for how long, if the two look the same.
pub(super) fn span(from_ns: u64, to_ns: u64) -> String {
    let (from, to) = (time(from_ns), time(to_ns));
    if from == to {
        format!("from {from} on for {}", time(to_ns.saturating_sub(from_ns)))
    } else {
        format!("from {from} to {to}")
    }
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
        assert_eq!(span(1_000_000, 2_000_000), "from 1 ms to 2 ms");
        assert_eq!(
            span(3_529_000_000, 3_529_400_000),
            "from 3.529 s on for 0.4 ms"
        );
        assert_eq!(time(61_234_567_890), "61.235 s");
    }
}
