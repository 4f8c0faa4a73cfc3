"""The managers of beaver-db 2.x, each operation the call that a user of that version writes."""

from driver import Failure, timeout_of
from driver_async import Task


async def was_there(deleting):
    try:
        await deleting
    except KeyError:
        return False
    return True


class Managers(Task):
    """A task among those that share one `AsyncBeaverDB`."""

    def __init__(self, db, loop):
        super().__init__(loop)
        self.db = db

    async def dict_get(self, name, key):
        return await self.db.dict(name).fetch(key)

    async def dict_set(self, name, key, value):
        await self.db.dict(name).set(key, value)

    async def dict_delete(self, name, key):
        return await was_there(self.db.dict(name).delete(key))

    async def list_push(self, name, value):
        await self.db.list(name).push(value)

    async def list_insert(self, name, index, value):
        await self.db.list(name).insert(index, value)

    async def list_set(self, name, index, value):
        await self.db.list(name).set(index, value)

    async def list_delete(self, name, index):
        await self.db.list(name).delete(index)

    async def list_items(self, name):
        return [value async for value in self.db.list(name)]

    async def queue_put(self, name, value, priority):
        await self.db.queue(name).put(value, priority)

    async def queue_get(self, name, timeout_ms=None):
        try:
            item = await self.db.queue(name).get(timeout_ms != 0, timeout_of(timeout_ms))
        except IndexError:
            raise Failure("timeout", "the queue is empty")
        return {"value": item.data, "priority": item.priority}

    async def blob_put(self, name, key, data):
        await self.db.blob(name).put(key, data.encode())

    async def blob_get(self, name, key):
        try:
            return (await self.db.blob(name).get(key)).decode()
        except KeyError:
            return None

    async def blob_delete(self, name, key):
        return await was_there(self.db.blob(name).delete(key))

    async def log_append(self, name, value):
        await self.db.log(name).log(value)

    async def log_read(self, name):
        return [entry.data for entry in await self.db.log(name).range()]

    async def log_follow(self, name):
        await self.pump(("log", name), (entry.data async for entry in self.db.log(name).live()))

    async def log_next(self, name, timeout_ms=None):
        return await self.next_of(("log", name), timeout_ms)

    async def channel_publish(self, name, value):
        await self.db.channel(name).publish(value)

    async def channel_subscribe(self, name):
        messages = self.db.channel(name).listen()
        await self.pump(("channel", name), (message.payload async for message in messages))

    async def channel_next(self, name, timeout_ms=None):
        return await self.next_of(("channel", name), timeout_ms)
