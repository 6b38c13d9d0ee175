"""An open-loop HTTP prober: what a client of a service goes through, request by request.

Runs as its own process inside a client's network namespace:

    python -m pltfrms.lab.client.prober '{"addresses": ["198.51.100.1"], "port": 80,
                                          "path": "/", "rate": 100, "duration_ms": 5000}'

and prints one JSON document at the end: a `ProbeRun`. It can be told to end earlier.

Request number i is due at start + i / rate, whatever became of those before it, and its latency
counts from that moment: a slow answer can never hide the requests that should have been sent
meanwhile. Each request is a new TCP connection; a JSON answer with `instance` and `datacenter`
says who served it.

Imports are few on purpose: the process must be ready within 100 ms.
"""

import contextlib
import ctypes
import errno
import gc
import json
import math
import re
import resource
import select
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from pltfrms.errors import UsageError

REFUSED = "refused"
RESET = "reset"
TIMEOUT = "timeout"
UNREACHABLE = "unreachable"
BAD_ANSWER = "bad answer"
LOCAL = "prober"
"""The prober itself could not send, such as for want of ports: nothing is known."""

_KINDS = {
    errno.ECONNREFUSED: REFUSED,
    errno.ECONNRESET: RESET,
    errno.ECONNABORTED: RESET,
    errno.EPIPE: RESET,
    errno.ETIMEDOUT: TIMEOUT,
    errno.ENETUNREACH: UNREACHABLE,
    errno.EHOSTUNREACH: UNREACHABLE,
    errno.ENETDOWN: UNREACHABLE,
    errno.EHOSTDOWN: UNREACHABLE,
    errno.EACCES: UNREACHABLE,  # a `prohibit` route
    errno.EINVAL: UNREACHABLE,  # a `blackhole` route
}
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})\r?\n?", re.IGNORECASE)
_TIMER_SLACK = 29
"""PR_SET_TIMERSLACK of prctl(2); the kernel's default would wake us 50 us late."""
_MAX_REQUESTS = 10_000_000
_ROUNDING = 1e-6
_TURN_SECONDS = 0.1
"""What one turn of the loop takes at most; if it takes longer, we had no processor."""


# ---- words ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ProberConfig:
    """What to ask, how often, how long."""

    addresses: tuple[str, ...]
    """Service addresses, IPv4 and IPv6; asked in turn."""
    port: int
    path: str
    rate: float
    """Requests per second over all addresses."""
    duration_ms: int
    timeout_ms: int = 1000
    """From the moment a request is sent; without the time in which we had no processor."""
    start_at: float | None = None
    """Monotonic time of the first request, seconds; one in the past means now."""
    until_told: bool = False
    """Send nothing new once there is something to read on stdin, such as its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One request and what became of it."""

    due_s: float
    """Monotonic time at which it should have been sent (the same clock on all lab machines)."""
    address: str
    lateness_ms: float
    """How much later than due we sent it."""
    latency_ms: float
    """From due to the full answer, or to the error."""
    error: str = ""
    """Empty on success; else refused, reset, timeout, unreachable, bad answer or prober."""
    instance: str = ""
    datacenter: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRun:
    """All samples of a run, in the order they were due."""

    started_at_s: float
    """Monotonic time."""
    duration_ms: float
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReport:
    """What a run says about a service, seen by one client."""

    sent: int
    lost: int
    gap_max_ms: float
    """Longest interval between the due times of the last success before a loss and the first
    success after it, of the worst address. The start and the end of the run bound it where
    there is no such success: a run without any has its whole duration. 0 if nothing was lost;
    resolution is the interval between two requests to one address."""
    gap_max_ms_by_family: Mapping[str, float]
    """The same for `ipv4` and `ipv6`, the worst address of each."""
    latency_ms: Mapping[str, float | None]
    """`p50` and `p99` of the successes; None without any."""
    answered_by: Mapping[str, Mapping[str, Mapping[str, int]]]
    """`before` and `after` the fault -> datacenter -> instance -> successes."""
    errors: Mapping[str, int]
    """Losses by kind."""
    lateness_ms_p99: float | None
    """Of our own schedule: if this is large, the rest says little. None if nothing was sent."""
    lossless_after_s: float | None
    """Seconds from the fault to the first request from which on nothing was lost any more, at
    every address. None if that did not happen before the run ended, or there was no fault."""


def encode_run(run: ProbeRun) -> str:
    """Return a run as JSON."""
    return json.dumps(asdict(run), separators=(",", ":"))


def read_config(text: str) -> ProberConfig:
    """Return the configuration that a JSON text says.

    Raises:
        UsageError: it is not one.
    """
    try:
        config = ProberConfig(**json.loads(text))
        for address in config.addresses:
            socket.inet_pton(_family(address), address)
        check_load(config.rate, config.duration_ms)
        sound = (
            len(config.addresses) > 0
            and config.timeout_ms > 0
            and re.match(r"/[!-~]*\Z", config.path)
        )
    except (TypeError, ValueError, OSError) as error:
        raise UsageError(f"not a configuration of the prober: {error}") from error
    if not sound:
        raise UsageError("the prober needs addresses and a path")
    return config


def check_load(rate: float, duration_ms: float) -> None:
    """Refuse a schedule that no prober keeps: UsageError."""
    requests = rate * duration_ms / 1000
    if not (rate > 0 and 1 <= requests <= _MAX_REQUESTS):
        raise UsageError(
            f"{rate:g} requests per second for {duration_ms / 1000:g} s are {requests:g}: "
            f"say a rate and a duration of 1 to {_MAX_REQUESTS} requests"
        )


# ---- one request ---------------------------------------------------------------------------


class _Request:
    """A connection on its way."""

    __slots__ = ("address", "answer", "awake", "connected", "due", "index", "sent", "sock")

    def __init__(self, index: int, address: str, due: float, sent: float, awake: float) -> None:
        self.index = index
        self.address = address
        self.due = due
        self.sent = sent
        self.awake = awake
        """When it was sent, without the time that we had no processor until then."""
        self.answer = bytearray()
        self.connected = False
        self.sock: socket.socket | None = None


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _get(address: str, port: int, path: str) -> bytes:
    host = f"[{address}]" if ":" in address else address
    return f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode()


def is_complete(answer: bytes | bytearray) -> bool:
    """Return True if the answer has all that its Content-Length promises."""
    head, blank, body = answer.partition(b"\r\n\r\n")
    length = _LENGTH.search(head + b"\r\n")
    return bool(blank) and length is not None and len(body) >= int(length.group(1))


def read_answer(answer: bytes | bytearray) -> tuple[str, str] | None:
    """Return (datacenter, instance) of a successful answer, else None."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if not re.match(rb"HTTP/1\.[01] 2[0-9][0-9] ", head):
        return None
    try:
        said = json.loads(body)
    except ValueError:
        return None
    if not isinstance(said, dict):
        return None
    who = (said.get("datacenter"), said.get("instance"))
    return (who[0], who[1]) if isinstance(who[0], str) and isinstance(who[1], str) else None


# ---- the run -------------------------------------------------------------------------------


class _Prober:
    """Sends on an absolute schedule and collects the answers, in one thread."""

    def __init__(self, config: ProberConfig) -> None:
        self._config = config
        self._count = math.ceil(config.rate * config.duration_ms / 1000 - _ROUNDING)
        self._start = max(config.start_at or 0.0, time.monotonic())
        self._gets = {a: _get(a, config.port, config.path) for a in config.addresses}
        self._samples: list[Sample | None] = [None] * self._count
        self._open: dict[int, _Request] = {}
        self._oldest: deque[_Request] = deque()
        self._poll = select.epoll()
        self._looked, self._stalled = self._start, 0.0
        """When we had a processor last; for how long (seconds) we had none, in all."""
        self._ends = [sys.stdin] if config.until_told else []
        """Who tells to end."""
        self._duration_ms = float(config.duration_ms)

    def run(self) -> ProbeRun:
        next_index = 0
        while next_index < self._count or self._open:
            now = time.monotonic()
            while next_index < self._count and self._due(next_index) <= now:
                self._send(next_index)
                next_index += 1
            self._expire()
            if self._wait(next_index):
                self._ends, self._count = [], next_index
                past_ms = (time.monotonic() - self._start) * 1000
                self._duration_ms = min(self._duration_ms, max(0.0, past_ms))
        self._poll.close()
        return ProbeRun(
            started_at_s=self._start,
            duration_ms=self._duration_ms,
            samples=tuple(sample for sample in self._samples if sample is not None),
        )

    def _awake(self) -> float:
        """Return the time (monotonic seconds) without that in which we had no processor."""
        now = time.monotonic()
        self._stalled += max(0.0, now - self._looked - _TURN_SECONDS)
        self._looked = max(now, self._looked)
        return now - self._stalled

    def _due(self, index: int) -> float:
        return self._start + index / self._config.rate

    def _send(self, index: int) -> None:
        address = self._config.addresses[index % len(self._config.addresses)]
        sent = time.monotonic()  # first: who loses the processor here is not given up early
        request = _Request(index, address, self._due(index), sent, self._awake())
        try:
            sock = socket.socket(_family(address), socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError:
            self._finish(request, LOCAL)
            return
        request.sock = sock
        self._open[sock.fileno()] = request
        code = sock.connect_ex((address, self._config.port))
        if code not in {0, errno.EINPROGRESS}:
            self._finish(request, _KINDS.get(code, LOCAL))
            return
        self._poll.register(sock.fileno(), select.EPOLLOUT)
        self._oldest.append(request)

    def _expire(self) -> None:
        """Give up requests that are too old; they are sent in order, so they expire so.

        What was not answered while we could not look is not too old for it.
        """
        limit = self._awake() - self._config.timeout_ms / 1000
        while self._oldest and (self._oldest[0].sock is None or self._oldest[0].awake <= limit):
            request = self._oldest.popleft()
            if request.sock is not None:
                self._finish(request, TIMEOUT)

    def _wait(self, next_index: int) -> bool:
        """Sleep until something happens, a request is due, or one expires; say if told to end.

        select(2) waits with microseconds, epoll_wait(2) only with milliseconds; but select
        takes no descriptor above 1023. So select waits for the epoll.
        """
        until = self._due(next_index) if next_index < self._count else float("inf")
        if self._oldest:
            too_old_at = self._oldest[0].awake + self._config.timeout_ms / 1000
            until = min(until, too_old_at + self._stalled)
        if until == float("inf"):
            return False
        wait = min(max(0.0, until - time.monotonic()), _TURN_SECONDS / 2)
        ready = select.select([self._poll, *self._ends], [], [], wait)[0]
        if self._poll in ready:
            for descriptor, _ in self._poll.poll(0):
                self._proceed(self._open[descriptor])
        return any(each in ready for each in self._ends)

    def _proceed(self, request: _Request) -> None:
        try:
            done = self._exchange(request)
        except BlockingIOError:
            return
        except OSError as error:
            self._finish(request, _KINDS.get(error.errno or 0, LOCAL))
            return
        if done:
            self._finish(request, "")

    def _exchange(self, request: _Request) -> bool:
        """Send or receive what is possible; return True at the end of the answer."""
        sock = request.sock
        if sock is None:
            return False
        if not request.connected:
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, "connect")
            sock.sendall(self._gets[request.address])
            request.connected = True
            self._poll.modify(sock.fileno(), select.EPOLLIN)
            return False
        part = sock.recv(65536)
        request.answer += part
        return not part or is_complete(request.answer)

    def _finish(self, request: _Request, error: str) -> None:
        now = time.monotonic()
        if request.sock is not None:
            self._open.pop(request.sock.fileno(), None)
            request.sock.close()
            request.sock = None
        who = read_answer(request.answer) if not error else None
        datacenter, instance = who or ("", "")
        self._samples[request.index] = Sample(
            due_s=round(request.due, 6),
            address=request.address,
            lateness_ms=round((request.sent - request.due) * 1000, 3),
            latency_ms=round((now - request.due) * 1000, 3),
            error=error or ("" if who else BAD_ANSWER),
            instance=instance,
            datacenter=datacenter,
        )


def probe(config: ProberConfig) -> ProbeRun:
    """Do a run; returns after duration + timeout at the latest."""
    return _Prober(config).run()


# ---- what it says --------------------------------------------------------------------------


def summarize(run: ProbeRun, fault_at_s: float | None) -> ProbeReport:
    """Return the report of a run; `fault_at_s` is the monotonic time of the fault, if any."""
    streams: dict[str, list[Sample]] = {}
    for sample in run.samples:
        streams.setdefault(sample.address, []).append(sample)
    gaps = {address: _gap_ms(run, stream) for address, stream in streams.items()}
    by_family = {
        name: max(gap for address, gap in gaps.items() if _family(address) is family)
        for name, family in (("ipv4", socket.AF_INET), ("ipv6", socket.AF_INET6))
        if any(_family(address) is family for address in gaps)
    }
    successes = [sample for sample in run.samples if not sample.error]
    fault = float("inf") if fault_at_s is None else fault_at_s
    return ProbeReport(
        sent=len(run.samples),
        lost=len(run.samples) - len(successes),
        # No request at all proves nothing: it must not look like no loss.
        gap_max_ms=max(gaps.values(), default=run.duration_ms),
        gap_max_ms_by_family=by_family,
        latency_ms={
            name: _percentile([sample.latency_ms for sample in successes], part)
            for name, part in (("p50", 0.5), ("p99", 0.99))
        },
        answered_by={
            "before": _answered_by(s for s in successes if s.due_s < fault),
            "after": _answered_by(s for s in successes if s.due_s >= fault),
        },
        errors=dict(sorted(Counter(s.error for s in run.samples if s.error).items())),
        lateness_ms_p99=_percentile([sample.lateness_ms for sample in run.samples], 0.99),
        lossless_after_s=_lossless_after(streams.values(), fault_at_s),
    )


def _gap_ms(run: ProbeRun, stream: Sequence[Sample]) -> float:
    """Return the longest time without a success, of the samples of one address."""
    last_success = run.started_at_s
    longest = 0.0
    losing = False
    for sample in stream:
        if sample.error:
            losing = True
            continue
        if losing:
            longest = max(longest, sample.due_s - last_success)
        last_success = sample.due_s
        losing = False
    if losing:
        longest = max(longest, run.started_at_s + run.duration_ms / 1000 - last_success)
    return round(longest * 1000, 3)


def _lossless_after(
    streams: Iterable[Sequence[Sample]], fault_at_s: float | None
) -> float | None:
    if fault_at_s is None:
        return None
    restored = [_restored_at(stream, fault_at_s) for stream in streams]
    known = [at for at in restored if at is not None]
    if not known or len(known) < len(restored):
        return None
    return round(max(known) - fault_at_s, 6)


def _restored_at(stream: Sequence[Sample], fault_at_s: float) -> float | None:
    """Return the time from which on this address lost nothing; None if it still does."""
    after = [sample for sample in stream if sample.due_s >= fault_at_s]
    lost = [index for index, sample in enumerate(after) if sample.error]
    if not lost:
        return fault_at_s if after else None
    first_good = lost[-1] + 1
    return after[first_good].due_s if first_good < len(after) else None


def _answered_by(samples: Iterable[Sample]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for sample in samples:
        datacenter = counts.setdefault(sample.datacenter, {})
        datacenter[sample.instance] = datacenter.get(sample.instance, 0) + 1
    return counts


def _percentile(values: list[float], part: float) -> float | None:
    """Return the smallest value that at least `part` of all do not exceed."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[math.ceil(part * len(ordered)) - 1]


# ---- the process ---------------------------------------------------------------------------


def main() -> int:
    """Probe as argument 1 says and print the run; return the exit code."""
    try:
        config = read_config(sys.argv[1] if len(sys.argv) > 1 else "")
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    # Requests without an answer pile up: rate x timeout sockets are open at once.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # Nothing here makes cycles, and a collection would delay requests.
    gc.disable()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_TIMER_SLACK, 1000, 0, 0, 0)
    sys.stdout.write(encode_run(probe(config)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
