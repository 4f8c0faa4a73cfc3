//! Accounts of a dictionary, for `bank` and `write_skew`: who read them all together, and whether
//! what was done with them can have been done one after the other.
//!
//! What must stay true: a reading together is one unit under the lock or in a committed transaction, or
//! was made while certainly nobody changed anything.

use super::Findings;
use super::search::{Found, Model, Timed, core, search};
use super::transactions::Transactions;
use super::units::{Guard, Unit, binding_lock, leave_out_onlookers, units};
use super::values::{ABSENT, Datum, Numbers};
use super::wording::{deed, list};
use crate::history::{History, Operation};
use crate::protocol::{LockKind, Op};
use serde_json::Value;
use std::collections::HashMap;

/// Steps of the search, beside some for each unit.
const BUDGET: u64 = 500_000;
const BUDGET_CORE: u64 = 20_000;
/// How many operations a violation tells of in words.
const TOLD_MAX: usize = 10;

/// All that was done with the accounts.
pub(super) struct Balances<'a> {
    title: String,
    accounts: HashMap<&'a str, usize>,
    units: Vec<Unit<'a>>,
    /// Why nothing certain can be said about the order of units.
    unclear: Option<String>,
    /// When the accounts had been filled: after the last write that didn't rely on a reading.
    filled: u64,
}

/// All accounts, read together.
pub(super) struct Reading<'a> {
    /// One reading of each account.
    pub(super) steps: Vec<&'a Operation>,
    /// The sum; none if something is no whole number.
    pub(super) sum: Option<i64>,
    /// Whether it may be that a change without an answer came between.
    pub(super) doubtful: bool,
    from: u64,
}

impl<'a> Balances<'a> {
    /// Collects it.
    ///
    /// # Errors
    /// It can't be told what belongs together.
    pub(super) fn of(
        history: &'a History,
        name: &'a str,
        accounts: &'a [String],
    ) -> Result<Self, String> {
        let accounts: HashMap<&str, usize> = accounts
            .iter()
            .enumerate()
            .map(|(at, account)| (account.as_str(), at))
            .collect();
        let wanted = |op: &Op| match op {
            Op::DictGet { name: of, key }
            | Op::DictSet { name: of, key, .. }
            | Op::DictDelete { name: of, key } => of == name && accounts.contains_key(key.as_str()),
            _ => false,
        };
        let lock = binding_lock(history, (LockKind::Dict, name), wanted)?;
        let mut units = units(history, &Transactions::of(history), lock, wanted);
        let mut unclear = leave_out_onlookers(&mut units).err();
        if units.iter().any(|unit| unit.unclear) {
            unclear.get_or_insert_with(|| {
                "a session went on after an operation without an answer".to_owned()
            });
        }
        let mut balances = Self {
            title: format!("dict {name}"),
            accounts,
            units,
            unclear,
            filled: 0,
        };
        let fills = |unit: &&Unit<'_>| balances.is_filling(unit);
        let last = balances
            .units
            .iter()
            .filter(fills)
            .map(|unit| unit.to)
            .max();
        balances.filled = last.unwrap_or(0);
        Ok(balances)
    }

    /// How much was judged.
    pub(super) fn len(&self) -> u64 {
        self.units.len() as u64
    }

    fn account(&self, op: &Op) -> Option<usize> {
        match op {
            Op::DictGet { key, .. } | Op::DictSet { key, .. } | Op::DictDelete { key, .. } => {
                self.accounts.get(key.as_str()).copied()
            }
            _ => None,
        }
    }

    /// Whether it writes an account that it hasn't read.
    fn is_filling(&self, unit: &Unit<'_>) -> bool {
        if !unit.certain && unit.guard != Guard::Alone && unit.steps.len() == 1 {
            // Its reading is in another unit, that of what was answered.
            return false;
        }
        let mut read = vec![false; self.accounts.len()];
        unit.steps.iter().any(|step| {
            let known = self.account(&step.op).and_then(|at| read.get_mut(at));
            match known {
                Some(known) if step.op.is_write() => !*known,
                Some(known) => {
                    *known = true;
                    false
                }
                None => false,
            }
        })
    }

    /// All readings together, after the accounts were filled.
    pub(super) fn readings(&self) -> Vec<Reading<'a>> {
        let mut readings: Vec<_> = self
            .units
            .iter()
            .filter(|unit| unit.certain && unit.guard != Guard::Alone)
            .filter_map(|unit| self.reading(&unit.steps))
            .collect();
        // Those without lock and transaction: of one session, in a quiet time.
        let mut alone: HashMap<u64, Vec<&Operation>> = HashMap::new();
        for unit in self.units.iter().filter(|unit| unit.guard == Guard::Alone) {
            for step in unit.steps.iter().filter(|step| !step.op.is_write()) {
                alone.entry(step.session).or_default().push(step);
            }
        }
        let changes: Vec<_> = self.units.iter().filter(|unit| unit.writes() > 0).collect();
        let mut quiet: Vec<_> = alone.into_iter().collect();
        quiet.sort_unstable_by_key(|(session, _)| *session);
        for (_, steps) in quiet {
            // Only the last ones can be told apart from what came before for certain.
            let tail = steps.len().saturating_sub(self.accounts.len());
            let tail = steps.get(tail..).unwrap_or_default();
            let Some(mut reading) = self.reading(tail) else {
                continue;
            };
            let to = tail.iter().map(|step| step.latest_ns()).max().unwrap_or(0);
            let overlaps = |unit: &&&Unit<'_>| unit.from <= to && unit.to >= reading.from;
            let meanwhile: Vec<_> = changes.iter().filter(overlaps).collect();
            if meanwhile.iter().any(|unit| unit.certain) {
                continue;
            }
            reading.doubtful = !meanwhile.is_empty();
            readings.push(reading);
        }
        readings.retain(|reading| reading.from >= self.filled);
        readings
    }

    fn reading(&self, steps: &[&'a Operation]) -> Option<Reading<'a>> {
        let mut found: Vec<Option<&Operation>> = vec![None; self.accounts.len()];
        for step in steps {
            let known = self.account(&step.op).and_then(|at| found.get_mut(at))?;
            if step.op.is_write() {
                // What comes after it isn't what others left.
                break;
            }
            known.get_or_insert(step);
        }
        let steps: Vec<_> = found.into_iter().collect::<Option<_>>()?;
        let sum = steps.iter().try_fold(0_i64, |sum, step| {
            let balance = match step.ok()? {
                Value::Null => 0,
                balance => balance.as_i64()?,
            };
            sum.checked_add(balance)
        });
        Some(Reading {
            from: steps.iter().map(|step| step.invoked_ns).min()?,
            steps,
            sum,
            doubtful: false,
        })
    }

    /// The last unit before a reading that took from one account without giving to another, or the
    /// reverse: what it read and wrote.
    pub(super) fn half_done(&self, reading: &Reading<'_>) -> Option<&Unit<'a>> {
        let before = self.units.iter().filter(|unit| {
            unit.certain && unit.to < reading.from && unit.writes() > 0 && !self.is_filling(unit)
        });
        before
            .filter(|unit| self.difference(unit).is_some_and(|sum| sum != 0))
            .max_by_key(|unit| unit.to)
    }

    /// By how much a unit changed the sum.
    fn difference(&self, unit: &Unit<'_>) -> Option<i64> {
        let mut now: HashMap<usize, i64> = HashMap::new();
        let mut sum = 0_i64;
        for step in &unit.steps {
            let account = self.account(&step.op)?;
            let new = match &step.op {
                Op::DictGet { .. } => {
                    now.insert(account, step.ok()?.as_i64().unwrap_or(0));
                    continue;
                }
                Op::DictSet { value, .. } => value.as_i64()?,
                _ => 0,
            };
            let before = now.insert(account, new)?;
            sum = sum.checked_add(new.checked_sub(before)?)?;
        }
        Some(sum)
    }

    /// Whether the units have an order in which each finds what the one before left.
    pub(super) fn check_order(&self, findings: &mut Findings, why: &str) {
        if let Some(unclear) = &self.unclear {
            return findings.unknown(format!("{}: {unclear}", self.title));
        }
        let mut numbers = Numbers::default();
        let mut actions: Vec<Timed<Step>> = (0..self.units.len())
            .filter_map(|at| self.action(at, &mut numbers))
            .collect();
        let model = Accounts(self.accounts.len());
        match search(&model, &actions, BUDGET + 10 * self.len()) {
            Found::Order => {}
            Found::Unknown => findings.unknown(format!(
                "{}: too many possible orders of {} units",
                self.title,
                actions.len()
            )),
            Found::None(_) => {
                core(&model, &mut actions, BUDGET_CORE, useless);
                // What may as well not have happened shows nothing.
                let mut steps: Vec<&Operation> = actions
                    .iter()
                    .filter_map(|action| {
                        let unit = self.units.get(action.action.unit)?;
                        (action.certain || !unit.certain).then_some(unit)
                    })
                    .flat_map(|unit| unit.steps.iter().copied())
                    .collect();
                steps.sort_unstable_by_key(|step| step.id);
                let mut told: Vec<_> = steps
                    .iter()
                    .take(TOLD_MAX)
                    .map(|step| deed_of(step))
                    .collect();
                if steps.len() > TOLD_MAX {
                    told.push(format!("{} more", steps.len() - TOLD_MAX));
                }
                findings.violation(
                    format!("{}: {why}: {}", self.title, list(&told)),
                    steps.iter().map(|step| step.id),
                );
            }
        }
    }

    fn action(&self, at: usize, numbers: &mut Numbers<'a>) -> Option<Timed<Step>> {
        let unit = self.units.get(at)?;
        let mut finds: Vec<(usize, u32)> = Vec::new();
        let mut leaves: Vec<(usize, u32)> = Vec::new();
        for step in &unit.steps {
            let account = self.account(&step.op)?;
            let known = leaves.iter_mut().find(|(other, _)| *other == account);
            let new = match &step.op {
                Op::DictGet { .. } => {
                    // What it wrote itself, or what it knows already.
                    let fresh =
                        known.is_none() && !finds.iter().any(|(other, _)| *other == account);
                    if let Some(got) = step.ok().filter(|_| fresh && unit.certain) {
                        finds.push((account, numbers.of(Datum::Value(got))));
                    }
                    continue;
                }
                Op::DictSet { value, .. } => numbers.of(Datum::Value(value)),
                _ => ABSENT,
            };
            match known {
                Some(known) => known.1 = new,
                None => leaves.push((account, new)),
            }
        }
        Some(Timed {
            action: Step {
                finds,
                leaves,
                unit: at,
            },
            from: unit.from,
            to: unit.to,
            certain: unit.certain,
        })
    }
}

/// Who did what, with the account.
pub(super) fn deed_of(operation: &Operation) -> String {
    match &operation.op {
        Op::DictGet { key, .. } | Op::DictSet { key, .. } | Op::DictDelete { key, .. } => {
            format!("[{key}] {}", deed(operation))
        }
        _ => deed(operation),
    }
}

/// A unit: what it finds and what it leaves, by account.
#[derive(Clone, Debug)]
struct Step {
    finds: Vec<(usize, u32)>,
    leaves: Vec<(usize, u32)>,
    unit: usize,
}

impl PartialEq for Step {
    fn eq(&self, other: &Self) -> bool {
        self.finds == other.finds && self.leaves == other.leaves
    }
}

/// So many accounts.
struct Accounts(usize);

impl Model for Accounts {
    type State = Vec<u32>;
    type Action = Step;

    fn initial(&self) -> Vec<u32> {
        vec![ABSENT; self.0]
    }

    fn step(&self, state: &Vec<u32>, step: &Step) -> Option<Vec<u32>> {
        let is_found = |(account, value): &(usize, u32)| state.get(*account) == Some(value);
        if !step.finds.iter().all(is_found) {
            return None;
        }
        let mut state = state.clone();
        for (account, value) in &step.leaves {
            if let Some(known) = state.get_mut(*account) {
                *known = *value;
            }
        }
        Some(state)
    }

    fn reads_only(&self, step: &Step) -> bool {
        step.leaves.is_empty()
    }
}

/// Whether nobody needs any of what it leaves.
fn useless(action: &Timed<Step>, all: &[Timed<Step>]) -> bool {
    !all.iter().any(|other| {
        let finds = &other.action.finds;
        action.action.leaves.iter().any(|left| finds.contains(left))
    })
}
