"""The real beaver-db as a test process: JSON lines on stdio (see process.rs)."""

import base64
import datetime
import functools
import importlib.util
import io
import itertools
import json
import sqlite3
import sys
import threading
import time

import beaver
from beaver.channels import ChannelManager
from beaver.locks import LockManager


def decode(value):
    """What JSON can't carry: {"$bytes": base64}, {"$time": unix}, {"$slice": [a, b]}, {"$document": {...}}, {"$json": text}."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    match next(iter(value.items()), None):
        case ("$bytes", text):
            return base64.b64decode(text)
        case ("$time", seconds):
            return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
        case ("$slice", [start, stop]):
            return slice(start, stop)
        case ("$json", text):
            return json.loads(text)
        case ("$document", fields):
            return beaver.Document(**fields)
    return {key: decode(item) for key, item in value.items()}


def encode(value):
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if hasattr(value, "model_dump"):
        return {"$document": value.model_dump()}
    if isinstance(value, dict):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    if value is not None and not isinstance(value, (str, int, float)):
        return {"$object": type(value).__name__}
    return value


def again_at_the_same_instant(method):
    """A stamp that somebody else has already is refused, and nothing written. That is known (see the harness's scenario
    `same-instant`), and by chance, so not for the tests that come through here."""

    @functools.wraps(method)
    def wrapper(*args, **kwargs):
        for _ in range(10):
            try:
                return method(*args, **kwargs)
            except sqlite3.IntegrityError as error:
                if error.sqlite_errorname != "SQLITE_CONSTRAINT_PRIMARYKEY":
                    raise
        return method(*args, **kwargs)

    return wrapper


def main() -> None:
    LockManager.acquire = again_at_the_same_instant(LockManager.acquire)
    ChannelManager.publish = again_at_the_same_instant(ChannelManager.publish)
    db = beaver.BeaverDB(sys.argv[1])
    managers = {}
    heard = {}

    def probe(send, arrived):
        """Returns when what is sent arrives: a listener's thread starts on its own time."""
        while not arrived:
            send()
            time.sleep(0.05)

    def listen(subscriber, messages, arrived):
        for message in subscriber.listen():
            if message == "probe":
                arrived.append(message)
            else:
                messages.append(message)

    def manager(kind, name, secret=None):
        key = (kind, name)
        if key not in managers:
            managers[key] = getattr(db, kind)(name, **({"secret": secret} if secret else {}))
        return managers[key]

    def run(request):
        op, name = request["op"], request.get("name")
        match op:
            case "set":
                manager("dict", name).set(request["key"], request["value"], request.get("ttl"))
            case "get":
                return manager("dict", name).get(request["key"])
            case "items":
                return [list(item) for item in manager("dict", name).items()]
            case "increment":
                counter = manager("dict", name)
                for _ in range(request["count"]):
                    if not counter.acquire(timeout=60, poll_interval=0.002):
                        raise TimeoutError("increment")
                    try:
                        counter["n"] = counter.get("n", 0) + 1
                    finally:
                        counter.release()
            case "increment-alone":
                counter = manager("dict", name)
                if not counter.acquire(timeout=300, lock_ttl=3600, poll_interval=0.002):
                    raise TimeoutError("increment-alone")
                try:
                    counter["holder"] = request["id"]
                    n = counter.get("n", 0) + 1
                    counter["n"] = n
                    if counter["holder"] != request["id"]:
                        raise RuntimeError(f"{counter['holder']} was here too")
                finally:
                    counter.release()
                return n
            case "put":
                manager("queue", name).put(request["value"], request["priority"])
            case "take":
                return list(manager("queue", name).get(block=False))
            case "drain":
                taken, queue = [], manager("queue", name)
                for _ in range(request["count"]):
                    try:
                        taken.append(queue.get(block=False).data)
                    except IndexError:
                        break
                    except TimeoutError:
                        # It gives up after a second in line.
                        continue
                return taken
            case "acquire":
                return manager(request["kind"], name).acquire(
                    timeout=request.get("timeout"), lock_ttl=request.get("ttl"), poll_interval=0.002
                )
            case "release":
                manager(request["kind"], name).release()
            case "call":
                # Any method of any manager: {"kind": "list", "name": "l", "method": "push", "args": [1]}.
                # With "as": "json" the result comes as its JSON text, which can hold anything.
                opened = manager(request["kind"], name, request.get("secret"))
                method = getattr(opened, request["method"])
                result = method(*decode(request.get("args", [])), **decode(request.get("kwargs", {})))
                if hasattr(result, "__next__"):
                    result = list(itertools.islice(result, request.get("limit", 1_000_000)))
                return json.dumps(result) if request.get("as") == "json" else encode(result)
            case "dump":
                # What dump writes to a file.
                text = io.StringIO()
                manager(request["kind"], name, request.get("secret")).dump(text)
                return text.getvalue()
            case "load":
                # The reference has no load; this is how one writes it.
                for item in json.loads(request["text"])["items"]:
                    match (request["kind"], manager(request["kind"], name)):
                        case ("dict", target):
                            target[item["key"]] = item["value"]
                        case ("list", target):
                            target.push(item)
                        case ("queue", target):
                            target.put(item["data"], item["priority"])
                        case ("collection", target):
                            target.index(beaver.Document(**item))
                        case ("blob", target):
                            target.put(item["key"], base64.b64decode(item["data_b64"]), item["metadata"])
                        case ("log", target):
                            at = datetime.datetime.fromtimestamp(item["timestamp"], datetime.timezone.utc)
                            target.log(item["data"], at)
            case "has-security":
                return importlib.util.find_spec("cryptography") is not None
            case "subscribe":
                # Listens in the background until the process ends; "heard" tells of it.
                channel, messages, arrived = manager("channel", name), [], []
                subscriber = channel.subscribe()
                subscriber.__enter__()
                thread = threading.Thread(target=listen, args=(subscriber, messages, arrived), daemon=True)
                thread.start()
                probe(lambda: channel.publish("probe"), arrived)
                heard[name] = messages
            case "on":
                key, arrived = f"{request['topic']}:{request['event']}", []
                heard[key] = []
                db.on("probe", key, arrived.append)
                probe(lambda: db.emit("probe", key, {}), arrived)
                db.on(request["topic"], request["event"], heard[key].append)
            case "off":
                key = f"{request['topic']}:{request['event']}"
                db.off(request["topic"], request["event"], db._event_callbacks[key][0])
            case "emit":
                return db.emit(request["topic"], request["event"], request["payload"])
            case "heard":
                # What was heard, when it is as much as that or half a minute has passed.
                deadline = time.monotonic() + 30
                while len(heard[name]) < request["count"] and time.monotonic() < deadline:
                    time.sleep(0.01)
                return heard[name]
            case "replace-blob":
                # Versions of one blob, each of one byte all through.
                store, key = manager("blob", name), request["key"]
                for n in range(request["count"]):
                    if n % 3 == 0 and key in store:
                        store.delete(key)
                    store.put(key, bytes([n % 251]) * (request["size"] + n % 2), {"n": n})
            case "cache":
                # As BeaverDB(cache_timeout=...): how long a cache goes without a look at the versions.
                db._cache_timeout = request["seconds"]
            case "names":
                return getattr(db, request["property"])
            case "dumps":
                return json.dumps(json.loads(request["text"]))
            case "version":
                return db.version
            case _:
                raise ValueError(op)

    print(json.dumps({"ok": "open"}), flush=True)
    for line in sys.stdin:
        try:
            answer = {"ok": run(json.loads(line))}
        except Exception as error:  # noqa: BLE001 - every failure is an answer
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


main()
