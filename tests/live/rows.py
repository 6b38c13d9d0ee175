"""Writers of rows into a database, and who reads afterwards which ones are there.

Arguments: how to connect, and the number of the first row; or `list`, or `make` their table.
Writers go on until standard input is closed, and print a line of JSON for each row that was
acknowledged ([seconds, row, timeline]) and for each connection that ended ([seconds, why]).
It runs on Debian's Python, with what is installed for databases.
"""

import json
import sys
import threading
import time
from typing import Any

import psycopg  # type: ignore[import-not-found]  # no part of our environment

WRITERS = 3
PAUSE_SECONDS = 0.05
_WRITE = "insert into rows values (%s) returning left(pg_walfile_name(pg_current_wal_lsn()), 8)"


class Writers:
    """All writers, which share the numbers of rows."""

    def __init__(self, words: str, first: int) -> None:
        self._words = words
        self._next = first
        self._lock = threading.Lock()
        self.ended = threading.Event()

    def write(self) -> None:
        """Write until the end, over one connection as long as that lasts."""
        while not self.ended.is_set():
            try:
                with psycopg.connect(self._words, autocommit=True) as connection:
                    while not self.ended.wait(PAUSE_SECONDS):
                        self._row(connection)
            except psycopg.Error as error:
                self._say(str(error).strip()[:200])
            self.ended.wait(PAUSE_SECONDS)

    def _row(self, connection: Any) -> None:
        with self._lock:
            row, self._next = self._next, self._next + 1
        found = connection.execute(_WRITE, (row,)).fetchone()
        assert found
        self._say(row, int(found[0], 16))

    def _say(self, *what: object) -> None:
        with self._lock:
            print(json.dumps([time.monotonic(), *what]), flush=True)  # noqa: T201 - so it tells


def main() -> None:
    """Do what the arguments say."""
    words, what = sys.argv[1:]
    if what in {"list", "make"}:
        with psycopg.connect(words) as connection:
            if what == "make":
                connection.execute(
                    "create table if not exists rows (number bigint primary key)"
                )
            found = connection.execute("table rows").fetchall()
        print(json.dumps([row for (row,) in found]))  # noqa: T201 - so it tells
        return
    writers = Writers(words, int(what))
    threads = [threading.Thread(target=writers.write) for _ in range(WRITERS)]
    for each in threads:
        each.start()
    sys.stdin.read()
    writers.ended.set()
    for each in threads:
        each.join()


if __name__ == "__main__":
    main()
