//! The simulator finds what is wrong on purpose with the machine that it simulates, within the number
//! of seeds that `harness/sim/CALIBRATION.md` states. Faults of the component take components of their
//! own: `beaver-harness sim calibrate --components`.

use beaver_harness::sim::Simulator;
use beaver_harness::sim::calibration::{PLANTED, Place};

#[test]
fn the_hosts_defects_are_found_in_time() {
    let simulator = Simulator::new(&beaver_host::default_component_path()).unwrap();
    let mut count = 0;
    for planted in PLANTED {
        if let Place::Host(_) = planted.place {
            let found = planted.find(&simulator, 1).unwrap();
            assert!(
                found.is_some(),
                "{} isn't found within {} seeds",
                planted.name,
                planted.seeds_max
            );
            count += 1;
        }
    }
    assert!(count > 0);
}
