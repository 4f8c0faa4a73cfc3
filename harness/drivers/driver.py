"""The half of a driver that every Python store needs: ../PROTOCOL.md's lines in, answers out.

A client is a thread, as in a program that shares one store among its threads. `serve` is given
`connect(database, settings)`, which opens the store and returns its version and what makes a
client: a `Client` whose method `dict_get` answers `dict-get`, and so on, with the request's fields
as arguments. No store may be imported before `connect`, or it would keep the true clock. All have
`clock_resolution_ms`: clocks that count in steps give two requests the same time.
"""

import datetime
import inspect
import json
import os
import queue
import sys
import threading
import time


class Failure(Exception):
    """Answers with an error of PROTOCOL.md; its table says how definite it is, unless we do."""

    def __init__(self, code, message="", definite=None):
        super().__init__(message)
        self.code, self.definite = code, definite


class Client:
    """One user of the store. Everything is called on this client's thread."""

    def perform(self, method, arguments):
        return method(**arguments)

    def failure(self, op, error):
        """What an exception of the store means."""
        return Failure("failed")

    def close(self):
        pass


def set_clock(offset, resolution):
    """Puts every reading of the wall clock wrong, for modules imported from now on. In seconds."""
    true_time, true_datetime = time.time, datetime.datetime

    def wrong_time():
        now = true_time() + offset
        return now - now % resolution if resolution else now

    class WrongDatetime(true_datetime):
        @classmethod
        def now(cls, tz=None):
            return true_datetime.fromtimestamp(time.time(), tz)

    time.time, datetime.datetime = wrong_time, WrongDatetime


def timeout_of(timeout_ms):
    """Seconds, as Python's libraries count; `None` waits for ever."""
    return None if timeout_ms is None else float(timeout_ms) / 1000


def serve(name, capabilities, connect):
    """Answers requests until standard input ends."""
    answers, writing = sys.stdout, threading.Lock()
    sys.stdout = sys.stderr  # a store that prints must not break the protocol
    clients = {}
    make_client = None

    def answer(request, **fields):
        with writing:
            print(json.dumps({"id": request["id"], **fields}), file=answers, flush=True)

    def answer_with(request, work, failure_of):
        try:
            answer(request, ok=work())
        except Exception as error:
            meant, message = error, str(error)
            if not isinstance(error, Failure):
                meant = failure_of(request["op"], error)
                message = f"{type(error).__name__}: {error}"
            definite = {} if meant.definite is None else {"definite": meant.definite}
            answer(request, error=meant.code, message=message, **definite)

    def init(request):
        nonlocal make_client
        settings = request.get("settings", {})
        offset, resolution = request.get("clock_offset_ms", 0), request.get("clock_resolution_ms", 0)
        if offset or resolution:
            set_clock(offset / 1000, resolution / 1000)
        version, make_client = connect(request["database"], settings)
        return {"protocol": 1, "name": name, "version": version, "capabilities": capabilities}

    def operate(client, request):
        method = getattr(client, request["op"].replace("-", "_"), None)
        if method is None:
            raise Failure("unsupported")
        known = inspect.signature(method).parameters
        return client.perform(method, {k: v for k, v in request.items() if k in known})

    def live(requests):
        client = Client()

        def open_client():
            nonlocal client
            client = make_client()

        while True:
            request = requests.get()
            opening = request["op"] == "open"
            work = open_client if opening else lambda: operate(client, request)
            answer_with(request, work, client.failure)
            if request["op"] == "close":
                return

    for line in sys.stdin.buffer:
        request = json.loads(line)
        if request["op"] == "init":
            answer_with(request, lambda: init(request), Client().failure)
            continue
        number = request["client"]
        if request["op"] == "open":
            clients[number] = queue.SimpleQueue()
            threading.Thread(target=live, args=[clients[number]], daemon=True).start()
        if number in clients:
            clients[number].put(request)
        else:
            answer(request, error="invalid", message=f"client {number} is not open")
    os._exit(0)
