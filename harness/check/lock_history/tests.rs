//! No check accuses a correct lock, and each catches what is planted for it.

use super::super::{CheckResult, CheckSpec, Verdict};
use super::{NOTICE_MS, Planted, Weather, simulate};
use proptest::prelude::*;

fn all(weather: &Weather) -> Vec<CheckSpec> {
    vec![
        CheckSpec::MutualExclusion,
        CheckSpec::FencingTokens,
        CheckSpec::FifoGrants,
        CheckSpec::Timeouts,
        CheckSpec::LockTtl,
        CheckSpec::LockLiveness {
            dead_holder_ms: Some(NOTICE_MS + 2 * weather.delay_ms + 6),
        },
        CheckSpec::LockLiveness {
            dead_holder_ms: None,
        },
        CheckSpec::StaleHolders,
        CheckSpec::MandatoryLocks,
        // Counts of the line are right, and no task waits.
        CheckSpec::Course,
    ]
}

fn any_weather() -> impl Strategy<Value = Weather> {
    let ttls = proptest::sample::subsequence(vec![0, 60, 150, 400, 2000], 1..=5);
    let timeouts =
        proptest::sample::subsequence(vec![None, Some(0), Some(20), Some(300), Some(5000)], 1..=5);
    let offsets = proptest::sample::subsequence(vec![0, -30, 200, 10_000, 61_000], 0..=2);
    let faults = (any::<bool>(), any::<bool>());
    (
        2..8_u32,
        0..150_u64,
        1..1000_u64,
        ttls,
        timeouts,
        offsets,
        faults,
    )
        .prop_map(
            |(workers, delay_ms, hold_ms, ttls_ms, timeouts_ms, mut offsets_ms, faults)| {
                offsets_ms.push(0);
                Weather {
                    workers,
                    for_ms: 10_000,
                    delay_ms,
                    hold_ms,
                    ttls_ms,
                    timeouts_ms,
                    offsets_ms,
                    kills: faults.0,
                    stops: faults.1,
                    planted: Planted::Nothing,
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_correct_lock_is_never_accused(seed: u64, weather in any_weather()) {
        let (history, _) = simulate(seed, weather.clone());
        for spec in all(&weather) {
            let result = spec.run(&history);
            prop_assert_eq!(result.verdict, Verdict::Pass, "{:#?}", result);
        }
    }
}

/// Nothing is late, so that what is wrong certainly shows.
fn calm(planted: Planted) -> Weather {
    Weather {
        workers: 6,
        for_ms: 6000,
        delay_ms: 1,
        hold_ms: 120,
        ttls_ms: vec![0],
        timeouts_ms: vec![None],
        offsets_ms: vec![0],
        kills: false,
        stops: false,
        planted,
    }
}

fn catches(spec: &CheckSpec, weather: &Weather) -> Vec<CheckResult> {
    let mut shown = 0;
    let mut results = Vec::new();
    for seed in 0..40 {
        let (history, shows) = simulate(seed, weather.clone());
        let result = spec.run(&history);
        assert!(
            shows == 0 || result.verdict == Verdict::Fail,
            "seed {seed}: {:?} shows {shows} times, and {result:?}",
            weather.planted
        );
        shown += u32::from(shows > 0);
        results.push(result);
    }
    assert!(
        shown > 20,
        "{:?} showed in {shown} of 40 runs",
        weather.planted
    );
    results
}

#[test]
fn a_grant_before_the_release_is_caught() {
    catches(
        &CheckSpec::MutualExclusion,
        &calm(Planted::GrantBeforeRelease),
    );
}

#[test]
fn a_token_used_twice_is_caught() {
    catches(&CheckSpec::FencingTokens, &calm(Planted::TokenTwice));
}

#[test]
fn a_line_served_from_its_end_is_caught() {
    catches(&CheckSpec::FifoGrants, &calm(Planted::LastComeFirst));
}

#[test]
fn an_early_timeout_is_caught() {
    let weather = Weather {
        timeouts_ms: vec![None, Some(60), Some(200)],
        ..calm(Planted::EarlyTimeout)
    };
    catches(&CheckSpec::Timeouts, &weather);
}

#[test]
fn a_time_to_live_from_the_request_is_caught() {
    let weather = Weather {
        ttls_ms: vec![1000],
        hold_ms: 700,
        for_ms: 20_000,
        ..calm(Planted::TtlFromRequest)
    };
    catches(&CheckSpec::LockTtl, &weather);
    catches(&CheckSpec::MutualExclusion, &weather);
}

#[test]
fn a_lost_wake_up_is_caught() {
    let spec = CheckSpec::LockLiveness {
        dead_holder_ms: None,
    };
    catches(&spec, &calm(Planted::LostWakeup));
}

#[test]
fn stale_holders_that_go_on_are_caught() {
    for planted in [Planted::StaleWrite, Planted::StaleRelease] {
        let weather = Weather {
            ttls_ms: vec![40],
            hold_ms: 400,
            ..calm(planted)
        };
        catches(&CheckSpec::StaleHolders, &weather);
    }
}

#[test]
fn a_thief_is_caught() {
    catches(&CheckSpec::MandatoryLocks, &calm(Planted::ThiefWrite));
}

#[test]
fn what_is_planted_disturbs_no_other_check() {
    // A token used twice says nothing of who held the lock when.
    for seed in 0..20 {
        let (history, _) = simulate(seed, calm(Planted::TokenTwice));
        for spec in all(&calm(Planted::TokenTwice)) {
            let is_tokens = spec == CheckSpec::FencingTokens;
            let verdict = spec.run(&history).verdict;
            assert!(is_tokens || verdict == Verdict::Pass, "{spec:?}");
        }
    }
}
