//! What happens in a run that was shrunk, for a person.

use super::case::Case;
use crate::sim::places::Place;
use crate::sim::simulated::Simulated;

/// Faults and choices in the order in which they came, a line each. The run must have a trace in words.
pub(super) fn story(case: &Case, ran: &Simulated) -> Vec<String> {
    let workers = case.workers();
    let who = |actor: u32| {
        if actor < workers {
            format!("worker {actor}")
        } else {
            "who opens the database after all".to_owned()
        }
    };
    let stop = |actor, number| told(ran.places.stop(actor, number));
    let mut lines = Vec::new();
    for fault in &ran.faults {
        let (turn, words) = told(ran.places.call(fault.worker, fault.call));
        let (who, call, blow) = (who(fault.worker), fault.call, fault.blow.words());
        lines.push((turn, format!("{who}, host call {call} ({words}): {blow}")));
    }
    for switch in &ran.script.switches {
        let (turn, words) = stop(switch.actor, switch.stop);
        let (actor, to) = (who(switch.actor), who(switch.to));
        let at = switch.stop;
        lines.push((
            turn,
            format!("{actor} makes way for {to} at its stop {at} ({words})"),
        ));
    }
    for cut in &ran.script.cuts {
        let (turn, words) = stop(cut.actor, cut.stop);
        let (actor, fuel, at) = (who(cut.actor), cut.fuel, cut.stop);
        // It comes just before the stop that it makes.
        lines.push((
            turn.saturating_sub(1),
            format!("{actor} is interrupted after {fuel} instructions: its stop {at} ({words})"),
        ));
    }
    lines.sort_by_key(|(turn, _)| *turn);
    lines.into_iter().map(|(_, line)| line).collect()
}

fn told(place: Option<&Place>) -> (u64, &str) {
    place.map_or((u64::MAX, "which doesn't come"), |place| {
        (place.turn, &place.words)
    })
}
