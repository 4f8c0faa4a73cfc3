"""A driver for beaver-db 2.4.1. See ../PROTOCOL.md.

    PYTHONPATH=<where beaver-db 2.4.1 and aiosqlite lie> python beaver_2_4_1.py

This version is built on asyncio: the clients are tasks that share one `AsyncBeaverDB`, which has
one connection (`BeaverDB` does that too, for threads, but has no transactions). Collections are
left out: documents and edges are two managers here, and no call drops a document with its edges.
Setting: `poll_interval_ms`, for the locks that a client asks for.
"""

import asyncio
import sqlite3

from beaver_2_managers import Managers
from beaver_shared import library, lock_rows
from driver import Failure, serve, timeout_of
from driver_async import start_loop

CAPABILITIES = ["dict", "list", "queue", "blob", "log", "log-follow", "channel", "locks"]
CAPABILITIES += ["lock-renew", "lock-waiting", "transactions", "clients", "clock", "sqlite"]


class Client(Managers):
    def __init__(self, db, loop, database, settings):
        super().__init__(db, loop)
        self.database = database
        self.poll_interval = timeout_of(settings.get("poll_interval_ms"))
        self.handles, self.held, self.transaction = {}, set(), None

    def handle(self, lock):
        if lock not in self.handles:
            kind, name = lock.split(":", 1)
            self.handles[lock] = getattr(self.db, kind)(name)
        return self.handles[lock]

    async def lock_acquire(self, lock, timeout_ms=None, ttl_ms=None):
        waiting = {"block": False}
        if timeout_ms != 0:
            waiting = {"timeout": timeout_of(timeout_ms), "poll_interval": self.poll_interval}
        if not await self.handle(lock).acquire(lock_ttl=timeout_of(ttl_ms), **waiting):
            raise Failure("timeout", "acquire() returned False")
        self.held.add(lock)
        return {"token": None}

    async def lock_renew(self, lock, ttl_ms):
        if not await self.handle(lock).renew(timeout_of(ttl_ms)):
            raise Failure("not-held", "renew() returned False")

    async def lock_release(self, lock):
        self.held.discard(lock)
        await self.handle(lock).release()

    async def lock_waiting(self, lock):
        return lock_rows(self.database, "__beaver_lock_waiters__", lock)

    async def begin(self):
        if self.transaction:
            raise Failure("in-transaction")
        transaction = self.db.transaction()
        await transaction.__aenter__()
        self.transaction = transaction

    async def commit(self):
        await self.end_transaction()

    async def rollback(self):
        await self.end_transaction(Failure("conflict"))

    async def end_transaction(self, error=None):
        if not self.transaction:
            raise Failure("no-transaction")
        transaction, self.transaction = self.transaction, None
        await transaction.__aexit__(error and type(error), error, None)

    async def close(self):
        if self.transaction:
            await self.rollback()
        for lock in self.held:
            await self.handle(lock).release()
        await super().close()

    def failure(self, op, error):
        """A method takes effect with its commit, and nothing that may fail comes after that."""
        if op == "queue-get" and str(error) == "Timeout expired while waiting for an item.":
            return Failure("timeout")
        if isinstance(error, IndexError) and op.startswith("list-"):
            return Failure("out-of-range")
        # A list refuses to grow past the depth to which Python recurses.
        if isinstance(error, (sqlite3.IntegrityError, RecursionError)):
            return Failure("failed", definite=True)
        # An acquire is several transactions, and gives its row back only if it can.
        locked = isinstance(error, TimeoutError) or str(error) == "database is locked"
        if locked and op != "lock-acquire":
            return Failure("busy")
        return Failure("failed")


def connect(database, settings):
    db, loop = library("2.4.1").AsyncBeaverDB(database), start_loop()
    asyncio.run_coroutine_threadsafe(db.connect(), loop).result()
    return "2.4.1", lambda: Client(db, loop, database, settings)


if __name__ == "__main__":
    serve("beaver-db", CAPABILITIES, connect)
