use super::super::testing::{Woken, counting_waker};
use super::*;
use std::sync::Arc;

/// A watcher and how often it was woken.
struct Tested {
    id: WatcherId,
    woken: Arc<Woken>,
}

#[derive(Default)]
struct Board(Watchers<()>);

impl Board {
    fn join(&mut self, topic: u64, turn: Option<u64>) -> Tested {
        self.join_claim(topic, turn, None)
    }

    fn join_claim(&mut self, topic: u64, turn: Option<u64>, claim: Option<u64>) -> Tested {
        let interest = Interest { topic, turn, claim };
        let mut wakers = Vec::new();
        let id = self.0.join(Some(interest), Instant::now(), &mut wakers);
        wakers.into_iter().for_each(Waker::wake);
        Tested {
            id,
            woken: counting_waker().1,
        }
    }

    fn begin(&mut self, tested: &mut Tested) -> Begin {
        let (waker, woken) = counting_waker();
        tested.woken = woken;
        self.0.begin(tested.id, waker, ())
    }

    fn tell(&mut self, tell: impl FnOnce(&mut Watchers<()>, &mut Vec<Waker>)) {
        let mut wakers = Vec::new();
        tell(&mut self.0, &mut wakers);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn change(&mut self, tested: &Tested, topic: u64, turn: Option<u64>) {
        let claim = None;
        let wakers = self
            .0
            .change(tested.id, Interest { topic, turn, claim }, Instant::now());
        wakers.into_iter().for_each(Waker::wake);
    }

    fn leave(&mut self, tested: &Tested) {
        let wakers = self.0.leave(tested.id, Instant::now());
        wakers.into_iter().for_each(Waker::wake);
    }
}

fn counts(watchers: &[&Tested]) -> Vec<usize> {
    watchers.iter().map(|tested| tested.woken.count()).collect()
}

#[test]
fn a_change_wakes_the_foremost_of_its_topic_and_all_without_a_turn() {
    let mut board = Board::default();
    // Turns, not arrival, decide; equal turns by arrival.
    let mut second = board.join(1, Some(20));
    assert_eq!(board.begin(&mut second), Begin::Compare);
    let mut first = board.join(1, Some(10));
    let mut third = board.join(1, Some(20));
    let mut listener = board.join(1, None);
    let mut other = board.join(2, Some(0));
    for (tested, expected) in [
        (&mut second, Begin::Wait),
        (&mut first, Begin::Compare),
        (&mut third, Begin::Wait),
        (&mut listener, Begin::Compare),
        (&mut other, Begin::Compare),
    ] {
        assert_eq!(board.begin(tested), expected);
    }
    board.tell(|watchers, wakers| watchers.tell_topic(1, Instant::now(), wakers));
    let all = [&first, &second, &third, &listener, &other];
    assert_eq!(counts(&all), [1, 0, 0, 1, 0]);
    assert_eq!(board.0.waiting(), 3);
    // Still the foremost while it looks: nobody else is asked.
    board.tell(|watchers, wakers| watchers.tell_topic(1, Instant::now(), wakers));
    assert_eq!(counts(&all), [1, 0, 0, 1, 0]);
    board.leave(&first);
    assert_eq!(counts(&all), [1, 1, 0, 1, 0]);
    board.leave(&second);
    assert_eq!(counts(&all), [1, 1, 1, 1, 0]);
    for tested in [&third, &listener, &other] {
        board.leave(tested);
    }
    assert!(board.0.is_empty());
}

#[test]
fn a_hand_over_wakes_two_however_many_wait() {
    let mut board = Board::default();
    let mut line: Vec<_> = (0..1000).map(|turn| board.join(7, Some(turn))).collect();
    for tested in &mut line {
        board.begin(tested);
    }
    let mut woken = 0;
    for served in 0..line.len() {
        // Woken by the change, it takes its turn and goes; the next one is told
        // that it is the foremost, finds nothing yet, and waits on.
        board.tell(|watchers, wakers| watchers.tell_topic(7, Instant::now(), wakers));
        woken += line[served].woken.count();
        board.leave(&line[served]);
        if let Some(next) = line.get_mut(served + 1) {
            woken += next.woken.count();
            assert_eq!(board.begin(next), Begin::Compare);
        }
        assert_eq!(
            woken,
            2 * served + if served + 1 < line.len() { 2 } else { 1 }
        );
        let behind = line.iter().skip(served + 2);
        assert_eq!(behind.map(|tested| tested.woken.count()).sum::<usize>(), 0);
    }
    assert!(board.0.is_empty());
}

#[test]
fn who_becomes_the_foremost_while_awake_is_told_when_it_next_waits() {
    let mut board = Board::default();
    let (first, mut second) = (board.join(1, Some(1)), board.join(1, Some(2)));
    board.leave(&first);
    assert_eq!(board.begin(&mut second), Begin::News);
    assert_eq!(board.begin(&mut second), Begin::Compare, "told once");
}

#[test]
fn waiting_for_something_else_gives_the_place_up_and_another_claim_does_not() {
    let mut board = Board::default();
    let (mut first, mut second) = (board.join(1, Some(1)), board.join(1, Some(2)));
    board.begin(&mut first);
    board.begin(&mut second);
    let claim = |topic, claim| Interest {
        topic,
        turn: Some(1),
        claim: Some(claim),
    };
    assert!(
        board
            .0
            .change(first.id, claim(1, 9), Instant::now())
            .is_empty()
    );
    assert_eq!(
        board.0.change(first.id, claim(2, 9), Instant::now()).len(),
        1
    );
    board.tell(|watchers, wakers| watchers.tell_topic(2, Instant::now(), wakers));
    assert_eq!(first.woken.count(), 1);
}

#[test]
fn the_end_of_a_claim_wakes_who_watches_it_even_when_it_looks_just_then() {
    let mut board = Board::default();
    let mut waits = board.join_claim(1, Some(1), Some(9));
    let mut behind = board.join_claim(1, Some(2), Some(9));
    let mut awake = board.join_claim(2, Some(1), Some(9));
    let mut other = board.join_claim(3, Some(1), Some(8));
    for tested in [&mut waits, &mut behind, &mut other] {
        board.begin(tested);
    }
    let mut asked: Vec<u64> = board
        .0
        .claims()
        .into_iter()
        .map(|(claim, ())| claim)
        .collect();
    asked.sort_unstable();
    assert_eq!(asked, [8, 9], "of the foremost that wait");
    board.tell(|watchers, wakers| watchers.tell_claims(|claim| claim == 9, Instant::now(), wakers));
    assert_eq!(counts(&[&waits, &behind, &other]), [1, 0, 0]);
    assert_eq!(board.begin(&mut awake), Begin::News);
}

#[test]
fn one_that_does_not_react_is_passed_over_until_it_does() {
    let mut board = Board::default();
    let (mut first, mut second) = (board.join(1, Some(1)), board.join(1, Some(2)));
    board.begin(&mut first);
    board.begin(&mut second);
    board.tell(|watchers, wakers| watchers.tell_topic(1, Instant::now(), wakers));
    let later = Instant::now() + STALLED_AFTER;
    board.tell(|watchers, wakers| watchers.pass_over(later - STALLED_AFTER * 2, wakers));
    assert_eq!(counts(&[&first, &second]), [1, 0], "it was woken only now");
    board.tell(|watchers, wakers| watchers.pass_over(later, wakers));
    assert_eq!(counts(&[&first, &second]), [1, 1]);
    assert_eq!(board.begin(&mut second), Begin::Compare);
    board.tell(|watchers, wakers| watchers.tell_topic(1, Instant::now(), wakers));
    assert_eq!(second.woken.count(), 1, "in the first one's place");
    assert_eq!(board.begin(&mut first), Begin::Compare, "there again");
    assert_eq!(board.begin(&mut second), Begin::Wait);
}

#[test]
fn a_commit_that_may_concern_anybody_wakes_each_foremost() {
    let mut board = Board::default();
    let mut watchers: Vec<_> = [(1, Some(1)), (1, Some(2)), (2, Some(1)), (2, None)]
        .map(|(topic, turn)| board.join(topic, turn))
        .into();
    watchers.push(Tested {
        id: board.0.join(None, Instant::now(), &mut Vec::new()),
        woken: counting_waker().1,
    });
    for tested in &mut watchers {
        board.begin(tested);
    }
    board.tell(|watchers, wakers| watchers.tell_all(Instant::now(), wakers));
    let woken: Vec<_> = watchers.iter().map(|tested| tested.woken.count()).collect();
    assert_eq!(woken, [1, 0, 1, 1, 1]);
}

#[test]
fn who_is_overtaken_looks_once_more() {
    // It was granted the lock, and its grant is announced only after the newcomer, whose
    // clock is behind, has joined.
    let mut board = Board::default();
    let mut granted = board.join(1, Some(20));
    assert_eq!(board.begin(&mut granted), Begin::Compare);
    let mut newcomer = board.join(1, Some(10));
    assert_eq!(counts(&[&granted]), [1]);
    assert_eq!(board.begin(&mut newcomer), Begin::Compare);

    // The same while it doesn't wait, and by one that was somewhere else.
    let mut mover = board.join(2, Some(5));
    assert_eq!(board.begin(&mut granted), Begin::Wait);
    board.leave(&newcomer);
    assert_eq!(counts(&[&granted]), [1]);
    board.change(&mover, 1, Some(5));
    assert_eq!(board.begin(&mut granted), Begin::News);
    assert_eq!(board.begin(&mut mover), Begin::Compare);
    assert_eq!(board.begin(&mut granted), Begin::Wait, "told once");

    // Who comes behind is nobody's news.
    let behind = board.join(1, Some(30));
    assert_eq!(counts(&[&granted, &mover, &behind]), [0, 0, 0]);
}

#[test]
fn who_is_overtaken_looks_once_more_behind_one_that_has_left_the_line() {
    let mut board = Board::default();
    let mut leaving = board.join(1, Some(10));
    let mut granted = board.join(1, Some(30));
    assert_eq!(board.begin(&mut leaving), Begin::Compare);
    assert_eq!(board.begin(&mut granted), Begin::Wait);
    // Its time is up: its place is free, and it doesn't wait.
    board.0.end(leaving.id, false);
    board.tell(|watchers, wakers| watchers.tell_topic(1, Instant::now(), wakers));
    board.join(1, Some(20));
    board.leave(&leaving);
    assert_eq!(counts(&[&granted]), [1]);
}

#[test]
fn who_is_overtaken_looks_once_more_though_it_was_passed_over() {
    let mut board = Board::default();
    let mut late = board.join(1, Some(20));
    let mut next = board.join(1, Some(30));
    assert_eq!(board.begin(&mut late), Begin::Compare);
    assert_eq!(board.begin(&mut next), Begin::Wait);
    board.tell(|watchers, wakers| watchers.tell_topic(1, Instant::now(), wakers));
    let later = Instant::now() + STALLED_AFTER;
    board.tell(|watchers, wakers| watchers.pass_over(later, wakers));
    assert_eq!(counts(&[&late, &next]), [1, 1]);
    // It is granted the lock, but that is said to those who came in between.
    board.join(1, Some(10));
    board.tell(|watchers, wakers| watchers.tell_topic(1, Instant::now(), wakers));
    assert_eq!(board.begin(&mut late), Begin::News);
    assert_eq!(board.begin(&mut late), Begin::Wait);
}
