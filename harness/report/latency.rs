//! How long operations took.

use hdrhistogram::Histogram;

/// A distribution of lengths of time, in nanoseconds, exact to three digits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Latency {
    /// How many were measured; all else is 0 or empty if none.
    pub count: u64,
    /// Half of them took no longer.
    pub p50_ns: u64,
    /// Nine of ten took no longer.
    pub p90_ns: u64,
    /// 99 of 100 took no longer.
    pub p99_ns: u64,
    /// 999 of 1,000 took no longer.
    pub p999_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// How many took how long, in buckets that each reach twice as far in two steps (a factor of
    /// √2), from the first that has any to the last.
    pub buckets: Vec<Bucket>,
    /// Which part (0 to 1) took no longer than how long; the parts come closer to 1 by the
    /// steps of a logarithmic axis.
    pub curve: Vec<(f64, u64)>,
}

/// See [`Latency::buckets`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Its number: it holds from 2^(number/2) to 2^((number+1)/2) nanoseconds.
    pub number: u32,
    /// How many.
    pub count: u64,
}

/// Takes lengths of time.
pub(super) struct Collector(Histogram<u64>);

impl Collector {
    pub(super) fn new() -> Self {
        // Digits below 6 are never refused.
        let histogram = Histogram::new(3);
        Self(histogram.unwrap_or_else(|error| unreachable!("three digits are refused: {error}")))
    }

    pub(super) fn record(&mut self, ns: u64) {
        // An hour is long enough for an axis, and the histogram's memory grows with its range.
        // A histogram that grows by itself refuses nothing.
        let recorded = self.0.record(ns.min(3_600_000_000_000));
        debug_assert!(recorded.is_ok());
    }

    pub(super) fn finish(&self) -> Latency {
        let histogram = &self.0;
        if histogram.is_empty() {
            return Latency::default();
        }
        let mut buckets: Vec<Bucket> = Vec::new();
        for step in histogram.iter_recorded() {
            let number = bucket(step.value_iterated_to());
            let count = step.count_at_value();
            match buckets.last_mut() {
                Some(last) if last.number == number => last.count += count,
                _ => buckets.push(Bucket { number, count }),
            }
        }
        let curve = histogram.iter_quantiles(5);
        let curve = curve.map(|step| (step.quantile_iterated_to(), step.value_iterated_to()));
        let at = |quantile| histogram.value_at_quantile(quantile).min(histogram.max());
        Latency {
            count: histogram.len(),
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p99_ns: at(0.99),
            p999_ns: at(0.999),
            max_ns: histogram.max(),
            buckets,
            curve: curve.collect(),
        }
    }
}

fn bucket(ns: u64) -> u32 {
    let octave = ns.max(1).ilog2();
    // The upper half of an octave begins at √2 of it: compare squares.
    let upper = u128::from(ns) * u128::from(ns) >= 1 << (2 * octave + 1);
    2 * octave + u32::from(upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let mut collector = Collector::new();
        for ns in 1..=1_000 {
            collector.record(ns * 1_000);
        }
        let latency = collector.finish();
        assert_eq!(latency.count, 1_000);
        let near = |ns: u64, expected: u64| ns.abs_diff(expected) * 1_000 <= expected;
        assert!(near(latency.p50_ns, 500_000), "{latency:?}");
        assert!(near(latency.p999_ns, 999_000), "{latency:?}");
        assert!(near(latency.max_ns, 1_000_000), "{latency:?}");
        let all: u64 = latency.buckets.iter().map(|bucket| bucket.count).sum();
        assert_eq!(all, 1_000);
        assert!(latency.buckets.is_sorted_by(|a, b| a.number < b.number));
        assert!(latency.curve.is_sorted());
        assert_eq!(Collector::new().finish(), Latency::default());
    }

    #[test]
    fn buckets_are_half_octaves() {
        assert_eq!(
            [0, 1, 2, 3, 4, 5, 6, 7, 8].map(bucket),
            [0, 0, 2, 3, 4, 4, 5, 5, 6]
        );
        assert_eq!(bucket(u64::MAX), 127);
        Collector::new().record(u64::MAX);
    }
}
