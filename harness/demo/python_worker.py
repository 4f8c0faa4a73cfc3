"""The demo's Python process: BeaverDB 1.3.0 as anybody would use it.

`work <file>` carries out orders, one JSON object per line on standard input,
and reports on standard output (see protocol.rs); `read <file> …` prints what
the file holds at the end.

What must stay true: only BeaverDB's public methods touch the file, and the
process has one BeaverDB object on one thread. Two of them contend unsafely
with each other in BeaverDB itself, which is not what the demo is about. The
process exits when standard input closes.
"""

import json
import os
import sqlite3
import sys
import threading
import time
from queue import SimpleQueue

from beaver import BeaverDB

POLL_S = 0.004
# Longer than any case: nobody's lock may run out.
TTL_S = 180.0
PUT_TIMEOUT_S = 60.0
TAKE_TIMEOUT_S = 30.0
EMPTY_PAUSE_S = 0.005


def micros(since):
    return int((time.monotonic() - since) * 1e6)


def say(event):
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def explain(error):
    return f"{type(error).__name__}: {error}"


class Turn:
    """A manager's lock, for a `with`, acquired with a time limit."""

    def __init__(self, manager, timeout, poll=POLL_S):
        self.manager, self.timeout, self.poll = manager, timeout, poll

    def __enter__(self):
        while True:
            try:
                if self.manager.acquire(
                    timeout=self.timeout, lock_ttl=TTL_S, poll_interval=self.poll
                ):
                    return self.manager
                raise TimeoutError("lock")
            except sqlite3.IntegrityError:
                # Two requests with the same time stamp: BeaverDB 1.3.0 gives up.
                continue

    def __exit__(self, *_):
        self.manager.release()


def increments(db, stop, order):
    record = dict(written=[], unknown=0, timeouts=0, wait_us=[], errors=[])
    d = db.dict(order["dict"])
    while not stop.is_set():
        asked = time.monotonic()
        try:
            with Turn(d, order["timeout_ms"] / 1000):
                record["wait_us"].append(micros(asked))
                value = d.get(order["key"], 0) + 1
                try:
                    d[order["key"]] = value
                except Exception:
                    record["unknown"] += 1
                    raise
                record["written"].append(value)
        except TimeoutError as error:
            if str(error) == "lock":
                record["timeouts"] += 1
                continue
            record["errors"].append(explain(error))
            break
        except Exception as error:
            record["errors"].append(explain(error))
            break
    return dict(report="increments", **record)


def put(db, stop, order):
    record = dict(acknowledged=[], unknown=[], errors=[])
    q = db.queue(order["queue"])
    started = time.monotonic()
    for seq in range(order["count"]):
        late = (time.monotonic() - started) * 1000 >= order["limit_ms"]
        if late and seq % order["batch"] == 0:
            break
        number = order["producer"] * 1_000_000 + seq
        payload = dict(producer=order["producer"], seq=seq, number=number)
        priority = float(seq % max(order["priorities"], 1))
        try:
            if order["under_lock"]:
                with Turn(q, PUT_TIMEOUT_S):
                    q.put(payload, priority)
            else:
                q.put(payload, priority)
            record["acknowledged"].append(number)
        except Exception as error:
            # BeaverDB's errors don't tell whether the put happened.
            record["unknown"].append(number)
            record["errors"].append(explain(error))
            break
    return dict(report="put", **record)


def take(db, stop, order):
    record = dict(batches=[], wait_us=[], errors=[])
    q = db.queue(order["queue"])
    while not stop.is_set():
        if len(q) < order["size"]:
            time.sleep(EMPTY_PAUSE_S)
            continue
        asked = time.monotonic()
        batch = []
        try:
            with Turn(q, TAKE_TIMEOUT_S):
                if len(q) < order["size"]:
                    continue
                for _ in range(order["size"]):
                    item = q.get(block=False)
                    batch.append(
                        dict(
                            priority=item.priority,
                            timestamp=item.timestamp,
                            payload=item.data,
                        )
                    )
        except IndexError:
            pass  # somebody took from a locked queue: the short batch will tell
        except TimeoutError as error:
            if str(error) != "lock":
                record["errors"].append(explain(error))
                stop.set()
        except Exception as error:
            record["errors"].append(explain(error))
            stop.set()
        if batch:
            record["batches"].append(batch)
            record["wait_us"].append(micros(asked))
    return dict(report="take", **record)


def wait(db, stop, order):
    # Waiting long: look less often, for BeaverDB writes at every look.
    lock = db.lock(order["lock"], lock_ttl=TTL_S, poll_interval=0.02)
    deadline = order["deadline_ms"]
    asked = time.monotonic()
    try:
        granted = lock.acquire(timeout=None if deadline is None else deadline / 1000)
        waited_us, at_us = micros(asked), int(time.time() * 1e6)
        if not granted:
            ended = dict(how="timeout")
        else:
            try:
                db.queue(order["log"]).put(order["label"], 0.0)
            finally:
                lock.release()
            ended = dict(how="granted", token=None, at_us=at_us)
    except Exception as error:
        waited_us, ended = 0, dict(how="failed", message=explain(error))
    return dict(report="wait", ended=ended, waited_us=waited_us)


ORDERS = dict(increments=increments, put=put, take=take, wait=wait)


def work(path):
    orders, stop = SimpleQueue(), threading.Event()

    def listen():
        for line in sys.stdin:
            command = json.loads(line)
            match command["do"]:
                case "order":
                    stop.clear()
                    orders.put(command)
                case "stop":
                    stop.set()
                case "quit":
                    orders.put(None)
                    return
        # The demo is gone: leave, whatever is under way.
        os._exit(3)

    db = BeaverDB(path)
    say(dict(event="ready"))
    threading.Thread(target=listen, daemon=True).start()
    while (command := orders.get()) is not None:
        order = command["order"]
        carry_out = ORDERS.get(order["order"])
        if carry_out is None:
            report = dict(report="failed", message=f"Python can't {order['order']}")
        else:
            report = carry_out(db, stop, order)
        say(dict(event="report", worker=command["worker"], report=report))
    db.close()


def read(path, name, key, log, *queues):
    db = BeaverDB(path)
    say(
        dict(
            counter=db.dict(name).get(key),
            queue_lengths=[len(db.queue(queue)) for queue in queues],
            log_length=len(db.queue(log)),
        )
    )
    db.close()


if __name__ == "__main__":
    if sys.argv[1] == "work":
        work(sys.argv[2])
    else:
        read(*sys.argv[2:])
