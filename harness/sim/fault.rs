//! What may go wrong in a simulated run, where, and how that is written.
//!
//! What must stay true: a plan of faults is data. Which call it hits is said by the worker and the
//! number of the host call that its instances make, so that it means the same when other faults of
//! the plan are left out.

use super::disk::{Loss, LossStyle, NameSync, SectorSize, Unwritten};
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Something that happens at a host call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blow {
    /// The instance is dropped there.
    Drop,
    /// It is dropped when it has computed for so many instructions after the call, about, so perhaps in
    /// the middle of what it writes to the wal-index; at the latest at its next call.
    DropAfter(u32),
    /// Its process is killed there: all its instances.
    Kill,
    /// The power fails: all instances are gone, and of what wasn't synced there is what chance
    /// leaves. Kept by number, which chooses chance. Below [`GIVEN_LOSSES_END`] the style of the loss is
    /// given by the number, see [`given_loss`], and chance chooses the rest.
    PowerLoss(u32),
    /// The call fails with an I/O error: nothing of it happened, or part.
    Io,
    /// Of a write only a part happens, of a deletion all but the sync, and it fails with an I/O error.
    /// Otherwise as `Io`.
    ShortWrite,
    /// The disk is full for so many milliseconds.
    Full(u32),
    /// A lock is denied, though nobody has it.
    Busy,
    /// The call takes so many milliseconds longer.
    Slow(u32),
    /// The process's wall clock jumps by so many milliseconds.
    Jump(i32),
    /// The process stands still for so many milliseconds.
    Stop(u32),
    /// Somebody else keeps SQLite's write lock for so many milliseconds, as soon as it is free.
    Stranger(u32),
}

impl Blow {
    /// In words, for who doesn't know how it is written.
    pub fn words(&self) -> String {
        match self {
            Self::Drop => "the instance is dropped".to_owned(),
            Self::DropAfter(fuel) => {
                format!("the instance is dropped {fuel} instructions later")
            }
            Self::Kill => "the process is killed".to_owned(),
            Self::PowerLoss(chance) => format!("power loss (chance {chance})"),
            Self::Io => "an I/O error".to_owned(),
            Self::ShortWrite => "an I/O error after a part of it".to_owned(),
            Self::Full(ms) => format!("the disk is full for {ms} ms"),
            Self::Busy => "a lock is denied that nobody has".to_owned(),
            Self::Slow(ms) => format!("it takes {ms} ms longer"),
            Self::Jump(ms) => format!("the wall clock jumps by {ms} ms"),
            Self::Stop(ms) => format!("the process stands still for {ms} ms"),
            Self::Stranger(ms) => {
                format!("somebody else wants SQLite's write lock, for {ms} ms")
            }
        }
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Drop | Self::DropAfter(_) => Kind::Drop,
            Self::Kill => Kind::Kill,
            Self::PowerLoss(_) => Kind::PowerLoss,
            Self::Io | Self::ShortWrite => Kind::Io,
            Self::Full(_) => Kind::Full,
            Self::Busy => Kind::Busy,
            Self::Slow(_) => Kind::Slow,
            Self::Jump(_) => Kind::Clock,
            Self::Stop(_) => Kind::Stop,
            Self::Stranger(_) => Kind::Stranger,
        }
    }

    /// The same, if a history has no fault for it.
    pub(crate) fn unseen(&self) -> Option<String> {
        match self {
            Self::Io | Self::ShortWrite | Self::Full(_) | Self::Busy | Self::Slow(_) => {
                Some(self.words())
            }
            Self::Drop
            | Self::DropAfter(_)
            | Self::Kill
            | Self::PowerLoss(_)
            | Self::Jump(_)
            | Self::Stop(_)
            | Self::Stranger(_) => None,
        }
    }
}

/// The kinds of faults, as the command line names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// See [`Blow::Drop`].
    Drop,
    /// See [`Blow::Kill`].
    Kill,
    /// See [`Blow::PowerLoss`].
    PowerLoss,
    /// See [`Blow::Io`] and [`Blow::ShortWrite`].
    Io,
    /// See [`Blow::Full`].
    Full,
    /// See [`Blow::Busy`].
    Busy,
    /// See [`Blow::Slow`].
    Slow,
    /// Wall clocks that are off, drift, and jump.
    Clock,
    /// See [`Blow::Stop`].
    Stop,
    /// See [`Blow::Stranger`].
    Stranger,
}

impl Kind {
    /// All there are.
    pub const ALL: [Self; 10] = [
        Self::Drop,
        Self::Kill,
        Self::PowerLoss,
        Self::Io,
        Self::Full,
        Self::Busy,
        Self::Slow,
        Self::Clock,
        Self::Stop,
        Self::Stranger,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Kill => "kill",
            Self::PowerLoss => "power-loss",
            Self::Io => "io",
            Self::Full => "full",
            Self::Busy => "busy",
            Self::Slow => "slow",
            Self::Clock => "clock",
            Self::Stop => "stop",
            Self::Stranger => "stranger",
        }
    }

    /// A blow of this kind.
    pub(crate) fn draw(self, random: &mut ChaCha8Rng) -> Blow {
        match self {
            Self::Drop if random.random_bool(0.5) => {
                Blow::DropAfter(1 << random.random_range(0..13))
            }
            Self::Drop => Blow::Drop,
            Self::Kill => Blow::Kill,
            Self::PowerLoss => Blow::PowerLoss(random.random_range(GIVEN_LOSSES_END..1_000_000)),
            Self::Io if random.random_bool(0.5) => Blow::ShortWrite,
            Self::Io => Blow::Io,
            Self::Full => Blow::Full(random.random_range(1..=200)),
            Self::Busy => Blow::Busy,
            Self::Slow => Blow::Slow(random.random_range(1..=1500)),
            Self::Clock if random.random_bool(0.5) => {
                let (of, by) = LIVES_MS[random.random_range(0..LIVES_MS.len())];
                let by_ms = of + random.random_range(-by..=by);
                Blow::Jump(if random.random_bool(0.5) {
                    by_ms
                } else {
                    -by_ms
                })
            }
            Self::Clock => Blow::Jump(random.random_range(-JUMP_MAX_MS..=JUMP_MAX_MS)),
            Self::Stop => Blow::Stop(random.random_range(1..=STOP_MAX_MS)),
            Self::Stranger => Blow::Stranger(random.random_range(1..=STRANGER_MAX_MS)),
        }
    }
}

/// The first number of a power loss whose style is left to chance.
pub const GIVEN_LOSSES_END: u32 = 1000;

/// How the power loss of this number goes, if the number says it. Any four that begin at a multiple of
/// 4 have each style; and each second four are by another device and file system.
pub fn given_loss(number: u32) -> Option<Loss> {
    let styles = [
        LossStyle::Nothing,
        LossStyle::Everything,
        LossStyle::Prefix,
        LossStyle::Any,
    ];
    let style = styles[number as usize % styles.len()];
    let is_other = !(number / 4).is_multiple_of(2);
    let loss = if is_other {
        Loss {
            style,
            sector: SectorSize::Bytes4096,
            unwritten: Unwritten::Zeros,
            names: NameSync::Journal,
            tears_sectors: false,
        }
    } else {
        Loss {
            style,
            sector: SectorSize::Bytes512,
            unwritten: Unwritten::Garbage,
            names: NameSync::Directory,
            tears_sectors: false,
        }
    };
    (number < GIVEN_LOSSES_END).then_some(loss)
}

/// For how long something lives, and how exactly: the short grants of `lock-fencing`, and a single
/// write's lock. A clock that jumps by about as much comes shortly before or after its end. Longer jumps
/// end grants of ten seconds, under which workloads do what is one unit only as long as they last.
const LIVES_MS: [(i32, i32); 2] = [(300, 100), (5000, 5)];

/// By how much a clock jumps at most otherwise. Together with what clocks are off to begin with, less than
/// any time to live of a workload that can take this: see `run/nemesis.rs`.
const JUMP_MAX_MS: i32 = 2000;
/// As in `run/nemesis.rs`.
const STOP_MAX_MS: u32 = 1500;
const STRANGER_MAX_MS: u32 = 500;

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|kind| kind.name() == text);
        known.ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|kind| kind.name()).collect();
            format!(
                "{text:?} is no fault of the simulator: there are {}",
                names.join(", ")
            )
        })
    }
}

impl fmt::Display for Blow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drop => f.write_str("drop"),
            Self::DropAfter(fuel) => write!(f, "drop-after={fuel}"),
            Self::Kill => f.write_str("kill"),
            Self::PowerLoss(chance) => write!(f, "power-loss={chance}"),
            Self::Io => f.write_str("io"),
            Self::ShortWrite => f.write_str("short-write"),
            Self::Full(ms) => write!(f, "full={ms}"),
            Self::Busy => f.write_str("busy"),
            Self::Slow(ms) => write!(f, "slow={ms}"),
            Self::Jump(ms) => write!(f, "jump={ms}"),
            Self::Stop(ms) => write!(f, "stop={ms}"),
            Self::Stranger(ms) => write!(f, "stranger={ms}"),
        }
    }
}

impl FromStr for Blow {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, number) = match text.split_once('=') {
            Some((name, number)) => (name, Some(number)),
            None => (text, None),
        };
        fn of<T: FromStr>(number: Option<&str>, text: &str) -> Result<T, String> {
            let number = number.ok_or_else(|| format!("{text:?} lacks a number"))?;
            number
                .parse()
                .map_err(|_| format!("{text:?} has no number that fits"))
        }
        let blow = match name {
            "drop" => Self::Drop,
            "drop-after" => return Ok(Self::DropAfter(of(number, text)?)),
            "kill" => Self::Kill,
            "power-loss" => return Ok(Self::PowerLoss(of(number, text)?)),
            "io" => Self::Io,
            "short-write" => Self::ShortWrite,
            "full" => return Ok(Self::Full(of(number, text)?)),
            "busy" => Self::Busy,
            "slow" => return Ok(Self::Slow(of(number, text)?)),
            "jump" => return Ok(Self::Jump(of(number, text)?)),
            "stop" => return Ok(Self::Stop(of(number, text)?)),
            "stranger" => return Ok(Self::Stranger(of(number, text)?)),
            _ => return Err(format!("{text:?} is nothing that can happen")),
        };
        match number {
            None => Ok(blow),
            Some(_) => Err(format!("{name} takes no number")),
        }
    }
}

/// A blow and where it falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// At a call of this worker's instances,
    pub worker: u32,
    /// the one of this number, counted from 0 over all of them.
    pub call: u64,
    /// What happens.
    pub blow: Blow,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.worker, self.call, self.blow)
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.splitn(3, ':');
        let (Some(worker), Some(call), Some(blow)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(format!("{text:?} is no WORKER:CALL:FAULT"));
        };
        let number = |_| format!("{text:?} is no WORKER:CALL:FAULT");
        Ok(Self {
            worker: worker.parse().map_err(number)?,
            call: call.parse().map_err(number)?,
            blow: blow.parse()?,
        })
    }
}

/// The faults of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultPlan(BTreeMap<(u32, u64), Vec<Blow>>);

impl FaultPlan {
    /// Some faults of these kinds, somewhere in the first `horizon` calls of a worker. Each second run
    /// has none but wrong clocks, so that what interleavings alone do is seen too.
    pub(crate) fn draw(
        kinds: &[Kind],
        workers: u32,
        horizon: u64,
        random: &mut ChaCha8Rng,
    ) -> Self {
        let mut plan = Self::default();
        if kinds.is_empty() || workers == 0 || random.random_bool(0.4) {
            return plan;
        }
        let mut jumped = false;
        for _ in 0..random.random_range(1..=3) {
            let kind = kinds[random.random_range(0..kinds.len())];
            // Several would add up to more than grants live.
            if kind == Kind::Clock && std::mem::replace(&mut jumped, true) {
                continue;
            }
            plan.add(Fault {
                worker: random.random_range(0..workers),
                call: random.random_range(0..horizon.max(1)),
                blow: kind.draw(random),
            });
        }
        plan
    }

    /// Adds one.
    pub fn add(&mut self, fault: Fault) {
        let place = self.0.entry((fault.worker, fault.call)).or_default();
        place.push(fault.blow);
    }

    /// What falls there.
    pub(crate) fn at(&self, worker: u32, call: u64) -> &[Blow] {
        self.0.get(&(worker, call)).map_or(&[], Vec::as_slice)
    }

    /// All of them.
    pub fn faults(&self) -> Vec<Fault> {
        let each = |((worker, call), blows): (&(u32, u64), &Vec<Blow>)| {
            let (worker, call) = (*worker, *call);
            let fault = move |blow: &Blow| Fault {
                worker,
                call,
                blow: *blow,
            };
            blows.iter().map(fault).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(each).collect()
    }
}

impl FromIterator<Fault> for FaultPlan {
    fn from_iter<T: IntoIterator<Item = Fault>>(faults: T) -> Self {
        let mut plan = Self::default();
        faults.into_iter().for_each(|fault| plan.add(fault));
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;

    #[test]
    fn what_is_written_is_read_again() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
            for _ in 0..20 {
                assert_eq!(kind.draw(&mut random).kind(), kind);
                let fault = Fault {
                    worker: 3,
                    call: 77,
                    blow: kind.draw(&mut random),
                };
                assert_eq!(fault.to_string().parse(), Ok(fault), "{fault}");
            }
        }
        for wrong in [
            "1:2",
            "a:2:drop",
            "1:2:drop=3",
            "1:2:slow",
            "1:2:slow=x",
            "1:2:rain",
        ] {
            assert!(wrong.parse::<Fault>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn low_numbers_give_each_style_of_loss_and_others_none() {
        for first in (0..GIVEN_LOSSES_END).step_by(4) {
            let styles = (first..first + 4).map(|number| given_loss(number).unwrap().style);
            let all = [
                LossStyle::Nothing,
                LossStyle::Everything,
                LossStyle::Prefix,
                LossStyle::Any,
            ];
            assert_eq!(styles.collect::<Vec<_>>(), all);
        }
        assert_eq!(given_loss(GIVEN_LOSSES_END), None);
        let mut random = ChaCha8Rng::seed_from_u64(5);
        for _ in 0..100 {
            let Blow::PowerLoss(number) = Kind::PowerLoss.draw(&mut random) else {
                panic!("no power loss")
            };
            assert_eq!(given_loss(number), None, "{number}");
        }
    }

    #[test]
    fn a_plan_keeps_all_its_faults() {
        let faults = ["0:5:io", "0:5:slow=3", "1:0:drop"];
        let faults: Vec<Fault> = faults.iter().map(|text| text.parse().unwrap()).collect();
        let plan: FaultPlan = faults.iter().copied().collect();
        assert_eq!(plan.faults(), faults);
        assert_eq!(plan.at(0, 5), [Blow::Io, Blow::Slow(3)]);
        assert_eq!(plan.at(1, 5), []);
    }
}
