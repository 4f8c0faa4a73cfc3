//! Clients of the component that are abandoned: in the middle of a call and between two, in
//! this process and in another, by dropping the instance and by a trap.

use crate::support::{
    Folder, LONG, User, acquire, assert_offers_all_but, get, processes, put, set, take,
    until_waiting,
};
use beaver_harness::driver::{ComponentDriver, Driver};
use beaver_harness::protocol::{ErrorCode, Op};
use serde_json::{Value, json};
use std::time::Duration;

fn both_ways(test: impl Fn(&dyn Driver, bool)) {
    let drivers: [Box<dyn Driver>; 2] =
        [Box::new(ComponentDriver::new(None)), Box::new(processes())];
    for driver in &drivers {
        for trap in [false, true] {
            println!("with {}, trap: {trap}", driver.name());
            test(&**driver, trap);
        }
    }
}

#[test]
fn the_component_offers_everything() {
    for driver in [
        Box::new(ComponentDriver::new(None)) as Box<dyn Driver>,
        Box::new(processes()),
    ] {
        let folder = Folder::new();
        let process = folder.start(&*driver);
        assert_offers_all_but(process.description(), &[]);
        assert_eq!(process.kill().is_ok(), driver.has_processes());
    }
}

#[test]
fn whoever_waits_is_abandoned_at_once() {
    both_ways(|driver, trap| {
        let folder = Folder::new();
        let process = folder.start(driver);
        let mut holder = User::of(&process, 0);
        holder.ok(acquire("lock:a", None));
        let mut waiter = User::of(&process, 1);
        waiter.ok(acquire("lock:b", None));
        let abandoner = waiter.0.abandoner();
        let call = std::thread::spawn(move || {
            let failure = waiter.ask(acquire("lock:a", None)).unwrap_err();
            let late = waiter.ask(get("a")).unwrap_err();
            assert_eq!((late.error, late.definite), (ErrorCode::Gone, true));
            assert!(waiter.0.close().is_err());
            failure
        });
        until_waiting(&mut holder, "lock:a", 2);
        abandoner.abandon(trap).unwrap();
        let failure = call.join().unwrap();
        assert_eq!(failure.error, ErrorCode::Gone);
        assert!(!failure.definite);
        // Once more is nothing.
        abandoner.abandon(!trap).unwrap();
        // What it held comes free long before its time, and the number is free at once.
        holder.ok(acquire("lock:b", Some(20_000)));
        let mut again = User::of(&process, 1);
        assert_eq!(again.ok(get("a")), Value::Null);
        holder.ok(set("a", 1));
    });
}

#[test]
fn whoever_waits_for_an_item_takes_none_once_abandoned() {
    both_ways(|driver, trap| {
        for certify in [false, true] {
            let folder = Folder::new();
            let process = folder.start(driver);
            let mut waiter = User::of(&process, 1);
            let abandoner = waiter.0.abandoner();
            let (started, start) = std::sync::mpsc::channel();
            let call = std::thread::spawn(move || {
                started.send(()).unwrap();
                waiter.0.call(&take(None), certify, LONG).unwrap_err()
            });
            start.recv().unwrap();
            abandoner.abandon(trap).unwrap();
            assert_eq!(call.join().unwrap().error, ErrorCode::Gone);
            let mut other = User::of(&process, 0);
            other.ok(put("x"));
            assert_eq!(other.ok(take(Some(0)))["value"], json!("x"));
        }
    });
}

#[test]
fn an_idle_client_is_abandoned_with_its_transaction() {
    both_ways(|driver, trap| {
        let folder = Folder::new();
        let process = folder.start(driver);
        let mut user = User::of(&process, 0);
        user.ok(Op::Begin);
        user.ok(set("a", 1));
        user.0.abandoner().abandon(trap).unwrap();
        assert_eq!(user.fails(Op::Commit), ErrorCode::Gone);
        let mut other = User::of(&process, 1);
        assert_eq!(other.ok(get("a")), Value::Null);
        other.ok(set("a", 2));
    });
}

#[test]
fn a_trap_says_so() {
    let folder = Folder::new();
    let process = folder.start(&ComponentDriver::new(None));
    let mut holder = User::of(&process, 0);
    holder.ok(acquire("lock:a", None));
    let mut waiter = User::of(&process, 1);
    let abandoner = waiter.0.abandoner();
    let call = std::thread::spawn(move || waiter.ask(acquire("lock:a", None)).unwrap_err());
    until_waiting(&mut holder, "lock:a", 2);
    abandoner.abandon(true).unwrap();
    let failure = call.join().unwrap();
    assert!(failure.message.contains("interrupted"), "{failure}");
}

#[test]
fn patience_ends_an_instance() {
    let folder = Folder::new();
    let process = folder.start(&ComponentDriver::new(None));
    let mut holder = User::of(&process, 0);
    holder.ok(acquire("lock:a", None));
    let mut waiter = User::of(&process, 1);
    let patience = Duration::from_millis(20);
    let answer = waiter.0.call(&acquire("lock:a", None), false, patience);
    assert_eq!(answer.unwrap_err().error, ErrorCode::Gone);
    assert_eq!(waiter.fails(get("a")), ErrorCode::Gone);
}

#[test]
fn clients_abandoned_in_the_middle_of_writing_leave_whole_transactions() {
    both_ways(|driver, trap| {
        let folder = Folder::new();
        let process = folder.start(driver);
        let mut reader = User::of(&process, 0);
        for round in 0..5 {
            let mut writer = User::of(&process, 1);
            let abandoner = writer.0.abandoner();
            let from = 1000 * round;
            let call = std::thread::spawn(move || {
                let mut pair = |n: u64| {
                    writer.ask(Op::Begin)?;
                    writer.ask(set("a", n))?;
                    writer.ask(set("b", n))?;
                    writer.ask(Op::Commit)
                };
                let ended = (from + 1..).find_map(|n| pair(n).err());
                ended.unwrap().error
            });
            while reader.ok(get("a")).as_u64().unwrap_or(0) <= from {
                assert!(!call.is_finished(), "{:?}", call.join());
            }
            abandoner.abandon(trap).unwrap();
            assert_eq!(call.join().unwrap(), ErrorCode::Gone);
            reader.ok(Op::Begin);
            assert_eq!(reader.ok(get("a")), reader.ok(get("b")));
            reader.ok(Op::Commit);
        }
    });
}
