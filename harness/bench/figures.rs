//! What the rounds of one measurement say together.

use crate::measurement::Measurement;
use crate::protocol::{Reply, Sample};

/// One measurement in all rounds.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) measurement: Measurement,
    pub(crate) rounds: Vec<Round>,
}

/// One measurement in one round. `None`: that side can't.
#[derive(Debug, Default)]
pub(crate) struct Round {
    pub(crate) native: Option<Reply>,
    pub(crate) component: Option<Reply>,
    pub(crate) python: Option<Reply>,
}

/// A median and the least and the most of some values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let half = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[half]
        } else {
            f64::midpoint(values[half - 1], values[half])
        };
        Some(Self { median, min, max })
    }
}

/// Waits of all rounds together: one round has too few for a quantile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pooled {
    pub(crate) count: usize,
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) max_ns: u64,
    /// What the call that ended the wait typically took, if there was one.
    pub(crate) release_p50_ns: Option<u64>,
}

impl Pooled {
    fn of(mut wait_ns: Vec<u64>, mut release_ns: Vec<u64>) -> Option<Self> {
        wait_ns.sort_unstable();
        release_ns.sort_unstable();
        Some(Self {
            count: wait_ns.len(),
            p50_ns: quantile(&wait_ns, 0.5)?,
            p99_ns: quantile(&wait_ns, 0.99)?,
            max_ns: *wait_ns.last()?,
            release_p50_ns: quantile(&release_ns, 0.5),
        })
    }
}

/// The least of the sorted values that at least the share `q` of all doesn't
/// exceed.
pub(crate) fn quantile(sorted: &[u64], q: f64) -> Option<u64> {
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

/// Which side of a round.
pub(crate) type Pick = fn(&Round) -> Option<&Reply>;

pub(crate) const NATIVE: Pick = |round| round.native.as_ref();
pub(crate) const COMPONENT: Pick = |round| round.component.as_ref();
pub(crate) const PYTHON: Pick = |round| round.python.as_ref();

impl Row {
    /// What the component costs: native time by component time, or native
    /// bytes by component bytes, round by round. 1 is as good as native.
    pub(crate) fn ratio(&self) -> Option<Spread> {
        Spread::of(self.rounds.iter().filter_map(|round| {
            match (NATIVE(round)?, COMPONENT(round)?) {
                (Reply::Bytes(native), Reply::Bytes(component)) => Some(native / component),
                (native, component) => {
                    Some(times(component)?.per_second() / times(native)?.per_second())
                }
            }
        }))
    }

    /// The same of the typical operation, which meets no checkpoint, no page
    /// fault and no other process.
    pub(crate) fn ratio_typical(&self) -> Option<Spread> {
        self.ratio_less(&self.rounds, 0.0)
    }

    /// The same, if the calls into the component took no time. `call`: what
    /// one takes.
    pub(crate) fn ratio_without_calls(&self, call: &Row) -> Option<Spread> {
        self.ratio_less(&call.rounds, f64::from(self.measurement.calls()?))
    }

    /// With `count` times what `less` took off the component's time.
    fn ratio_less(&self, less: &[Round], count: f64) -> Option<Spread> {
        let typical = |reply| times(reply).map(|sample| sample.p50_ns as f64);
        Spread::of(self.rounds.iter().zip(less).filter_map(|(round, less)| {
            let less = count * typical(COMPONENT(less)?)?;
            let component = (typical(COMPONENT(round)?)? - less).max(1.0);
            Some(typical(NATIVE(round)?)? / component)
        }))
    }

    /// How many times as many operations one side made here as in the same
    /// round of `base`.
    pub(crate) fn scaling(&self, base: &Self, side: Pick) -> Option<Spread> {
        let per_second = |round| times(side(round)?).map(Sample::per_second);
        let rounds = self.rounds.iter().zip(&base.rounds);
        Spread::of(rounds.filter_map(|(many, one)| Some(per_second(many)? / per_second(one)?)))
    }

    /// How many of one side's increments were lost, and how many failed, in all
    /// rounds.
    pub(crate) fn mishaps(&self, side: Pick) -> Option<(u64, u64)> {
        let of = |round| match side(round)? {
            Reply::Contended(contended) => Some((contended.lost, contended.failed)),
            _ => None,
        };
        let mishaps = self.rounds.iter().filter_map(of);
        mishaps.reduce(|(lost, failed), (more, and)| (lost + more, failed + and))
    }

    /// Something about one side's samples.
    pub(crate) fn of(&self, side: Pick, figure: impl Fn(&Sample) -> f64) -> Option<Spread> {
        Spread::of(
            self.rounds
                .iter()
                .filter_map(|round| times(side(round)?).map(&figure)),
        )
    }

    /// One side's waits, of all rounds together.
    pub(crate) fn waits(&self, side: Pick) -> Option<Pooled> {
        let waits = self.rounds.iter().filter_map(|round| match side(round)? {
            Reply::Waits(waits) => Some(waits),
            _ => None,
        });
        let (mut wait_ns, mut release_ns) = (Vec::new(), Vec::new());
        for waits in waits {
            wait_ns.extend(&waits.wait_ns);
            release_ns.extend(&waits.release_ns);
        }
        Pooled::of(wait_ns, release_ns)
    }

    pub(crate) fn bytes(&self, side: Pick) -> Option<Spread> {
        Spread::of(self.rounds.iter().filter_map(|round| match side(round)? {
            Reply::Bytes(bytes) => Some(*bytes),
            _ => None,
        }))
    }
}

fn times(reply: &Reply) -> Option<&Sample> {
    match reply {
        Reply::Times(sample) => Some(sample),
        Reply::Contended(contended) => Some(&contended.sample),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measurement::Pair;
    use crate::protocol::{Contended, Waits};

    fn sample(per_second: u64) -> Sample {
        Sample {
            ops: per_second,
            seconds: 1.0,
            p50_ns: 1_000_000_000 / per_second,
            p99_ns: 2,
            max_ns: 3,
        }
    }

    fn times(per_second: u64) -> Option<Reply> {
        Some(Reply::Times(sample(per_second)))
    }

    fn contended(workers: usize, rounds: &[(u64, u64)]) -> Row {
        Row {
            measurement: Measurement::Contended {
                workers,
                processes: 1,
            },
            rounds: rounds
                .iter()
                .map(|(per_second, lost)| Round {
                    python: Some(Reply::Contended(Contended {
                        sample: sample(*per_second),
                        lost: *lost,
                        failed: 1,
                    })),
                    ..Round::default()
                })
                .collect(),
        }
    }

    fn row(measurement: Measurement, rounds: &[(u64, u64)]) -> Row {
        Row {
            measurement,
            rounds: rounds
                .iter()
                .map(|(native, component)| Round {
                    native: times(*native),
                    component: times(*component),
                    python: None,
                })
                .collect(),
        }
    }

    #[test]
    fn medians() {
        let spread = Spread::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!((spread.median, spread.min, spread.max), (2.0, 1.0, 3.0));
        assert_eq!(Spread::of([1.0, 2.0]).unwrap().median, 1.5);
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn many_workers_are_compared_with_one_of_the_same_round() {
        let one = contended(1, &[(100, 0), (200, 0)]);
        let many = contended(64, &[(50, 3), (50, 4)]);
        let scaling = many.scaling(&one, PYTHON).unwrap();
        assert_eq!((scaling.min, scaling.max), (0.25, 0.5));
        assert_eq!(many.scaling(&one, NATIVE), None);
    }

    #[test]
    fn what_was_lost_is_summed_up() {
        assert_eq!(
            contended(64, &[(50, 3), (50, 4)]).mishaps(PYTHON),
            Some((7, 2))
        );
        assert_eq!(contended(64, &[(50, 3)]).mishaps(NATIVE), None);
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!(quantile(&hundred, 0.5), Some(50));
        assert_eq!(quantile(&hundred, 0.99), Some(99));
        assert_eq!(quantile(&hundred, 1.0), Some(100));
        assert_eq!(quantile(&[7], 0.5), Some(7));
        assert_eq!(quantile(&[1, 9], 0.99), Some(9));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn waits_are_pooled_over_the_rounds() {
        let round = |wait_ns: &[u64]| Round {
            component: Some(Reply::Waits(Waits {
                wait_ns: wait_ns.to_vec(),
                release_ns: vec![2; wait_ns.len()],
            })),
            ..Round::default()
        };
        let row = Row {
            measurement: Measurement::HandOff(Pair::OneProcess),
            rounds: vec![round(&[30, 10]), Round::default(), round(&[20])],
        };
        let pooled = row.waits(COMPONENT).unwrap();
        assert_eq!((pooled.count, pooled.p50_ns, pooled.max_ns), (3, 20, 30));
        assert_eq!(pooled.release_p50_ns, Some(2));
        assert_eq!(row.waits(NATIVE), None);
    }

    #[test]
    fn a_ratio_is_of_one_round() {
        // Both sides twice as fast in the second round: the same ratio.
        let ratio = row(Measurement::Get, &[(100, 50), (200, 100)])
            .ratio()
            .unwrap();
        assert_eq!((ratio.min, ratio.max), (0.5, 0.5));
    }

    #[test]
    fn calls_are_taken_off_the_component() {
        // 10 ms an operation, 20 ms in the component, of which 4 calls of 1 ms.
        let transaction = row(Measurement::Transaction, &[(100, 50)]);
        let call = row(Measurement::Call, &[(1_000_000, 1000)]);
        let ratio = transaction.ratio_without_calls(&call).unwrap();
        assert_eq!(transaction.ratio_typical().unwrap().median, 0.5);
        assert!((ratio.median - 10.0 / 16.0).abs() < 1e-9);
        assert!(call.ratio_without_calls(&call).is_none());
    }
}
