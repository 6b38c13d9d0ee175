"""Whatever is asked, in whatever words: an answer, and nothing changed by what is refused."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from ipaddress import ip_address
from typing import Any

import httpx2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pltfrms.api.app import make_app
from pltfrms.codec import encode
from pltfrms.drivers.operators.memory import MemorySignatures
from pltfrms.model.messages.api import Change, Heartbeat, InterventionChange, LeasesAsk, Verb
from pltfrms.model.messages.requests import Approval, Signed, Withdrawal
from pltfrms.model.running.vantage import Recent, VantageAsk, VantageReport, VantageTally
from tests.api.test_glass import FakeGlass
from tests.attacks.test_injection import NASTY
from tests.controller.cluster import Cluster
from tests.simulation.virtual import run_virtual
from tests.strategies import make_platform, make_spec
from tests.versions import make_rich_status

PLATFORM = make_platform({"fra": 3})
BODIES: dict[str, tuple[object, ...]] = {
    "/v1/heartbeats": (Heartbeat(status=make_rich_status("fra-n1")),),
    "/v1/leases": (LeasesAsk(machine="fra-n1", allocation="web.fra.1-1", end=(7,)),),
    "/v1/plan": (Change(services=(make_spec(),)), Change(platform=PLATFORM)),
    "/v1/apply": (Change(services=(make_spec(),)), Change(platform=PLATFORM)),
    "/v1/interventions": (
        InterventionChange(verb=Verb.DRAIN, node="fra-n1", why="w", by="ada", until_ms=10**13),
        InterventionChange(verb=Verb.FREEZE, why="w", by="ada"),
        InterventionChange(verb=Verb.BLACKHOLE, prefix="198.51.100.7/32", until_ms=10**13),
    ),
    "/v1/requests": (Signed(text="{}", signature="ada"),),
    "/v1/requests/{number}/approval": (Approval(signature="ada"),),
    "/v1/requests/{number}/withdrawal": (Withdrawal(by="ada"),),
    "/v1/vantage/reports": (
        VantageReport(
            vantage="fra-e1",
            began_ms=0,
            tallies=(
                VantageTally(
                    service="web",
                    address=ip_address("198.51.100.1"),
                    port=80,
                    kind="http",
                    asked=2,
                    failed=2,
                    recent=Recent(asked=2, failed=2, in_a_row=2, failure="refused"),
                ),
            ),
        ),
    ),
    "/v1/vantage/tokens": (VantageAsk(vantage="berlin"),),
}
"""What a question may bring, by path; the document of the API says only that it is JSON."""

NUMBERS = st.sampled_from(
    [0, -1, 1, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**30, 0.1, 1e308, -0.0]
)
EMPTY: list[Any] = [None, True, [], {}, [[]], {"a": {}}]
PLAIN = st.sampled_from(EMPTY) | NUMBERS
TEXTS = st.sampled_from(sorted(NASTY)).filter(lambda text: text.isprintable()) | st.text()
VALUES = PLAIN | TEXTS
RAW = st.sampled_from(
    [b"NaN", b"Infinity", b"-Infinity", b"1e400", b"\xff", b'"\\ud800"', b"1e5"]
)
WORDS = st.sampled_from(["fra-n1", "fra-e1", "web", "1", "true", "198.51.100.0/24", "nobody"])
_MARK = "@@mark@@"


def _places(value: Any, where: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield where
    if isinstance(value, dict):
        for key in value:
            yield from _places(value[key], (*where, key))
    elif isinstance(value, list):
        for at, each in enumerate(value):
            yield from _places(each, (*where, at))


def _put(value: Any, where: tuple[str | int, ...], new: object) -> Any:
    if not where:
        return new
    first, *rest = where
    changed: Any = dict(value) if isinstance(value, dict) else list(value)
    changed[first] = _put(value[first], tuple(rest), new)
    return changed


@st.composite
def bodies(draw: st.DrawFn, path: str) -> bytes:
    """Return a body in which one value is another, or something is missing."""
    known = BODIES.get(path, ())
    if not known or draw(st.integers(0, 19)) == 0:
        return draw(st.binary(max_size=50))
    data = json.loads(encode(draw(st.sampled_from(known))))
    where = draw(st.sampled_from(list(_places(data))))
    if draw(st.booleans()):
        return json.dumps(_put(data, where, draw(VALUES))).encode(errors="replace")
    text = json.dumps(_put(data, where, _MARK)).encode()
    return text.replace(f'"{_MARK}"'.encode(), draw(RAW))


@st.composite
def questions(draw: st.DrawFn, document: dict[str, Any]) -> tuple[str, str, str, bytes]:
    """Return method, template, path with query, and body of a question of the API."""
    template = draw(st.sampled_from(sorted(document["paths"])))
    method = draw(st.sampled_from(sorted(document["paths"][template])))
    said = document["paths"][template][method]
    path, query = template, dict[str, str]()
    for each in said.get("parameters", ()):
        value = str(draw(WORDS | TEXTS | NUMBERS | st.integers(0, 100)))
        value = value.encode(errors="replace").decode()
        if each["in"] == "path":
            path = path.replace(f"{{{each['name']}}}", _quoted(value))
        elif each["name"] == "wait_ms":
            query["wait_ms"] = draw(st.sampled_from(["0", "10", "-1", "60001", "x"]))
        elif each["name"] == "for_ms":
            query["for_ms"] = draw(st.sampled_from(["1", "600", "-1", "x"]))
        elif draw(st.booleans()):
            query[each["name"]] = value
    target = f"{path}?{httpx2.QueryParams(query)}" if query else path
    return method.upper(), template, target, draw(bodies(template))


def _quoted(value: str) -> str:
    return "".join(f"%{byte:02x}" for byte in value.encode())


def serve(story: Callable[[Cluster, httpx2.AsyncClient], Awaitable[None]]) -> None:
    async def run() -> None:
        cluster = Cluster(PLATFORM)
        cluster.start()
        await cluster.until(lambda: len(cluster.stored().leases) == 5, 10)
        transport = httpx2.ASGITransport(_app(cluster), client=("", 0))
        async with httpx2.AsyncClient(transport=transport, base_url="http://c") as client:
            await asyncio.ensure_future(story(cluster, client))

    run_virtual(run())


def _app(cluster: Cluster) -> Any:
    return make_app(cluster.operations, FakeGlass(), MemorySignatures())


DOCUMENT: dict[str, Any] = {}


def document() -> dict[str, Any]:
    """Return the API's document of itself."""

    async def keep(_cluster: Cluster, client: httpx2.AsyncClient) -> None:
        DOCUMENT.update((await client.get("/openapi.json")).json())

    if not DOCUMENT:
        serve(keep)
    return DOCUMENT


async def _settle(cluster: Cluster) -> None:
    """Wait until all is planned that somebody wanted: it is no deed of the next question."""
    before = 0
    while before != cluster.stored().commit:
        before = cluster.stored().commit
        await cluster.clock.sleep(3)


@settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
@given(data=st.data())
def test_any_question_is_answered_and_changes_nothing_when_refused(data: st.DataObject) -> None:
    asked = data.draw(st.lists(questions(document()), min_size=5, max_size=25))

    async def story(cluster: Cluster, client: httpx2.AsyncClient) -> None:
        for method, template, target, body in asked:
            before = cluster.stored().commit
            answer = await client.request(method, target, content=body)
            assert answer.status_code < 500, (method, target, body, answer.text)
            if answer.status_code >= 400 and template != "/v1/heartbeats":
                assert cluster.stored().commit == before, (method, target, body)
            elif method != "GET":
                await _settle(cluster)
        await cluster.clock.sleep(3)
        assert cluster.stored().unreadable == ()
        for path in ("/v1/snapshot", "/v1/targets/fra-n1", "/readyz", "/v1/events"):
            answer = await client.get(path)
            assert answer.status_code == 200, (path, answer.text, asked)

    serve(story)
