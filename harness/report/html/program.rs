//! One program: its promise, what its checks say, its timeline, its latencies, how to replay it.

use super::chart::latencies;
use super::data::{arguments, embedded, result};
use super::page::{command, nothing_badge, program_badge, verdict_badge};
use crate::check::{CheckResult, Verdict, Violation};
use crate::history::{Operation, Seen};
use crate::report::excerpt::{NEIGHBOURS, STRETCHES};
use crate::report::statement::{parameters, statement};
use crate::report::words::{count, counted, duration, plain, rate, remains};
use crate::report::{Judged, Outcome, Report, RunReport};
use maud::{Markup, PreEscaped, html};

/// So many violations of a check are in sight; the rest unfolds.
const IN_SIGHT: usize = 5;
/// So many operations of a violation are in its table.
const ROWS_MAX: usize = 50;

/// Why a program did not pass, in a few words.
pub(super) fn reason(program: &RunReport) -> Option<String> {
    match &program.outcome {
        Outcome::NotOffered { missing } => {
            Some(format!("The driver doesn't offer: {}", missing.join(", ")))
        }
        Outcome::HarnessError { message } => Some(message.clone()),
        Outcome::Judged(judged) => match judged.verdict() {
            Verdict::Pass => None,
            Verdict::Unknown => judged.why_unknown(),
            Verdict::Fail => judged.first_violation().map(str::to_owned),
        },
    }
}

pub(super) fn section(at: usize, report: &Report, program: &RunReport) -> Markup {
    let open = matches!(program.verdict(), Some(Verdict::Fail | Verdict::Unknown));
    html! {
        section.program id=(format!("program-{at}")) data-verdict=(program.word()) {
            details open[open] {
                summary {
                    (program_badge(program))
                    h2 { (plain(&program.program)) }
                }
                @if !program.promise.is_empty() { p.promise { (plain(&program.promise)) } }
                @match &program.outcome {
                    Outcome::Judged(judged) => (run(at, report, program, judged)),
                    _ => @if let Some(reason) = reason(program) { p.reason { (plain(&reason)) } },
                }
                @if !matches!(program.outcome, Outcome::NotOffered { .. }) {
                    h3 { "Replay" }
                    (command("Replay", &program.replay))
                }
                @if let Some(history) = &program.history {
                    p.quiet { "The whole history is in " code { (plain(&history.display().to_string())) } ". " code { "beaver-harness check" } " judges it again." }
                }
                @if !program.notes.is_empty() {
                    details.notes {
                        summary { @if is_simulated(program) { "What befalls whom, and who makes way for whom" } @else { "What the driver wrote for people" } }
                        pre tabindex="0" { (plain(&program.notes)) }
                    }
                }
            }
        }
    }
}

/// Whether the notes are the simulator's.
fn is_simulated(program: &RunReport) -> bool {
    program
        .judged()
        .is_some_and(|judged| judged.header.virtual_time)
}

fn run(at: usize, report: &Report, program: &RunReport, judged: &Judged) -> Markup {
    let summary = &judged.summary;
    html! {
        dl.facts {
            div { dt { "Workers" } dd { (judged.header.workers) } }
            div { dt { "Sessions" } dd { (count(summary.sessions)) " in " (counted(summary.processes, "process", "processes")) } }
            div { dt { @if judged.header.virtual_time { "Virtual time" } @else { "Took" } } dd { (duration(u64::try_from(judged.elapsed.as_nanos()).unwrap_or(u64::MAX))) } }
            div { dt { "Operations" } dd { (count(summary.operations)) " (" (rate(judged.operations_per_s())) ")" } }
            div { dt { "Not ok" } dd { (count(summary.fail)) " failed, " (count(summary.info)) " unknown" } }
            @if !summary.errors.is_empty() {
                div { dt { "Errors" } dd { @for (at, (code, times)) in summary.errors.iter().enumerate() { @if at > 0 { ", " } (count(*times)) " " code { (code.name()) } } } }
            }
            div { dt { "Faults" } dd { @if summary.faults.is_empty() { "none" } @else { (summary.faults_in_words()) } } }
            div { dt { "Seed" } dd { code { (program.seed) } } }
            @if report.description.as_ref() != Some(&judged.header.driver) {
                div { dt { "System" } dd { (plain(&judged.header.driver.name)) " " span.quiet { (plain(&judged.header.driver.version)) } } }
            }
        }
        h3 { "Checks" }
        ul.checks { @for (number, result) in judged.results.iter().enumerate() { (check(judged, number, result)) } }
        @if judged.results.is_empty() { p.reason { "No check was made." } }
        h3 { "Timeline" }
        (left_out(judged))
        div.timeline data-source=(format!("data-{at}")) { noscript { p.quiet { "The timeline needs JavaScript. The operations of each violation are in the tables above." } } }
        (notes(judged))
        script type="application/json" id=(format!("data-{at}")) { (PreEscaped(embedded(judged))) }
        h3 { "Latency" }
        (latencies(judged))
    }
}

fn left_out(judged: &Judged) -> Markup {
    let left_out = judged.excerpt.left_out();
    html! {
        @if left_out > 0 {
            p.quiet {
                strong { (count(left_out)) " of " (count(judged.excerpt.total)) " operations are left out" }
                " of the timeline, in stretches that are shaded; all else on this page is of all operations. Shown are, as far as there is room: the operations that violations name, "
                (NEIGHBOURS) " before and after each of them, as many around each fault, and " (STRETCHES) " stretches spread evenly over the run."
            }
        }
    }
}

/// What the harness saw, beside operations.
fn notes(judged: &Judged) -> Markup {
    const NOTES_MAX: usize = 20;
    let observations = &judged.excerpt.observations;
    let more = observations.len().saturating_sub(NOTES_MAX);
    html! {
        @if !observations.is_empty() {
            details.notes {
                summary { "What the harness noted" }
                ul {
                    @for observation in observations.iter().take(NOTES_MAX) {
                        li {
                            span.quiet { (moment(observation.at_ns, judged.excerpt.end_ns)) " " }
                            @match &observation.seen {
                                Seen::Note(note) => (plain(note)),
                                Seen::GaveUp { id, after_ms } => { "operation " (id) " was given up after " (after_ms) " ms" },
                                Seen::NotReopened { worker, message } => { "worker " (worker) " could not open the store again: " (plain(message)) },
                                Seen::IntegrityCheck(said) => { "integrity_check: " (plain(said)) },
                                Seen::Audit(said) => { "audit: " (plain(said)) },
                                Seen::Remains { wal_bytes, hot_journal } => { (remains(*wal_bytes, *hot_journal)) },
                                Seen::Waiting { lock, count, .. } => { (count) " hold or wait for " (plain(&lock.to_string())) },
                            }
                        }
                    }
                    @if more > 0 { li.quiet { "and " (more) " more" } }
                }
            }
        }
    }
}

fn check(judged: &Judged, number: usize, result: &CheckResult) -> Markup {
    let violation_at =
        |at: usize, violation: &Violation| violation_item(judged, (number, at), violation);
    let all = result.violations.iter().enumerate();
    let kept = u64::try_from(result.violations.len()).unwrap_or(u64::MAX);
    let beyond = result.violation_count.saturating_sub(kept);
    let folded = result.violations.len().saturating_sub(IN_SIGHT);
    html! {
        li.check {
            div.verdict {
                @if result.verdict == Verdict::Pass && result.examined == 0 { (nothing_badge()) } @else { (verdict_badge(Some(result.verdict))) }
                " " strong { (result.spec.name()) }
                @for parameter in parameters(&result.spec) { " " code.chip { (plain(&parameter)) } }
                " " span.claim { (statement(&result.spec)) }
                " " span.quiet { (count(result.examined)) " examined" @if result.violation_count > 0 { ", " (counted(result.violation_count, "violation", "violations")) } }
            }
            @if let Some(why) = &result.unknown { p.reason { "Could not decide: " (plain(why)) } }
            @if !result.violations.is_empty() {
                ol.violations { @for (at, violation) in all.clone().take(IN_SIGHT) { (violation_at(at, violation)) } }
            }
            @if folded > 0 {
                details.more {
                    summary { (folded) " more" }
                    ol.violations start=(IN_SIGHT + 1) { @for (at, violation) in all.skip(IN_SIGHT) { (violation_at(at, violation)) } }
                }
            }
            @if beyond > 0 { p.quiet { "And " (count(beyond)) " more that are not listed." } }
        }
    }
}

fn violation_item(judged: &Judged, (check, at): (usize, usize), violation: &Violation) -> Markup {
    let named = violation.operations.len();
    html! {
        li.violation data-check=(check) data-violation=(at) {
            p.message { (plain(&violation.message)) }
            button.show type="button" hidden { "Show in the timeline" }
            @if named > 0 {
                details open[at == 0] {
                    summary { (counted(u64::try_from(named).unwrap_or(u64::MAX), "operation", "operations")) " that " @if named == 1 { "shows" } @else { "show" } " it" }
                    div.scroll {
                        table.operations {
                            thead { tr {
                                th.number scope="col" { "" }
                                th scope="col" { "worker" }
                                th scope="col" { "operation" }
                                th scope="col" { "result" }
                                th.number scope="col" { "invoked" }
                                th.number scope="col" { "took" }
                                th.number scope="col" { "number" }
                            } }
                            tbody { @for (row, id) in violation.operations.iter().take(ROWS_MAX).enumerate() {
                                (operation_row(row + 1, *id, judged.excerpt.operation(*id), judged.excerpt.end_ns))
                            } }
                        }
                    }
                    @if named > ROWS_MAX { p.quiet { "And " (named - ROWS_MAX) " more." } }
                }
            }
        }
    }
}

fn operation_row(row: usize, id: u64, operation: Option<&Operation>, end_ns: u64) -> Markup {
    html! {
        tr {
            td.number { (row) }
            @match operation {
                None => td colspan="5" { span.quiet { "not shown" } },
                Some(operation) => {
                    td { (operation.worker) }
                    td.words { code { (operation.op.name()) } " " span.arguments { (plain(&arguments(&operation.op))) } }
                    @let (outcome, said) = result(operation);
                    @let said = plain(&said);
                    td.words { @match outcome { 0 => code { (said) }, 1 => { "failed: " (said) }, _ => { "unknown: " (said) } } }
                    td.number { (moment(operation.invoked_ns, end_ns)) }
                    td.number { @match operation.completed_ns { Some(end) => (duration(end.saturating_sub(operation.invoked_ns))), None => "no answer" } }
                }
            }
            td.number { (id) }
        }
    }
}

/// A moment of a run of this length, with microseconds; in the unit that its timeline has.
fn moment(ns: u64, end_ns: u64) -> String {
    let us = ns / 1_000;
    if end_ns < 10_000_000_000 {
        format!("{}.{:03} ms", count(us / 1_000), us % 1_000)
    } else {
        format!("{}.{:06} s", count(us / 1_000_000), us % 1_000_000)
    }
}
