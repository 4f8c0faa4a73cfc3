//! `check-driver` on our own drivers, and on one with a defect planted between it and the
//! harness: each has its sentence.

use crate::support::{executable, native, processes};
use beaver_harness::driver::StdioDriver;
use beaver_harness::driver::validate::{PATIENCE, Verdict, validate};
use serde_json::{Map, json};
use std::time::Duration;

fn verdict(driver: &StdioDriver) -> Verdict {
    validate(driver, &Map::new(), PATIENCE).unwrap()
}

/// What is said of the native build behind two `sed` scripts, one over requests, one over
/// answers.
fn said_of(requests: &str, answers: &str) -> String {
    let driver = behind("native", requests, "sed -u", answers, ":");
    verdict(&driver).fault.unwrap_or_default()
}

/// `serve SYSTEM` behind two filters, with a command after its end.
fn behind(system: &str, requests: &str, filter: &str, answers: &str, then: &str) -> StdioDriver {
    let script = format!("sed -u \"$1\" | \"$0\" serve {system} | {filter} \"$2\"; {then}");
    StdioDriver::new("sh")
        .args(["-c", &script])
        .arg(executable())
        .args([requests, answers])
}

#[test]
fn our_own_drivers_are_in_order() {
    for driver in [native(), processes()] {
        let verdict = verdict(&driver);
        assert_eq!(verdict.fault, None, "{verdict:#?}");
        let abandons = verdict.tried.iter().any(|what| what.contains("`trap`"));
        assert_eq!(
            abandons,
            verdict
                .description
                .unwrap()
                .offers(beaver_harness::protocol::Capability::Trap)
        );
        assert!(verdict.tried.len() > 20, "{:?}", verdict.tried);
    }
}

#[test]
fn a_driver_that_offers_little_is_asked_for_little() {
    // Nothing but dictionaries, one client, nothing else.
    let only = r#"s/"capabilities":\[[^]]*\]/"capabilities":["dict"]/"#;
    let driver = behind("native", "", "sed -u", only, ":");
    let verdict = verdict(&driver);
    assert_eq!(verdict.fault, None, "{verdict:#?}");
    assert!(verdict.tried.iter().any(|what| what.contains("`dict`")));
    assert!(!verdict.tried.iter().any(|what| what.contains("`list`")));
    assert!(
        verdict
            .tried
            .iter()
            .any(|what| what.contains("second process"))
    );
    // Without `clients` the second client is another process's.
    let alone = r#"s/"clients",//"#;
    let driver = behind("native", "", "sed -u", alone, ":");
    let verdict = self::verdict(&driver);
    assert_eq!(verdict.fault, None, "{verdict:#?}");
}

#[test]
fn each_defect_has_its_sentence() {
    let cases = [
        // Of lines.
        (
            "",
            "1s/^/Hello!\\n/",
            "after `init`: a driver writes nothing but answers, but the line is not an answer",
        ),
        ("", r#"s/"id":2,//"#, "missing field `id`"),
        (
            "",
            r#"s/"id":2,/"id":77,/"#,
            "an answer with the id 77, which no request had",
        ),
        ("", "p", "request 1 was answered twice"),
        (
            "",
            r#"s/"ok":null/"okay":null/"#,
            "needs exactly one of the fields `ok` and `error`",
        ),
        (
            "",
            r#"s/"error":"timeout"/"error":"TimedOut"/"#,
            r#"has the error "TimedOut", which PROTOCOL.md doesn't list"#,
        ),
        // Of `init` and `open`.
        (
            "",
            r#"s/"protocol":1/"protocol":2/"#,
            "`protocol` must be 1, but this driver speaks 2",
        ),
        (
            "",
            r#"s/"name":"[^"]*"/"name":""/"#,
            "`name` must say what the system is called",
        ),
        (
            "",
            r#"s/"name":"[^"]*",//"#,
            "there is something wrong: missing field `name`",
        ),
        (
            "",
            r#"s/"capabilities":\[/&"teleport",/"#,
            r#"`capabilities` has "teleport", which PROTOCOL.md doesn't list"#,
        ),
        (
            "",
            r#"s/"queue",//"#,
            "`queue-batch` means nothing without `queue`",
        ),
        (
            "",
            r#"s/"ok":null/"ok":{}/"#,
            r#"`open` of client 0 must answer {"ok":null}, but this driver answered {"ok":{}}"#,
        ),
        // Of all operations.
        (
            "",
            r#"s/"error":"unsupported"/"error":"invalid"/"#,
            r#"an operation that PROTOCOL.md doesn't list must answer {"error":"unsupported"}, but"#,
        ),
        (
            r#"s/"from_the_future":{[^}]*}/"op":5/"#,
            "",
            "an operation with a field that the driver doesn't know must answer",
        ),
        // Of managers.
        (
            r#"s/"key":"never"\(.*\)"op":"dict-get"/"key":"never"\1"op":"log-read"/"#,
            "",
            "`dict-get` of a key that was never set must answer {\"ok\":null}, but this driver \
             answered {\"ok\":[]}",
        ),
        (
            r#"s/"op":"dict-delete"/"op":"dict-get"/"#,
            "",
            "`dict-delete` of a key that is there must answer {\"ok\":true}, but this driver \
             answered {\"ok\":2}",
        ),
        (
            r#"s/"name":"check-2"/"name":"check"/"#,
            "",
            "`dict-get` of the same key in another dictionary must answer {\"ok\":null}",
        ),
        (
            r#"s/"op":"list-insert"/"op":"list-push"/"#,
            "",
            "`list-items` after pushing",
        ),
        (
            "",
            r#"s/"error":"out-of-range"/"error":"failed"/"#,
            "`list-set` at an index that isn't there must answer {\"error\":\"out-of-range\"}",
        ),
        (
            r#"s/"priority":[-0-9.]*/"priority":1/"#,
            "",
            "`queue-get` of the item with the least priority must answer",
        ),
        (
            r#"s/"count":4/"count":2/"#,
            "",
            "`queue-get-batch` of 4 items where there are 3 must answer {\"error\":\"timeout\"}",
        ),
        (
            r#"s/"op":"collection-connect"/"op":"collection-get"/"#,
            "",
            "`collection-connect` must answer {\"ok\":null}",
        ),
        (
            r#"s/"text":"muskrat"/"text":"dam"/"#,
            "",
            "`collection-match` of a word of a document that was replaced must answer {\"ok\":[]}",
        ),
        (
            r#"s/"data":"small"/"data":"sma11"/"#,
            "",
            "`blob-get` of a blob that was replaced must answer {\"ok\":\"small\"}",
        ),
        (
            r#"s/"op":"rollback"/"op":"commit"/"#,
            "",
            "`dict-get` after the transaction that set the key was rolled back must answer",
        ),
        (
            r#"s/"certify":true,//"#,
            "",
            "must be answered with a `commit`, but",
        ),
        (
            "",
            r#"s/"commit":[0-9]*/"commit":7/"#,
            "so its number must be larger, but this driver answered \"commit\":7",
        ),
        // Of waiting.
        (
            r#"s/"timeout_ms":100\b/"timeout_ms":0/"#,
            "",
            // Not which operation: on a slow machine the first may take that long anyway.
            "with \"timeout_ms\":100 may time out when that time",
        ),
        (
            r#"s/"timeout_ms":100\b/"timeout_ms":5200/"#,
            "",
            "\"timeout_ms\":100 must give up in time, but this driver answered only after",
        ),
        // Of locks.
        (
            r#"s/"lock:check"\(.*\)"timeout_ms":0/"lock:other"\1"timeout_ms":0/"#,
            "",
            "`lock-acquire` of lock:check, which another client holds, with \"timeout_ms\":0 must \
             answer {\"error\":\"timeout\"}, but this driver answered {\"ok\":{\"token\":1}}",
        ),
        (
            "",
            r#"s/"token":[0-9]*/"token":null/"#,
            "must answer {\"ok\":{\"token\":N}} with an integer N (it offers `fencing`)",
        ),
        (
            "",
            r#"s/"token":[0-9]*/"token":1/"#,
            "each grant of a lock must have a larger token than the one before, but after 1 came 1",
        ),
        (
            r#"s/"lock":"lock:counted"\(.*\)"lock-waiting"/"lock":"lock:x"\1"lock-waiting"/"#,
            "",
            "`lock-waiting` of a lock that is held must answer {\"ok\":1}",
        ),
        (
            "",
            r#"s/"error":"lock-lost"/"error":"not-held"/"#,
            "`dict-set` by a client that held the dictionary's lock and lost it must answer",
        ),
        // Of ends.
        (
            r#"s/"op":"close"/"op":"dict-set","name":"x","key":"k","value":1/"#,
            "",
            "`lock-acquire` of a lock whose holder was closed must answer",
        ),
        ("s/store[.]db/other.db/", "", "is no SQLite file at the end"),
    ];
    let judge = |(requests, answers, sentence): &(&str, &str, &str)| {
        let said = said_of(requests, answers);
        (!said.contains(sentence))
            .then(|| format!("{requests} {answers}\n  expected {sentence}\n  said {said}"))
    };
    // They mostly wait.
    let wrong: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = cases
            .chunks(cases.len().div_ceil(4))
            .map(|some| scope.spawn(move || some.iter().filter_map(judge).collect::<Vec<_>>()))
            .collect();
        let said = running.into_iter().map(|thread| thread.join().unwrap());
        said.flatten().collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_driver_that_lets_strangers_write_does_not_have_mandatory_locks() {
    let claims = r#"s/"capabilities":\[/&"mandatory-locks",/"#;
    let driver = behind("native", "", "sed -u", claims, ":");
    let mut settings = Map::new();
    settings.insert("guard-mode".into(), json!("advisory"));
    let said = || validate(&driver, &settings, PATIENCE).unwrap().fault;
    // Found as the answer, or if that takes too long, by what is there then; not at all if it takes
    // still longer.
    let said = (0..5).find_map(|_| said()).unwrap();
    let (answer, found) = (
        "`dict-set` by a client that doesn't hold the dictionary's lock, held by another, \
         must answer {\"error\":\"locked\"}, but this driver answered {\"ok\":null}",
        "`dict-get` by the holder, after another client tried to write, must answer {\"ok\":1}, \
         but this driver answered {\"ok\":2}",
    );
    assert!([answer, found].contains(&said.as_str()), "{said}");
    // The same is in order where it doesn't claim so.
    let verdict = validate(&native(), &settings, PATIENCE).unwrap();
    assert_eq!(verdict.fault, None);
}

#[test]
fn a_driver_that_does_not_flush_is_told_to() {
    let driver = behind("native", "", "sed", "", ":");
    let verdict = validate(&driver, &Map::new(), Duration::from_secs(1)).unwrap();
    assert_eq!(
        verdict.fault.as_deref(),
        Some(
            "`init` was not answered within 1 s; is every answer written as one line, with its \
             end, and flushed?"
        )
    );
}

#[test]
fn clients_that_wait_for_each_other_are_found() {
    // What the second puts stands behind what the first waits for.
    let requests = r#"s/"client":1\(.*\)"queue-put"/"client":0\1"queue-put"/"#;
    let driver = behind("native", requests, "sed -u", "", ":");
    let verdict = validate(&driver, &Map::new(), Duration::from_secs(10)).unwrap();
    let said = verdict.fault.unwrap();
    let sentence = "`queue-put` of one client while another waits in `queue-get` was not answered";
    assert!(said.starts_with(sentence), "{said}");
}

#[test]
fn a_driver_that_dies_or_stays_is_found() {
    let dies = StdioDriver::new("sh").args(["-c", "read init; echo 'no such table' >&2; exit 3"]);
    let said = verdict(&dies).fault.unwrap();
    assert_eq!(
        said,
        "`init` was not answered, because the process ended (exit status: 3): no such table"
    );
    let stays = behind("native", "", "sed -u", "", "exec sleep 1000");
    let verdict = verdict(&stays);
    let said = verdict.fault.unwrap();
    assert!(
        said.starts_with("when standard input ends the process must exit"),
        "{said}"
    );
    let late = behind("native", "", "sed -u", "", "echo bye");
    let said = self::verdict(&late).fault.unwrap();
    assert!(said.contains("nothing but answers"), "{said}");
}

#[test]
fn an_abandoned_call_must_end_with_gone() {
    let answers = r#"s/"error":"gone"/"error":"failed"/"#;
    let driver = behind("component", "", "sed -u", answers, ":");
    let said = verdict(&driver).fault.unwrap();
    let sentence = "`queue-get` of a client that waits, after its `drop`, must answer \
                    {\"error\":\"gone\"}";
    assert!(said.starts_with(sentence), "{said}");
}
