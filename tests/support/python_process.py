"""The real beaver-db as a test process: JSON lines on stdio (see process.rs)."""

import json
import sys

import beaver


def main() -> None:
    db = beaver.BeaverDB(sys.argv[1])
    managers = {}

    def manager(kind, name):
        key = (kind, name)
        if key not in managers:
            managers[key] = getattr(db, kind)(name)
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
                return taken
            case "acquire":
                return manager(request["kind"], name).acquire(
                    timeout=request.get("timeout"), lock_ttl=request.get("ttl"), poll_interval=0.002
                )
            case "release":
                manager(request["kind"], name).release()
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
