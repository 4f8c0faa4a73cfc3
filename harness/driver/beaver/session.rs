//! One client of one of our builds, as a macro over the build's types.

/// Defines `Session`: an open database with its handles, and every operation of the protocol
/// on it.
///
/// `$db` has the managers' types. `$call!(engine, handle.method(arguments))` calls a method and
/// gives its result or returns the failure; `$open!(engine, kind(name))` opens a handle in the
/// same way; the engine has a monotonic clock, `now`, and waits with `nap`.
///
/// A client has one handle per kind and name: a handle is a lock owner, so whoever acquires
/// `dict:config` goes on as the holder.
macro_rules! session {
    ($db:ident, $engine:ty, $call:ident, $open:ident) => {
        /// All that a client holds. The transaction goes first: it keeps the write lock.
        #[derive(Default)]
        struct Handles {
            transaction: Option<$db::Transaction>,
            tails: BTreeMap<String, $db::Tail>,
            subscriptions: BTreeMap<String, $db::Subscription>,
            dicts: BTreeMap<String, $db::Dict>,
            lists: BTreeMap<String, $db::List>,
            queues: BTreeMap<String, $db::Queue>,
            collections: BTreeMap<String, $db::Collection>,
            blobs: BTreeMap<String, $db::Blob>,
            logs: BTreeMap<String, $db::Log>,
            channels: BTreeMap<String, $db::Channel>,
            locks: BTreeMap<String, $db::Lock>,
        }

        struct Session {
            handles: Handles,
            engine: $engine,
            lock_wait: Duration,
        }

        /// The handle of a kind and name, opened when it is first used.
        macro_rules! handle {
            ($e:ident, $map:expr, $kind:ident($name:expr)) => {
                match $map.entry($name.clone()) {
                    Entry::Occupied(known) => &*known.into_mut(),
                    Entry::Vacant(place) => &*place.insert($open!($e, $kind($name))),
                }
            };
        }

        /// Does the same with a lock's handle, whatever kind it is of.
        macro_rules! on_lock {
            ($e:ident, $handles:ident, $lock:expr, |$h:ident| $body:expr) => {{
                let name = &$lock.name;
                match $lock.kind {
                    LockKind::Lock => {
                        let $h = handle!($e, $handles.locks, lock(name));
                        $body
                    }
                    LockKind::Dict => {
                        let $h = handle!($e, $handles.dicts, dict(name));
                        $body
                    }
                    LockKind::List => {
                        let $h = handle!($e, $handles.lists, list(name));
                        $body
                    }
                    LockKind::Queue => {
                        let $h = handle!($e, $handles.queues, queue(name));
                        $body
                    }
                    LockKind::Collection => {
                        let $h = handle!($e, $handles.collections, collection(name));
                        $body
                    }
                    LockKind::Blob => {
                        let $h = handle!($e, $handles.blobs, blob(name));
                        $body
                    }
                }
            }};
        }

        /// All pages of a cursor as one array.
        macro_rules! all {
            ($e:ident, $cursor:expr, |$item:ident| $value:expr) => {{
                #[allow(unused_mut, reason = "natively a cursor changes")]
                let mut cursor = $cursor;
                let mut all = Vec::new();
                loop {
                    let page = $call!($e, cursor.next_page(PAGE));
                    if page.is_empty() {
                        break Value::Array(all);
                    }
                    for $item in page {
                        all.push($value);
                    }
                }
            }};
        }

        impl Session {
            /// Does an operation.
            async fn call(&mut self, op: &Op, certify: bool) -> Answer {
                if !certify || !beaver::can_certify(op) {
                    return Ok((self.run(op).await?, None));
                }
                if self.handles.transaction.is_some() {
                    let value = self.run(op).await?;
                    return Ok((value, Some(self.count().await?)));
                }
                self.certified(op).await
            }

            /// Does an operation in a transaction of its own, together with the count.
            ///
            /// A transaction refuses to wait. So whoever would wait for an item looks for it
            /// outside, and whoever would wait for a manager's lock takes it, which is fair.
            async fn certified(&mut self, op: &Op) -> Answer {
                let waiting = Waiting::new(op, self.lock_wait, self.engine.now());
                let now = beaver::at_once(op);
                let mut held: Option<LockName> = None;
                let answer = loop {
                    if !self.has_items(op).await? {
                        match waiting.left(self.engine.now()) {
                            Err(failure) => break Err(failure),
                            Ok(left) => {
                                self.engine.nap(left.unwrap_or(LOOK_EVERY).min(LOOK_EVERY)).await;
                                continue;
                            }
                        }
                    }
                    self.run(&Op::Begin).await?;
                    let done = match self.run(&now).await {
                        Ok(value) => self.count().await.map(|number| (value, Some(number))),
                        Err(failure) => Err(failure),
                    };
                    let failure = match done {
                        Ok(answer) => match self.run(&Op::Commit).await {
                            Ok(_) => break Ok(answer),
                            Err(failure) => break Err(failure),
                        },
                        Err(failure) => failure,
                    };
                    self.run(&Op::Rollback).await?;
                    match (failure.error, beaver::lock_of(op)) {
                        // Somebody else was faster.
                        (ErrorCode::Timeout, _) => {
                            if let Err(failure) = waiting.left(self.engine.now()) {
                                break Err(failure);
                            }
                        }
                        (ErrorCode::Locked | ErrorCode::InTransaction, Some(lock))
                            if held.is_none() =>
                        {
                            let left = match waiting.left(self.engine.now()) {
                                Ok(left) => left,
                                Err(_) => break Err(waiting.over(&failure.message)),
                            };
                            match self.acquire(&lock, left, None).await {
                                Ok(()) => held = Some(lock),
                                Err(late) if late.error == ErrorCode::Timeout => {
                                    break Err(waiting.over(&failure.message));
                                }
                                Err(failure) => break Err(failure),
                            }
                        }
                        _ => break Err(failure),
                    }
                };
                if let Some(lock) = held {
                    // The operation stands or not, whatever becomes of the lock.
                    let _ = self.run(&Op::LockRelease { lock }).await;
                }
                answer
            }

            /// Whether it is worth while to try to take from a queue.
            async fn has_items(&mut self, op: &Op) -> Result<bool, Failure> {
                let (name, count) = match op {
                    Op::QueueGet { name, .. } => (name, 1),
                    Op::QueueGetBatch { name, count, .. } => (name, u64::from(*count)),
                    _ => return Ok(true),
                };
                let Self {
                    engine, handles, ..
                } = self;
                let queue = handle!(engine, handles.queues, queue(name));
                if count == 1 {
                    return Ok($call!(engine, queue.peek()).is_some());
                }
                Ok($call!(engine, queue.len()) >= count)
            }

            /// Counts up the number of certified operations.
            async fn count(&mut self) -> Result<u64, Failure> {
                let (name, key) = beaver::COMMITS;
                let Self {
                    engine, handles, ..
                } = self;
                let dict = handle!(engine, handles.dicts, dict(&name.to_owned()));
                let number = count_text($call!(engine, dict.get(key)))?;
                $call!(engine, dict.set(key, &number.to_string(), None));
                Ok(number)
            }

            async fn acquire(
                &mut self,
                lock: &LockName,
                timeout: Option<Duration>,
                ttl: Option<Duration>,
            ) -> Result<(), Failure> {
                let Self {
                    engine, handles, ..
                } = self;
                let options = $db::LockOptions { timeout, ttl };
                on_lock!(engine, handles, lock, |lock| $call!(
                    engine,
                    lock.acquire(options)
                ));
                Ok(())
            }

            /// How many hold or wait for a lock.
            async fn waiting(&mut self, lock: &LockName) -> Result<u64, Failure> {
                let name = beaver::table_name(lock);
                let Self { engine, .. } = self;
                let database = &engine.database;
                #[allow(unused_mut, reason = "natively a cursor changes")]
                let mut managers = $call!(engine, database.managers(true));
                loop {
                    let page = $call!(engine, managers.next_page(PAGE));
                    if page.is_empty() {
                        return Ok(0);
                    }
                    for entry in page {
                        if entry.kind == $db::ManagerKind::Lock && entry.name == name {
                            return Ok(entry.count);
                        }
                    }
                }
            }

            /// Does an operation as it is.
            async fn run(&mut self, op: &Op) -> Result<Value, Failure> {
                let timeout = op.timeout_ms().flatten().map(Duration::from_millis);
                match op {
                    Op::LockAcquire { lock, ttl_ms, .. } => {
                        let ttl = ttl_ms.map(Duration::from_millis);
                        self.acquire(lock, timeout, ttl).await?;
                        let Self {
                            engine, handles, ..
                        } = self;
                        let token = on_lock!(engine, handles, lock, |lock| $call!(
                            engine,
                            lock.fencing_token()
                        ));
                        return Ok(json!({"token": token}));
                    }
                    Op::LockWaiting { lock } => return Ok(self.waiting(lock).await?.into()),
                    _ => {}
                }
                let Self {
                    engine, handles, ..
                } = self;
                match op {
                    Op::DictGet { name, key } => {
                        let dict = handle!(engine, handles.dicts, dict(name));
                        return optional($call!(engine, dict.get(key)));
                    }
                    Op::DictSet { name, key, value } => {
                        let dict = handle!(engine, handles.dicts, dict(name));
                        $call!(engine, dict.set(key, &text(value), None));
                    }
                    Op::DictDelete { name, key } => {
                        let dict = handle!(engine, handles.dicts, dict(name));
                        return Ok($call!(engine, dict.delete(key)).into());
                    }
                    Op::ListPush { name, value } => {
                        let list = handle!(engine, handles.lists, list(name));
                        $call!(engine, list.push(&text(value)));
                    }
                    Op::ListInsert { name, index, value } => {
                        let list = handle!(engine, handles.lists, list(name));
                        $call!(engine, list.insert(*index, &text(value)));
                    }
                    Op::ListSet { name, index, value } => {
                        let list = handle!(engine, handles.lists, list(name));
                        $call!(engine, list.set(*index, &text(value)));
                    }
                    Op::ListDelete { name, index } => {
                        let list = handle!(engine, handles.lists, list(name));
                        $call!(engine, list.delete(*index));
                    }
                    Op::ListItems { name } => {
                        let list = handle!(engine, handles.lists, list(name));
                        let items = $call!(engine, list.items());
                        return Ok(all!(engine, items, |item| json(&item)?));
                    }
                    Op::QueuePut {
                        name,
                        value,
                        priority,
                    } => {
                        let queue = handle!(engine, handles.queues, queue(name));
                        $call!(engine, queue.put(&text(value), *priority));
                    }
                    Op::QueueGet { name, .. } => {
                        let queue = handle!(engine, handles.queues, queue(name));
                        let item = $call!(engine, queue.get(timeout));
                        return Ok(
                            json!({"value": json(&item.data)?, "priority": item.priority}),
                        );
                    }
                    Op::QueueGetBatch { name, count, .. } => {
                        let queue = handle!(engine, handles.queues, queue(name));
                        let mut all = Vec::new();
                        for item in $call!(engine, queue.get_batch(*count, timeout)) {
                            all.push(
                                json!({"value": json(&item.data)?, "priority": item.priority}),
                            );
                        }
                        return Ok(all.into());
                    }
                    Op::CollectionIndex { name, key: id, body } => {
                        let docs = handle!(engine, handles.collections, collection(name));
                        let options = $db::IndexOptions {
                            full_text: $db::FullText::All,
                            fuzzy: false,
                        };
                        let body = text(body);
                        $call!(engine, docs.index(Some(id), Some(&body), None, &options));
                    }
                    Op::CollectionGet { name, key: id } => {
                        let docs = handle!(engine, handles.collections, collection(name));
                        let document = $call!(engine, docs.get(id));
                        return document.map_or(Ok(Value::Null), |found| json(&found.body));
                    }
                    Op::CollectionDrop { name, key: id } => {
                        let docs = handle!(engine, handles.collections, collection(name));
                        return Ok($call!(engine, docs.drop(id)).into());
                    }
                    Op::CollectionConnect {
                        name,
                        source,
                        target,
                        label,
                    } => {
                        let docs = handle!(engine, handles.collections, collection(name));
                        $call!(engine, docs.connect(source, target, label, None));
                    }
                    Op::CollectionNeighbors { name, key: id, label } => {
                        let docs = handle!(engine, handles.collections, collection(name));
                        let way = $db::Direction::Outgoing;
                        let found = $call!(engine, docs.neighbors(id, Some(label), way));
                        return Ok(all!(engine, found, |document| document.id.into()));
                    }
                    Op::CollectionMatch { name, text } => {
                        let docs = handle!(engine, handles.collections, collection(name));
                        let options = $db::MatchOptions {
                            on: Vec::new(),
                            top_k: beaver::HITS_MAX,
                            fuzziness: 0,
                        };
                        let phrase = beaver::phrase(text);
                        let hits = $call!(engine, docs.match_text(&phrase, &options));
                        return Ok(hits.into_iter().map(|hit| hit.document.id).collect());
                    }
                    Op::BlobPut { name, key, data } => {
                        let blob = handle!(engine, handles.blobs, blob(name));
                        $call!(engine, blob.put(key, data.as_bytes(), None));
                    }
                    Op::BlobGet { name, key } => {
                        let blob = handle!(engine, handles.blobs, blob(name));
                        let content = $call!(engine, blob.get(key));
                        return Ok(content.map_or(Value::Null, |content| {
                            String::from_utf8_lossy(&content.data).into()
                        }));
                    }
                    Op::BlobDelete { name, key } => {
                        let blob = handle!(engine, handles.blobs, blob(name));
                        return Ok($call!(engine, blob.delete(key)).into());
                    }
                    Op::LogAppend { name, value } => {
                        let log = handle!(engine, handles.logs, log(name));
                        $call!(engine, log.append(&text(value), None));
                    }
                    Op::LogRead { name } => {
                        let log = handle!(engine, handles.logs, log(name));
                        let entries = $call!(engine, log.entries());
                        return Ok(all!(engine, entries, |entry| json(&entry.data)?));
                    }
                    Op::LogFollow { name } => {
                        let log = handle!(engine, handles.logs, log(name));
                        let tail = $call!(engine, log.tail(None));
                        handles.tails.insert(name.clone(), tail);
                    }
                    Op::LogNext { name, .. } => {
                        let Some(tail) = handles.tails.get_mut(name) else {
                            return Err(Failure::new(
                                ErrorCode::Invalid,
                                "log-next needs a log-follow before",
                            ));
                        };
                        let page = $call!(engine, tail.next_page(PAGE, timeout));
                        return page.iter().map(|entry| json(&entry.data)).collect();
                    }
                    Op::ChannelPublish { name, value } => {
                        let channel = handle!(engine, handles.channels, channel(name));
                        $call!(engine, channel.publish(&text(value)));
                    }
                    Op::ChannelSubscribe { name } => {
                        let channel = handle!(engine, handles.channels, channel(name));
                        let subscription = $call!(engine, channel.subscribe(None));
                        handles.subscriptions.insert(name.clone(), subscription);
                    }
                    Op::ChannelNext { name, .. } => {
                        let Some(subscription) = handles.subscriptions.get_mut(name) else {
                            return Err(Failure::new(
                                ErrorCode::Invalid,
                                "channel-next needs a channel-subscribe before",
                            ));
                        };
                        let page = $call!(engine, subscription.next_page(PAGE, timeout));
                        return page.iter().map(|message| json(&message.payload)).collect();
                    }
                    Op::LockRenew { lock, ttl_ms } => {
                        let ttl = Some(Duration::from_millis(*ttl_ms));
                        on_lock!(engine, handles, lock, |lock| $call!(
                            engine,
                            lock.renew(ttl)
                        ));
                    }
                    Op::LockRelease { lock } => {
                        on_lock!(engine, handles, lock, |lock| $call!(
                            engine,
                            lock.release()
                        ));
                    }
                    Op::Begin => {
                        if handles.transaction.is_some() {
                            return Err(Failure::new(ErrorCode::InTransaction, ""));
                        }
                        handles.transaction = Some($open!(engine, begin));
                    }
                    Op::Commit | Op::Rollback => {
                        let Some(transaction) = handles.transaction.take() else {
                            return Err(Failure::new(ErrorCode::NoTransaction, ""));
                        };
                        if matches!(op, Op::Commit) {
                            $call!(engine, transaction.commit());
                        } else {
                            $call!(engine, transaction.rollback());
                        }
                    }
                    Op::LockAcquire { .. } | Op::LockWaiting { .. } => {}
                }
                Ok(Value::Null)
            }
        }

        /// The code of an error.
        fn code(error: &EngineError) -> ErrorCode {
            match error {
                EngineError::InvalidArgument(_)
                | EngineError::InvalidJson(_)
                | EngineError::TooLarge(_) => ErrorCode::Invalid,
                EngineError::OutOfRange => ErrorCode::OutOfRange,
                EngineError::Timeout => ErrorCode::Timeout,
                EngineError::Locked(_) => ErrorCode::Locked,
                EngineError::Deadlock(_) => ErrorCode::Deadlock,
                EngineError::LockLost(_) => ErrorCode::LockLost,
                EngineError::NotHeld => ErrorCode::NotHeld,
                EngineError::AlreadyHeld => ErrorCode::AlreadyHeld,
                EngineError::WaitCleared => ErrorCode::WaitCleared,
                EngineError::Busy => ErrorCode::Busy,
                EngineError::InTransaction => ErrorCode::InTransaction,
                EngineError::NoTransaction => ErrorCode::NoTransaction,
                _ => ErrorCode::Failed,
            }
        }
    };
}
pub(in crate::driver) use session;
