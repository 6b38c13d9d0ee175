"""A small place that speaks as S3 does, and believes no question that is not rightly signed.

It reckons signatures from what arrives, by the description of AWS Signature 4, with no code of
the product.
"""

import contextlib
import hashlib
import hmac
import re
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

PAGE = 2
"""Names in one answer to who wants a list."""
SKEW_SECONDS = 900
_SHOWN = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, "
    r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})"
)


@dataclass
class Bucket:
    """One bucket, and the only key that may use it."""

    name: str = "backups"
    region: str = "eu-test-1"
    key: str = "AKEY"
    secret: str = "a/secret+word"  # noqa: S105 - a test's
    kept: dict[str, bytes] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    endpoint: str = ""
    ca: Path = Path()
    lists_all: bool = False
    """It does not care which names are wanted."""

    def file(self, path: Path, **other: object) -> Path:
        """Write the file of a controller that uses it."""
        said: dict[str, object] = {"endpoint": self.endpoint, "bucket": self.name}
        said |= {"region": self.region, "key": self.key, "secret": self.secret, "ca": self.ca}
        said |= other
        path.write_text("".join(f"{name}: {value}\n" for name, value in said.items()))
        path.chmod(0o600)
        return path


@contextlib.contextmanager
def serving(directory: Path) -> Iterator[Bucket]:
    """Serve a bucket by TLS on a free port of 127.0.0.1."""
    bucket = Bucket(ca=directory / "ca.crt")
    key = directory / "ca.key"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    words += ["-nodes", "-subj", "/CN=a place", "-days", "2", "-keyout", str(key)]
    words += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(bucket.ca)]
    subprocess.run(words, check=True, capture_output=True)

    class Handler(_Handler):
        place = bucket

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(bucket.ca, key)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        bucket.endpoint = f"https://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield bucket
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    place: Bucket
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        self._handle()

    def do_GET(self) -> None:
        self._handle()

    def do_DELETE(self) -> None:
        self._handle()

    def log_message(self, *_words: object) -> None:
        """Say nothing."""

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        path = unquote(urlsplit(self.path).path)
        bucket, _, name = path.removeprefix("/").partition("/")
        why = self._wrong(body) or ("" if bucket == self.place.name else "NoSuchBucket")
        if why:
            self.place.refused.append(why)
            self._say(403, f"<Error><Code>{why}</Code><Message>so it is</Message></Error>")
        elif self.command == "PUT":
            self.place.kept[name] = body
            self._say(200)
        elif self.command == "DELETE":
            self.place.kept.pop(name, None)
            self._say(204)
        else:
            self._say(200, self._listing())

    def _say(self, status: int, text: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def _listing(self) -> str:
        query = dict(parse_qsl(urlsplit(self.path).query))
        assert query["list-type"] == "2"
        after = query.get("continuation-token", "")
        prefix = "" if self.place.lists_all else query["prefix"]
        names = sorted(n for n in self.place.kept if n.startswith(prefix) and n > after)
        keys = "".join(
            f"<Contents><Key>{name}</Key><Size>1</Size></Contents>" for name in names[:PAGE]
        )
        more = (
            f"<NextContinuationToken>{names[PAGE - 1]}</NextContinuationToken>"
            if len(names) > PAGE
            else ""
        )
        return f"<ListBucketResult>{keys}{more}</ListBucketResult>"

    def _wrong(self, body: bytes) -> str:
        """Return the code of what is wrong with who asks; empty: nothing."""
        place, headers = self.place, {k.lower(): v for k, v in self.headers.items()}
        shown = _SHOWN.fullmatch(headers.get("authorization", ""))
        if shown is None:
            return "AccessDenied"
        key, day, region, listed, signature = shown.groups()
        signed = listed.split(";")
        must = {n for n in headers if n.startswith("x-amz-") or n in {"host", "content-type"}}
        moment = headers["x-amz-date"]
        then = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if abs((datetime.now(UTC) - then).total_seconds()) > SKEW_SECONDS:
            return "RequestTimeTooSkewed"
        if hashlib.sha256(body).hexdigest() != headers["x-amz-content-sha256"]:
            return "XAmzContentSHA256Mismatch"
        if key != place.key:
            return "InvalidAccessKeyId"
        parts = urlsplit(self.path)
        pairs = sorted(
            (quote(name, safe="-_.~"), quote(text, safe="-_.~"))
            for name, text in parse_qsl(parts.query, keep_blank_values=True)
        )
        canonical = [self.command, quote(unquote(parts.path), safe="/-_.~")]
        canonical += ["&".join(f"{name}={text}" for name, text in pairs)]
        canonical += [f"{name}:{headers[name]}" for name in signed]
        canonical += ["", listed, headers["x-amz-content-sha256"]]
        digest = hashlib.sha256("\n".join(canonical).encode()).hexdigest()
        secret = b"AWS4" + place.secret.encode()
        for word in (day, place.region, "s3", "aws4_request"):
            secret = hmac.new(secret, word.encode(), hashlib.sha256).digest()
        scope = f"{day}/{region}/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}"
        right = hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
        good = signature == right and must <= set(signed) and moment[:8] == day
        return "" if good else "SignatureDoesNotMatch"
