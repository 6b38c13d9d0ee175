"""Ask addresses over HTTP on a schedule until standard input ends; then print what failed.

    python asker.py RATE ADDRESS...

Request i is due at start + i / RATE whatever became of those before it, and is a connection of
its own. Prints a line when it begins, and then JSON:
{"asked": N, "failed": ["SECONDS ADDRESS WHY", ...]}.
"""

import asyncio
import json
import sys

_SECONDS = 2.0
"""For one request."""
_QUESTION = b"GET / HTTP/1.0\r\n\r\n"


async def ask(address: str) -> None:
    """Return if the service answers; raise whatever is wrong."""
    async with asyncio.timeout(_SECONDS):
        reader, writer = await asyncio.open_connection(address, 80)
        try:
            writer.write(_QUESTION)
            answer = await reader.read()
        finally:
            writer.close()
    if b" 200 " not in answer.partition(b"\r\n")[0]:
        raise ValueError(f"answered {answer[:40]!r}")


async def main(rate: float, addresses: list[str]) -> None:
    """Ask until nobody holds the other end of our standard input."""
    loop = asyncio.get_running_loop()
    told = loop.run_in_executor(None, sys.stdin.read)
    print("asking", flush=True)  # noqa: T201 - who started us waits for it
    start = loop.time()
    failed: list[str] = []
    running: set[asyncio.Task[None]] = set()

    async def one(address: str) -> None:
        due = loop.time() - start
        try:
            await ask(address)
        except (OSError, TimeoutError, ValueError) as error:
            failed.append(f"{due:.2f} {address} {str(error) or type(error).__name__}")

    asked = 0
    while not told.done():
        await asyncio.sleep(max(0.0, start + asked / rate - loop.time()))
        task = asyncio.create_task(one(addresses[asked % len(addresses)]))
        running.add(task)
        task.add_done_callback(running.discard)
        asked += 1
    await asyncio.gather(*running)
    json.dump({"asked": asked, "failed": failed}, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]), sys.argv[2:]))
