//! From a program that fails to the fewest workers and steps that still fail.
//!
//! On real processes a program may fail by chance. So each candidate gets several tries, and
//! one that doesn't fail in any of them is given up although it might: what comes out fails, but
//! need not be the least that does. Where it is to fail every time, a candidate that doesn't in one
//! of them is given up: what comes out is larger, and can be relied on.
//!
//! What must stay true: the result was seen to fail.

pub(crate) mod deltas;
mod written;

pub use written::written_down;

use crate::check::CheckSpec;
use crate::program::{Fault, Program};
use crate::step::Step;

/// How much work is allowed.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// How many candidates are tried at most.
    pub candidates_max: u32,
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The smallest program that was seen to fail.
    pub program: Program,
    /// All that were seen to fail, each smaller than the one before.
    pub seen: Vec<Program>,
    /// How many candidates were tried.
    pub candidates: u32,
}

impl Shrunk {
    /// The smallest that fails once more. Of many candidates that fail by chance, those that were
    /// lucky are what is left; so the last of them need not fail again.
    pub fn that_fails_again(&self, fails: impl FnMut(&&Program) -> bool) -> Option<&Program> {
        self.seen.iter().rev().find(fails)
    }
}

/// Makes `program`, which fails, smaller as long as `fails` says that it still does.
pub fn shrink(
    program: &Program,
    budget: Budget,
    mut fails: impl FnMut(&Program) -> bool,
) -> Shrunk {
    let mut left = budget.candidates_max;
    let mut seen = vec![program.clone()];
    let mut try_it = |candidate: &Program| {
        if left == 0 {
            return false;
        }
        left -= 1;
        let failed = fails(candidate);
        if failed {
            seen.push(candidate.clone());
        }
        failed
    };
    let mut best = deltas::one_round(program.clone(), &mut try_it);
    loop {
        let before = size(&best);
        best = deltas::fewer_workers(best, &mut try_it);
        best = deltas::fewer_steps(best, &mut try_it);
        best = deltas::shorter_bodies(best, &mut try_it);
        if !best.checks.iter().any(CheckSpec::presumes_set_up) {
            best = deltas::less_set_up(best, &mut try_it);
        }
        if size(&best) == before {
            break;
        }
    }
    Shrunk {
        program: best,
        seen,
        candidates: budget.candidates_max - left,
    }
}

/// Workers that do something, and steps, bodies included.
pub fn size(program: &Program) -> (usize, usize) {
    fn count(steps: &[Step]) -> usize {
        steps.iter().map(|step| 1 + count(step.body())).sum()
    }
    let workers = program
        .workers
        .iter()
        .filter(|steps| !steps.is_empty())
        .count();
    (
        workers,
        program.workers.iter().map(|steps| count(steps)).sum(),
    )
}

/// The same fault at another number, of a worker or, where it hits a whole process, of any worker
/// in that process; none if nobody is there any more.
fn moved(
    fault: Fault,
    worker_to: impl Fn(u32) -> Option<u32>,
    process_to: impl Fn(u32) -> Option<u32>,
) -> Option<Fault> {
    Some(match fault {
        Fault::Kill { worker } => Fault::Kill {
            worker: process_to(worker)?,
        },
        Fault::Stop { worker, for_ms } => Fault::Stop {
            worker: process_to(worker)?,
            for_ms,
        },
        Fault::Drop { worker } => Fault::Drop {
            worker: worker_to(worker)?,
        },
        Fault::Trap { worker } => Fault::Trap {
            worker: worker_to(worker)?,
        },
        Fault::BusyWriter { .. } | Fault::KillAll { .. } | Fault::PowerLoss => fault,
        Fault::ClockJump { worker, by_ms } => Fault::ClockJump {
            worker: process_to(worker)?,
            by_ms,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Layout;
    use crate::protocol::{LockKind, LockName, Op};

    fn get(key: &str) -> Step {
        Op::DictGet {
            name: "d".into(),
            key: key.into(),
        }
        .into()
    }

    fn noise() -> Vec<Step> {
        (0..40).map(|n| get(&format!("noise-{n}"))).collect()
    }

    fn contains(steps: &[Step], key: &str) -> bool {
        steps
            .iter()
            .any(|step| *step == get(key) || contains(step.body(), key))
    }

    fn program(workers: Vec<Vec<Step>>) -> Program {
        Program {
            program: 1,
            name: "p".into(),
            workers,
            ..Program::default()
        }
    }

    #[test]
    fn what_is_not_needed_goes() {
        let mut first = noise();
        first.insert(13, get("a"));
        let lock = LockName::new(LockKind::Dict, "d");
        let mut body = noise();
        body.push(get("b"));
        let second = [
            noise(),
            vec![Step::locked(lock.clone(), None, body)],
            noise(),
        ]
        .concat();
        let whole = program(vec![noise(), first, noise(), second, noise()]);
        // Fails if one worker gets a and another b.
        let fails = |program: &Program| {
            let has = |key| {
                program
                    .workers
                    .iter()
                    .position(|steps| contains(steps, key))
            };
            matches!((has("a"), has("b")), (Some(a), Some(b)) if a != b)
        };
        let shrunk = shrink(
            &whole,
            Budget {
                candidates_max: 2000,
            },
            fails,
        );
        assert!(shrunk.candidates < 200, "{}", shrunk.candidates);
        assert_eq!(
            shrunk.program.workers,
            [
                vec![get("a")],
                vec![Step::locked(lock, None, vec![get("b")])]
            ]
        );
    }

    #[test]
    fn faults_follow_their_worker_and_go_with_it() {
        let kill = |worker| Step::Fault(Fault::Kill { worker });
        let whole = program(vec![vec![get("a")], vec![get("b")], vec![kill(0), kill(1)]]);
        // Fails as long as the worker that gets b is killed.
        let fails = |program: &Program| {
            let b = program
                .workers
                .iter()
                .position(|steps| contains(steps, "b"));
            b.is_some_and(|b| {
                program
                    .workers
                    .iter()
                    .flatten()
                    .any(|step| *step == kill(b as u32))
            })
        };
        assert!(fails(&whole));
        let shrunk = shrink(
            &whole,
            Budget {
                candidates_max: 100,
            },
            fails,
        );
        assert_eq!(shrunk.program.workers, [vec![get("b")], vec![kill(0)]]);
    }

    #[test]
    fn a_shared_process_is_struck_as_long_as_somebody_is_in_it() {
        // Workers 0 and 2 share a process; so do 1 and the one that strikes.
        let kill = |worker| Step::Fault(Fault::Kill { worker });
        let strikes = vec![kill(0), Step::Fault(Fault::Drop { worker: 0 }), kill(1)];
        let mut whole = program(vec![
            vec![get("a")],
            vec![get("b")],
            vec![get("c")],
            strikes,
        ]);
        whole.layout = Layout::Processes(2);
        whole.clock_offsets_ms = vec![-7, 9];
        whole.tear_down = vec![kill(1), kill(2)];
        let budget = Budget {
            candidates_max: 100,
        };
        let fails = |program: &Program| {
            let steps = program.workers.iter().flatten();
            let kept = |wanted: &[Step]| {
                let mut steps = steps.clone();
                wanted.iter().all(|wanted| steps.any(|step| step == wanted))
            };
            kept(&[get("c")]) && kept(&[kill(0)])
        };
        let shrunk = shrink(&whole, budget, fails).program;
        assert_eq!(shrunk.workers, [vec![get("c")], vec![kill(0)]]);
        assert_eq!(shrunk.tear_down, [kill(1), kill(0)]);
        // Worker 2 lived by the first clock, the one that strikes by the second.
        assert_eq!(shrunk.clock_offsets_ms, [-7, 9]);
        let only_the_second =
            |program: &Program| program.workers.iter().any(|steps| contains(steps, "b"));
        let shrunk = shrink(&whole, budget, only_the_second).program;
        assert_eq!(shrunk.workers, [vec![get("b")]]);
        assert_eq!(shrunk.clock_offsets_ms, [9]);
        assert_eq!(shrunk.tear_down, [kill(0)]);
    }

    #[test]
    fn what_failed_by_luck_gives_way_to_what_fails_again() {
        let whole = program(vec![noise()]);
        let steps = |program: &Program| size(program).1;
        let budget = Budget { candidates_max: 99 };
        let shrunk = shrink(&whole, budget, |program| steps(program) >= 3);
        assert_eq!(shrunk.seen.last(), Some(&shrunk.program));
        assert_eq!(steps(&shrunk.program), 3);
        let again = shrunk.that_fails_again(|program| steps(program) > 3);
        assert_eq!(again.map(steps), Some(4));
        assert_eq!(shrunk.that_fails_again(|_| false), None);
    }

    #[test]
    fn a_program_without_workers_is_never_tried() {
        let whole = program(vec![vec![get("a")], vec![get("b")]]);
        let budget = Budget {
            candidates_max: 100,
        };
        let shrunk = shrink(&whole, budget, |program| {
            assert!(!program.workers.is_empty());
            true
        });
        assert_eq!(shrunk.program.workers, [vec![]; 1]);
    }

    #[test]
    fn the_set_up_shrinks_unless_a_check_knows_what_is_in_it() {
        let mut whole = program(vec![vec![get("a")]]);
        whole.set_up = noise();
        whole.tear_down = vec![get("b")];
        let budget = Budget { candidates_max: 99 };
        let fails = |program: &Program| {
            contains(&program.set_up, "noise-17")
                && program.workers.iter().any(|steps| contains(steps, "a"))
        };
        let shrunk = shrink(&whole, budget, fails).program;
        assert_eq!(shrunk.set_up, [get("noise-17")]);
        assert_eq!(shrunk.tear_down, whole.tear_down);
        whole.checks = vec![CheckSpec::Bank {
            name: "d".into(),
            accounts: Vec::new(),
            total: 100,
        }];
        assert_eq!(shrink(&whole, budget, fails).program, whole);
    }

    #[test]
    fn rounds_in_which_workers_wait_for_each_other_go_together() {
        let name = |round: usize| format!("round-{round}");
        let signals = (0..6).map(|round| vec![get("a"), Step::Signal(name(round))]);
        let awaits = (0..6).map(|round| vec![Step::Await(name(round)), get("b"), get("c")]);
        let whole = program(vec![
            signals.collect::<Vec<_>>().concat(),
            awaits.collect::<Vec<_>>().concat(),
        ]);
        let mut tried = 0;
        // As a run that waits in vain: each signal has somebody who awaits it, and the other way round.
        let shrunk = shrink(&whole, Budget { candidates_max: 99 }, |program| {
            tried += 1;
            let rounds = |step: fn(String) -> Step| {
                let of = |steps: &Vec<Step>| {
                    let has = |round: &usize| steps.contains(&step(name(*round)));
                    (0..6).filter(has).collect::<Vec<_>>()
                };
                program.workers.iter().flat_map(of).collect::<Vec<_>>()
            };
            let (signalled, awaited) = (rounds(Step::Signal), rounds(Step::Await));
            !signalled.is_empty() && signalled == awaited
        });
        assert_eq!(
            shrunk.program.workers,
            [vec![Step::Signal(name(0))], vec![Step::Await(name(0))]]
        );
        assert!(tried < 30, "{tried}");
    }

    #[test]
    fn a_budget_is_kept() {
        let whole = program(vec![noise(), noise()]);
        let mut tried = 0;
        let shrunk = shrink(&whole, Budget { candidates_max: 5 }, |_| {
            tried += 1;
            false
        });
        assert_eq!((tried, shrunk.candidates), (5, 5));
        assert_eq!(shrunk.program, whole);
    }
}
