"""A customer: asks the shop's name server, then the site or the API, over and over.

    python3 customer.py [VISITS_PER_SECOND [SECONDS]]

In turns over IPv4 and IPv6. It ends after SECONDS; without these when its input does, or with
Ctrl-C. Then it says as JSON how often each tier was asked, how often that failed and why, and
who answered.
"""

import contextlib
import http.client
import json
import os
import select
import socket
import struct
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import count, product
from threading import Lock

NAME_SERVERS = {socket.AF_INET: "198.51.100.53", socket.AF_INET6: "2001:db8:100::53"}
DOMAIN = "example.internal"
TYPES = {socket.AF_INET: 1, socket.AF_INET6: 28}
PATIENCE_SECONDS = 10.0
LOCK = Lock()
VISITS = (("site", "/", "site"), ("api", "/", "api"), ("api", "/buy", "carts"))
"""Which name is asked for, what there, and on which tier that depends."""


@dataclass
class Report:
    """What became of all visits."""

    asked: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    why: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    """By tier, site, version and what became of the cache; of pages by their headline."""
    orders: int = 0
    """The highest number of an order."""

    def take(self, tier: str, why: str = "", who: str = "") -> None:
        """Count one answer, or why there was none."""
        with LOCK:
            self.asked[tier] += 1
            if why:
                self.failed[tier] += 1
                self.why[f"{tier}: {why}"] += 1
            if who:
                self.answered[f"{tier} {who}"] += 1


def look_up(name: str, family: socket.AddressFamily) -> str:
    """Return the address of a name, as the shop's name server has it (RFC 1035)."""
    number = os.urandom(2)
    labels = (f"{name}.{DOMAIN}").split(".")
    words = b"".join(bytes([len(each)]) + each.encode() for each in labels)
    question = words + b"\0" + struct.pack("!HH", TYPES[family], 1)
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.settimeout(PATIENCE_SECONDS)
        asking.connect((NAME_SERVERS[family], 53))
        asking.send(number + struct.pack("!HHHHH", 0, 1, 0, 0, 0) + question)
        answer = asking.recv(4096)
    if answer[:2] != number or not struct.unpack_from("!H", answer, 6)[0]:
        raise OSError(f"no address of {name}")
    size = 4 if family == socket.AF_INET else 16
    # The first answer follows the question: a pointer to the name, type, class, time, length.
    at = 12 + len(question) + 12
    return socket.inet_ntop(family, answer[at : at + size])


def fetch(address: str, path: str) -> str:
    """Return a page."""
    with contextlib.closing(
        http.client.HTTPConnection(address, 80, timeout=PATIENCE_SECONDS)
    ) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode()
    if answer.status != HTTPStatus.OK:
        raise OSError(f"{answer.status} {text.strip()}")
    return text


def visit(report: Report, name: str, path: str, tier: str, family: int) -> None:
    """Be a customer once."""
    asked = "ns"
    try:
        address = look_up(name, socket.AddressFamily(family))
        report.take(asked)
        asked = tier
        text = fetch(address, path)
    except (OSError, http.client.HTTPException) as error:
        report.take(asked, why=f"{type(error).__name__} {error}"[:200])
        return
    if tier == "site":
        report.take(tier, who=text.partition("<h1>")[2].partition("</h1>")[0])
        return
    said = json.loads(text)
    with LOCK:
        report.orders = max(report.orders, said.get("order", 0))
    words = said["datacenter"], said["version"], said.get("cache", "")
    report.take(tier, who=" ".join(words).strip())


def main(rate: float = 100.0, seconds: float = 0.0) -> None:
    """Visit the shop at a steady rate, however long each visit takes."""
    report, begun = Report(), time.monotonic()
    visits = list(product(VISITS, NAME_SERVERS))
    with ThreadPoolExecutor(64) as pool, contextlib.suppress(KeyboardInterrupt):
        for number in count():
            due = begun + number / rate
            pause = max(0.0, due - time.monotonic())
            if seconds:
                time.sleep(pause)
            elif select.select([sys.stdin], [], [], pause)[0] and not sys.stdin.readline():
                break
            if seconds and due > begun + seconds:
                break
            words, family = visits[number % len(visits)]
            pool.submit(visit, report, *words, family)
    print(json.dumps(vars(report), indent=2))


if __name__ == "__main__":
    main(*(float(word) for word in sys.argv[1:]))
