//! Real processes: what becomes of calls when they are killed and stopped, and what a child
//! can say that makes it count as lost.

use crate::support::{
    Folder, LONG, User, acquire, assert_offers_all_but, executable, get, native, set, take,
    until_waiting,
};
use beaver_harness::driver::{Client, Driver, Ending, Process, StdioDriver};
use beaver_harness::protocol::{ErrorCode, Op};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Asks in a thread of its own.
fn in_thread(mut user: User, op: Op) -> std::thread::JoinHandle<(User, ErrorCode)> {
    std::thread::spawn(move || {
        let error = user.fails(op);
        (user, error)
    })
}

/// Two processes of the native build; a client of the second waits for a lock of the first's.
struct Waiting {
    holder: User,
    _holding: Arc<dyn Process>,
    waiting: Arc<dyn Process>,
    call: std::thread::JoinHandle<(User, ErrorCode)>,
}

impl Waiting {
    fn new(folder: &Folder) -> Self {
        let holding = folder.start(&native());
        let mut holder = User::of(&holding, 0);
        holder.ok(acquire("lock:a", None));
        let waiting = folder.start(&native());
        let waiter = User::of(&waiting, 0);
        let call = in_thread(waiter, acquire("lock:a", None));
        until_waiting(&mut holder, "lock:a", 2);
        Self {
            holder,
            _holding: holding,
            waiting,
            call,
        }
    }
}

#[test]
fn a_native_process_offers_all_but_abandoning() {
    let folder = Folder::new();
    let process = folder.start(&native());
    assert_offers_all_but(process.description(), &["drop", "trap"]);
}

#[test]
fn a_killed_process_ends_what_is_under_way_and_all_that_comes() {
    let folder = Folder::new();
    let Waiting {
        mut holder,
        _holding,
        waiting,
        call,
    } = Waiting::new(&folder);
    let mut other = User::of(&waiting, 1);
    assert_eq!(waiting.kill().unwrap(), Ending::Killed);
    let (mut user, error) = call.join().unwrap();
    assert_eq!(error, ErrorCode::Gone);
    let late = user.ask(get("a")).unwrap_err();
    assert_eq!((late.error, late.definite), (ErrorCode::Gone, true));
    assert_eq!(other.fails(get("a")), ErrorCode::Gone);
    assert_eq!(waiting.open(2).err().unwrap().error, ErrorCode::Gone);
    assert!(waiting.stop().is_err() && waiting.resume().is_err());
    waiting.kill().unwrap();
    holder.ok(set("a", 1));
}

#[test]
fn a_stopped_process_can_be_killed() {
    let folder = Folder::new();
    let Waiting {
        _holding,
        waiting,
        call,
        ..
    } = Waiting::new(&folder);
    waiting.stop().unwrap();
    waiting.kill().unwrap();
    assert_eq!(call.join().unwrap().1, ErrorCode::Gone);
}

#[test]
fn a_stopped_process_answers_when_it_is_resumed() {
    let folder = Folder::new();
    let process = folder.start(&native());
    let mut user = User::of(&process, 0);
    user.ok(set("a", 1));
    process.stop().unwrap();
    let (answered, answer) = std::sync::mpsc::channel();
    let call = std::thread::spawn(move || {
        let value = user.ok(get("a"));
        answered.send(value).unwrap();
        user
    });
    assert!(answer.recv_timeout(Duration::from_millis(50)).is_err());
    process.resume().unwrap();
    assert_eq!(answer.recv().unwrap(), 1);
    call.join().unwrap();
}

/// The native build behind a shell that waits for it.
fn wrapped() -> StdioDriver {
    let script = r#""$0" "$@"; exit $?"#;
    let driver = StdioDriver::new("sh").args(["-c", script]);
    driver.arg(executable()).args(["serve", "native"])
}

/// The processes of this process group that are not dead.
fn living(group: &str) -> usize {
    let is_member = |stat: &String| {
        let mut fields = stat.rsplit_once(") ").unwrap().1.split(' ');
        fields.next() != Some("Z") && fields.nth(1) == Some(group)
    };
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let stats = processes.map(|entry| std::fs::read_to_string(entry.path().join("stat")));
    stats.flatten().filter(is_member).count()
}

/// The process group of whoever has `database` open, and isn't this process.
fn group_of_the_user_of(database: &std::path::Path) -> String {
    let own = std::process::id().to_string();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let files = std::fs::read_dir(entry.path().join("fd"));
        let mut files = files.into_iter().flatten().flatten();
        if files.any(|file| std::fs::read_link(file.path()).is_ok_and(|it| it == database))
            && entry.file_name() != own.as_str()
        {
            let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap();
            let rest = stat.rsplit_once(") ").unwrap().1;
            return rest.split(' ').nth(2).unwrap().to_owned();
        }
    }
    panic!("nobody has it open");
}

#[test]
fn a_driver_behind_a_wrapper_is_stopped_and_killed_too() {
    let folder = Folder::new();
    let process = folder.start(&wrapped());
    let mut user = User::of(&process, 0);
    user.ok(set("a", 1));
    let group = group_of_the_user_of(&folder.init().database);
    assert_eq!(living(&group), 2, "the shell and the driver");
    process.stop().unwrap();
    let (answered, answer) = std::sync::mpsc::channel();
    let call = std::thread::spawn(move || {
        answered.send(user.ok(get("a"))).unwrap();
        user
    });
    assert!(answer.recv_timeout(Duration::from_millis(200)).is_err());
    process.resume().unwrap();
    assert_eq!(answer.recv().unwrap(), 1);
    let mut user = call.join().unwrap();
    process.stop().unwrap();
    assert_eq!(process.kill().unwrap(), Ending::Killed);
    assert_eq!(living(&group), 0);
    assert_eq!(user.fails(get("a")), ErrorCode::Gone);
}

#[test]
fn whoever_a_wrapper_leaves_behind_ends_with_it() {
    let folder = Folder::new();
    // It takes neither the output nor the input along, so only the group tells of it.
    let process = folder.start(&shell(
        "echo $$ >&2; sleep 1000 <&- >&- 2>&- & read open; exit 7",
    ));
    let _ = process.open(0);
    let group = process.notes().trim().to_owned();
    let ending = process.kill().unwrap();
    assert_eq!(
        ending,
        Ending::Before("the process ended (exit status: 7)".into())
    );
    assert_eq!(living(&group), 0);
}

#[test]
fn patience_ends_a_process_that_does_not_answer() {
    let folder = Folder::new();
    let process = folder.start(&native());
    let mut user = User::of(&process, 0);
    let mut other = User::of(&process, 1);
    process.stop().unwrap();
    // More than a pipe holds: writing it takes as long as the patience lasts, and no longer.
    let large = Op::BlobPut {
        name: "b".into(),
        key: "k".into(),
        data: "x".repeat(1 << 20),
    };
    let failure = user
        .0
        .call(&large, false, Duration::from_millis(50))
        .unwrap_err();
    assert_eq!(failure.error, ErrorCode::Gone);
    assert!(!failure.definite);
    assert!(failure.message.contains("no answer to `blob-put` within"));
    assert_eq!(other.fails(get("a")), ErrorCode::Gone);
    assert!(!user.0.was_given_up());
    assert!(matches!(process.kill().unwrap(), Ending::Before(why) if why.contains("no answer")));
}

#[test]
fn who_waits_for_ever_is_given_up_and_not_called_silent() {
    let folder = Folder::new();
    let Waiting {
        mut holder,
        _holding,
        waiting,
        call: _other,
    } = Waiting::new(&folder);
    let mut user = User::of(&waiting, 1);
    let op = acquire("lock:a", None);
    let failure = user.0.call(&op, false, Duration::ZERO).unwrap_err();
    assert_eq!(failure.error, ErrorCode::Gone);
    assert!(user.0.was_given_up());
    assert_eq!(waiting.kill().unwrap(), Ending::GivenUp);
    holder.ok(get("a"));
}

#[test]
fn a_kill_tells_a_process_that_had_ended_by_itself() {
    let folder = Folder::new();
    // Its output stays open, so nothing but its status tells of its end.
    let process = folder.start(&shell("echo $$ >&2; exec 3<&0; cat <&3 & exit 7"));
    let start = Instant::now();
    while !std::fs::read_to_string(format!("/proc/{}/stat", process.notes().trim()))
        .is_ok_and(|stat| stat.contains(") Z "))
    {
        assert!(start.elapsed() < LONG);
    }
    let ending = process.kill().unwrap();
    assert_eq!(
        ending,
        Ending::Before("the process ended (exit status: 7)".into())
    );
}

#[test]
fn an_operation_s_own_time_comes_before_patience() {
    let folder = Folder::new();
    let process = folder.start(&native());
    let mut user = User::of(&process, 0);
    let patience = Duration::from_secs(20);
    let answer = user.0.call(&take(Some(100)), false, patience);
    assert_eq!(answer.unwrap_err().error, ErrorCode::Timeout);
}

#[test]
fn what_was_answered_before_a_kill_counts() {
    let folder = Folder::new();
    let process = folder.start(&native());
    let writer = {
        let mut user = User::of(&process, 0);
        std::thread::spawn(move || {
            let mut last = 0;
            loop {
                match user.ask(set("n", last + 1)) {
                    Ok(_) => last += 1,
                    Err(failure) => return (last, failure.error),
                }
            }
        })
    };
    let mut reader = User::of(&process, 1);
    while reader.ok(get("n")).as_u64() < Some(20) {
        assert!(!writer.is_finished(), "{:?}", writer.join());
    }
    process.kill().unwrap();
    let (last, error) = writer.join().unwrap();
    assert_eq!(error, ErrorCode::Gone);
    let process = folder.start(&native());
    let found = User::of(&process, 0).ok(get("n")).as_i64().unwrap();
    assert!(found == last || found == last + 1, "{found} after {last}");
}

#[test]
fn a_child_ends_with_its_last_handle() {
    let folder = Folder::new();
    // One that ends with its input, and one that doesn't care.
    for script in ["cat > /dev/null", "exec <&-; exec sleep 1000"] {
        let process = folder.start(&shell(&format!("echo $$ >&2\n{script}")));
        let start = Instant::now();
        let number = loop {
            let notes = process.notes();
            if notes.ends_with('\n') {
                break notes.trim().to_owned();
            }
            assert!(start.elapsed() < LONG);
        };
        let folder = PathBuf::from("/proc").join(number);
        assert!(folder.exists());
        drop(process);
        assert!(!folder.exists(), "{script}");
    }
}

/// A shell that answers `init` and then does as `script` says. `$1` has the capabilities.
fn shell(script: &str) -> StdioDriver {
    let description = json!({"id": 1, "ok": {"protocol": 1, "name": "sh", "version": "",
        "capabilities": ["dict"]}});
    let script = format!("read init\necho '{description}'\n{script}");
    StdioDriver::new("sh").args(["-c", &script])
}

/// What the first operation of a shell's client ends with.
fn said(script: &str) -> String {
    let folder = Folder::new();
    let script = format!("read open\necho '{{\"id\":2,\"ok\":null}}'\nread op\n{script}");
    let process = folder.start(&shell(&script));
    let mut user = User::of(&process, 0);
    let failure = user.0.call(&get("a"), false, LONG).unwrap_err();
    assert_eq!(failure.error, ErrorCode::Gone, "{failure}");
    assert_eq!(user.fails(get("a")), ErrorCode::Gone);
    failure.message
}

#[test]
fn a_child_that_talks_nonsense_is_lost_with_a_sentence() {
    for (script, sentence) in [
        ("echo hello; cat", "the line is not an answer"),
        (
            r#"echo '{"id":3}'; cat"#,
            "exactly one of the fields `ok` and `error`",
        ),
        (
            r#"echo '{"id":3,"error":"oops"}'; cat"#,
            r#"has the error "oops", which PROTOCOL.md doesn't list"#,
        ),
        (
            r#"echo '{"id":9,"ok":1}'; cat"#,
            "id 9, which no request had",
        ),
        (
            r#"echo '{"id":2,"ok":1}'; cat"#,
            "request 2 was answered twice",
        ),
        (r"printf '\377\n'; cat", "not UTF-8"),
        ("exit 3", "the process ended (exit status: 3)"),
        ("kill -9 $$", "the process ended (signal: 9"),
        ("exec >&-; read more", "closed its standard output"),
        (
            r#"printf '{"id":3,"ok":null}'; exit 0"#,
            "the process ended",
        ),
    ] {
        let said = said(script);
        assert!(said.contains(sentence), "{script}: {said}");
    }
}

#[test]
fn a_child_that_does_not_start_says_why() {
    let folder = Folder::new();
    for (script, words) in [
        ("echo no such module >&2; exit 1", "no such module"),
        (
            r#"read init; echo '{"id":1,"error":"invalid","message":"no folder"}'; cat"#,
            "no folder",
        ),
        (
            r#"read init; echo '{"id":1,"ok":{}}'; cat"#,
            "needs `protocol`",
        ),
        (
            r#"read init; echo '{"id":1,"ok":{"protocol":2,"name":"x","capabilities":[]}}'; cat"#,
            "speaks protocol 2",
        ),
    ] {
        let driver = StdioDriver::new("sh").args(["-c", script]);
        let error = driver.start(&folder.init()).err().unwrap();
        let said = format!("{error:#}");
        assert!(said.contains(words), "{script}: {said}");
    }
    let missing = StdioDriver::new("/there/is/no/such/program");
    assert!(missing.start(&folder.init()).is_err());
    let silent = StdioDriver::new("sleep").arg("1000");
    let silent = silent.patience(Duration::from_millis(50));
    let error = silent.start(&folder.init()).err().unwrap();
    assert!(format!("{error:#}").contains("no answer to `init` within 50 ms"));
}

#[test]
fn only_the_end_of_what_a_child_writes_for_people_is_kept() {
    let folder = Folder::new();
    let script = "yes | head -c 100000 >&2; echo the end >&2; read open; echo done";
    let process = folder.start(&shell(script));
    // By then it has written all of it.
    let _ = process.open(0);
    let deadline = Instant::now() + LONG;
    while !process.notes().ends_with("the end\n") {
        assert!(Instant::now() < deadline, "{}", process.notes());
    }
    assert!(process.notes().len() <= 16 << 10);
}

#[test]
fn a_client_that_is_closed_gives_its_locks_back() {
    let folder = Folder::new();
    let process = folder.start(&native());
    let mut first = User::of(&process, 0);
    first.ok(acquire("dict:d", None));
    let mut second = User::of(&process, 1);
    assert_eq!(second.fails(acquire("dict:d", Some(0))), ErrorCode::Timeout);
    first.0.close().unwrap();
    second.ok(acquire("dict:d", Some(0)));
    // The number is free again.
    User::of(&process, 0).ok(get("a"));
    let _: Box<dyn Client> = second.0;
}
