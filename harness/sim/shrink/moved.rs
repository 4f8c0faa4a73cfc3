//! Faults and choices when somebody is not there any more.

use crate::sim::fault::Fault;
use crate::sim::script::{Cut, Script, Switch};
use crate::sim::settings::Settings;

/// The settings without what befalls this worker and with whom it makes way for; all who come after
/// it are numbered anew.
pub(super) fn without_worker(settings: &Settings, worker: u32) -> Settings {
    let number = |actor: u32| match actor.cmp(&worker) {
        std::cmp::Ordering::Less => Some(actor),
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => Some(actor - 1),
    };
    let fault = |fault: Fault| {
        let worker = number(fault.worker)?;
        Some(Fault { worker, ..fault })
    };
    let switch = |switch: &Switch| {
        Some(Switch {
            actor: number(switch.actor)?,
            to: number(switch.to)?,
            ..*switch
        })
    };
    let cut = |cut: &Cut| {
        let actor = number(cut.actor)?;
        Some(Cut { actor, ..*cut })
    };
    let faults = settings.faults.as_ref();
    Settings {
        faults: faults.map(|plan| plan.faults().into_iter().filter_map(fault).collect()),
        script: Script {
            switches: settings.script.switches.iter().filter_map(switch).collect(),
            cuts: settings.script.cuts.iter().filter_map(cut).collect(),
        },
        ..settings.clone()
    }
}

/// The script without the choices at this actor's stops.
pub(super) fn without_actor(script: &Script, actor: u32) -> Script {
    let mut script = script.clone();
    script.switches.retain(|switch| switch.actor != actor);
    script.cuts.retain(|cut| cut.actor != actor);
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_after_is_numbered_anew() {
        let settings = Settings {
            faults: Some(
                ["0:5:io", "1:5:drop", "2:6:kill"]
                    .iter()
                    .map(|text| text.parse().unwrap())
                    .collect(),
            ),
            script: Script {
                switches: ["0@1>2", "0@2>1", "1@3>0", "3@4>0"]
                    .iter()
                    .map(|text| text.parse().unwrap())
                    .collect(),
                cuts: ["1@1+5", "2@1+6"]
                    .iter()
                    .map(|text| text.parse().unwrap())
                    .collect(),
            },
            ..Settings::default()
        };
        let without = without_worker(&settings, 1);
        let faults = without.faults.unwrap().faults();
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(faults, ["0:5:io", "1:6:kill"]);
        let switches = without.script.switches.iter().map(ToString::to_string);
        assert_eq!(switches.collect::<Vec<_>>(), ["0@1>1", "2@4>0"]);
        let cuts = without.script.cuts.iter().map(ToString::to_string);
        assert_eq!(cuts.collect::<Vec<_>>(), ["1@1+6"]);
        assert_eq!(without_actor(&settings.script, 0).switches.len(), 2);
    }
}
