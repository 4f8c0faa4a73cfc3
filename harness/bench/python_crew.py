"""The bench's crew in Python: BeaverDB 1.3.0 through its public methods.

Orders and answers as in protocol.rs, a line of JSON each. Each worker is a
process of its own, because the threads of a process share BeaverDB's locks. It
is forked from this one, which has imported the package and opens no database.
It ends when standard input does, and its workers with it.
"""

import json
import multiprocessing
import os
import signal
import sys
import time

from beaver import BeaverDB

# So that answers of two workers don't get mixed up.
speaking = multiprocessing.get_context("fork").Lock()


def say(reply):
    text = json.dumps(reply) + "\n"
    with speaking:
        sys.stdout.write(text)
        sys.stdout.flush()


class Worker:
    def __init__(self, path):
        self.dict = BeaverDB(path).dict("bench")

    def perform(self, task):
        match task:
            case "release":
                start = time.monotonic_ns()
                self.dict.release()
                return dict(released=dict(from_ns=start, to_ns=time.monotonic_ns()))
            case {"acquire": how}:
                if not self.dict.acquire(timeout=30, lock_ttl=how["ttl_s"]):
                    raise TimeoutError("acquire")
                return dict(acquired=dict(at_ns=time.monotonic_ns()))
            case {"contend": when}:
                return dict(contended=self.contend(**when))
            case "count":
                return dict(counted=self.dict["contended"])
        raise ValueError(f"{task} is no task")

    def contend(self, from_ns, until_ns):
        wait_ns, increments, failed = [], 0, 0
        time.sleep(max(0, from_ns - time.monotonic_ns()) / 1e9)
        while (start := time.monotonic_ns()) < until_ns:
            try:
                if not self.dict.acquire(timeout=30):
                    raise TimeoutError("acquire")
                wait_ns.append(time.monotonic_ns() - start)
                try:
                    self.dict["contended"] = self.dict["contended"] + 1
                    increments += 1
                finally:
                    self.dict.release()
            except Exception:
                failed += 1
        to_ns = time.monotonic_ns()
        return dict(wait_ns=wait_ns, increments=increments, failed=failed, to_ns=to_ns)

    def work(self, number, tasks):
        for line in tasks:
            try:
                done = self.perform(json.loads(line))
            except Exception as error:
                done = dict(failed=f"{type(error).__name__}: {error}")
            say(dict(did=dict(worker=number, done=done)))


def start(number, path, others):
    """A worker's process, once it has opened the file; and where it takes orders."""
    tasks, orders = os.pipe()
    result, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            for fd in [*others, orders, result]:
                os.close(fd)
            worker = Worker(path)
            os.write(told, b"opened")
            os.close(told)
            worker.work(number, os.fdopen(tasks))
        except Exception as error:
            os.write(told, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(tasks)
    os.close(told)
    with os.fdopen(result) as answer:
        text = answer.read()
    if text != "opened":
        raise RuntimeError(text or "a worker ended")
    return pid, orders


def main():
    # Nobody asks how a worker ended.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    say("ready")
    workers = []
    for line in sys.stdin:
        match json.loads(line):
            case {"open": what}:
                for _, orders in workers:
                    os.close(orders)
                workers = []
                path = os.path.join(what["directory"], "bench.db")
                try:
                    # One by one: they would wait a poll for each other.
                    for number in range(what["workers"]):
                        others = [orders for _, orders in workers]
                        workers.append(start(number, path, others))
                    say(dict(opened=dict(pids=[pid for pid, _ in workers])))
                except Exception as error:
                    say(dict(failed=f"{type(error).__name__}: {error}"))
            case {"do": what}:
                orders = workers[what["worker"]][1]
                os.write(orders, (json.dumps(what["task"]) + "\n").encode())


main()
