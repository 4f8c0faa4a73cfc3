//! Runs the models, and the faults that they must find.

mod loom_models {
    use beaver_host_models::{check, counting, waiting};

    macro_rules! models {
        ($($tree:ident::$models:ident: $($model:ident)*;)*) => {
            $($(
                #[test]
                fn $model() {
                    check::passes(stringify!($model), $tree::$models::$model);
                }
            )*)*
        };
    }

    models! {
        waiting::queue_models:
            a_release_meets_a_wait
            waiters_are_served_in_order
            a_newcomer_queues
            a_try_strands_nobody
            a_dropped_wait_passes_its_turn_on
            a_deadline_meets_a_wake_up
            an_upgrade_is_refused
            sharers_and_a_writer_exclude_each_other
            two_tries_of_one_handle_take_one_lock
            a_closed_handle_takes_nothing
            a_closed_holder_is_succeeded
            a_range_waits_for_its_last_slot
            another_process_is_asked_again
            whoever_is_first_asks;
        waiting::hub_models:
            a_commit_meets_a_wait
            an_announcement_meets_a_wait
            an_announcement_meets_who_waits_for_it
            a_deadline_meets_a_commit
            the_foremost_leaves_its_turn
            who_comes_as_the_foremost_leaves_is_told
            who_is_overtaken_is_told
            a_claims_end_meets_a_wait
            a_deadline_keeps_the_news
            who_leaves_takes_nobodys_alarm
            an_announcement_hides_no_other_commit
            nobody_waits_nothing_ticks;
        counting::registry_models:
            one_object_per_file
            the_last_user_takes_the_entry;
    }

    mod planted {
        use beaver_host_models::{check, faults};

        include!(concat!(env!("OUT_DIR"), "/fault_tests.rs"));
    }
}
