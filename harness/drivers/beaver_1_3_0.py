"""A driver for beaver-db 1.3.0. See ../PROTOCOL.md.

    python beaver_1_3_0.py

The clients are threads that share one `BeaverDB`, which hands all of them the same manager object
of a name, lock included. Setting: `poll_interval_ms`, for the locks that a client asks for; the
lock that each method takes inside has no setting.
"""

import sqlite3

from beaver_shared import Threaded, connect_to
from driver import Failure, serve, timeout_of

CAPABILITIES = ["dict", "list", "queue", "collection", "blob", "log", "channel", "locks"]
CAPABILITIES += ["lock-renew", "lock-waiting", "clients", "clock", "sqlite"]

# These look up afterwards whether anybody wants to hear of them. That takes a lock and waits for
# it at most a second, so they can fail although they have taken effect.
ANNOUNCED = {"dict-set", "dict-delete", "queue-put", "queue-get"}
ANNOUNCED |= {"list-push", "list-insert", "list-set", "list-delete"}
ANNOUNCED |= {"collection-index", "collection-drop", "collection-connect"}


class Client(Threaded):
    def document(self, key, body=None):
        from beaver import Document

        return Document(id=key, body=body)

    def collection_index(self, name, key, body):
        self.db.collection(name).index(self.document(key, body))

    def collection_get(self, name, key):
        documents = self.db.collection(name)  # there is no other way to get one by its id
        return next((document.body for document in documents if document.id == key), None)

    def collection_drop(self, name, key):
        self.db.collection(name).drop(self.document(key))
        return None  # the library doesn't say whether it was there

    def collection_connect(self, name, source, target, label):
        ends = self.document(source), self.document(target)
        self.db.collection(name).connect(*ends, label)

    def collection_neighbors(self, name, key, label):
        found = self.db.collection(name).neighbors(self.document(key), label)
        return [document.id for document in found]

    def collection_match(self, name, text):
        # By default ten rows, one for each field that has the word, of whatever collection.
        found = self.db.collection(name).match(text, top_k=1_000_000)
        return list(dict.fromkeys(document.id for document, _ in found))

    def lock_acquire(self, lock, timeout_ms=None, ttl_ms=None):
        handle = self.handle(lock)
        waiting = {"block": False}
        if timeout_ms != 0:
            waiting = {"timeout": timeout_of(timeout_ms), "poll_interval": self.poll_interval}
        if not handle.acquire(lock_ttl=timeout_of(ttl_ms), **waiting):
            raise Failure("timeout", "acquire() returned False")
        self.held.add(lock)
        return {"token": None}

    def lock_renew(self, lock, ttl_ms):
        if not self.handle(lock).renew(timeout_of(ttl_ms)):
            raise Failure("not-held", "renew() returned False")

    def failure(self, op, error):
        if isinstance(error, TimeoutError) and op == "channel-next":
            return Failure("timeout")
        if op == "queue-get" and str(error) == "Timeout expired while waiting for an item.":
            return Failure("timeout")
        if isinstance(error, IndexError) and op.startswith("list-"):
            return Failure("out-of-range")
        if op in ANNOUNCED:
            return Failure("failed")
        if isinstance(error, sqlite3.IntegrityError):
            return Failure("failed", definite=True)
        # An acquire is several transactions, and gives its row back only if it can.
        locked = isinstance(error, TimeoutError) or str(error) == "database is locked"
        if locked and op != "lock-acquire":
            return Failure("busy")
        return Failure("failed")


if __name__ == "__main__":
    serve("beaver-db", CAPABILITIES, lambda *to: connect_to("1.3.0", Client, *to))
