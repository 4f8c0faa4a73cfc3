//! Latency distributions, drawn.
//!
//! What must stay true: all charts of a program have the same time axis, so that kinds of
//! operations can be compared by eye.

use crate::report::words::{count, duration};
use crate::report::{Judged, KindSummary};
use maud::{Markup, html};

/// The buckets of an axis of lengths of time, see [`crate::report::Latency::buckets`].
#[derive(Clone, Copy)]
struct Axis {
    first: u32,
    last: u32,
}

impl Axis {
    fn of(kinds: &[KindSummary]) -> Option<Self> {
        let numbers = || {
            kinds
                .iter()
                .flat_map(|kind| &kind.latency.buckets)
                .map(|bucket| bucket.number)
        };
        Some(Self {
            first: numbers().min()?,
            last: numbers().max()?,
        })
    }

    fn buckets(self) -> u32 {
        self.last - self.first + 1
    }

    /// Where the time stands on it, from 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "for drawing")]
    fn place(self, ns: u64) -> f64 {
        let half_octaves = (ns.max(1) as f64).log2() * 2.0;
        ((half_octaves - f64::from(self.first)) / f64::from(self.buckets())).clamp(0.0, 1.0)
    }

    /// Powers of ten on it; also twice and five times those, if it is short.
    fn ticks(self) -> Vec<u64> {
        let from = 2_f64.powf(f64::from(self.first) / 2.0);
        let to = 2_f64.powf(f64::from(self.last + 1) / 2.0);
        let tens = std::iter::successors(Some(1_u64), |ten| ten.checked_mul(10));
        #[expect(clippy::cast_precision_loss, reason = "for drawing")]
        let on = |ten: &u64| (from..=to).contains(&(*ten as f64));
        let few: Vec<u64> = tens.clone().filter(on).collect();
        if few.len() > 2 {
            return few;
        }
        let all = tens.flat_map(|ten| [1, 2, 5].map(|times| ten.saturating_mul(times)));
        all.filter(on).collect()
    }
}

/// The table of latencies by kind, with a histogram in each row and the percentile curves of all
/// below.
pub(super) fn latencies(judged: &Judged) -> Markup {
    let kinds = &judged.summary.kinds;
    let axis = Axis::of(kinds);
    html! {
        @if kinds.is_empty() { p.quiet { "No operation was done." } } @else {
            div.scroll {
                table.latencies {
                    thead { tr {
                        th scope="col" { "operation" }
                        th.number scope="col" { "ok" }
                        th.number scope="col" { "failed" }
                        th.number scope="col" { "unknown" }
                        th.number scope="col" { "p50" }
                        th.number scope="col" { "p90" }
                        th.number scope="col" { "p99" }
                        th.number scope="col" { "p99.9" }
                        th.number scope="col" { "max" }
                        th.drawn scope="col" { "distribution" (axis_ends(axis)) }
                    } }
                    tbody { @for kind in kinds { tr {
                        th scope="row" { span.swatch data-group=(kind.group.name()) data-shade=(kind.shade) aria-hidden="true" {} code { (kind.op) } }
                        td.number { (count(kind.ok)) }
                        td.number { (count(kind.fail)) }
                        td.number { (count(kind.info)) }
                        @let latency = &kind.latency;
                        @for ns in [latency.p50_ns, latency.p90_ns, latency.p99_ns, latency.p999_ns, latency.max_ns] {
                            td.number { @if latency.count == 0 { "–" } @else { (duration(ns)) } }
                        }
                        td.drawn { @if let Some(axis) = axis { (histogram(axis, kind)) } }
                    } } }
                }
            }
            p.quiet { "Of operations that took effect, from the request to its answer, waiting for locks and items included. The axis of all distributions is logarithmic and the same." }
            @if let Some(axis) = axis { (curves(axis, kinds)) }
        }
    }
}

fn axis_ends(axis: Option<Axis>) -> Markup {
    let ticks = axis.map(Axis::ticks).unwrap_or_default();
    html! {
        @if let (Some(first), Some(last)) = (ticks.first(), ticks.last()) {
            @if first != last { span.quiet { " " (round(*first)) " to " (round(*last)) } }
        }
    }
}

/// A power of ten without places after the point.
fn round(ns: u64) -> String {
    duration(ns).replace(".00", "").replace(".0", "")
}

const WIDTH: f64 = 240.0;
const HEIGHT: f64 = 28.0;

#[expect(clippy::cast_precision_loss, reason = "for drawing")]
fn histogram(axis: Axis, kind: &KindSummary) -> Markup {
    let buckets = &kind.latency.buckets;
    let most = buckets
        .iter()
        .map(|bucket| bucket.count)
        .max()
        .unwrap_or(1)
        .max(1) as f64;
    let width = WIDTH / f64::from(axis.buckets());
    let label = format!(
        "{}: half within {}, 99 of 100 within {}",
        kind.op,
        duration(kind.latency.p50_ns),
        duration(kind.latency.p99_ns)
    );
    html! {
        svg.histogram viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) preserveAspectRatio="none" role="img" aria-label=(label) data-group=(kind.group.name()) data-shade=(kind.shade) {
            @for ten in axis.ticks() {
                @let x = axis.place(ten) * WIDTH;
                line.grid x1=(place(x)) x2=(place(x)) y1="0" y2=(HEIGHT) {}
            }
            @for bucket in buckets {
                // What is there is seen, however little.
                @let height = (bucket.count as f64 / most * (HEIGHT - 1.0)).max(1.0);
                @let x = f64::from(bucket.number.saturating_sub(axis.first)) * width;
                rect x=(place(x)) y=(place(HEIGHT - height)) width=(place((width - 0.6).max(0.4))) height=(place(height)) {
                    title { (count(bucket.count)) " took " (bucket_in_words(bucket.number)) }
                }
            }
        }
    }
}

fn place(value: f64) -> String {
    format!("{value:.1}")
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "for the eye; a cast saturates"
)]
fn bucket_in_words(number: u32) -> String {
    let bound = |number: u32| duration(2_f64.powf(f64::from(number) / 2.0) as u64);
    format!("{} to {}", bound(number), bound(number.saturating_add(1)))
}

/// A part of operations, and how it is called.
const PARTS: [(f64, &str); 7] = [
    (0.0, "0 %"),
    (0.5, "50 %"),
    (0.9, "90 %"),
    (0.99, "99 %"),
    (0.999, "99.9 %"),
    (0.9999, "99.99 %"),
    (0.99999, "99.999 %"),
];

const LEFT: f64 = 64.0;
const RIGHT: f64 = 130.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 26.0;
const CURVES_WIDTH: f64 = 880.0;
const CURVES_HEIGHT: f64 = 240.0;

/// Which part of the operations of each kind took no longer than how long.
fn curves(axis: Axis, kinds: &[KindSummary]) -> Markup {
    let (right, bottom) = (CURVES_WIDTH - RIGHT, CURVES_HEIGHT - BOTTOM);
    let most = kinds
        .iter()
        .map(|kind| kind.latency.count)
        .max()
        .unwrap_or(0);
    #[expect(clippy::cast_precision_loss, reason = "for drawing")]
    let nines = (most.max(10) as f64).log10().min(5.0);
    // Each nine more is one step further, as in HdrHistogram's own plots.
    let x = move |part: f64| {
        LEFT + (-(1.0 - part).max(1e-9).log10()).min(nines) / nines * (right - LEFT)
    };
    let y = move |ns: u64| bottom - axis.place(ns) * (bottom - TOP);
    let drawn: Vec<&KindSummary> = kinds.iter().filter(|kind| kind.latency.count > 1).collect();
    let mut ends: Vec<f64> = drawn.iter().map(|kind| y(kind.latency.max_ns)).collect();
    apart(&mut ends, 14.0, TOP, bottom);
    html! {
        @if !drawn.is_empty() {
            figure.curves {
                svg viewBox=(format!("0 0 {CURVES_WIDTH} {CURVES_HEIGHT}")) role="img" aria-label="Percentile curves of the latency of each kind of operation; the table above has the numbers" {
                    @for ten in axis.ticks() {
                        line.grid x1=(LEFT) x2=(place(right)) y1=(place(y(ten))) y2=(place(y(ten))) {}
                        text.tick x=(place(LEFT - 6.0)) y=(place(y(ten) + 4.0)) text-anchor="end" { (round(ten)) }
                    }
                    @for (part, name) in PARTS.iter().filter(|(part, _)| -(1.0 - part).log10() <= nines + 0.01) {
                        line.grid x1=(place(x(*part))) x2=(place(x(*part))) y1=(TOP) y2=(place(bottom)) {}
                        text.tick x=(place(x(*part))) y=(place(bottom + 16.0)) text-anchor="middle" { (name) }
                    }
                    @for (kind, end) in drawn.iter().zip(&ends) {
                        g data-group=(kind.group.name()) data-shade=(kind.shade) {
                            polyline points=(points(kind, x, y)) {}
                            text.name x=(place(right + 8.0)) y=(place(end + 4.0)) { (kind.op) }
                        }
                    }
                }
                figcaption.quiet { "Which part of the operations of a kind took no longer than how long. Both axes are logarithmic." }
            }
        }
    }
}

fn points(kind: &KindSummary, x: impl Fn(f64) -> f64, y: impl Fn(u64) -> f64) -> String {
    let points = kind.latency.curve.iter();
    let points: Vec<String> = points
        .map(|(part, ns)| format!("{:.1},{:.1}", x(*part), y(*ns)))
        .collect();
    points.join(" ")
}

/// Moves places, so that they are at least `distance` from each other, if there is room.
fn apart(places: &mut [f64], distance: f64, top: f64, bottom: f64) {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by(|a, b| {
        places
            .get(*a)
            .partial_cmp(&places.get(*b))
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    let mut free = top;
    for at in &order {
        if let Some(place) = places.get_mut(*at) {
            *place = place.max(free);
            free = *place + distance;
        }
    }
    let mut free = bottom;
    for at in order.iter().rev() {
        if let Some(place) = places.get_mut(*at) {
            *place = place.min(free);
            free = *place - distance;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn labels_do_not_cover_each_other() {
        let mut places = [100.0, 100.0, 20.0, 198.0, 199.0];
        apart(&mut places, 14.0, 10.0, 200.0);
        let mut sorted = places;
        sorted.sort_by(f64::total_cmp);
        assert!(
            sorted.windows(2).all(|two| two[1] - two[0] >= 13.99),
            "{places:?}"
        );
        assert!(sorted[0] >= 10.0 && sorted[4] <= 200.0, "{places:?}");
    }

    #[test]
    fn each_kind_has_its_row_and_its_curve() {
        let judged = fixture::many(4, 2_000, 1).condense(100);
        let page = latencies(&judged).into_string();
        let kinds = judged.summary.kinds.len();
        assert_eq!(page.matches("<svg class=\"histogram\"").count(), kinds);
        assert_eq!(page.matches("<polyline").count(), kinds);
        assert!(!page.contains("NaN") && !page.contains("inf,"), "{page}");
    }

    #[test]
    fn a_run_without_operations_draws_nothing() {
        let mut run = fixture::lost_update();
        run.history.operations.clear();
        let page = latencies(&run.condense(100)).into_string();
        assert!(page.contains("No operation was done."), "{page}");
        assert!(!page.contains("<svg"));
    }
}
