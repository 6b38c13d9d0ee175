"""The web server of `pltfrms ui`: who may ask it what."""

import json
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from pltfrms.cli.shared import page_server
from pltfrms.cli.shared.page_actions import PageActions
from pltfrms.cli.shared.page_server import TOKEN, PageServer
from pltfrms.codec import encode
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.errors import UnavailableError
from pltfrms.model.messages.api import InterventionReply
from pltfrms.model.network.interventions import Interventions


class Controller(BaseHTTPRequestHandler):
    """Answers as a controller would."""

    asked: list[tuple[str, str | None, str | None]]
    changed: list[dict[str, object]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.changed.append({"path": self.path, **body})
        self.send_response(200)
        self.end_headers()
        self.wfile.write(
            encode(InterventionReply(revision=8, changed=True, interventions=Interventions()))
        )

    def do_GET(self) -> None:
        self.asked.append(
            (self.path, self.headers["authorization"], self.headers["last-event-id"])
        )
        if self.path == "/v1/stream":
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            for number in range(3):
                self.wfile.write(b"event: tick\ndata: %d\n\n" % number)
            return
        status = 200 if self.path == "/v1/view" else 404
        self.send_response(status)
        self.send_header("etag", '"x"')
        self.send_header("set-cookie", "stolen=1")
        self.end_headers()
        self.wfile.write(b'{"platform": "p"}')

    def log_message(self, *_words: object) -> None:
        pass


class Browser:
    def __init__(self, server: PageServer) -> None:
        self.port = server.server_port
        self.address, self.own_address = server.address, server.own_address
        self.client = server.client
        self.cookie = self.token = self.folder = ""

    def get(self, path: str, **headers: str) -> HTTPResponse:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        cookie = {"cookie": self.cookie} if self.cookie else {}
        connection.request("GET", self.folder + path, headers={**cookie, **named})
        return connection.getresponse()

    def post(self, path: str, word: object, **headers: str) -> HTTPResponse:
        """Ask as the page does, except for what is said."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        all_headers = {
            "cookie": self.cookie,
            "origin": f"http://127.0.0.1:{self.port}",
            "content-type": "application/json",
            TOKEN: self.token,
        } | {name.replace("_", "-"): said for name, said in headers.items()}
        shown = {name: said for name, said in all_headers.items() if said}
        connection.request("POST", self.folder + path, json.dumps(word), shown)
        return connection.getresponse()

    def open(self) -> HTTPResponse:
        self.folder = ""
        answer = self.get(self.address.partition(f":{self.port}")[2])
        self.folder = (answer.headers["location"] or "").rstrip("/")
        self.cookie = (answer.headers["set-cookie"] or "").partition(";")[0]
        self.token = json.loads(self.get("/me").read())["token"] if self.cookie else ""
        return answer


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    (tmp_path / "page" / "assets").mkdir(parents=True)
    (tmp_path / "page" / "index.html").write_text("<p>page")
    (tmp_path / "page" / "assets" / "a.js").write_text("1")
    (tmp_path / "page" / "assets" / "a.map").write_text("not for browsers")
    (tmp_path / "secret.json").write_text("secret")
    Controller.asked, Controller.changed = [], []
    controller = ThreadingHTTPServer(("127.0.0.1", 0), Controller)
    dead = "http://127.0.0.1:1"
    client = OperatorClient((dead, f"http://127.0.0.1:{controller.server_port}"), token="t")  # noqa: S106 - a test's
    numbers = count(1)

    def secret() -> str:
        return f"word{next(numbers)}"

    actions = PageActions(client, "ada@laptop", secret)
    server = PageServer(tmp_path / "page", client, 0, secret, actions)
    with serving(controller), serving(server):
        yield Browser(server)


def test_the_address_opens_the_page_once(browser: Browser) -> None:
    assert browser.get("/").status == 403
    opened = browser.open()
    assert (opened.status, opened.headers["location"]) == (303, f"{browser.folder}/")
    said = opened.headers["set-cookie"] or ""
    assert said.endswith(f"Path={browser.folder}/")
    assert "HttpOnly" in said
    assert "SameSite=Strict" in said
    page = browser.get("/")
    assert (page.status, page.read()) == (200, b"<p>page")
    assert "script-src 'self'" in (page.headers["content-security-policy"] or "")
    other = Browser.__new__(Browser)
    other.port, other.address, other.cookie = browser.port, browser.address, ""
    assert other.open().status == 403
    assert other.get("/").status == 403
    assert browser.get("/").status == 200, "the first one still sees it"


def test_it_passes_on_what_the_page_asks_as_the_operator_and_nothing_else(
    browser: Browser,
) -> None:
    browser.open()
    view = browser.get("/v1/view")
    assert (view.status, view.read()) == (200, b'{"platform": "p"}')
    assert (view.headers["etag"], view.headers["set-cookie"]) == ('"x"', None)
    stream = browser.get("/v1/stream", last_event_id="7")
    assert stream.read().count(b"event: tick") == 3
    assert Controller.asked == [
        ("/v1/view", "Bearer t", None),
        ("/v1/stream", "Bearer t", "7"),
    ]
    for path in ("/v1/snapshot", "/v1/apply", "/v1/stream/../apply", "/metrics"):
        assert browser.get(path).status == 404
    assert len(Controller.asked) == 2


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example:80"},
        {"host": "127.0.0.1"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"cookie": "pltfrms-ui-{port}=guess"},
        {"cookie": "\x01=;;"},
    ],
)
def test_other_sites_and_other_names_are_refused(
    browser: Browser, headers: dict[str, str]
) -> None:
    browser.open()
    for path in ("/", "/v1/view", "/assets/a.js"):
        said = {name: word.format(port=browser.port) for name, word in headers.items()}
        assert browser.get(path, **said).status == 403
    assert Controller.asked == []


def test_two_pages_in_one_browser_leave_each_other_alone(
    browser: Browser, tmp_path: Path
) -> None:
    """Browsers send the cookies of a host to all its ports."""
    client = OperatorClient(("http://127.0.0.1:1",))
    server = PageServer(tmp_path / "page", client, 0, lambda: "other")
    with serving(server):
        other = Browser(server)
        browser.open()
        other.open()
        jar = dict(each.cookie.split("=", 1) for each in (browser, other))
        jar |= {"of_others": '{"a": 1}'}  # SimpleCookie reads nothing of a jar that has such
        both = "; ".join(f"{name}={word}" for name, word in reversed(jar.items()))
        for each in (browser, other):
            each.cookie = both
            assert each.get("/").status == 200


@pytest.mark.parametrize("folder", ["", "/word1", "/", "/%s/.."])
def test_who_has_the_cookie_alone_sees_nothing(browser: Browser, folder: str) -> None:
    """Another user of the machine may listen at another port, to which browsers send it."""
    browser.open()
    right = browser.folder
    browser.folder = folder.replace("%s", "word2")
    assert right != browser.folder
    for path in ("/", "/me", "/v1/view", "/assets/a.js", "/services/web/logs"):
        assert browser.get(path).status == 403
    assert browser.post("/actions/look", DRAIN).status == 403
    browser.folder, browser.cookie = right, ""
    assert browser.get("/").status == 403, "nor who knows the folder alone"
    assert (Controller.asked, Controller.changed) == ([], [])


def test_the_address_that_a_program_is_started_with_opens_it_for_who_started_it_alone(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert browser.own_address != browser.address
    browser.address, for_all = browser.own_address, browser.address
    with monkeypatch.context() as patch:
        patch.setattr(page_server, "uid_of", lambda *_: os.getuid() + 1)
        assert browser.open().status == 403
        patch.setattr(page_server, "uid_of", lambda *_: None)
        assert browser.open().status == 403
    assert browser.open().status == 303
    assert browser.get("/").status == 200
    other = Browser.__new__(Browser)
    other.port, other.address, other.cookie, other.folder = browser.port, for_all, "", ""
    assert other.open().status == 403, "opened is opened"


def test_the_kernel_says_who_has_the_other_end() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as line,
        socket.socket(socket.AF_INET6) as mapped,
    ):
        port = server.getsockname()[1]
        mapped.connect(("::ffff:127.0.0.1", port))
        for each in (line, mapped):
            assert page_server.uid_of(each.getsockname()[1], port) == os.getuid()
        assert page_server.uid_of(port, 1) is None


@pytest.mark.parametrize(
    "path",
    ["/../secret.json", "/assets/../../secret.json", "/%2e%2e/secret.json", "/assets/a.map"],
)
def test_only_files_of_the_page_are_there(browser: Browser, path: str) -> None:
    browser.open()
    assert browser.get(path).status == 404
    assert browser.get("/assets/a.js").status == 200


DRAIN = {"verb": "drain", "kind": "edge", "name": "fra-e1"}


def test_what_is_done_was_looked_at_and_has_a_reason_and_is_done_once(browser: Browser) -> None:
    browser.open()
    look = browser.post("/actions/look", DRAIN)
    assert look.status == 200
    shown = json.loads(look.read())
    assert shown["command"] == "pltfrms edge drain fra-e1 --why ..."
    assert [each["dry_run"] for each in Controller.changed] == [True]
    wish = {"ticket": shown["ticket"], "why": " "}
    assert browser.post("/actions/do", wish).status == 400, "there is no reason"
    wish["why"] = "new optics"
    assert browser.post("/actions/do", wish).status == 200
    done = Controller.changed[-1]
    assert {name: done[name] for name in ("path", "verb", "edge", "by", "why")} == {
        "path": "/v1/interventions",
        "verb": "drain",
        "edge": "fra-e1",
        "by": "ada@laptop",
        "why": "new optics",
    }
    assert not done.get("dry_run")
    assert browser.post("/actions/do", wish).status == 409, "once"
    assert browser.post("/actions/do", {"ticket": "guess", "why": "x"}).status == 409
    assert len(Controller.changed) == 3, "looked at, looked at again, done"


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example:80"},
        {"host": "evil.example:80", "origin": "http://evil.example:80"},
        {"cookie": ""},
        {"cookie": "pltfrms-ui-{port}=guess"},
        {"origin": ""},
        {"origin": "null"},
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "http://localhost:{port}"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {TOKEN: ""},
        {TOKEN: "guess"},
        {TOKEN: "\xff"},
    ],
)
def test_another_site_changes_nothing(browser: Browser, headers: dict[str, str]) -> None:
    browser.open()
    said = {name: word.format(port=browser.port) for name, word in headers.items()}
    for path in ("/actions/look", "/actions/do"):
        assert browser.post(path, DRAIN, **said).status == 403
    assert Controller.changed == []


@pytest.mark.parametrize(
    ("word", "headers"),
    [
        (DRAIN, {"content_type": "text/plain"}),
        (DRAIN, {"content_type": ""}),
        ({**DRAIN, "name": "x" * 5000}, {}),
        (DRAIN, {"content_length": "-1"}),
        (DRAIN, {"content_length": "x"}),
        ({**DRAIN, "despite": ["last_announcer"]}, {}),
        ({"verb": "blackhole", "kind": "prefix", "name": "198.51.100.0/24"}, {}),
        ({"verb": "drain", "kind": "", "name": ""}, {}),
        ({"verb": "drain", "kind": "service", "name": "web"}, {}),
        ({"verb": "delete", "kind": "service", "name": "web"}, {}),
        ({"verb": "undo", "kind": "service", "name": "web"}, {}),
        ({"verb": "unfreeze"}, {}),
        ([], {}),
    ],
)
def test_nothing_else_is_done_from_the_page(
    browser: Browser, word: object, headers: dict[str, str]
) -> None:
    browser.open()
    assert browser.post("/actions/look", word, **headers).status == 400
    for path in ("/v1/apply", "/v1/interventions", "/v1/rollouts", "/actions/look/", "/"):
        assert browser.post(path, DRAIN).status == 403
    assert Controller.changed == []


def test_a_page_that_only_looks_has_no_token_and_does_nothing(
    browser: Browser, tmp_path: Path
) -> None:
    client = browser.client
    server = PageServer(tmp_path / "page", client, 0, lambda: "word")
    with serving(server):
        looking = Browser(server)
        looking.open()
        assert looking.token == ""
        looking.token = server.token
        answer = looking.post("/actions/look", DRAIN)
        assert (answer.status, b"--read-only" in answer.read()) == (403, True)
    assert Controller.changed == []


def test_logs_are_asked_for_by_what_logs_have_alone(browser: Browser) -> None:
    browser.open()
    browser.get("/v1/services/web/logs?lines=5&after=1.2&ended=true&instance=web.fra.1-1")
    ((asked, _, _),) = Controller.asked
    assert sorted(parse_qs(urlsplit(asked).query).items()) == [
        ("after", ["1.2"]),
        ("instance", ["web.fra.1-1"]),
        ("lines", ["5"]),
    ]
    for path in (
        "/v1/services/web/versions",
        "/v1/services/../apply/logs",
        "/v1/services//logs",
    ):
        assert browser.get(path).status == 404
    assert len(Controller.asked) == 1


def test_no_other_way_of_asking_is_known(browser: Browser) -> None:
    browser.open()
    for method in ("PUT", "DELETE", "OPTIONS", "PATCH"):
        connection = HTTPConnection("127.0.0.1", browser.port, timeout=5)
        connection.request(
            method, f"{browser.folder}/v1/view", headers={"cookie": browser.cookie}
        )
        assert connection.getresponse().status == 501
    assert Controller.asked == []


def test_a_browser_that_goes_in_the_middle_is_no_news(
    browser: Browser, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "page" / "assets" / "large.js").write_text("1" * 50_000_000)
    browser.open()
    with socket.create_connection(("127.0.0.1", browser.port)) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        head = f"host: 127.0.0.1:{browser.port}\r\ncookie: {browser.cookie}\r\n\r\n"
        line.sendall(f"GET {browser.folder}/assets/large.js HTTP/1.0\r\n{head}".encode())
        assert line.recv(8) == b"HTTP/1.0"
    assert browser.get("/").status == 200
    time.sleep(0.2)
    assert capsys.readouterr().err == ""


def test_without_a_controller_it_says_so(tmp_path: Path) -> None:
    client = OperatorClient(("http://127.0.0.1:1",))
    server = PageServer(tmp_path, client, 0, lambda: "word")
    with serving(server):
        browser = Browser(server)
        browser.open()
        answer = browser.get("/v1/view")
        assert answer.status == 503
        assert b"no controller answers" in answer.read()


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    client = OperatorClient(("http://127.0.0.1:1",))
    with (
        PageServer(tmp_path, client, 0, lambda: "word") as server,
        pytest.raises(UnavailableError, match="choose another --port"),
    ):
        PageServer(tmp_path, client, server.server_port, lambda: "word")
