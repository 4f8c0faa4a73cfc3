//! Balances always sum up to `total`, for every reader.
//!
//! A reader reads all accounts in one transaction or under the lock; or without, when certainly nobody
//! changes anything. Beside the sum, the units (transactions, and what was done under the lock) must have
//! an order in which each finds what the one before left.
//!
//! A unit that was cut off in its middle, under a lock and without a transaction, counts as what it did:
//! half a transfer is what this check is for.

use super::Findings;
use super::balances::{Balances, deed_of};
use super::wording::list;
use crate::history::History;

pub(super) fn check(
    history: &History,
    name: &str,
    accounts: &[String],
    total: i64,
    findings: &mut Findings,
) {
    let balances = match Balances::of(history, name, accounts) {
        Ok(balances) => balances,
        Err(why) => return findings.unknown(why),
    };
    findings.examined(balances.len());
    let mut wrong = false;
    for reading in balances.readings() {
        let Some(sum) = reading.sum else {
            findings.unknown(format!("dict {name}: a balance is no whole number"));
            continue;
        };
        if sum == total {
            continue;
        }
        if reading.doubtful {
            findings.unknown(format!(
                "dict {name}: a sum of {sum} was read while something without an answer may have \
                 been done"
            ));
            continue;
        }
        wrong = true;
        let told: Vec<_> = reading.steps.iter().map(|step| deed_of(step)).collect();
        let mut message = format!("dict {name}: a sum of {sum}, not {total}: {}", list(&told));
        let mut ids: Vec<u64> = reading.steps.iter().map(|step| step.id).collect();
        if let Some(half) = balances.half_done(&reading) {
            let told: Vec<_> = half.steps.iter().map(|step| deed_of(step)).collect();
            message += &format!(
                ". Before that, this was all that was done together: {}",
                list(&told)
            );
            ids.splice(0..0, half.steps.iter().map(|step| step.id));
        }
        findings.violation(message, ids);
    }
    // Once money is lost or made, this says nothing new.
    if !wrong {
        balances.check_order(
            findings,
            "transfers and readings that can't have come one after the other",
        );
    }
}

#[cfg(test)]
mod tests;
