"""A client that asks whoever has a role who it is, over one connection as long as that lasts.

Arguments: its own address, the role's and its port. Until standard input is closed it prints a
line of JSON whenever what it sees is something new: [seconds, what].
"""

import json
import socket
import sys
import threading
import time

PAUSE_SECONDS = 0.02
PATIENCE_SECONDS = 5.0
"""A packet that is lost while routes change is sent again after a second, and after three."""


def main() -> None:
    """Ask until standard input is closed."""
    ended = threading.Event()
    threading.Thread(target=_wait_for_end, args=(ended,), daemon=True).start()
    own, address, port = sys.argv[1:]
    connection: socket.socket | None = None
    before = ""
    while not ended.is_set():
        try:
            if connection is None:
                there = (address, int(port))
                connection = socket.create_connection(there, PATIENCE_SECONDS, (own, 0))
            connection.sendall(b"who\n")
            what = connection.recv(100).decode().strip() or "closed"
        except OSError as error:
            what = type(error).__name__
        if connection and (what == "closed" or what.endswith("Error")):
            connection.close()
            connection = None
        if what != before:
            print(json.dumps([time.monotonic(), what]), flush=True)  # noqa: T201 - so it tells
        before = what
        time.sleep(PAUSE_SECONDS)


def _wait_for_end(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


if __name__ == "__main__":
    main()
