//! A guest that passes anything to the storage import, in a store of our own.
//!
//! Bugs these guard against: a mapping that outlives its instance and is
//! written by the next one in the pool's slot, a host that reads or writes a
//! mapped wal-index through a slice, a guest's number that reaches the system
//! unchecked.

#![allow(unsafe_code)] // `unsafe impl View`
#![allow(clippy::unwrap_used)] // helpers of tests are tests to a reader, not to clippy

use beaver_host::{Ctx, Grant, View, add_to_linker, configure};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use wasmtime::component::{
    Component, ComponentNamedList, Instance, InstancePre, Lift, Linker, Lower,
};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};

/// As in hostile.wat.
const MEMORY_BYTES: u32 = 160 << 16;
const CREATE: u32 = 1;
const REGION: u32 = 32 << 10;
/// Two places for a region, both aligned to pages.
const HERE: u32 = 0x40000;
const THERE: u32 = 0x50000;

/// `shm-answer`s.
const DONE: i32 = 0;
const BUSY: i32 = 1;
const NO_SUCH_SLOTS: i32 = 2;

const ACCESS: i32 = -1;
const FULL: i32 = -5;
const TOO_MANY_FILES: i32 = -8;
const INVALID_ARGUMENT: i32 = -9;
const UNSUPPORTED: i32 = -10;

struct State {
    ctx: Ctx,
}

// SAFETY: the engine is made with `configure`; the `Ctx` stays in its store.
unsafe impl View for State {
    fn ctx(&mut self) -> &mut Ctx {
        &mut self.ctx
    }
}

/// An engine whose pool has one slot per instance asked for, and the guest.
struct Host {
    engine: Engine,
    pre: InstancePre<State>,
}

impl Host {
    fn new(slots: u32) -> Self {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_memories(slots).total_stacks(slots);
        let mut config = Config::new();
        configure(&mut config);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config).unwrap();
        let mut linker = Linker::new(&engine);
        add_to_linker(&mut linker).unwrap();
        let bytes = wat::parse_str(include_str!("hostile.wat")).unwrap();
        let component = Component::new(&engine, bytes).unwrap();
        let pre = linker.instantiate_pre(&component).unwrap();
        Self { engine, pre }
    }

    async fn guest(&self, grant: Grant) -> Guest {
        let ctx = Ctx::builder(grant)
            .max_open_files(2)
            .max_file_bytes(16 << 20)
            .build();
        let mut store = Store::new(&self.engine, State { ctx });
        let instance = self.pre.instantiate_async(&mut store).await.unwrap();
        Guest { store, instance }
    }
}

struct Guest {
    store: Store<State>,
    instance: Instance,
}

impl Guest {
    async fn try_call<P, R>(&mut self, name: &str, params: P) -> wasmtime::Result<R>
    where
        P: ComponentNamedList + Lower + Send + Sync + 'static,
        (R,): ComponentNamedList + Lift + Send + Sync + 'static,
        R: 'static,
    {
        let function = self
            .instance
            .get_typed_func::<P, (R,)>(&mut self.store, name)?;
        Ok(function.call_async(&mut self.store, params).await?.0)
    }

    /// As `try_call`, for what doesn't trap.
    async fn call<P>(&mut self, name: &str, params: P) -> i32
    where
        P: ComponentNamedList + Lower + Send + Sync + 'static,
    {
        self.try_call(name, params).await.unwrap()
    }

    /// Opens the database "t.db".
    async fn open(&mut self) -> u32 {
        let file = self.call("open", (16u32, 4u32, 0u32, CREATE)).await;
        file.try_into().unwrap()
    }

    async fn map(&mut self, file: u32, region: u32, at: u32, len: u32) -> i32 {
        self.call("map", (file, region, 1u32, at, len)).await
    }

    async fn peek(&mut self, at: u32) -> u32 {
        self.try_call("peek", (at,)).await.unwrap()
    }

    async fn poke(&mut self, at: u32, value: u32) {
        let poke = self
            .instance
            .get_typed_func::<(u32, u32), ()>(&mut self.store, "poke")
            .unwrap();
        poke.call_async(&mut self.store, (at, value)).await.unwrap();
    }
}

fn directory() -> (tempfile::TempDir, Grant) {
    let directory = tempfile::tempdir().unwrap();
    let grant = Grant::directory(directory.path()).unwrap();
    (directory, grant)
}

#[tokio::test]
async fn buffers_are_read_and_written_in_place() {
    let (directory, grant) = directory();
    let mut guest = Host::new(1).guest(grant).await;
    let file = guest.open().await;
    guest.poke(HERE, 0x0403_0201).await;
    assert_eq!(guest.call("write-at", (file, 4096u64, HERE, 4u32)).await, 0);
    assert_eq!(
        guest
            .call("read-into", (file, 4094u64, THERE, 100u32))
            .await,
        6
    );
    assert_eq!(guest.peek(THERE).await, 0x0201_0000);
    assert_eq!(guest.peek(THERE + 4).await, 0x0403);
    let bytes = std::fs::read(directory.path().join("t.db")).unwrap();
    assert_eq!(bytes[4096..], [1, 2, 3, 4]);
}

#[tokio::test]
async fn numbers_out_of_range_are_answered_with_an_error() {
    let (_directory, grant) = directory();
    let mut guest = Host::new(1).guest(grant).await;
    let file = guest.open().await;
    for offset in [1u64 << 63, u64::MAX] {
        let params = (file, offset, HERE, 4u32);
        assert_eq!(guest.call("read-into", params).await, INVALID_ARGUMENT);
        assert_eq!(guest.call("write-at", params).await, INVALID_ARGUMENT);
        assert_eq!(
            guest.call("read-at", (file, offset, 4u32)).await,
            INVALID_ARGUMENT
        );
    }
    for len in [(1u32 << 20) + 1, u32::MAX] {
        assert_eq!(
            guest.call("read-at", (file, 0u64, len)).await,
            INVALID_ARGUMENT
        );
    }
    assert_eq!(guest.call("read-at", (file, 0u64, 1u32 << 20)).await, 0);
    for (region, at, len) in [
        (0, HERE, REGION - 1),
        (0, HERE, 0),
        (0, HERE, REGION * 2),
        (0, HERE + 8, REGION),
        (1, HERE, REGION),
        (u32::MAX, HERE, REGION),
    ] {
        assert_eq!(guest.map(file, region, at, len).await, INVALID_ARGUMENT);
    }
}

#[tokio::test]
async fn so_many_regions_are_mapped_and_no_more() {
    const REGIONS_MAX: u32 = 256;
    let (_directory, grant) = directory();
    let mut guest = Host::new(1).guest(grant).await;
    let file = guest.open().await;
    let at = |region| HERE + region * REGION;
    for region in 0..REGIONS_MAX {
        assert_eq!(
            guest.map(file, region, at(region), REGION).await,
            1,
            "{region}"
        );
    }
    let more = guest.map(file, REGIONS_MAX, at(REGIONS_MAX), REGION).await;
    assert_eq!(more, FULL);
    guest.poke(at(REGIONS_MAX - 1), 7).await;
    assert_eq!(guest.call("unmap", (file,)).await, 0);
    assert_eq!(guest.peek(at(REGIONS_MAX - 1)).await, 0);
}

#[tokio::test]
async fn slots_are_locked_only_by_the_number_of_a_file_that_is_open_here() {
    let (_directory, grant) = directory();
    let host = Host::new(2);
    let (mut guest, mut other) = (host.guest(grant.clone()).await, host.guest(grant).await);
    let file = guest.open().await;
    let number = guest.call("number", (file,)).await.unsigned_abs();
    for made_up in [number + 1, 1000, u32::MAX] {
        assert_eq!(
            guest.call("lock", (made_up, 0u32, 1u32, 1u32)).await,
            NO_SUCH_SLOTS
        );
    }
    // Nothing mapped yet, so there is no wal-index.
    let first_slot = (number, 0u32, 1u32, 1u32);
    assert_eq!(guest.call("lock", first_slot).await, NO_SUCH_SLOTS);
    assert_eq!(guest.map(file, 0, HERE, REGION).await, 1);
    for (first, count, kind) in [
        (8u32, 1u32, 1u32),
        (0, 9, 1),
        (0, 0, 1),
        (u32::MAX, 2, 1),
        (0, 2, 0),
    ] {
        assert_eq!(
            guest.call("lock", (number, first, count, kind)).await,
            NO_SUCH_SLOTS
        );
    }
    assert_eq!(guest.call("unlock", first_slot).await, NO_SUCH_SLOTS);
    assert_eq!(guest.call("lock", first_slot).await, DONE);
    // The same number is nothing to a guest that has no file.
    assert_eq!(other.call("unlock", first_slot).await, NO_SUCH_SLOTS);
    assert_eq!(guest.call("unlock", first_slot).await, DONE);
    // Nor to the guest itself, once the file is closed.
    let close = guest
        .instance
        .get_typed_func::<(u32,), ()>(&mut guest.store, "close")
        .unwrap();
    close.call_async(&mut guest.store, (file,)).await.unwrap();
    assert_eq!(guest.call("lock", first_slot).await, NO_SUCH_SLOTS);
}

/// The threads proposal is on for its fence alone: a guest that waited on a
/// memory would hold up the thread, past every limit.
#[tokio::test]
async fn a_guest_can_neither_make_a_shared_memory_nor_wait_on_its_own() {
    let mut config = Config::new();
    configure(&mut config);
    let engine = Engine::new(&config).unwrap();
    let run = |text: &'static str| {
        let engine = engine.clone();
        async move {
            let component = Component::new(&engine, wat::parse_str(text).unwrap())?;
            let mut store = Store::new(&engine, ());
            Linker::new(&engine)
                .instantiate_async(&mut store, &component)
                .await
        }
    };
    let shared =
        "(component (core module $m (memory 1 1 shared)) (core instance (instantiate $m)))";
    assert!(run(shared).await.is_err());
    let waits = "(component (core module $m (memory 1) (start $f) (func $f
        (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))))
        (core instance (instantiate $m)))";
    let trap = run(waits).await.err().unwrap();
    assert!(format!("{trap:?}").contains("atomic"), "{trap:?}");
}

#[tokio::test]
async fn a_list_beyond_the_memory_is_a_trap() {
    let (_directory, grant) = directory();
    let mut guest = Host::new(1).guest(grant).await;
    let file = guest.open().await;
    let beyond = (file, 0u32, 1u32, MEMORY_BYTES - REGION + 4096, REGION);
    guest.try_call::<_, i32>("map", beyond).await.unwrap_err();
}

#[tokio::test]
async fn a_file_handle_that_was_closed_is_a_trap() {
    let (_directory, grant) = directory();
    let mut guest = Host::new(1).guest(grant).await;
    let file = guest.open().await;
    let close = guest
        .instance
        .get_typed_func::<(u32,), ()>(&mut guest.store, "close")
        .unwrap();
    close.call_async(&mut guest.store, (file,)).await.unwrap();
    let read = guest
        .try_call::<_, i32>("read-at", (file, 0u64, 4u32))
        .await;
    read.unwrap_err();
}

#[tokio::test]
async fn names_outside_the_grant_and_files_beyond_the_limit_are_refused() {
    let (_directory, grant) = directory();
    let mut guest = Host::new(1).guest(grant).await;
    assert_eq!(
        guest.call("open", (32u32, 7u32, 0u32, CREATE)).await,
        ACCESS
    );
    guest.open().await;
    guest.open().await;
    let third = guest.call("open", (16u32, 4u32, 0u32, CREATE)).await;
    assert_eq!(third, TOO_MANY_FILES);
}

#[tokio::test]
async fn instances_share_a_region_and_get_zeros_back() {
    let (_directory, grant) = directory();
    let host = Host::new(2);
    let (mut a, mut b) = (host.guest(grant.clone()).await, host.guest(grant).await);
    let (file_a, file_b) = (a.open().await, b.open().await);
    a.poke(HERE, 99).await;
    assert_eq!(a.map(file_a, 0, HERE, REGION).await, 1);
    assert_eq!(b.map(file_b, 0, THERE, REGION).await, 1);
    assert_eq!(a.peek(HERE).await, 0);
    a.poke(HERE + 400, 7).await;
    assert_eq!(b.peek(THERE + 400).await, 7);
    b.poke(THERE + 400, 8).await;
    assert_eq!(a.peek(HERE + 400).await, 8);

    assert_eq!(a.call("unmap", (file_a,)).await, 0);
    assert_eq!(a.peek(HERE + 400).await, 0);
    a.poke(HERE + 400, 9).await;
    assert_eq!(b.peek(THERE + 400).await, 8);
}

#[tokio::test]
async fn a_mapped_buffer_is_for_nothing_else() {
    let (_directory, grant) = directory();
    let mut guest = Host::new(1).guest(grant).await;
    let (file, other) = (guest.open().await, guest.open().await);
    assert_eq!(guest.map(file, 0, HERE, REGION).await, 1);
    // Again, the same: nothing changes.
    assert_eq!(guest.map(file, 0, HERE, REGION).await, 1);
    // Over it, by the same file and another.
    assert_eq!(guest.map(file, 1, HERE, REGION).await, INVALID_ARGUMENT);
    assert_eq!(guest.map(other, 0, HERE, REGION).await, INVALID_ARGUMENT);
    let near = HERE - REGION + 4096;
    assert_eq!(guest.map(other, 0, near, REGION).await, INVALID_ARGUMENT);
    // As a plain buffer, even in part.
    for at in [HERE - 4, HERE, HERE + REGION - 4] {
        let params = (file, 0u64, at, 8u32);
        assert_eq!(guest.call("read-into", params).await, INVALID_ARGUMENT);
        assert_eq!(guest.call("write-at", params).await, INVALID_ARGUMENT);
    }
    assert_eq!(guest.call("unmap", (file,)).await, 0);
    assert_eq!(guest.call("write-at", (file, 0u64, HERE, 8u32)).await, 0);
    assert_eq!(guest.map(other, 0, HERE, REGION).await, 1);
}

#[tokio::test]
async fn the_next_instance_in_a_slot_does_not_see_the_wal_index() {
    let (directory, grant) = directory();
    let host = Host::new(1);
    for mark in 1..20u32 {
        // Nothing is closed or unmapped: the store is just dropped.
        let mut guest = host.guest(grant.clone()).await;
        for at in [HERE, HERE + 400, THERE] {
            assert_eq!(guest.peek(at).await, 0, "instance {mark} found something");
        }
        assert_eq!(guest.peek(16).await, u32::from_le_bytes(*b"t.db"));
        let file = guest.open().await;
        assert_eq!(guest.map(file, 0, HERE, REGION).await, 1);
        guest.poke(HERE + 400, mark).await;
        drop(guest);

        // Its memory is private again: what the next one writes stays there.
        let mut next = host.guest(grant.clone()).await;
        next.poke(HERE + 400, 0xdead).await;
        let shm = std::fs::read(directory.path().join("t.db-shm")).unwrap();
        assert_eq!(shm[400..404], mark.to_le_bytes());
    }
}

/// Whoever reads the memory of a guest, its own code or the host on its behalf, finds zeros where
/// the file was cut, and the guest ends with its next call.
#[tokio::test]
async fn a_wal_index_that_was_cut_ends_the_guest_and_nobody_else() {
    let (directory, grant) = directory();
    let host = Host::new(2);
    let mut bystander = host.guest(grant.clone()).await;
    for by_the_host in [false, true] {
        let mut guest = host.guest(grant.clone()).await;
        let file = guest.open().await;
        assert_eq!(guest.map(file, 0, HERE, REGION).await, 1);
        guest.poke(HERE, u32::from_le_bytes(*b"t.db")).await;
        let shm = std::fs::File::options()
            .write(true)
            .open(directory.path().join("t.db-shm"))
            .unwrap();
        shm.set_len(0).unwrap();
        if by_the_host {
            // A file's name that lies there.
            let name = (HERE, 4u32, 0u32, CREATE);
            let error = guest.try_call::<_, i32>("open", name).await.unwrap_err();
            assert!(format!("{error:?}").contains("cut"), "{error:?}");
        } else {
            assert_eq!(guest.peek(HERE).await, 0);
            guest.poke(HERE, 1).await;
            let read = (file, 0u64, 4u32);
            let error = guest.try_call::<_, i32>("read-at", read).await.unwrap_err();
            assert!(format!("{error:?}").contains("cut"), "{error:?}");
        }
        bystander.open().await;
    }
}

/// No limit on computing ends a guest that sleeps; whoever calls it can, by letting go of the call.
#[tokio::test]
async fn a_guest_that_sleeps_as_the_writer_holds_up_others_only_for_as_long_as_its_call_lives() {
    let (_directory, grant) = directory();
    let host = Host::new(2);
    let (mut hog, mut other) = (host.guest(grant.clone()).await, host.guest(grant).await);
    let writer = |file: u32| (file, 0u32, 1u32, 1u32);
    let mut numbers = Vec::new();
    for guest in [&mut hog, &mut other] {
        let file = guest.open().await;
        assert_eq!(guest.map(file, 0, HERE, REGION).await, 1);
        numbers.push(guest.call("number", (file,)).await.unsigned_abs());
    }
    assert_eq!(hog.call("lock", writer(numbers[0])).await, DONE);
    let call = tokio::spawn(async move {
        let sleep = hog
            .instance
            .get_typed_func::<(u64,), ()>(&mut hog.store, "sleep")
            .unwrap();
        sleep.call_async(&mut hog.store, (u64::MAX,)).await
    });
    tokio::task::yield_now().await;
    assert_eq!(other.call("lock", writer(numbers[1])).await, BUSY);
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    assert_eq!(other.call("lock", writer(numbers[1])).await, DONE);
}

#[tokio::test]
async fn static_data_cannot_be_mapped_over_and_is_whole_in_the_next_instance() {
    let (_directory, grant) = directory();
    let host = Host::new(1);
    for _ in 0..3 {
        let mut guest = host.guest(grant.clone()).await;
        assert_eq!(guest.peek(16).await, u32::from_le_bytes(*b"t.db"));
        let file = guest.open().await;
        // Over the first pages, where the names are.
        assert_eq!(guest.map(file, 0, 0, REGION).await, INVALID_ARGUMENT);
        assert_eq!(guest.map(file, 0, HERE, REGION).await, 1);
        assert_eq!(guest.peek(16).await, u32::from_le_bytes(*b"t.db"));
        drop(guest);
    }
}

#[tokio::test]
async fn without_shared_memory_nothing_is_mapped() {
    let (_directory, grant) = directory();
    let mut guest = Host::new(1).guest(grant.without_shared_memory()).await;
    let file = guest.open().await;
    assert_eq!(guest.map(file, 0, HERE, REGION).await, UNSUPPORTED);
}

#[tokio::test]
async fn sleeping_parks_the_guest_and_not_the_thread() {
    let (_directory, grant) = directory();
    let host = Host::new(3);
    let nap = std::time::Duration::from_millis(300);
    let mut guests = Vec::new();
    for _ in 0..3 {
        guests.push(host.guest(grant.clone()).await);
    }
    let begun = std::time::Instant::now();
    let calls_begun = Arc::new(AtomicUsize::new(0));
    let naps = guests.into_iter().map(|mut guest| {
        let calls_begun = Arc::clone(&calls_begun);
        tokio::spawn(async move {
            let sleep = guest
                .instance
                .get_typed_func::<(u64,), ()>(&mut guest.store, "sleep")
                .unwrap();
            let time = nap.as_nanos() as u64;
            calls_begun.fetch_add(1, Ordering::Relaxed);
            sleep.call_async(&mut guest.store, (time,)).await.unwrap();
            // One thread for all: each had begun before the first awoke.
            assert_eq!(calls_begun.load(Ordering::Relaxed), 3);
        })
    });
    for nap in naps.collect::<Vec<_>>() {
        nap.await.unwrap();
    }
    assert!(begun.elapsed() >= nap);
}
