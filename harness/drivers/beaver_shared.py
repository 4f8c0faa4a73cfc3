"""What the drivers of beaver-db share; 0.20.2 and 1.3.0 nearly everything.

Each operation is the call that a user of these versions writes, with the library's own settings.
"""

import contextlib
import sqlite3
import time

from driver import Client, Failure, timeout_of


class Threaded(Client):
    """A thread among those that share one `BeaverDB`."""

    def __init__(self, db, database, settings):
        self.db, self.database = db, database
        self.poll_interval = timeout_of(settings.get("poll_interval_ms"))
        self.handles, self.held, self.subscribers = {}, set(), {}

    def manager(self, kind, name):
        return getattr(self.db, kind)(name)

    def dict_get(self, name, key):
        return self.db.dict(name).get(key)

    def dict_set(self, name, key, value):
        self.db.dict(name)[key] = value

    def dict_delete(self, name, key):
        try:
            del self.db.dict(name)[key]
        except KeyError:
            return False
        return True

    def list_push(self, name, value):
        self.db.list(name).push(value)

    def list_insert(self, name, index, value):
        self.db.list(name).insert(index, value)

    def list_set(self, name, index, value):
        self.db.list(name)[index] = value

    def list_delete(self, name, index):
        del self.db.list(name)[index]

    def list_items(self, name):
        return list(self.db.list(name))

    def queue_put(self, name, value, priority):
        self.db.queue(name).put(value, priority)

    def queue_get(self, name, timeout_ms=None):
        try:
            item = self.db.queue(name).get(timeout_ms != 0, timeout_of(timeout_ms))
        except IndexError:
            raise Failure("timeout", "the queue is empty")
        return {"value": item.data, "priority": item.priority}

    def blob_put(self, name, key, data):
        self.manager("blob", name).put(key, data.encode())

    def blob_get(self, name, key):
        blob = self.manager("blob", name).get(key)
        return blob and blob.data.decode()

    def blob_delete(self, name, key):
        try:
            self.manager("blob", name).delete(key)
        except KeyError:
            return False
        return True

    def log_append(self, name, value):
        self.db.log(name).log(value)

    def log_read(self, name):
        return [value for _, value in self.db.log(name)]

    def channel_publish(self, name, value):
        self.db.channel(name).publish(value)

    def channel_subscribe(self, name):
        self.subscribers[name] = self.db.channel(name).subscribe().__enter__()

    def channel_next(self, name, timeout_ms=None):
        return [next(self.subscribers[name].listen(timeout_of(timeout_ms)))]

    def handle(self, lock):
        # The object that waited for a lock is the one that holds it: it is kept.
        if lock not in self.handles:
            kind, name = lock.split(":", 1)
            self.handles[lock] = self.manager(kind, name)
        return self.handles[lock]

    def lock_acquire(self, lock, timeout_ms=None, ttl_ms=None):
        self.handle(lock).acquire(timeout_of(timeout_ms), timeout_of(ttl_ms), self.poll_interval)
        self.held.add(lock)
        return {"token": None}

    def lock_release(self, lock):
        self.held.discard(lock)
        self.handle(lock).release()

    def lock_waiting(self, lock):
        return lock_rows(self.database, "beaver_lock_waiters", lock)

    def close(self):
        for lock in self.held:
            self.handle(lock).release()
        for subscriber in self.subscribers.values():
            subscriber.__exit__(None, None, None)


def lock_rows(database, table, lock):
    """How many hold or wait for a lock, by the clock that the store sees."""
    kind, name = lock.split(":", 1)
    row = name if kind == "lock" else f"__lock__{kind}__{name}"
    query = f"SELECT count(*) FROM {table} WHERE lock_name = ? AND expires_at >= ?"
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return connection.execute(query, (row, time.time())).fetchone()[0]


def library(version):
    import beaver  # not before: the clock is put wrong first

    if beaver.__version__ != version:
        raise Failure("invalid", f"this drives {version}, and {beaver.__version__} is installed")
    return beaver


def connect_to(version, client, database, settings):
    db = library(version).BeaverDB(database)
    return version, lambda: client(db, database, settings)
