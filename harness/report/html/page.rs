//! The page around the programs: the result, what was driven, and the table of all programs.

use super::{SCRIPT, STYLE, policy, program};
use crate::check::Verdict;
use crate::protocol::Capability;
use crate::report::words::{count, date, duration, plain, rate};
use crate::report::{Report, RunReport};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use std::io::{self, Write};

pub(super) fn write(report: &Report, into: &mut dyn Write) -> io::Result<()> {
    into.write_all(begin(report).into_string().as_bytes())?;
    for (at, one) in report.programs.iter().enumerate() {
        // One after the other: the data of one can be some megabytes.
        into.write_all(program::section(at, report, one).into_string().as_bytes())?;
    }
    let end = html! {
        footer.quiet {
            @if report.programs.iter().filter_map(RunReport::judged).any(|judged| judged.header.virtual_time) {
                p { "Times of simulated programs are virtual: what each host call is taken to last, and waits; nothing of this machine's." }
            }
            p { "Times are those of the harness's monotonic clock: from before a request is written until after its answer is read. A failed operation definitely did not happen; an unknown one may take effect at any time after its invocation, or never." }
        }
    };
    into.write_all(end.into_string().as_bytes())?;
    writeln!(into, "</main><script>{SCRIPT}</script></body></html>")
}

fn begin(report: &Report) -> Markup {
    let title = format!("{}: beaver-harness on {}", report.sentence(), report.driver);
    let head = html! {
        (DOCTYPE)
        head {
            meta charset="utf-8";
            meta http-equiv="Content-Security-Policy" content=(policy());
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            meta name="generator" content=(concat!("beaver-harness ", env!("CARGO_PKG_VERSION")));
            title { (plain(&title)) }
            link rel="icon" href="data:,";
            style { (PreEscaped(STYLE)) }
        }
    };
    let top = html! {
        a.skip href="#programs" { "Skip to the programs" }
        header {
            p.product { "beaver-harness " (env!("CARGO_PKG_VERSION")) }
            h1 { (verdict_badge(Some(report.verdict()))) " " (report.sentence()) }
            (about(report))
        }
    };
    // `html` and `body` stay open until all programs are written.
    html! {
        (PreEscaped("<!DOCTYPE html><html lang=\"en\">"))
        (PreEscaped(head.into_string().replacen("<!DOCTYPE html>", "", 1)))
        (PreEscaped("<body>"))
        (top)
        (PreEscaped("<main>"))
        (overview(report))
    }
}

fn about(report: &Report) -> Markup {
    html! {
        dl.facts {
            div { dt { "Driver" } dd { code { (plain(&report.driver)) } } }
            @if let Some(description) = &report.description {
                div { dt { "System" } dd { (plain(&description.name)) " " span.quiet { (plain(&description.version)) } } }
            }
            div { dt { "Begun" } dd { (date(report.started_unix_s)) } }
            div { dt { "Took" } dd { (duration(u64::try_from(report.elapsed.as_nanos()).unwrap_or(u64::MAX))) } }
            @if let Some(seed) = report.seed {
                div { dt { "Seed" } dd { code { (seed) } } }
            }
            @for (name, value) in &report.environment {
                div { dt { (plain(name)) } dd { (plain(value)) } }
            }
        }
        (command("Command", &report.command))
        @if let Some(description) = &report.description {
            @let (there, missing): (Vec<Capability>, Vec<Capability>) = Capability::ALL.iter().partition(|known| description.offers(**known));
            p.capabilities {
                span.label { "Capabilities" }
                @for capability in there { code.chip { (capability.name()) } " " }
                @if !missing.is_empty() {
                    span.label { "not offered" }
                    @for capability in missing { code.chip.absent { (capability.name()) } " " }
                }
            }
        }
    }
}

/// A command to copy.
pub(super) fn command(label: &str, text: &str) -> Markup {
    html! {
        @if !text.is_empty() {
            div.command {
                span.label { (label) }
                pre tabindex="0" aria-label=(label) { code { (plain(text)) } }
                button.copy type="button" hidden { "Copy" }
            }
        }
    }
}

/// A verdict as a sign and a word.
pub(super) fn verdict_badge(verdict: Option<Verdict>) -> Markup {
    match verdict {
        Some(Verdict::Pass) => badge("pass", "pass"),
        Some(Verdict::Fail) => badge("fail", "fail"),
        Some(Verdict::Unknown) => badge("unknown", "unknown"),
        None => badge("not-offered", "not offered"),
    }
}

/// The result of a program as a sign and a word.
pub(super) fn program_badge(program: &RunReport) -> Markup {
    badge(program.word(), &program.word().replace('-', " "))
}

fn badge(word: &str, name: &str) -> Markup {
    let sign = match word {
        "pass" => "✓",
        "fail" => "✗",
        "not-offered" => "–",
        "nothing" => "∅",
        _ => "?",
    };
    html! { span.badge data-verdict=(word) { span aria-hidden="true" { (sign) } " " (name) } }
}

/// The badge of a check that passed without anything to judge.
pub(super) fn nothing_badge() -> Markup {
    badge("nothing", "nothing seen")
}

fn overview(report: &Report) -> Markup {
    html! {
        section aria-labelledby="programs" {
            h2 #programs { "Programs" }
            @if report.programs.is_empty() { p { "No program was run." } } @else {
                div.scroll {
                    table.overview {
                        thead { tr {
                            th scope="col" { "result" }
                            th scope="col" { "program and promise" }
                            th.number scope="col" { "checks" }
                            th.number scope="col" { "operations" }
                            th.number scope="col" { "op/s" }
                            th scope="col" { "faults" }
                            th.number scope="col" { "p50" }
                            th.number scope="col" { "p99" }
                            th.number scope="col" { "max" }
                        } }
                        tbody { @for (at, program) in report.programs.iter().enumerate() { (row(at, program)) } }
                    }
                }
            }
        }
    }
}

fn row(at: usize, program: &RunReport) -> Markup {
    html! {
        tr data-verdict=(program.word()) {
            td { (program_badge(program)) }
            th.words scope="row" {
                a href=(format!("#program-{at}")) { (plain(&program.program)) }
                p.quiet { (plain(&program.promise)) }
                @if let Some(reason) = program::reason(program) { p.reason { (plain(&reason)) } }
            }
            @if let Some(judged) = program.judged() {
                @let passed = judged.results.iter().filter(|result| result.verdict == Verdict::Pass).count();
                @let latency = &judged.summary.latency;
                td.number { (passed) " of " (judged.results.len()) }
                td.number { (count(judged.summary.operations)) }
                td.number { (rate(judged.operations_per_s())) }
                td.faults { @if judged.summary.faults.is_empty() { span.quiet { "none" } } @else { (judged.summary.faults_in_words()) } }
                @for ns in [latency.p50_ns, latency.p99_ns, latency.max_ns] {
                    td.number { @if latency.count == 0 { "–" } @else { (duration(ns)) } }
                }
            } @else {
                td colspan="7" {}
            }
        }
    }
}
