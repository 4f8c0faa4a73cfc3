//! What a blob store does.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_tests::{
    Blob, BlobContent, BlobReader, Error, Files, JournalChoice, LockOptions, OpenMode, Options,
    Process, Result, System, both, ms, s,
};
use serde_json::json;

const PROGRAM: &str = env!("CARGO_BIN_EXE_beaver-test-process");
const MIB: usize = 1 << 20;

/// Bytes that are different everywhere, and different for each `seed`.
fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut data = Vec::with_capacity(length + 8);
    while data.len() < length {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(7);
        data.extend_from_slice(&(state >> 13).to_le_bytes()[..6]);
    }
    data.truncate(length);
    data
}

fn write(blob: &Blob, key: &str, data: &[u8], chunk: usize, metadata: Option<&str>) -> Result<()> {
    let mut writer = blob.writer(key)?;
    for chunk in data.chunks(chunk) {
        writer.write(chunk)?;
    }
    writer.finish(metadata)
}

fn read(blob: &Blob, key: &str, max: u32) -> Vec<u8> {
    blob.reader(key).unwrap().unwrap().read_all(max).unwrap()
}

fn content(data: &[u8], metadata: Option<&str>) -> Option<BlobContent> {
    Some(BlobContent {
        data: data.to_vec(),
        metadata: metadata.map(str::to_owned),
    })
}

/// The rows of uploads that aren't finished, counted by another process: the
/// host and stock SQLite must not meet in one.
fn pieces(files: &Files) -> u64 {
    sql(files, "SELECT count(*) FROM beaver_blob_parts")
}

fn sql(files: &Files, sql: &str) -> u64 {
    let mut process = Process::start(PROGRAM, System::Native, &files.database());
    let found = process.call(json!({"op": "sql", "sql": sql}));
    found.as_u64().unwrap()
}

/// Reads on until it fails.
fn read_on(reader: &mut BlobReader, mut offset: u64) -> Error {
    loop {
        match reader.read_at(offset, 10_000) {
            Ok(chunk) => {
                assert!(!chunk.is_empty(), "it was read to the end");
                offset += chunk.len() as u64;
            }
            Err(error) => return error,
        }
    }
}

both! {
    // Found in review: the number of a version that was rolled back is given out again.
    fn a_reader_opened_inside_a_rolled_back_transaction_is_told(files: &Files) {
        let (store, other) = (files.open(), files.open());
        let blob = store.blob("b").unwrap();
        let transaction = store.begin().unwrap();
        blob.put("k", &[1; 400 << 10], None).unwrap();
        let mut reader = blob.reader("k").unwrap().unwrap();
        assert_eq!(reader.read_at(0, 10).unwrap(), [1; 10]);
        transaction.rollback().unwrap();
        other.blob("b").unwrap().put("k", &[2; 400 << 10], None).unwrap();
        assert_eq!(reader.read_at(300 << 10, 10).unwrap_err(), Error::Changed);
    }

    // Found in review: the writer took its pieces for gone.
    fn pieces_that_a_rollback_brings_back_are_removed(files: &Files) {
        let store = files.open();
        let blob = store.blob("b").unwrap();
        let mut writer = blob.writer("k").unwrap();
        for _ in 0..3 {
            writer.write(&vec![1; MIB]).unwrap();
        }
        assert!(pieces(files) > 0);
        let transaction = store.begin().unwrap();
        writer.finish(None).unwrap();
        transaction.rollback().unwrap();
        drop(writer);
        assert!(pieces(files) > 0);
        drop(blob.writer("other").unwrap());
        assert_eq!(pieces(files), 0);
        assert!(!blob.contains("k").unwrap());
    }

    fn what_is_put_comes_back(files: &Files) {
        let store = files.open();
        let blob = store.blob("files").unwrap();
        let every_byte: Vec<u8> = (0..=255).collect();
        let large = pattern(1, 5 * MIB);
        assert_eq!(blob.get("x").unwrap(), None);
        for data in [&b""[..], b"\0", &every_byte, &large, &large[..MIB], &large[..=MIB]] {
            for (given, stored) in [
                (None, None),
                (Some(r#"{"a":[1,2.50],"é":null}"#), Some(r#"{"a": [1, 2.5], "\u00e9": null}"#)),
                (Some("null"), Some("null")),
            ] {
                blob.put("x", data, given).unwrap();
                assert!(blob.get("x").unwrap() == content(data, stored), "{} bytes", data.len());
                assert_eq!(blob.size("x").unwrap(), Some(data.len() as u64));
                assert_eq!(blob.metadata("x").unwrap().as_deref(), stored);
                assert!(read(&blob, "x", 4_000_000) == data);
            }
        }
        assert_eq!(blob.len().unwrap(), 1);
    }

    fn what_is_not_there_is_none_and_deleting_it_false(files: &Files) {
        let blob = files.open().blob("files").unwrap();
        assert_eq!(blob.get("x").unwrap(), None);
        assert_eq!(blob.read("x", 0, 10).unwrap(), None);
        assert_eq!(blob.size("x").unwrap(), None);
        assert_eq!(blob.metadata("x").unwrap(), None);
        assert!(blob.reader("x").unwrap().is_none());
        assert!(!blob.contains("x").unwrap());
        assert!(!blob.delete("x").unwrap());
        blob.put("x", b"1", None).unwrap();
        assert!(blob.contains("x").unwrap());
        assert!(blob.delete("x").unwrap());
        assert!(!blob.delete("x").unwrap());
        assert_eq!(blob.get("x").unwrap(), None);
    }

    fn stores_are_apart_and_keys_in_order(files: &Files) {
        let store = files.open();
        let (blob, other) = (store.blob("files").unwrap(), store.blob("other").unwrap());
        assert_eq!(blob.clear().unwrap(), 0);
        for key in ["b", "", "é", "a/1", "Z", "a"] {
            blob.put(key, key.as_bytes(), None).unwrap();
        }
        other.put("a", b"other", None).unwrap();
        let pages = blob.key_pages(4).unwrap();
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [4, 2]);
        assert_eq!(pages.concat(), ["", "Z", "a", "a/1", "b", "é"]);
        assert_eq!(blob.len().unwrap(), 6);
        assert_eq!(blob.clear().unwrap(), 6);
        assert_eq!(blob.len().unwrap(), 0);
        assert_eq!(other.get("a").unwrap(), content(b"other", None));
    }

    fn ranges_end_where_the_blob_does(files: &Files) {
        let blob = files.open().blob("files").unwrap();
        let data = pattern(2, 3 * MIB);
        blob.put("x", &data, Some("1")).unwrap();
        let end = data.len() as u64;
        for (offset, length) in [(0, 0), (0, 1), (1_000_003, 70_000), (end - 1, 10), (end - 10, 10)] {
            let range = offset as usize..(offset as usize + length as usize).min(data.len());
            assert!(blob.read("x", offset, length).unwrap().unwrap() == data[range]);
        }
        for offset in [end, end + 1, u64::from(u32::MAX) + 1, u64::MAX] {
            assert_eq!(blob.read("x", offset, 10).unwrap(), Some(Vec::new()));
        }
        let mut reader = blob.reader("x").unwrap().unwrap();
        assert_eq!(reader.size().unwrap(), end);
        // Back and forth, what was read ahead or not.
        for offset in [0, 10, 5, 2_900_000, 300_000, 300_001, end - 1, 0] {
            let read = reader.read_at(offset, 1000).unwrap();
            let from = offset as usize;
            assert!(!read.is_empty() && read == data[from..from + read.len()], "at {offset}");
        }
        for offset in [end, u64::MAX] {
            assert!(reader.read_at(offset, 1000).unwrap().is_empty());
        }
    }

    fn what_is_written_in_pieces_is_put_together(files: &Files) {
        let blob = files.open().blob("files").unwrap();
        let data = pattern(3, 6 * MIB);
        for length in [0, 1, MIB, MIB + 1, 2 * MIB, 3 * MIB + 17, 5 * MIB] {
            for chunk in [70_001, MIB, 4 * MIB] {
                let data = &data[chunk % 1000..][..length];
                let metadata = (chunk != MIB).then_some(r#"{"n": 1}"#);
                write(&blob, "x", data, chunk, metadata).unwrap();
                assert!(blob.get("x").unwrap() == content(data, metadata), "{length} by {chunk}");
                assert_eq!(blob.metadata("x").unwrap().as_deref(), metadata);
                assert!(read(&blob, "x", 333_333) == data);
            }
        }
        assert_eq!(pieces(files), 0);
    }

    fn nobody_sees_what_is_not_finished(files: &Files) {
        let blob = files.open().blob("files").unwrap();
        let others = files.open().blob("files").unwrap();
        blob.put("x", b"old", Some("1")).unwrap();
        let new = pattern(4, 3 * MIB);
        for finish in [false, true] {
            let mut writer = blob.writer("x").unwrap();
            for chunk in new.chunks(500_000) {
                writer.write(chunk).unwrap();
                for blob in [&blob, &others] {
                    assert_eq!(blob.get("x").unwrap(), content(b"old", Some("1")));
                    assert_eq!(blob.key_pages(9).unwrap().concat(), ["x"]);
                }
            }
            assert!(pieces(files) > 0);
            if finish {
                writer.finish(None).unwrap();
                assert!(others.get("x").unwrap() == content(&new, None));
                assert!(matches!(writer.write(b"more"), Err(Error::InvalidArgument(_))));
                assert!(matches!(writer.finish(None), Err(Error::InvalidArgument(_))));
            }
            drop(writer);
            assert_eq!(pieces(files), 0);
        }
        assert!(others.get("x").unwrap() == content(&new, None));
    }

    fn writers_do_not_disturb_each_other(files: &Files) {
        let store = files.open();
        let (one, two) = (store.blob("files").unwrap(), files.open().blob("files").unwrap());
        let (a, b) = (pattern(5, 3 * MIB), pattern(6, 3 * MIB));
        let mut writers = [one.writer("x").unwrap(), two.writer("x").unwrap(), one.writer("y").unwrap()];
        for (first, second) in a.chunks(MIB / 2).zip(b.chunks(MIB / 2)) {
            writers[0].write(first).unwrap();
            writers[1].write(second).unwrap();
            writers[2].write(second).unwrap();
        }
        writers[1].finish(Some("2")).unwrap();
        assert!(one.get("x").unwrap() == content(&b, Some("2")));
        writers[0].finish(None).unwrap();
        assert!(two.get("x").unwrap() == content(&a, None), "whoever finishes last");
        writers[2].finish(None).unwrap();
        assert!(two.get("y").unwrap() == content(&b, None));
    }

    fn a_reader_never_mixes_versions(files: &Files) {
        let blob = files.open().blob("files").unwrap();
        let others = files.open().blob("files").unwrap();
        let data = pattern(7, 2 * MIB);
        let new = pattern(8, 2 * MIB);
        let changes: [&dyn Fn(&Blob); 5] = [
            &|blob| blob.put("x", &new, None).unwrap(),
            &|blob| assert!(blob.delete("x").unwrap()),
            // The newest row's id is given again.
            &|blob| {
                assert!(blob.delete("x").unwrap());
                blob.put("x", &new, None).unwrap();
            },
            &|blob| {
                blob.clear().unwrap();
                write(blob, "x", &new, MIB, Some("1")).unwrap();
            },
            &|blob| write(blob, "x", &data, MIB, None).unwrap(),
        ];
        for change in changes {
            for by in [&blob, &others] {
                by.put("x", &data, None).unwrap();
                let mut reader = blob.reader("x").unwrap().unwrap();
                let first = reader.read_at(0, 100).unwrap();
                assert!(first == data[..first.len()]);
                change(by);
                assert_eq!(read_on(&mut reader, first.len() as u64), Error::Changed);
                // And it stays so.
                assert_eq!(reader.read_at(MIB as u64, 1).unwrap_err(), Error::Changed);
                by.put("x", &data, None).unwrap();
                assert_eq!(reader.read_at(MIB as u64, 1).unwrap_err(), Error::Changed);
            }
        }
    }

    fn a_reader_does_not_mind_other_changes(files: &Files) {
        let store = files.open();
        let (blob, others) = (store.blob("files").unwrap(), files.open().blob("files").unwrap());
        let data = pattern(9, 2 * MIB);
        blob.put("x", &data, None).unwrap();
        let mut reader = blob.reader("x").unwrap().unwrap();
        let mut read = Vec::new();
        while read.len() < data.len() {
            read.extend(reader.read_at(read.len() as u64, 300_000).unwrap());
            blob.put("y", b"1", None).unwrap();
            others.put("z", &data, None).unwrap();
            others.delete("z").unwrap();
            store.dict("d").unwrap().set("k", "1", None).unwrap();
            // A log that somebody holds back could not be emptied.
            assert_eq!(store.checkpoint().unwrap(), 0);
        }
        assert!(read == data);
    }

    fn a_blob_too_large_for_one_call_is_read_in_pieces(files: &Files) {
        let blob = files.open().blob("files").unwrap();
        let chunk = pattern(10, 4 * MIB);
        let mut writer = blob.writer("x").unwrap();
        for _ in 0..16 {
            writer.write(&chunk).unwrap();
        }
        writer.write(b"end").unwrap();
        writer.finish(Some(r#"{"type": "video/mp4"}"#)).unwrap();
        let size = 64 * MIB as u64 + 3;
        assert_eq!(blob.get("x").unwrap_err(), Error::TooLarge(size));
        assert_eq!(blob.size("x").unwrap(), Some(size));
        assert_eq!(blob.metadata("x").unwrap().as_deref(), Some(r#"{"type": "video/mp4"}"#));
        assert_eq!(blob.read("x", size - 5, 100).unwrap().unwrap()[2..], *b"end");
        assert!(blob.read("x", 9 * 4 * MIB as u64, 4 << 20).unwrap().unwrap() == chunk);
        let mut reader = blob.reader("x").unwrap().unwrap();
        for _ in 0..16 {
            let mut read = Vec::new();
            // Where `reader.read_all` would hold it all.
            while read.len() < chunk.len() {
                let offset = size - 3 - (64 * MIB - read.len()) as u64;
                read.extend(reader.read_at(offset, (chunk.len() - read.len()) as u32).unwrap());
            }
            assert!(read == chunk);
        }
        assert!(blob.delete("x").unwrap());
    }

    fn a_writer_writes_as_its_handle(files: &Files) {
        let impatient = Options { lock_wait: ms(20), ..Options::default() };
        let (one, two) = (files.open(), files.open_with(&impatient).unwrap());
        let (holder, other) = (one.blob("files").unwrap(), two.blob("files").unwrap());
        holder.acquire(&LockOptions::timeout(s(10))).unwrap();
        let data = pattern(11, 2 * MIB);
        write(&holder, "x", &data, MIB, None).unwrap();
        let mut writer = other.writer("x").unwrap();
        for chunk in data.chunks(MIB / 2) {
            // Nothing that the lock protects is written yet.
            writer.write(chunk).unwrap();
        }
        assert!(matches!(writer.finish(Some("2")), Err(Error::Locked(_))));
        assert!(matches!(other.put("x", b"", None), Err(Error::Locked(_))));
        assert!(matches!(other.delete("x"), Err(Error::Locked(_))));
        assert_eq!(holder.metadata("x").unwrap(), None);
        let mut late = holder.writer("x").unwrap();
        late.write(b"late").unwrap();
        one.lock("__lock__blob__files").unwrap().clear().unwrap();
        writer.finish(Some("2")).unwrap();
        assert!(matches!(late.finish(None), Err(Error::LockLost(_))));
        assert!(holder.get("x").unwrap() == content(&data, Some("2")));
        assert_eq!(holder.release().unwrap_err(), Error::LockLost("__lock__blob__files".into()));
        // A handle that goes gives its lock back, whatever its writer does.
        holder.acquire(&LockOptions::timeout(s(10))).unwrap();
        drop(holder);
        assert!(other.try_acquire(None).unwrap());
    }

    fn in_a_transaction_it_is_all_or_nothing(files: &Files) {
        let store = files.open();
        let (blob, dict) = (store.blob("files").unwrap(), store.dict("d").unwrap());
        let others = files.open().blob("files").unwrap();
        blob.put("x", b"old", None).unwrap();
        let data = pattern(12, 3 * MIB);

        let transaction = store.begin().unwrap();
        dict.set("size", "3145728", None).unwrap();
        write(&blob, "x", &data, MIB, None).unwrap();
        assert!(read(&blob, "x", 500_000) == data);
        assert_eq!(others.get("x").unwrap(), content(b"old", None));
        transaction.commit().unwrap();
        assert!(others.get("x").unwrap() == content(&data, None));

        let before = blob.writer("y").unwrap();
        let mut across = blob.writer("y").unwrap();
        let transaction = store.begin().unwrap();
        for chunk in data.chunks(MIB) {
            across.write(chunk).unwrap();
        }
        blob.delete("x").unwrap();
        drop(before);
        transaction.rollback().unwrap();
        assert!(blob.contains("x").unwrap());
        assert_eq!(across.finish(None).unwrap_err(), Error::Changed, "its pieces were rolled back");

        // Dropped in a transaction that is rolled back, it comes back; the next writer removes it.
        let mut dropped = blob.writer("z").unwrap();
        for chunk in data.chunks(MIB) {
            dropped.write(chunk).unwrap();
        }
        let transaction = store.begin().unwrap();
        drop(dropped);
        transaction.rollback().unwrap();
        assert!(pieces(files) > 0);
        drop(blob.writer("z").unwrap());
        assert_eq!(pieces(files), 0);
        assert_eq!(blob.len().unwrap(), 1);
    }

    fn a_file_that_is_only_read(files: &Files) {
        files.open().blob("files").unwrap().put("x", b"1", None).unwrap();
        let options = Options { mode: OpenMode::ReadOnly, ..Options::default() };
        let store = files.open_with(&options).unwrap();
        let blob = store.blob("files").unwrap();
        assert_eq!(blob.get("x").unwrap(), content(b"1", None));
        assert_eq!(read(&blob, "x", 10), b"1");
        assert_eq!(blob.put("x", b"2", None).unwrap_err(), Error::ReadOnly);
        assert_eq!(blob.writer("x").unwrap_err(), Error::ReadOnly);
    }

    fn with_a_rollback_journal_it_is_the_same(files: &Files) {
        let options = Options { journal: JournalChoice::Rollback, ..Options::default() };
        let blob = files.open_with(&options).unwrap().blob("files").unwrap();
        let others = files.open_with(&options).unwrap().blob("files").unwrap();
        let data = pattern(14, 10 * MIB);
        others.put("x", b"old", None).unwrap();
        let mut writer = blob.writer("x").unwrap();
        let mut reader = others.reader("x").unwrap().unwrap();
        for chunk in data.chunks(MIB) {
            writer.write(chunk).unwrap();
            assert_eq!(reader.read_at(0, 9).unwrap(), b"old");
        }
        writer.finish(Some("1")).unwrap();
        assert!(others.get("x").unwrap() == content(&data, Some("1")));
        let mut reader = others.reader("x").unwrap().unwrap();
        reader.read_at(0, 9).unwrap();
        write(&blob, "x", &data, MIB, None).unwrap();
        assert_eq!(read_on(&mut reader, 9), Error::Changed);
        assert!(read(&others, "x", 1 << 20) == data);
    }

    fn a_killed_upload_leaves_nothing(files: &Files) {
        let blob = files.open().blob("files").unwrap();
        blob.put("x", b"old", None).unwrap();
        for victim in [System::Native, System::Component] {
            let mut process = Process::start(PROGRAM, victim, &files.database());
            process.call(json!({"op": "upload", "name": "files", "key": "x", "mib": 20}));
            assert!(pieces(files) > 10);
            // Whoever lives is left alone.
            drop(blob.writer("y").unwrap());
            assert!(pieces(files) > 10);
            process.kill();
            assert_eq!(blob.get("x").unwrap(), content(b"old", None));
            if victim == System::Native || files.system == System::Native {
                // What can't be known has to expire.
                sql(files, "UPDATE beaver_blob_parts SET expires_at = 0 RETURNING 1");
            }
            drop(blob.writer("y").unwrap());
            assert_eq!(pieces(files), 0);
            assert_eq!(blob.get("x").unwrap(), content(b"old", None));
        }
    }

    fn a_large_blob_does_not_leave_a_large_log(files: &Files) {
        let blob = files.open().blob("files").unwrap();
        write(&blob, "x", &pattern(13, 40 * MIB), MIB, None).unwrap();
        let log = files.directory().join("app.db-wal");
        let length = std::fs::metadata(log).unwrap().len();
        assert!(length < 20 * MIB as u64, "{length}");
    }
}

/// What only the component has: its memory, and limits on its files.
mod in_little_room {
    use super::*;
    use beaver_host::client::{self, DbError, OpenOptions};
    use beaver_host::{Grant, Host, Instance};

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(future)
    }

    async fn open(host: &Host, files: &Files) -> (Instance, client::Blob) {
        let grant = Grant::directory(files.directory()).unwrap();
        let mut instance = host.instantiate(grant).await.unwrap();
        let db = instance
            .open("app.db", &OpenOptions::default())
            .await
            .unwrap();
        let blob = instance.blob(&db, "files").await.unwrap();
        (instance, blob)
    }

    /// The `n`th of the chunks that are written and expected.
    fn chunk(n: usize) -> Vec<u8> {
        vec![(n % 251) as u8; MIB]
    }

    async fn write(
        instance: &mut Instance,
        blob: &client::Blob,
        key: &str,
        mib: usize,
    ) -> client::BlobWriter {
        let writer = blob.writer(instance, key).await.unwrap();
        for n in 0..mib {
            writer.write(instance, &chunk(n)).await.unwrap();
        }
        writer
    }

    #[test]
    fn three_hundred_mebibytes_through_thirty_two() {
        const SIZE: usize = 300;
        let files = Files::new(System::Component);
        let host = Host::builder()
            .max_instances(1)
            .memory_limit_bytes(32 << 20)
            .build()
            .unwrap();
        run(async {
            let (mut instance, blob) = open(&host, &files).await;
            let writer = write(&mut instance, &blob, "x", SIZE).await;
            writer.finish(&mut instance, Some("[1, 2]")).await.unwrap();
            assert_eq!(
                blob.size(&mut instance, "x").await.unwrap(),
                Some((SIZE * MIB) as u64)
            );
            let metadata = blob.metadata(&mut instance, "x").await.unwrap();
            assert_eq!(metadata.as_deref(), Some("[1, 2]"));
            let reader = blob.reader(&mut instance, "x").await.unwrap().unwrap();
            let mut offset = 0;
            while offset < SIZE * MIB {
                let read = reader
                    .read(&mut instance, offset as u64, 1 << 20)
                    .await
                    .unwrap();
                // What was read ahead needn't end where a chunk does.
                let (n, from) = (offset / MIB, offset % MIB);
                let first = read.len().min(MIB - from);
                assert!(read[..first].iter().all(|byte| *byte == (n % 251) as u8));
                assert!(
                    read[first..]
                        .iter()
                        .all(|byte| *byte == ((n + 1) % 251) as u8)
                );
                offset += read.len();
            }
            // Over the old one, which SQLite must not keep in memory either.
            for mib in [40, 40] {
                let writer = write(&mut instance, &blob, "y", mib).await;
                writer.finish(&mut instance, None).await.unwrap();
            }
            assert!(blob.delete(&mut instance, "x").await.unwrap());
            assert_eq!(blob.clear(&mut instance).await.unwrap(), 1);
        });
    }

    #[test]
    fn a_blob_larger_than_the_memory_is_refused_with_a_typed_error() {
        let files = Files::new(System::Component);
        let host = Host::builder()
            .max_instances(2)
            .memory_limit_bytes(32 << 20)
            .build()
            .unwrap();
        run(async {
            let (mut instance, blob) = open(&host, &files).await;
            let writer = write(&mut instance, &blob, "x", 40).await;
            writer.finish(&mut instance, None).await.unwrap();
            let error = blob.get(&mut instance, "x").await.unwrap_err();
            assert!(
                matches!(error, beaver_host::Error::Db(DbError::OutOfMemory)),
                "{error:?}"
            );
            // The instance goes on.
            let end = blob.read(&mut instance, "x", 40 << 20, 9).await.unwrap();
            assert_eq!(end, Some(Vec::new()));
        });
    }

    #[test]
    fn a_disk_that_is_full_before_the_end_changes_nothing() {
        let files = Files::new(System::Component);
        let roomy = Host::builder().max_instances(1).build().unwrap();
        run(async {
            let (mut instance, blob) = open(&roomy, &files).await;
            blob.put(&mut instance, "x", b"old", Some("1"))
                .await
                .unwrap();
            instance.close().await.unwrap();
        });
        // Where it runs out: in the pieces, and while they are put together.
        for (limit, mib) in [(4, 8), (9, 8)] {
            let host = Host::builder()
                .max_instances(1)
                .max_file_bytes(limit << 20)
                .build()
                .unwrap();
            run(async {
                let (mut instance, blob) = open(&host, &files).await;
                let writer = blob.writer(&mut instance, "x").await.unwrap();
                let mut error = None;
                for n in 0..mib {
                    if let Err(full) = writer.write(&mut instance, &chunk(n)).await {
                        error = Some(full);
                        break;
                    }
                }
                assert_eq!(error.is_some(), limit == 4);
                if error.is_none() {
                    error = writer.finish(&mut instance, None).await.err();
                }
                let full = |error| matches!(error, Some(beaver_host::Error::Db(DbError::Full)));
                assert!(full(error));
                let old = blob.get(&mut instance, "x").await.unwrap().unwrap();
                assert_eq!(
                    (&old.data[..], old.metadata.as_deref()),
                    (&b"old"[..], Some("1"))
                );
                if limit == 9 {
                    // It may be tried again.
                    assert!(full(writer.finish(&mut instance, None).await.err()));
                }
                writer.close(&mut instance).await.unwrap();
                blob.put(&mut instance, "y", b"small", None).await.unwrap();
                instance.close().await.unwrap();
            });
            assert_eq!(pieces(&files), 0);
        }
    }
}

/// Uploads whose end can't be known, under a clock of ours.
mod uploads_that_are_forgotten {
    use super::*;
    use beaver_core::{Database, Runtime, SystemRuntime};
    use std::cell::Cell;
    use std::rc::Rc;
    use std::time::Duration;

    struct Ahead {
        system: SystemRuntime,
        by: Cell<Duration>,
    }

    impl Runtime for Ahead {
        fn unix_seconds(&self) -> f64 {
            self.system.unix_seconds() + self.by.get().as_secs_f64()
        }
        fn monotonic(&self) -> Duration {
            self.system.monotonic() + self.by.get()
        }
        fn random(&self) -> u128 {
            self.system.random()
        }
        fn sleep(&self, duration: Duration) {
            self.system.sleep(duration);
        }
        fn explain_cannot_open(&self, path: &str) -> Error {
            self.system.explain_cannot_open(path)
        }
    }

    #[test]
    fn last_an_hour_after_the_last_call() {
        let files = Files::new(System::Native);
        let path = files.database();
        let clock = Rc::new(Ahead {
            system: SystemRuntime::new(),
            by: Cell::default(),
        });
        let open = || {
            let runtime: Rc<dyn Runtime> = Rc::<Ahead>::clone(&clock);
            let db = Database::open_with(path.to_str().unwrap(), &Options::default(), runtime);
            db.unwrap().blob("files").unwrap()
        };
        let (blob, others) = (open(), open());
        let data = pattern(20, 3 * MIB);
        let mut called = blob.writer("called").unwrap();
        let mut forgotten = blob.writer("forgotten").unwrap();
        for chunk in data.chunks(MIB) {
            called.write(chunk).unwrap();
            forgotten.write(chunk).unwrap();
        }
        for _ in 0..5 {
            clock.by.set(clock.by.get() + s(50 * 60));
            called.write(b"").unwrap();
            drop(others.writer("z").unwrap());
        }
        assert_eq!(forgotten.write(b"").unwrap_err(), Error::Changed);
        assert_eq!(forgotten.finish(None).unwrap_err(), Error::Changed);
        called.finish(None).unwrap();
        assert!(others.get("called").unwrap().unwrap().data == data);
        assert!(!others.contains("forgotten").unwrap());
        drop(forgotten);
        assert_eq!(pieces(&files), 0);
    }

    #[test]
    fn readers_and_writers_of_rust() {
        use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
        let files = Files::new(System::Native);
        let path = files.database();
        let db = Database::open(path.to_str().unwrap(), &Options::default()).unwrap();
        let blob = db.blob("files").unwrap();
        let data = pattern(21, 5 * MIB + 3);
        let mut writer = blob.writer("x").unwrap();
        writer.write_all(&data).unwrap();
        writer.flush().unwrap();
        assert_eq!(writer.size(), data.len() as u64);
        writer.finish(None).unwrap();
        let mut reader = blob.reader("x").unwrap().unwrap();
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert!(read == data);
        assert_eq!(
            reader.seek(SeekFrom::End(-4)).unwrap(),
            data.len() as u64 - 4
        );
        assert_eq!(
            reader.seek(SeekFrom::Current(1)).unwrap(),
            data.len() as u64 - 3
        );
        read.clear();
        reader.read_to_end(&mut read).unwrap();
        assert_eq!(read, data[data.len() - 3..]);
        assert!(reader.seek(SeekFrom::End(-6_000_000)).is_err());
        assert_eq!(reader.seek(SeekFrom::Start(9_000_000)).unwrap(), 9_000_000);
        assert_eq!(reader.read(&mut [0; 9]).unwrap(), 0);
        reader.seek(SeekFrom::Start(4_000_000)).unwrap();
        blob.put("x", &data, None).unwrap();
        let error = reader
            .seek(SeekFrom::Start(0))
            .and_then(|_| reader.read(&mut [0; 9]));
        let error = error.unwrap_err().into_inner().unwrap();
        assert_eq!(error.downcast_ref::<Error>(), Some(&Error::Changed));
    }
}
