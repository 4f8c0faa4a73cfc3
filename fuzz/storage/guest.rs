//! A guest that passes any numbers to any function of `beaver:host/storage`.
//!
//! What must stay true: nothing between this program and the host checks an argument.

#![allow(unsafe_code)] // `unsafe impl View`

use super::functions::{Answers, CLOSE, FUNCTIONS, Function};
use beaver_host::{Ctx, Grant, View, add_to_linker, configure};
use std::fmt::Write as _;
use std::sync::OnceLock;
use wasmtime::component::{Component, Func, InstancePre, Linker, Val};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};

/// A guest's memory, in bytes.
pub(super) const MEMORY_BYTES: u32 = 1 << 20;
/// Where answers are, unless another place was chosen; 16 bytes.
pub(super) const ANSWER_AT: u32 = 0;
/// At a time, over all inputs that are tried at the same time.
const INSTANCES_MAX: u32 = 64;
pub(super) const OPEN_FILES_MAX: usize = 4;
pub(super) const FILE_BYTES_MAX: u64 = 1 << 20;

const TYPES: &str = r#"
    (type $error' (enum "access" "not-found" "exists" "read-only" "full" "busy" "timed-out"
      "too-many-files" "invalid-argument" "unsupported" "io"))
    (export "error-code" (type $error (eq $error')))
    (type $kind' (enum "main-db" "main-journal" "wal"))
    (export "file-kind" (type $kind (eq $kind')))
    (type $flags' (flags "create" "exclusive" "read-only" "delete-on-close"))
    (export "open-flags" (type $flags (eq $flags')))
    (type $capabilities' (flags "shared-memory" "direct-read" "wait-change" "claims"))
    (export "capabilities" (type $capabilities (eq $capabilities')))
    (type $level' (enum "unlocked" "shared" "reserved" "pending" "exclusive"))
    (export "lock-level" (type $level (eq $level')))
    (type $sync' (enum "data" "full"))
    (export "sync-kind" (type $sync (eq $sync')))
    (type $shm-kind' (enum "shared" "exclusive"))
    (export "shm-lock-kind" (type $shm-kind (eq $shm-kind')))
    (type $shm-answer' (enum "done" "busy" "invalid-argument" "unsupported" "io"))
    (export "shm-answer" (type $shm-answer (eq $shm-answer')))
    (type $interest' (record (field "topic" u64) (field "turn" (option u64))
      (field "claim" (option u64))))
    (export "interest" (type $interest (eq $interest')))
    (export "file" (type $file (sub resource)))
    (type $file-result (result (own $file) (error $error)))
    (type $u32 (result u32 (error $error)))
    (type $u64 (result u64 (error $error)))
    (type $bool (result bool (error $error)))
    (type $unit (result (error $error)))
    (type $bytes (result (list u8) (error $error)))
"#;

/// What the guest does by itself.
const OWN: &str = r#"
    (func (export "poke") (param i32 i64) (i64.store (local.get 0) (local.get 1)))
    (func (export "peek") (param i32) (result i64) (i64.load (local.get 0)))
    (func (export "fill") (param i32 i32 i32)
      (memory.fill (local.get 0) (local.get 1) (local.get 2)))
    ;; Where answers go, and the lists in them.
    (func (export "place") (param i32 i32)
      (global.set $answer (local.get 0)) (global.set $lists (local.get 1)))
    ;; How often the word is there, from one place up to another, a step at a time.
    (func (export "count") (param $at i32) (param $to i32) (param $step i32) (param $word i64)
      (result i64)
      (local $found i64)
      (block $end (loop $next
        (br_if $end (i32.ge_u (local.get $at) (local.get $to)))
        (if (i64.eq (i64.load (local.get $at)) (local.get $word))
          (then (local.set $found (i64.add (local.get $found) (i64.const 1)))))
        (local.set $at (i32.add (local.get $at) (local.get $step)))
        (br $next)))
      (local.get $found))
"#;

fn core_type(is_wide: bool) -> &'static str {
    if is_wide { "i64" } else { "i32" }
}

fn wit_params(core: &[bool]) -> String {
    let mut text = String::new();
    for (at, is_wide) in core.iter().enumerate() {
        let of = if *is_wide { "u64" } else { "u32" };
        let _ = write!(text, r#"(param "p{at}" {of}) "#);
    }
    text
}

/// The component's text.
fn text() -> String {
    let (mut imports, mut lowers, mut wants, mut calls, mut gives, mut lifts) = Default::default();
    fn add(text: &mut String, line: std::fmt::Arguments<'_>) {
        let _ = writeln!(text, "{line}");
    }
    for (at, function) in FUNCTIONS.iter().enumerate() {
        let core = Function::core(function.takes);
        let types: Vec<_> = core.iter().map(|wide| core_type(*wide)).collect();
        let params = types.join(" ");
        let gets: String = (0..core.len())
            .map(|at| format!("(local.get {at}) "))
            .collect();
        let (extra, result) = match function.answers {
            Answers::Nothing => ("", ""),
            Answers::Number => ("", "(result i32)"),
            Answers::InMemory => ("i32", ""),
        };
        add(
            &mut imports,
            format_args!(r#"(export "{}" (func {}))"#, function.name, function.wit()),
        );
        add(
            &mut lowers,
            format_args!(
                r#"(core func $f{at} (canon lower (func $storage "{}") (memory $memory) (realloc $realloc)))"#,
                function.name
            ),
        );
        add(
            &mut wants,
            format_args!(
                r#"(import "host" "f{at}" (func $f{at} (param {params} {extra}) {result}))"#
            ),
        );
        let call = match function.answers {
            Answers::Nothing => format!("(call $f{at} {gets})"),
            Answers::Number => format!("(i32.store (global.get $answer) (call $f{at} {gets}))"),
            Answers::InMemory => format!("(call $f{at} {gets} (global.get $answer))"),
        };
        add(
            &mut calls,
            format_args!(r#"(func (export "f{at}") (param {params}) {call})"#),
        );
        add(
            &mut gives,
            format_args!(r#"(export "f{at}" (func $f{at}))"#),
        );
        add(
            &mut lifts,
            format_args!(
                r#"(func (export "f{at}") {} (canon lift (core func $main "f{at}")))"#,
                wit_params(&core)
            ),
        );
    }
    let at = CLOSE;
    format!(
        r#"(component
  (import "beaver:host/storage@0.1.0" (instance $storage {TYPES} {imports}))
  (core module $libc
    (memory (export "memory") 16 16)
    (global (export "answer") (mut i32) (i32.const {ANSWER_AT}))
    (global $lists (export "lists") (mut i32) (i32.const 0x20000))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (global.get $lists)))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))
  (alias export $storage "file" (type $file))
  {lowers}
  (core func $close (canon resource.drop $file))
  (core module $main
    (import "libc" "memory" (memory 16 16))
    (import "libc" "answer" (global $answer (mut i32)))
    (import "libc" "lists" (global $lists (mut i32)))
    {wants}
    (import "host" "close" (func $close (param i32)))
    {calls}
    (func (export "f{at}") (param i32) (call $close (local.get 0)))
    {OWN})
  (core instance $main (instantiate $main
    (with "libc" (instance $libc))
    (with "host" (instance {gives} (export "close" (func $close))))))
  {lifts}
  (func (export "f{at}") (param "p0" u32) (canon lift (core func $main "f{at}")))
  (func (export "poke") (param "at" u32) (param "word" u64) (canon lift (core func $main "poke")))
  (func (export "peek") (param "at" u32) (result u64) (canon lift (core func $main "peek")))
  (func (export "fill") (param "at" u32) (param "byte" u32) (param "len" u32)
    (canon lift (core func $main "fill")))
  (func (export "place") (param "answer" u32) (param "lists" u32)
    (canon lift (core func $main "place")))
  (func (export "count") (param "at" u32) (param "to" u32) (param "step" u32)
    (param "word" u64) (result u64)
    (canon lift (core func $main "count"))))"#
    )
}

struct State {
    ctx: Ctx,
}

// SAFETY: the engine is made with `configure`; the `Ctx` stays in its store.
unsafe impl View for State {
    fn ctx(&mut self) -> &mut Ctx {
        &mut self.ctx
    }
}

/// Engine and guest, compiled once.
fn compiled() -> &'static InstancePre<State> {
    static COMPILED: OnceLock<InstancePre<State>> = OnceLock::new();
    COMPILED.get_or_init(|| {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_memories(INSTANCES_MAX)
            .total_stacks(INSTANCES_MAX)
            .max_memory_size(MEMORY_BYTES as usize);
        let mut config = Config::new();
        configure(&mut config);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config).unwrap();
        let mut linker = Linker::new(&engine);
        add_to_linker(&mut linker).unwrap();
        let component = Component::new(&engine, wat::parse_str(text()).unwrap()).unwrap();
        linker.instantiate_pre(&component).unwrap()
    })
}

/// An instance.
pub(super) struct Guest {
    store: Store<State>,
    functions: Vec<Func>,
    own: Own,
}

#[derive(Clone, Copy)]
struct Own {
    poke: Func,
    peek: Func,
    fill: Func,
    place: Func,
    count: Func,
}

impl Guest {
    pub(super) async fn new(grant: Grant) -> Self {
        let pre = compiled();
        let ctx = Ctx::builder(grant)
            .max_open_files(OPEN_FILES_MAX)
            .max_file_bytes(FILE_BYTES_MAX)
            .build();
        let mut store = Store::new(pre.engine(), State { ctx });
        let instance = pre.instantiate_async(&mut store).await.unwrap();
        let mut named = |name: &str| instance.get_func(&mut store, name).unwrap();
        let functions = (0..=CLOSE).map(|at| named(&format!("f{at}"))).collect();
        let own = Own {
            poke: named("poke"),
            peek: named("peek"),
            fill: named("fill"),
            place: named("place"),
            count: named("count"),
        };
        Self {
            store,
            functions,
            own,
        }
    }

    /// Calls the function of this number. An error is a trap: then the instance is no more.
    pub(super) async fn call(mut self, at: usize, arguments: Vec<Val>) -> Result<Self, String> {
        let called = self.functions[at].call_async(&mut self.store, &arguments, &mut []);
        match called.await {
            Ok(()) => Ok(self),
            Err(trap) => Err(format!("{trap:#}")),
        }
    }

    async fn own(&mut self, func: Func, arguments: &[Val], results: &mut [Val]) -> bool {
        let called = func.call_async(&mut self.store, arguments, results).await;
        called.is_ok()
    }

    /// Fills some of its memory.
    pub(super) async fn fill(&mut self, at: u32, byte: u8, len: u32) -> bool {
        let arguments = [Val::U32(at), Val::U32(byte.into()), Val::U32(len)];
        self.own(self.own.fill, &arguments, &mut []).await
    }

    /// Writes bytes, and zeros up to the next eight.
    pub(super) async fn write(&mut self, at: u32, bytes: &[u8]) -> bool {
        for (number, chunk) in (0_u32..).zip(bytes.chunks(8)) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            let arguments = [
                Val::U32(at + 8 * number),
                Val::U64(u64::from_le_bytes(word)),
            ];
            if !self.own(self.own.poke, &arguments, &mut []).await {
                return false;
            }
        }
        true
    }

    pub(super) async fn peek(&mut self, at: u32) -> Option<u64> {
        self.number(self.own.peek, &[Val::U32(at)]).await
    }

    /// Where answers go, and the lists in them.
    pub(super) async fn place(&mut self, answer: u32, lists: u32) -> bool {
        let arguments = [Val::U32(answer), Val::U32(lists)];
        self.own(self.own.place, &arguments, &mut []).await
    }

    /// How often a word is in its memory, looked for at each `step` bytes.
    pub(super) async fn count(&mut self, step: u32, word: u64) -> u64 {
        let arguments = [
            Val::U32(0),
            Val::U32(MEMORY_BYTES - 7),
            Val::U32(step),
            Val::U64(word),
        ];
        self.number(self.own.count, &arguments).await.unwrap()
    }

    async fn number(&mut self, func: Func, arguments: &[Val]) -> Option<u64> {
        let mut results = [Val::U64(0)];
        if !self.own(func, arguments, &mut results).await {
            return None;
        }
        match results {
            [Val::U64(number)] => Some(number),
            _ => None,
        }
    }
}
