"""The bench's Python side: BeaverDB 1.3.0 through its public methods.

`python_side.py <file>`: orders and answers as in protocol.rs, a line of JSON
each. It ends when standard input does.
"""

import json
import sys
import time

from beaver import BeaverDB

ENTRIES = 10_000
CHUNK = 100
PATIENCE = 4
VALUE = {"name": "Ada Lovelace", "visits": 1815, "tags": ["first", "programmer"]}


def say(reply):
    sys.stdout.write(json.dumps(reply) + "\n")
    sys.stdout.flush()


def sample(latencies, seconds):
    ordered = sorted(latencies)

    def quantile(q):
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))]

    return dict(
        ops=len(ordered),
        seconds=seconds,
        p50_ns=quantile(0.5),
        p99_ns=quantile(0.99),
        max_ns=ordered[-1],
    )


class Recorder:
    def __init__(self):
        self.latencies, self.busy = [], 0

    def time(self, operation, *arguments, **options):
        start = time.perf_counter_ns()
        operation(*arguments, **options)
        took = time.perf_counter_ns() - start
        self.latencies.append(took)
        self.busy += took


def repeat(seconds, step):
    recorder, start = Recorder(), time.perf_counter()
    while True:
        step(recorder)
        if (
            recorder.busy >= seconds * 1e9
            or time.perf_counter() - start >= seconds * PATIENCE
        ):
            return recorder


def keys():
    at = 0
    while True:
        at = (at + 6_151) % ENTRIES
        yield f"user:{at:06}"


class Side:
    def __init__(self, path):
        self.db = BeaverDB(path)
        self.dict = self.db.dict("bench")
        self.queue = self.db.queue("jobs")
        self.keys = keys()

    def get(self, recorder):
        recorder.time(self.dict.get, next(self.keys))

    def set(self, recorder):
        recorder.time(self.dict.set, next(self.keys), VALUE)

    def increment(self, key):
        with self.dict:
            self.dict[key] = self.dict[key] + 1

    def locked(self, recorder):
        recorder.time(self.increment, "counter")

    def put(self, recorder):
        for _ in range(CHUNK):
            recorder.time(self.queue.put, VALUE, 1.0)
        self.queue.clear()

    def take(self, recorder):
        # In one go, as natively: one by one the puts take longer than the gets.
        connection = self.db.connection
        with connection:
            connection.executemany(
                "INSERT INTO beaver_priority_queues VALUES (?, ?, ?, ?)",
                [("jobs", 1.0, time.time(), json.dumps(VALUE)) for _ in range(CHUNK)],
            )
        for _ in range(CHUNK):
            recorder.time(self.queue.get, block=False)

    def measure(self, what, seconds):
        if what == "locked":
            self.dict["counter"] = 0
        step = getattr(self, what)
        repeat(seconds / 10, step)
        recorder = repeat(seconds, step)
        return sample(recorder.latencies, recorder.busy / 1e9)


def main():
    side = Side(sys.argv[1])
    say("ready")
    for line in sys.stdin:
        order = json.loads(line)
        try:
            say(dict(times=side.measure(order["measure"], order["seconds"])))
        except Exception as error:
            say(dict(failed=f"{type(error).__name__}: {error}"))


main()
