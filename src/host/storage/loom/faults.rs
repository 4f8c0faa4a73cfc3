//! The faults that the models must find: each is an error that somebody could
//! make in the real code.

/// One error, planted in a copy of a file.
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    /// The model that must find it, …
    pub(crate) model: &'static str,
    /// … and words of the panic with which it does.
    pub(crate) says: &'static str,
    pub(crate) tree: &'static str,
    /// In the parent folder.
    pub(crate) file: &'static str,
    /// Each first text, which is there just once, becomes the second.
    pub(crate) change: &'static [(&'static str, &'static str)],
}

const WAITING: &str = "waiting.rs";
const COUNTING: &str = "counting.rs";

pub(crate) const FAULTS: &[Fault] = &[
    Fault {
        name: "joins_after_letting_go",
        model: "queue_models::a_release_meets_a_wait",
        says: "not woken",
        tree: WAITING,
        file: "shm_wait.rs",
        change: &[(
            "        match self.ticket {\n",
            "        drop(queue);\n        let mut queue = self.shm.queue().lock();\n        match self.ticket {\n",
        )],
    },
    Fault {
        name: "looks_at_nobody_ahead",
        model: "queue_models::waiters_are_served_in_order",
        says: "overtook",
        tree: WAITING,
        file: "queue.rs",
        change: &[("**other < mine", "**other == mine")],
    },
    Fault {
        name: "newcomer_overtakes",
        model: "queue_models::a_newcomer_queues",
        says: "overtook",
        tree: WAITING,
        file: "shm_wait.rs",
        change: &[(
            "let first = queue",
            "let first = self.ticket.is_none() || queue",
        )],
    },
    Fault {
        name: "gives_up_its_place_when_overtaken",
        model: "queue_models::a_try_strands_nobody",
        says: "not woken",
        tree: WAITING,
        file: "shm_wait.rs",
        change: &[(
            "Some(ticket) => queue.set_waker(ticket, waker),",
            "Some(ticket) => drop(queue.leave(ticket)),",
        )],
    },
    Fault {
        name: "leaves_in_silence",
        model: "queue_models::a_dropped_wait_passes_its_turn_on",
        says: "not woken",
        tree: WAITING,
        file: "shm_wait.rs",
        change: &[("wakers.into_iter().for_each(Waker::wake);", "drop(wakers);")],
    },
    Fault {
        name: "wakes_before_the_lock_is_free",
        model: "queue_models::a_dropped_wait_passes_its_turn_on",
        says: "not woken",
        tree: WAITING,
        file: "queue.rs",
        change: &[
            (
                "        match lock.kind {\n            ShmLockKind::Shared => {\n",
                "        let able = self.able(lock.mask());\n        match lock.kind {\n            ShmLockKind::Shared => {\n",
            ),
            (
                "        self.able(lock.mask())\n    }\n\n    /// The wakers",
                "        able\n    }\n\n    /// The wakers",
            ),
        ],
    },
    Fault {
        name: "times_out_in_its_place",
        model: "queue_models::a_deadline_meets_a_wake_up",
        says: "not woken",
        tree: WAITING,
        file: "shm_wait.rs",
        change: &[(
            "            return Poll::Ready(Err(ErrorCode::TimedOut));",
            "            self.ticket = None;\n            return Poll::Ready(Err(ErrorCode::TimedOut));",
        )],
    },
    Fault {
        name: "upgrade_waits_for_itself",
        model: "queue_models::an_upgrade_is_refused",
        says: "deadlock",
        tree: WAITING,
        file: "shm.rs",
        change: &[(" || other & wants.mask() != 0 {", " {")],
    },
    Fault {
        name: "counts_sharers_as_one",
        model: "queue_models::sharers_and_a_writer_exclude_each_other",
        says: "excludes each other",
        tree: WAITING,
        file: "queue.rs",
        change: &[(
            "self.sharers[lock.first as usize] += 1",
            "self.sharers[lock.first as usize] = 1",
        )],
    },
    Fault {
        name: "locks_when_closed",
        model: "queue_models::a_closed_handle_takes_nothing",
        says: "a closed handle holds a lock",
        tree: WAITING,
        file: "shm.rs",
        change: &[(
            "        if self.check_wanted(wants)? {\n            return Ok(Attempt::Acquired);\n        }\n        if queue",
            "        if queue",
        )],
    },
    Fault {
        name: "shares_twice",
        model: "queue_models::two_tries_of_one_handle_take_one_lock",
        says: "is held",
        tree: WAITING,
        file: "shm.rs",
        change: &[(
            "            return Ok(Attempt::Acquired);\n        }\n        if queue",
            "        }\n        if queue",
        )],
    },
    Fault {
        name: "closes_in_silence",
        model: "queue_models::a_closed_holder_is_succeeded",
        says: "not woken",
        tree: WAITING,
        file: "shm.rs",
        change: &[(
            "wakers.extend(queue.released(lock));",
            "let _ = (&mut wakers, queue.released(lock));",
        )],
    },
    Fault {
        name: "looks_at_a_ranges_first_slot",
        model: "queue_models::a_range_waits_for_its_last_slot",
        says: "not woken",
        tree: WAITING,
        file: "queue.rs",
        change: &[(
            "if mask & slots != 0 && mask & ahead",
            "if slots & (1 << waiter.wants.first) != 0 && mask & ahead",
        )],
    },
    Fault {
        name: "sleeps_behind_another_process",
        model: "queue_models::whoever_is_first_asks",
        says: "not woken",
        tree: WAITING,
        file: "queue.rs",
        change: &[(
            "Some(waiter) => self.able(waiter.wants.mask()),",
            "Some(_) => Vec::new(),",
        )],
    },
    Fault {
        name: "waits_to_be_told_by_another_process",
        model: "queue_models::another_process_is_asked_again",
        says: "not woken",
        tree: WAITING,
        file: "shm_wait.rs",
        change: &[(
            "Some(self.deadline.map_or(again, |deadline| again.min(deadline)))",
            "self.deadline",
        )],
    },
    Fault {
        name: "releaser_looks_without_a_fence",
        model: "hub_models::a_commit_meets_a_wait",
        says: "not woken",
        tree: WAITING,
        file: "hub.rs",
        change: &[(
            "        fence(Ordering::SeqCst);\n        if self.is_watched",
            "        if self.is_watched",
        )],
    },
    Fault {
        name: "announces_without_a_fence",
        model: "hub_models::an_announcement_meets_a_wait",
        says: "not woken",
        tree: WAITING,
        file: "hub.rs",
        change: &[(
            "        fence(Ordering::SeqCst);\n        if !self.is_watched",
            "        if !self.is_watched",
        )],
    },
    Fault {
        name: "waiter_compares_without_a_fence",
        model: "hub_models::a_commit_meets_a_wait",
        says: "not woken",
        tree: WAITING,
        file: "hub.rs",
        change: &[("                        fence(Ordering::SeqCst);\n", "")],
    },
    Fault {
        name: "compares_before_it_registers",
        model: "hub_models::an_announcement_meets_who_waits_for_it",
        says: "not woken",
        tree: WAITING,
        file: "hub.rs",
        change: &[
            (
                "                let begin = Hub::begin(",
                "                let token = self.source.token()?;\n                let begin = Hub::begin(",
            ),
            (
                "                        let token = self.source.token()?;\n",
                "",
            ),
        ],
    },
    Fault {
        name: "tells_only_the_first",
        model: "hub_models::a_deadline_meets_a_commit",
        says: "not woken",
        tree: WAITING,
        file: "hub.rs",
        change: &[(
            "        wakers.into_iter().for_each(Waker::wake);",
            "        wakers.into_iter().take(1).for_each(Waker::wake);",
        )],
    },
    Fault {
        name: "leaves_its_turn_in_silence",
        model: "hub_models::the_foremost_leaves_its_turn",
        says: "not woken",
        tree: WAITING,
        file: "watch.rs",
        change: &[(
            "            self.tell(next, true, now, wakers);\n        }\n    }\n\n    /// The first in turn",
            "            let _ = (next, now, wakers);\n        }\n    }\n\n    /// The first in turn",
        )],
    },
    Fault {
        name: "overtakes_in_silence",
        model: "hub_models::who_is_overtaken_is_told",
        says: "not woken",
        tree: WAITING,
        file: "watch.rs",
        change: &[(
            "        for id in behind {\n            self.tell(id, true, now, wakers);",
            "        for id in behind {\n            let _ = (id, now, &wakers);",
        )],
    },
    Fault {
        name: "forgets_news_for_who_is_awake",
        model: "hub_models::a_claims_end_meets_a_wait",
        says: "not woken",
        tree: WAITING,
        file: "watch.rs",
        change: &[(
            "watcher.news |= is_news",
            "watcher.news |= is_news && false",
        )],
    },
    Fault {
        name: "forgets_news_at_the_deadline",
        model: "hub_models::a_deadline_keeps_the_news",
        says: "the news is lost",
        tree: WAITING,
        file: "watch.rs",
        change: &[(
            "watcher.news |= was_told && !looks;",
            "let _ = (was_told, looks);",
        )],
    },
    Fault {
        name: "who_leaves_stops_the_alarm",
        model: "hub_models::who_leaves_takes_nobodys_alarm",
        says: "not woken",
        tree: WAITING,
        file: "hub.rs",
        change: &[("if waiting == 0 && self.alarm", "if self.alarm")],
    },
    Fault {
        name: "ticks_for_nobody",
        model: "hub_models::nobody_waits_nothing_ticks",
        says: "an alarm is left",
        tree: WAITING,
        file: "hub.rs",
        change: &[("if state.watchers.waiting() > 0 {", "{")],
    },
    Fault {
        name: "takes_an_announcement_for_all",
        model: "hub_models::an_announcement_hides_no_other_commit",
        says: "not woken",
        tree: WAITING,
        file: "commits.rs",
        change: &[(
            "u32::try_from(known) != Ok(last.wrapping_sub(seen))",
            "known == 0 && last != seen",
        )],
    },
    Fault {
        name: "removes_anothers_entry",
        model: "registry_models::one_object_per_file",
        says: "two objects for one file",
        tree: COUNTING,
        file: "registry.rs",
        change: &[(
            "entry.strong_count() == 0",
            "true || entry.strong_count() == 0",
        )],
    },
    Fault {
        name: "keeps_the_entry",
        model: "registry_models::the_last_user_takes_the_entry",
        says: "an entry is left",
        tree: COUNTING,
        file: "registry.rs",
        change: &[("            entries.remove(&self.id);\n", "")],
    },
];
