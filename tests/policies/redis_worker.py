"""One of several processes that share a limit: `python redis_worker.py URL PERIOD SECONDS REQUESTS TOKENS BURST`.

Notes each pass in Redis itself, in microseconds of its clock, inside the script that grants it.
"""

from __future__ import annotations

import asyncio
import random
import sys
import threading
import time

from oarlock.contract.reply import Reply, Usage
from oarlock.contract.request import Request
from oarlock.policies import RateLimit, redis_store
from oarlock.runtime import Runtime, drive
from oarlock.runtime.aio import AsyncRuntime

redis_store.TAKE = redis_store.TAKE.replace(
    "if wait == 0 then", "if wait == 0 then redis.call('RPUSH', 'passed', text(now))", 1
)


def main() -> None:
    url = sys.argv[1]
    period, seconds = map(float, sys.argv[2:4])
    requests, tokens, burst = map(int, sys.argv[4:7])
    redis_store.PERIOD, redis_store._SLACK = period, 0.0
    random.seed()
    limit = RateLimit(requests, tokens, burst=burst, store=url, key="shared")
    limit._estimate.of = lambda request, length=None: random.randint(1, 2 * tokens // requests)  # type: ignore[method-assign]
    until = time.monotonic() + seconds

    async def model(runtime: Runtime, request: Request) -> Reply:
        await runtime.sleep(random.random() * 0.02)
        return Reply(text="ok", usage=Usage(prompt_tokens=random.randint(1, tokens // requests)))

    handler = limit(model)
    request = Request(messages=[{"role": "user", "content": "Hi"}])

    def in_thread() -> None:
        while time.monotonic() < until:
            drive(lambda runtime: handler(runtime, request))  # type: ignore[arg-type,return-value]

    async def in_task() -> None:
        while time.monotonic() < until:
            await handler(AsyncRuntime(), request)

    async def in_tasks() -> None:
        await asyncio.gather(*[in_task() for _ in range(3)])

    threads = [threading.Thread(target=in_thread) for _ in range(2)]
    threads += [threading.Thread(target=asyncio.run, args=(in_tasks(),)) for _ in range(2)]  # two event loops
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
