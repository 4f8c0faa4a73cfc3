//! One lock, and everybody who can take it: two host processes, a native one and
//! Python with `beaver-db` 1.3.0, killed again and again. Never are there two
//! holders, and no acknowledged increment is lost.

use super::{PROGRAM, let_time_pass};
use beaver_tests::{Files, Process, System, eventually};
use serde_json::{Value, json};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const KILLS: u64 = 24;

/// What is known of an increment: it was made, or its maker was killed.
#[derive(Default)]
struct Known {
    acknowledged: Vec<u64>,
    unanswered: u64,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Host,
    Native,
    Python,
}

impl Kind {
    fn start(self, files: &Files) -> Process {
        match self {
            Self::Host => Process::start(PROGRAM, System::Component, &files.database()),
            Self::Native => Process::start(PROGRAM, System::Native, &files.database()),
            Self::Python => Process::python(&files.database()).unwrap(),
        }
    }

    /// The rows that a dead one of this kind has left, where nobody can know.
    fn owners(self, id: u32) -> Option<String> {
        match self {
            Self::Host | Self::Native => None,
            Self::Python => Some(format!("pid:{id}:%")),
        }
    }
}

struct Worker {
    kind: Kind,
    /// Its id while it may be killed: from its start until its death was noticed.
    alive: Mutex<Option<u32>>,
    /// How many increments of its were acknowledged.
    count: AtomicU64,
}

impl Worker {
    /// Increments until `stop`, as one process after another.
    fn work(&self, files: &Files, known: &Mutex<Known>, ids: &AtomicU64, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let mut process = self.kind.start(files);
            *self.alive.lock().unwrap() = Some(process.id());
            let is_killed = loop {
                if stop.load(Ordering::Relaxed) {
                    break false;
                }
                let id = ids.fetch_add(1, Ordering::Relaxed);
                let request = json!({"op": "increment-alone", "name": "d", "id": id});
                match process.ask(&request) {
                    Some(answer) => match answer["ok"].as_u64() {
                        Some(n) => {
                            known.lock().unwrap().acknowledged.push(n);
                            self.count.fetch_add(1, Ordering::Relaxed);
                        }
                        None => panic!("{:?}: {answer}", self.kind),
                    },
                    None => break true,
                }
            };
            let id = self.alive.lock().unwrap().take();
            if is_killed {
                known.lock().unwrap().unanswered += 1;
                // Reaped before its rows are touched: it is dead for sure.
                process.kill();
                if let Some(owners) = id.and_then(|id| self.kind.owners(id)) {
                    let mut table = Process::start(PROGRAM, System::Native, &files.database());
                    let_time_pass(&mut table, &owners);
                }
            }
        }
    }

    /// Whether there was one to kill.
    fn kill(&self) -> bool {
        let alive = self.alive.lock().unwrap();
        let Some(id) = *alive else { return false };
        let status = std::process::Command::new("kill")
            .args(["-s", "KILL", &id.to_string()])
            .status();
        status.unwrap().success()
    }
}

/// A number that the seed decides.
fn next(state: &mut u64) -> u64 {
    // xorshift64*
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33
}

#[test]
fn by_hosts_native_processes_and_python() {
    let seed = std::env::var("BEAVER_SEED").map_or(0x5eed, |text| text.parse().unwrap());
    println!("BEAVER_SEED={seed}");
    let mut random = seed;
    let files = Files::new(System::Native);
    drop(files.open());
    let known = Mutex::new(Known::default());
    let (ids, stop) = (AtomicU64::new(1), AtomicBool::new(false));
    let mut kinds = vec![Kind::Host, Kind::Host, Kind::Native];
    if beaver_tests::python().is_some() {
        kinds.push(Kind::Python);
    }
    let workers: Vec<_> = kinds
        .into_iter()
        .map(|kind| Worker {
            kind,
            alive: Mutex::new(None),
            count: AtomicU64::new(0),
        })
        .collect();
    std::thread::scope(|scope| {
        let threads: Vec<_> = workers
            .iter()
            .map(|worker| scope.spawn(|| worker.work(&files, &known, &ids, &stop)))
            .collect();
        let count = || known.lock().unwrap().acknowledged.len() as u64;
        let has_failed = || threads.iter().any(|thread| thread.is_finished());
        for _ in 0..KILLS {
            let until = count() + 1 + next(&mut random) % 40;
            eventually("increments", || count() >= until || has_failed());
            let mut killed = false;
            eventually("a victim", || {
                killed = workers[next(&mut random) as usize % workers.len()].kill();
                killed || has_failed()
            });
        }
        // All go on.
        let count_of = |worker: &Worker| worker.count.load(Ordering::Relaxed);
        let before: Vec<_> = workers.iter().map(count_of).collect();
        eventually("increments of all", || {
            let mut both = workers.iter().zip(&before);
            both.all(|(worker, before)| count_of(worker) >= before + 2) || has_failed()
        });
        stop.store(true, Ordering::Relaxed);
    });
    let Known {
        mut acknowledged,
        unanswered,
    } = known.into_inner().unwrap();
    acknowledged.sort_unstable();
    let made = acknowledged.len() as u64;
    assert!(
        acknowledged.windows(2).all(|pair| pair[0] < pair[1]),
        "an increment was made twice: {acknowledged:?}"
    );
    let store = files.open();
    let dict = store.dict("d").unwrap();
    let found: u64 = dict.get("n").unwrap().unwrap().parse().unwrap();
    assert!(
        (made..=made + unanswered).contains(&found) && acknowledged.last() <= Some(&found),
        "{made} acknowledged, {unanswered} unanswered, {found} found"
    );
    assert!(dict.try_acquire(None).unwrap(), "a lock is left");
    let _: Value = serde_json::from_str(&dict.get("holder").unwrap().unwrap()).unwrap();
}
