"""A driver for beaver-db 0.20.2, the last version without internal locks. See ../PROTOCOL.md.

    PYTHONPATH=<where beaver-db 0.20.2 lies> python beaver_0_20_2.py

The clients are threads that share one `BeaverDB`; each manager object has a lock of its own.
Two managers are left out because they don't work in this version: `db.log()` raises a TypeError,
and `index()` of a collection ends with "no such table: _beaver_ann_pending_log".
Setting: `poll_interval_ms`, for the locks that a client asks for.
"""

import sqlite3

from beaver_shared import Threaded, connect_to
from driver import Failure, serve

CAPABILITIES = ["dict", "list", "queue", "blob", "channel", "locks", "lock-waiting"]
CAPABILITIES += ["clients", "clock", "sqlite"]


class Client(Threaded):
    def manager(self, kind, name):
        return super().manager("blobs" if kind == "blob" else kind, name)

    def failure(self, op, error):
        """Here each method is one transaction, and nothing follows it: what it raises undid it."""
        if isinstance(error, TimeoutError):
            return Failure("timeout")
        if isinstance(error, IndexError) and op.startswith("list-"):
            return Failure("out-of-range")
        if isinstance(error, sqlite3.IntegrityError):
            return Failure("failed", definite=True)
        # An acquire is several transactions, and gives its row back only if it can.
        if str(error) == "database is locked" and op != "lock-acquire":
            return Failure("busy")
        return Failure("failed")


if __name__ == "__main__":
    serve("beaver-db", CAPABILITIES, lambda *to: connect_to("0.20.2", Client, *to))
