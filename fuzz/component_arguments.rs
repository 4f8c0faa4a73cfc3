//! Any arguments at the component's own functions, through the host's client.
//!
//! What must stay true: each call is answered with a result or a typed error, never with a trap; and the
//! instance goes on as if a call that failed had not been: what is stored is the same as before.

mod stored;

use crate::Target;
use crate::component::{Gone, expect, instance, run as run_calls};
use crate::scratch::Scratch;
use arbitrary::{Arbitrary, Result as Made, Unstructured};
use beaver_host::client::{
    Database, Direction, FullText, HybridOptions, IfExists, IndexOptions, LockOptions,
    MatchOptions, Metric, OpenOptions, Outcome, Ranking, WalkOptions,
};
use beaver_host::{Error, Instance};
use std::time::Duration;
use stored::Stored;

/// See the module.
pub const TARGET: Target = Target {
    name: "component_arguments",
    run,
    tries: 40,
    bytes_max: 1024,
};

const FILE: &str = "a.db";
const CALLS_MAX: usize = 48;

fn run(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    let scratch = Scratch::new();
    run_calls(async {
        let _: Result<(), Gone> = calls(&scratch, &mut input).await;
    });
}

async fn calls(scratch: &Scratch, input: &mut Unstructured<'_>) -> Result<(), Gone> {
    let mut instance = instance(scratch).await;
    let options = OpenOptions {
        busy_timeout: Some(Duration::ZERO),
        lock_wait: Some(Duration::ZERO),
        ..OpenOptions::default()
    };
    let opened = instance.open(FILE, &options).await;
    let database = expect(scratch, opened, never)?.unwrap();
    let mut stored = Stored::new(&scratch.folder().join(FILE));
    for _ in 0..CALLS_MAX {
        if input.is_empty() {
            break;
        }
        let Ok(call) = Call::make(input) else { break };
        let called = call.by(&mut instance, &database).await;
        let failed = called.as_ref().err().map(|error| {
            let said = format!("{call:?}: {error}");
            (said, error.outcome() == Outcome::NotApplied)
        });
        let went = expect(scratch, called, never);
        let has_changed = stored.has_changed();
        if let Some((said, is_undone)) = failed {
            went.unwrap_or_else(|gone| panic!("{gone:?} by {said}"));
            assert!(!(is_undone && has_changed), "not undone: {said}");
        }
        expect(scratch, called_again(&mut instance, &database).await, never)?.unwrap();
    }
    drop((stored, database));
    expect(scratch, instance.close().await, never).map(drop)
}

/// No argument is why something fails that has no error of its own.
fn never(_: &str) -> bool {
    false
}

/// What always works, but in a transaction of nobody's.
async fn called_again(instance: &mut Instance, database: &Database) -> Result<(), Error> {
    database.stats(instance).await.map(drop)
}

/// All that a function may be given.
#[derive(Debug)]
struct Call {
    function: u8,
    name: String,
    key: String,
    other: String,
    text: Option<String>,
    bytes: Vec<u8>,
    index: i64,
    number: u32,
    wide: u64,
    float: f64,
    vector: Vec<f32>,
    time: Duration,
    yes: bool,
}

const FUNCTIONS: u8 = 48;

impl Call {
    fn make(input: &mut Unstructured<'_>) -> Made<Self> {
        Ok(Self {
            function: input.int_in_range(0..=FUNCTIONS - 1)?,
            name: match input.int_in_range(0..=3)? {
                0 => text(input)?,
                _ => "n".to_owned(),
            },
            key: text(input)?,
            other: text(input)?,
            text: match input.int_in_range(0..=3)? {
                0 => None,
                1 => Some(text(input)?),
                _ => Some(json(input)?),
            },
            bytes: vec![7; *input.choose(&[0, 1, 1000, 70_000, 1 << 20])?],
            index: *input.choose(&[0, -1, 1, i64::MAX, i64::MIN, 1 << 53])?,
            number: *input.choose(&[0, 1, 2, 10, 10_000, 10_001, u32::MAX])?,
            wide: *input.choose(&[0, 1, 1 << 31, 1 << 32, 1 << 63, u64::MAX])?,
            float: float(input)?,
            vector: vector(input)?,
            time: *input.choose(&[
                Duration::ZERO,
                Duration::from_nanos(1),
                Duration::from_secs(1),
                Duration::from_nanos(1 << 63),
                Duration::MAX,
            ])?,
            yes: input.arbitrary()?,
        })
    }

    #[expect(clippy::too_many_lines, reason = "a line for each function")]
    async fn by(&self, on: &mut Instance, database: &Database) -> Result<(), Error> {
        let Self { key, other, .. } = self;
        let value = self.text.as_deref().unwrap_or("1");
        let option = self.text.as_deref();
        let vector = &self.vector[..];
        let soon = self.time.min(Duration::from_nanos(1));
        let from = self.yes.then_some(self.float);
        let way = if self.yes {
            Direction::Both
        } else {
            Direction::Incoming
        };
        let metric = if self.yes { Metric::Cosine } else { Metric::L2 };
        let name = &self.name[..];
        match self.function {
            0..=8 => {
                let dict = on.dict(database, name).await?;
                match self.function {
                    0 | 1 => {
                        dict.set(on, key, value, self.yes.then_some(self.time))
                            .await
                    }
                    2 => dict.get(on, key).await.map(drop),
                    3 => dict.pop(on, key).await.map(drop),
                    4 => dict.items(on).await?.next(on, self.number).await.map(drop),
                    5 => dict.dump(on).await?.next(on, self.number).await.map(drop),
                    6 => {
                        let loader = dict.loader(on).await?;
                        loader.write(on, value).await?;
                        loader.write(on, other).await?;
                        loader.finish(on).await.map(drop)
                    }
                    7 => {
                        let options = LockOptions {
                            timeout: Some(soon),
                            ttl: Some(self.time),
                        };
                        dict.acquire(on, options).await?;
                        dict.renew(on, Some(self.time)).await?;
                        dict.release(on).await
                    }
                    _ => on.dict_encrypted(database, name, key).await.map(drop),
                }
            }
            9..=14 => {
                let list = on.list(database, name).await?;
                match self.function {
                    9 => list.push(on, value).await,
                    10 => list.insert(on, self.index, value).await,
                    11 => list.set(on, self.index, value).await,
                    12 => list.delete(on, self.index).await,
                    13 => {
                        let stop = self.yes.then_some(self.index);
                        let slice = list.slice(on, Some(self.index), stop).await?;
                        slice.next(on, self.number).await.map(drop)
                    }
                    _ => list.contains(on, value).await.map(drop),
                }
            }
            15..=18 => {
                let queue = on.queue(database, name).await?;
                match self.function {
                    15 => queue.put(on, value, self.float).await,
                    16 => queue.get(on, Some(soon)).await.map(drop),
                    17 => queue.get_batch(on, self.number, Some(soon)).await.map(drop),
                    _ => queue.items(on).await?.next(on, self.number).await.map(drop),
                }
            }
            19..=26 => {
                let blob = on.blob(database, name).await?;
                match self.function {
                    19 | 20 => blob.put(on, key, &self.bytes, option).await,
                    21 => blob.read(on, key, self.wide, self.number).await.map(drop),
                    22 => blob.get(on, key).await.map(drop),
                    23 | 24 => {
                        let writer = blob.writer(on, key).await?;
                        writer.write(on, &self.bytes).await?;
                        writer.finish(on, option).await
                    }
                    25 => match blob.reader(on, key).await? {
                        Some(reader) => reader.read(on, self.wide, self.number).await.map(drop),
                        None => Ok(()),
                    },
                    _ => blob.keys(on).await?.next(on, self.number).await.map(drop),
                }
            }
            27..=38 => {
                let docs = on.collection(database, name).await?;
                let fields = vec![key.clone(), "t".to_owned()];
                match self.function {
                    27..=29 => {
                        let options = IndexOptions {
                            full_text: match self.yes {
                                true => FullText::Fields(fields),
                                false => FullText::All,
                            },
                            fuzzy: self.function == 28,
                        };
                        let vector = (!vector.is_empty()).then_some(vector);
                        docs.index(on, Some(key), option, vector, &options)
                            .await
                            .map(drop)
                    }
                    30 | 31 => {
                        let options = MatchOptions {
                            on: if self.yes { fields } else { Vec::new() },
                            top_k: self.number,
                            fuzziness: if self.function == 30 { 0 } else { self.number },
                        };
                        docs.match_text(on, other, &options).await.map(drop)
                    }
                    32 => docs.search(on, vector, self.number, metric).await.map(drop),
                    33 => {
                        let options = HybridOptions {
                            top_k: self.number,
                            candidates: self.yes.then_some(self.number),
                            on: Vec::new(),
                            fuzziness: 0,
                            metric,
                            text_weight: self.float,
                            vector_weight: self.float,
                            k: self.number,
                        };
                        docs.hybrid_search(on, other, vector, &options)
                            .await
                            .map(drop)
                    }
                    34 => docs.connect(on, key, other, "to", option).await,
                    35 => docs
                        .edges(on, key, way)
                        .await?
                        .next(on, self.number)
                        .await
                        .map(drop),
                    36 => {
                        let options = WalkOptions {
                            depth: self.number,
                            labels: if self.yes { fields } else { Vec::new() },
                            direction: way,
                        };
                        let walk = docs.walk(on, key, &options).await?;
                        walk.next(on, self.number).await.map(drop)
                    }
                    37 => docs.get(on, key).await.map(drop),
                    _ => docs.drop(on, key).await.map(drop),
                }
            }
            39..=42 => {
                let log = on.log(database, name).await?;
                match self.function {
                    39 => log.append(on, value, from).await.map(drop),
                    40 => {
                        let range = log.range(on, self.float, -self.float).await?;
                        range.next(on, self.number).await.map(drop)
                    }
                    41 => log
                        .tail(on, from)
                        .await?
                        .next(on, self.number, Some(soon))
                        .await
                        .map(drop),
                    _ => {
                        let live = log.live(on, self.time, self.time).await?;
                        live.entered(on, self.number).await.map(drop)
                    }
                }
            }
            43 | 44 => {
                let channel = on.channel(database, name).await?;
                match self.function {
                    43 => channel.publish(on, value).await.map(drop),
                    _ => {
                        let last = self.yes.then_some(self.wide);
                        let history = channel.history(on, from, last).await?;
                        history.next(on, self.number).await.map(drop)
                    }
                }
            }
            45 => on.emit(database, name, other, value).await.map(drop),
            46 => {
                let ranking = Ranking {
                    ids: vec![key.clone(), other.clone()],
                    weight: self.float,
                };
                on.rerank(&[ranking], self.number).await.map(drop)
            }
            _ => database.backup(on, key, IfExists::Fail).await.map(drop),
        }
    }
}

fn text(input: &mut Unstructured<'_>) -> Made<String> {
    Ok(match input.int_in_range(0..=7)? {
        0 => "k".repeat(*input.choose(&[1023, 1024, 1025, 65_536, 65_537, 1 << 20])?),
        1 => String::new(),
        2 => (*input.choose(&[
            "a\0b", "\u{feff}", "é\n\"\\", "../a", "a.db-wal", "\"", "*", "NOT", "a:b",
        ])?)
        .to_owned(),
        3 => String::arbitrary(input)?,
        _ => (*input.choose(&["a", "b", "t"])?).to_owned(),
    })
}

fn json(input: &mut Unstructured<'_>) -> Made<String> {
    Ok(match input.int_in_range(0..=7)? {
        0 => "[".repeat(*input.choose(&[1, 100, 1000, 100_000])?),
        1 => {
            let depth = *input.choose(&[1, 100, 1000, 100_000])?;
            "[".repeat(depth) + &"]".repeat(depth)
        }
        2 => format!("{{\"t\":\"{}\"}}", "word ".repeat(1000)),
        3 => (*input.choose(&[
            "1e999",
            "-0",
            "\"\\ud800\"",
            "{\"a\":1,\"a\":2}",
            "NaN",
            "1 ",
            "{}",
        ])?)
        .to_owned(),
        4 => String::arbitrary(input)?,
        _ => "{\"t\":\"some words\",\"u\":{\"v\":[1,2.5,null]}}".to_owned(),
    })
}

fn float(input: &mut Unstructured<'_>) -> Made<f64> {
    let all = [
        0.0,
        -0.0,
        1.0,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MAX,
        5e-324,
        1e15,
    ];
    match input.int_in_range(0..=3)? {
        0 => input.arbitrary(),
        _ => input.choose(&all).copied(),
    }
}

fn vector(input: &mut Unstructured<'_>) -> Made<Vec<f32>> {
    let one = *input.choose(&[
        0.0,
        1.0,
        f32::NAN,
        f32::INFINITY,
        f32::MAX,
        f32::MIN_POSITIVE,
    ])?;
    Ok(vec![one; *input.choose(&[0, 1, 2, 2, 2, 5000])?])
}
