//! Who goes on: the choices that make up a schedule.
//!
//! A choice is made whenever somebody stops: at a host call, to wait, or because it computed for long.
//! Left to itself, whoever stopped goes on if it can, else the next one by number. What differs
//! from that is a [`Switch`], and the list of all switches is the schedule: written down, it can be
//! replayed and shortened.
//!
//! What must stay true: with the same switches, everything goes the same way, whatever policy made them.

use super::script::{Cut, Script, Switch};
use rand::seq::index;
use rand::{Rng as _, RngCore as _};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// A moment at which more than one could go on: what else might have been chosen there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Who stopped.
    pub last: u32,
    /// Its stops are counted from 0.
    pub stop: u64,
    /// Those who could go on, one bit each.
    pub able: u64,
    /// Who did.
    pub chosen: u32,
}

impl Choice {
    /// Every other way to choose, seen from the schedule left to itself.
    pub fn switches(&self) -> impl Iterator<Item = Switch> + use<> {
        let Self {
            last, stop, able, ..
        } = *self;
        let usual = default(last, able);
        let others = (0..u64::BITS).filter(move |to| able & (1 << to) != 0 && *to != usual);
        others.map(move |to| Switch {
            actor: last,
            stop,
            to,
        })
    }
}

/// How choices are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// At each stop somebody else goes on with some probability, which the seed chooses too.
    #[default]
    Random,
    /// Probabilistic concurrency testing (Burckhardt et al. 2010): whoever has the highest priority goes on,
    /// and `depth` - 1 times, at random moments, its priority becomes the lowest. Finds any bug that takes
    /// so many ordered events with a known probability.
    Pct {
        /// At least 1.
        depth: u32,
    },
    /// As a [`Script`] says.
    Script,
}

impl Policy {
    /// Random in half of all seeds, else by priority.
    pub fn mixed(seed: u64) -> Self {
        // Bits that have nothing to do with what else a seed's remainders choose (SplitMix64's).
        let bits = (seed ^ seed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let bits = (bits ^ bits >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        let bits = bits ^ bits >> 31;
        if bits & 1 == 0 {
            Self::Random
        } else {
            Self::Pct {
                depth: 2 + (bits >> 1 & 3) as u32,
            }
        }
    }
}

/// How many instructions a guest computes before it makes way, when nobody says otherwise: far more than
/// it needs from one host call to the next. A guest that never calls anybody again (a damaged wal-index
/// can make SQLite's go in circles) is so cut, and its caller's patience ends: see
/// [`SLICE_TAKES_NS`].
const SLICE: u32 = 50_000_000;

/// What whoever uses up such a slice has taken, in virtual time. Really it is some hundredths of that;
/// but nobody is to wait for half a minute of real computing to know that it comes to no end.
pub(crate) const SLICE_TAKES_NS: u64 = 5_000_000_000;

/// As fast as wasm is, about.
const INSTRUCTIONS_A_NS: u64 = 2;

/// Cuts are drawn by their length in bits, so that short ones are as likely as long ones. Less than 64
/// instructions is where a call returns, 32768 are more than most computing between two calls.
const CUT_BITS: Range<u32> = 6..15;

/// After this part of the cuts an actor stays away for a while, for a power of two in microseconds, as
/// when a thread is preempted: so others can do whole transactions between two of its instructions.
const STAYING_AWAY: f64 = 0.5;
const AWAY_BITS: Range<u32> = 6..14;

/// Of 256, how often at least somebody else goes on after a cut: else there was no use in it.
const SWITCHES_AT_CUTS: u8 = 128;

/// Makes the choices of one run, and writes them down.
#[derive(Debug)]
pub(crate) struct Scheduler {
    policy: Chooser,
    stops: Vec<u64>,
    made: Script,
    /// If they are wanted.
    choices: Option<Vec<Choice>>,
}

#[derive(Debug)]
enum Chooser {
    Random {
        random: ChaCha8Rng,
        /// Of 256.
        switches: u8,
        cuts: u8,
    },
    Pct {
        random: ChaCha8Rng,
        /// By actor; higher goes first.
        priorities: Vec<u64>,
        /// The numbers of the stops, of all actors together, at which one steps back.
        changes: BTreeSet<usize>,
        stops: usize,
        cuts: u8,
    },
    Script {
        switches: BTreeMap<(u32, u64), u32>,
        /// Their fuel, and for how long to stay away.
        cuts: BTreeMap<(u32, u64), (u32, u32)>,
    },
}

impl Scheduler {
    /// `cuts`: after how many of 256 stops computing is cut; none: chance chooses. `horizon`: how many
    /// stops there are, about.
    pub(crate) fn new(
        policy: Policy,
        cuts: Option<u8>,
        script: &Script,
        actors: u32,
        horizon: u64,
        mut random: ChaCha8Rng,
    ) -> Self {
        // Half of the runs are cut at host calls only.
        let drawn = if random.random_bool(0.5) {
            0
        } else {
            1 << random.random_range(1..6)
        };
        let cuts = cuts.unwrap_or(drawn);
        let policy = match policy {
            Policy::Random => Chooser::Random {
                switches: *[4, 16, 48, 128, 200]
                    .get(random.random_range(0..5))
                    .unwrap_or(&48),
                cuts,
                random,
            },
            Policy::Pct { depth } => {
                let horizon = usize::try_from(horizon).unwrap_or(usize::MAX).max(1);
                let count = usize::try_from(depth.max(1) - 1).unwrap_or(0).min(horizon);
                let changes = index::sample(&mut random, horizon, count)
                    .into_iter()
                    .collect();
                Chooser::Pct {
                    // Above all that step back.
                    priorities: (0..actors).map(|_| random.next_u64() | 1 << 63).collect(),
                    changes,
                    stops: 0,
                    cuts,
                    random,
                }
            }
            Policy::Script => Chooser::Script {
                switches: (script.switches.iter())
                    .map(|switch| ((switch.actor, switch.stop), switch.to))
                    .collect(),
                cuts: (script.cuts.iter())
                    .map(|cut| ((cut.actor, cut.stop), (cut.fuel, cut.away_us)))
                    .collect(),
            },
        };
        Self {
            policy,
            stops: vec![0; actors as usize],
            made: Script::default(),
            choices: None,
        }
    }

    /// Writes down what could have been chosen, too.
    pub(crate) fn keep_choices(mut self, keep: bool) -> Self {
        self.choices = keep.then(Vec::new);
        self
    }

    /// `last` stopped, and those whose bits are set in `able` can go on, one at least; says who does.
    /// `was_cut`: it called nobody.
    pub(crate) fn choose(&mut self, last: u32, able: u64, was_cut: bool) -> u32 {
        let stop = self.stops.get(last as usize).copied().unwrap_or(0);
        if let Some(count) = self.stops.get_mut(last as usize) {
            *count += 1;
        }
        let default = default(last, able);
        let chosen = match &mut self.policy {
            Chooser::Random {
                random, switches, ..
            } => {
                let is_forced = able & (1 << last) == 0;
                let switches = match was_cut {
                    true => SWITCHES_AT_CUTS.max(*switches),
                    false => *switches,
                };
                if able.count_ones() > 1 && (is_forced || random.random::<u8>() < switches) {
                    nth(able, random.random_range(0..able.count_ones()))
                } else {
                    default
                }
            }
            Chooser::Pct {
                priorities,
                changes,
                stops,
                ..
            } => {
                *stops += 1;
                if changes.remove(stops)
                    && let Some(priority) = priorities.get_mut(last as usize)
                {
                    *priority = changes.len() as u64;
                }
                let by_priority = |actor: &u32| priorities.get(*actor as usize).copied();
                (0..u64::BITS)
                    .filter(|actor| able & (1 << actor) != 0)
                    .max_by_key(by_priority)
                    .unwrap_or(default)
            }
            Chooser::Script { switches, .. } => match switches.get(&(last, stop)) {
                Some(to) if able & (1_u64.checked_shl(*to).unwrap_or(0)) != 0 => *to,
                _ => default,
            },
        };
        if let Some(choices) = &mut self.choices
            && able.count_ones() > 1
        {
            choices.push(Choice {
                last,
                stop,
                able,
                chosen,
            });
        }
        if chosen != default {
            self.made.switches.push(Switch {
                actor: last,
                stop,
                to: chosen,
            });
        }
        chosen
    }

    /// For how many instructions `actor` may compute from here, and for how many microseconds it
    /// stays away when it has.
    pub(crate) fn slice(&mut self, actor: u32) -> (u32, u32) {
        let stop = self.stops.get(actor as usize).copied().unwrap_or(0);
        let cut = match &mut self.policy {
            Chooser::Random { random, cuts, .. } | Chooser::Pct { random, cuts, .. } => {
                // Most often nothing is drawn at all.
                (*cuts > 0 && random.random::<u8>() < *cuts).then(|| {
                    let shortest = 1 << random.random_range(CUT_BITS);
                    let fuel = random.random_range(shortest..shortest * 2);
                    let away_us = if random.random_bool(STAYING_AWAY) {
                        1 << random.random_range(AWAY_BITS)
                    } else {
                        0
                    };
                    (fuel, away_us)
                })
            }
            Chooser::Script { cuts, .. } => cuts.get(&(actor, stop)).copied(),
        };
        let Some((fuel, away_us)) = cut else {
            return (SLICE, 0);
        };
        self.made.cuts.push(Cut {
            actor,
            stop,
            fuel,
            away_us,
        });
        (fuel.max(1), away_us)
    }

    /// What computing for a whole slice of so many instructions takes, in virtual time.
    pub(crate) fn takes_ns(fuel: u32) -> u64 {
        if fuel == SLICE {
            SLICE_TAKES_NS
        } else {
            u64::from(fuel) / INSTRUCTIONS_A_NS
        }
    }

    /// What was chosen, and where more than one could be, if that was to be kept.
    pub(crate) fn into_script(self) -> (Script, Vec<Choice>) {
        (self.made, self.choices.unwrap_or_default())
    }
}

/// `last` if it can, else the next one.
fn default(last: u32, able: u64) -> u32 {
    let rotated = able.rotate_right(last);
    (last + rotated.trailing_zeros()) % u64::BITS
}

/// The bit number `n` of those that are set.
fn nth(mut set: u64, n: u32) -> u32 {
    for _ in 0..n {
        set &= set.wrapping_sub(1);
    }
    set.trailing_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;

    fn scheduler(policy: Policy, script: &Script, seed: u64) -> Scheduler {
        Scheduler::new(
            policy,
            None,
            script,
            4,
            1000,
            ChaCha8Rng::seed_from_u64(seed),
        )
    }

    /// Who goes on at each of many stops, of actors of which now and then one can't.
    fn walk(scheduler: &mut Scheduler) -> Vec<u32> {
        let mut last = 0;
        let step = |number: u32| {
            let _ = scheduler.slice(last);
            let able = if number.is_multiple_of(3) {
                0b1010
            } else {
                0b1111
            };
            last = scheduler.choose(last, able, number.is_multiple_of(7));
            last
        };
        (0..2000).map(step).collect()
    }

    #[test]
    fn left_to_itself_everybody_goes_on_while_it_can() {
        let mut scheduler = scheduler(Policy::Script, &Script::default(), 1);
        assert_eq!(scheduler.choose(2, 0b1111, false), 2);
        assert_eq!(scheduler.choose(2, 0b1011, true), 3);
        assert_eq!(scheduler.choose(3, 0b0011, false), 0);
        assert_eq!(scheduler.stops, [0, 0, 2, 1]);
        assert_eq!(scheduler.into_script().0, Script::default());
    }

    #[test]
    fn what_was_chosen_is_replayed_from_its_script() {
        for policy in [Policy::Random, Policy::Pct { depth: 4 }] {
            for seed in 0..50 {
                let mut first = scheduler(policy, &Script::default(), seed);
                let walked = walk(&mut first);
                let (script, _) = first.into_script();
                let mut again = scheduler(Policy::Script, &script, 0);
                assert_eq!(walk(&mut again), walked);
                assert_eq!(again.into_script().0, script);
            }
        }
    }

    #[test]
    fn by_priority_the_same_goes_on_until_one_steps_back() {
        let mut scheduler = scheduler(Policy::Pct { depth: 3 }, &Script::default(), 9);
        let mut last = 0;
        let changes = (0..1000)
            .filter(|_| {
                let before = last;
                last = scheduler.choose(last, 0b1111, false);
                before != last
            })
            .count();
        assert!((1..=3).contains(&changes), "{changes}");
    }

    #[test]
    fn every_program_meets_every_policy_whatever_their_number() {
        for programs in 1..30 {
            for remainder in 0..programs {
                let seeds = (0..400).filter(|seed| seed % programs == remainder);
                let policies: BTreeSet<String> = seeds
                    .map(|seed| format!("{:?}", Policy::mixed(seed)))
                    .collect();
                assert!(
                    policies.len() > 2,
                    "{remainder} of {programs}: {policies:?}"
                );
            }
        }
    }

    #[test]
    fn kept_choices_say_what_else_could_have_been() {
        let mut scheduler = scheduler(Policy::Script, &Script::default(), 1).keep_choices(true);
        for (last, able) in [(0, 0b0001), (0, 0b0101), (2, 0b1011)] {
            let _ = scheduler.choose(last, able, false);
        }
        let (_, choices) = scheduler.into_script();
        let others = |choice: &Choice| {
            let switches = choice.switches();
            switches.map(|it| it.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(choices.len(), 2);
        assert_eq!(others(&choices[0]), ["0@1>2"]);
        assert_eq!(others(&choices[1]), ["2@0>0", "2@0>1"]);
    }

    #[test]
    fn the_nth_of_a_set() {
        assert_eq!(
            (0..3).map(|n| nth(0b1_0110, n)).collect::<Vec<_>>(),
            [1, 2, 4]
        );
    }
}
