//! What can be left out of a program, in the manner of delta debugging (Zeller and
//! Hildebrandt, 2002): halves first, then smaller and smaller pieces.

use super::moved;
use crate::program::{Fault, Program};
use crate::step::Step;

type Fails<'a> = dyn FnMut(&Program) -> bool + 'a;

/// Leaves out whole workers.
pub(super) fn fewer_workers(program: Program, fails: &mut Fails<'_>) -> Program {
    let keep: Vec<usize> = (0..program.workers.len()).collect();
    // Without workers it would be no program any more.
    let kept = fewer(keep, &mut |keep| {
        !keep.is_empty() && fails(&restricted(&program, keep))
    });
    restricted(&program, &kept)
}

/// The program with these workers alone, which are numbered anew.
pub(crate) fn restricted(program: &Program, keep: &[usize]) -> Program {
    let processes = processes(program);
    let position = |is_it: &dyn Fn(usize) -> bool| {
        let at = keep.iter().position(|kept| is_it(*kept))?;
        u32::try_from(at).ok()
    };
    let move_fault = |fault| {
        let worker = |worker: u32| position(&|kept| kept == worker as usize);
        // Whoever shares its process is as good.
        let process =
            |worker: u32| position(&|kept| kept % processes == worker as usize % processes);
        moved(fault, worker, |at| worker(at).or_else(|| process(at)))
    };
    let pick = |lists: &Vec<Vec<Step>>| -> Vec<Vec<Step>> {
        // Lists for fewer than all workers stand for those alone.
        let picked = keep
            .iter()
            .map(|at| lists.get(*at).cloned().unwrap_or_default());
        let mut picked: Vec<Vec<Step>> = picked
            .map(|steps| renumbered(&steps, &move_fault))
            .collect();
        if picked.iter().all(Vec::is_empty) {
            picked.clear();
        }
        picked
    };
    Program {
        set_up: renumbered(&program.set_up, &move_fault),
        prologue: pick(&program.prologue),
        workers: keep
            .iter()
            .filter_map(|at| program.workers.get(*at))
            .map(|steps| renumbered(steps, &move_fault))
            .collect(),
        epilogue: pick(&program.epilogue),
        tear_down: renumbered(&program.tear_down, &move_fault),
        clock_offsets_ms: offsets_of(program, keep),
        ..program.clone()
    }
}

/// How many processes the workers are spread over. Where the command line may say, it has not.
fn processes(program: &Program) -> usize {
    let workers = u32::try_from(program.workers.len()).unwrap_or(u32::MAX);
    program.layout.processes(workers, None) as usize
}

/// The clocks of the processes when these workers alone are spread over them: as far as each
/// worker can keep its own.
fn offsets_of(program: &Program, keep: &[usize]) -> Vec<i64> {
    if program.clock_offsets_ms.is_empty() {
        return Vec::new();
    }
    let processes = processes(program);
    let offset = |worker: &usize| program.clock_offsets_ms.get(worker % processes);
    // The first worker of each process.
    let first = keep.iter().take(processes);
    first
        .map(|worker| offset(worker).copied().unwrap_or_default())
        .collect()
}

fn renumbered(steps: &[Step], move_fault: &impl Fn(Fault) -> Option<Fault>) -> Vec<Step> {
    let renumber = |step: &Step| {
        if let Step::Fault(fault) = step {
            return move_fault(*fault).map(Step::Fault);
        }
        let mut step = step.clone();
        if let Some(body) = body_mut(&mut step) {
            *body = renumbered(body, move_fault);
        }
        Some(step)
    };
    steps.iter().filter_map(renumber).collect()
}

/// Keeps one round, where all workers do the same over and over. Workers that wait for each
/// other in every round can't lose a round one by one.
pub(super) fn one_round(program: Program, fails: &mut Fails<'_>) -> Program {
    let lengths = program.workers.iter().map(Vec::len);
    let common = lengths.fold(0, greatest_common_divisor);
    // The shortest rounds first.
    for rounds in (2..=common).rev().filter(|rounds| common % rounds == 0) {
        for first in [true, false] {
            let mut candidate = program.clone();
            for steps in &mut candidate.workers {
                let length = steps.len() / rounds;
                if first {
                    steps.truncate(length);
                } else {
                    steps.drain(..steps.len() - length);
                }
            }
            if fails(&candidate) {
                return candidate;
            }
        }
    }
    program
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

/// Leaves out steps of the set-up. Not of the tear-down: checks rely on what is read there.
pub(crate) fn less_set_up(program: Program, fails: &mut Fails<'_>) -> Program {
    let with = |set_up: &[Step]| Program {
        set_up: set_up.to_vec(),
        ..program.clone()
    };
    let kept = fewer(program.set_up.clone(), &mut |set_up| fails(&with(set_up)));
    with(&kept)
}

/// Leaves out steps of each worker.
pub(crate) fn fewer_steps(mut program: Program, fails: &mut Fails<'_>) -> Program {
    for worker in 0..program.workers.len() {
        let steps = program.workers[worker].clone();
        let kept = fewer(steps, &mut |steps| {
            let mut candidate = program.clone();
            candidate.workers[worker] = steps.to_vec();
            fails(&candidate)
        });
        program.workers[worker] = kept;
    }
    program
}

/// Leaves out steps within steps, and repeats less.
pub(crate) fn shorter_bodies(mut program: Program, fails: &mut Fails<'_>) -> Program {
    for worker in 0..program.workers.len() {
        for at in 0..program.workers[worker].len() {
            let with = |step: Step| {
                let mut candidate = program.clone();
                candidate.workers[worker][at] = step;
                candidate
            };
            let step = program.workers[worker][at].clone();
            let step = shorter_body(step, &mut |step| fails(&with(step.clone())));
            program.workers[worker][at] = step;
        }
    }
    program
}

fn shorter_body(mut step: Step, fails: &mut dyn FnMut(&Step) -> bool) -> Step {
    if let Step::Repeat { count, body } = &step {
        let mut least = *count;
        while least > 1 {
            let half = Step::Repeat {
                count: least / 2,
                body: body.clone(),
            };
            if !fails(&half) {
                break;
            }
            least /= 2;
        }
        step = Step::Repeat {
            count: least,
            body: body.clone(),
        };
    }
    if step.body().is_empty() {
        return step;
    }
    let outer = step.clone();
    let with = |body: &[Step]| {
        let mut candidate = outer.clone();
        if let Some(inner) = body_mut(&mut candidate) {
            *inner = body.to_vec();
        }
        candidate
    };
    let mut body = fewer(step.body().to_vec(), &mut |body| fails(&with(body)));
    for at in 0..body.len() {
        let inner = body[at].clone();
        let shorter = shorter_body(inner, &mut |inner| {
            let mut body = body.clone();
            body[at] = inner.clone();
            fails(&with(&body))
        });
        body[at] = shorter;
    }
    with(&body)
}

fn body_mut(step: &mut Step) -> Option<&mut Vec<Step>> {
    match step {
        Step::Locked { body, .. }
        | Step::Transaction { body }
        | Step::Atomic { body, .. }
        | Step::Repeat { body, .. } => Some(body),
        _ => None,
    }
}

/// The fewest items that still fail, as far as leaving out pieces in a row finds them.
pub(crate) fn fewer<T: Clone>(mut items: Vec<T>, fails: &mut dyn FnMut(&[T]) -> bool) -> Vec<T> {
    let mut piece = items.len().div_ceil(2);
    while piece > 0 && !items.is_empty() {
        let mut at = 0;
        let mut any = false;
        while at < items.len() {
            let end = (at + piece).min(items.len());
            let without: Vec<T> = items[..at].iter().chain(&items[end..]).cloned().collect();
            if fails(&without) {
                items = without;
                any = true;
            } else {
                at = end;
            }
        }
        if piece == 1 && !any {
            break;
        }
        piece = if piece == 1 {
            1
        } else {
            piece.div_ceil(2).min(piece - 1)
        };
    }
    items
}
