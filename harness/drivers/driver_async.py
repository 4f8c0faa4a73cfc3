"""The same for a store that is built on asyncio: a client is one task, from open to close.

One task and not one for each operation, because such a store may ask `asyncio.current_task()`
whose transaction it is.
"""

import asyncio
import concurrent.futures
import threading

from driver import Client, Failure, timeout_of


def start_loop():
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return loop


class Task(Client):
    """Its operations are coroutines, which all run on the loop."""

    def __init__(self, loop):
        self.loop, self.jobs = loop, asyncio.Queue()
        self.inboxes, self.pumps = {}, []
        self.life = asyncio.run_coroutine_threadsafe(self.live(), loop)

    async def live(self):
        while job := await self.jobs.get():
            await self.do(*job)
            del job

    async def do(self, done, method, arguments):
        try:
            done.set_result(await method(**arguments))
        except Exception as error:
            done.set_exception(error)

    def perform(self, method, arguments):
        done = concurrent.futures.Future()
        self.loop.call_soon_threadsafe(self.jobs.put_nowait, (done, method, arguments))
        try:
            return done.result()
        finally:
            del done  # an exception must not keep itself alive, and with it what the store had open

    async def pump(self, source, values):
        """From now on keeps what an asynchronous iterator gives, for `next_of`."""
        inbox = self.inboxes[source] = asyncio.Queue()

        async def fill():
            try:
                async for value in values:
                    inbox.put_nowait(value)
            except Exception as error:
                inbox.put_nowait(error)

        self.pumps.append(asyncio.create_task(fill()))
        await asyncio.sleep(0)  # it listens from the first step of its task

    async def next_of(self, source, timeout_ms):
        inbox = self.inboxes[source]
        try:
            if timeout_ms == 0:
                value = inbox.get_nowait()
            else:
                value = await asyncio.wait_for(inbox.get(), timeout_of(timeout_ms))
        except (TimeoutError, asyncio.QueueEmpty):
            raise Failure("timeout")
        if isinstance(value, Exception):
            raise value
        return [value]

    async def close(self):
        for pump in self.pumps:
            pump.cancel()
        self.jobs.put_nowait(None)
