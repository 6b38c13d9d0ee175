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
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

PAGE = 2
"""Names in one answer to who wants a list."""
SKEW_SECONDS = 900
_PARTS = "parts of "
"""What names of parts begin with, as long as they are no object."""
_SHOWN = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, ?"
    r"SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})"
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
    page: int = PAGE
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
def serving(directory: Path, names: str = "IP:127.0.0.1") -> Iterator[Bucket]:
    """Serve a bucket by TLS, with a certificate for names, on a free port of 127.0.0.1."""
    bucket = Bucket(ca=directory / "ca.crt")
    key = directory / "ca.key"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    words += ["-nodes", "-subj", "/CN=a place", "-days", "2", "-keyout", str(key)]
    words += ["-addext", f"subjectAltName={names}", "-out", str(bucket.ca)]
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
    wbufsize = 65536  # an answer in one piece: no waiting for an acknowledgement of its head

    def do_PUT(self) -> None:
        self._handle()

    def do_GET(self) -> None:
        self._handle()

    def do_HEAD(self) -> None:
        self._handle()

    def do_POST(self) -> None:
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
            text = f"<Error><Code>{why}</Code><Message>so it is</Message></Error>"
            self._say(403, text.encode())
        else:
            query = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
            getattr(self, f"_{self.command.lower()}")(name, query, body)

    def _put(self, name: str, query: dict[str, str], body: bytes) -> None:
        part = query.get("partNumber")
        self.place.kept[f"{query['uploadId']}/{int(part):05}" if part else name] = body
        self._say(200, ETag=f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"')

    def _post(self, name: str, query: dict[str, str], body: bytes) -> None:
        """Begin or end an object that comes in parts, or delete some."""
        kept, upload = self.place.kept, query.get("uploadId", f"{_PARTS}{name}")
        if "delete" in query:
            for key in re.findall("<Key>(.*?)</Key>", body.decode()):
                kept.pop(unescape(key), None)
            self._say(200, b"<DeleteResult/>")
        elif "uploads" in query:
            text = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId>"
            self._say(200, f"{text}</InitiateMultipartUploadResult>".encode())
        else:
            parts = sorted(each for each in kept if each.startswith(f"{upload}/"))
            kept[name] = b"".join(kept.pop(each) for each in parts)
            text = (
                "<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>"
            )
            self._say(200, text.encode())

    def _delete(self, name: str, _query: dict[str, str], _body: bytes) -> None:
        self.place.kept.pop(name, None)
        self._say(204)

    def _get(self, name: str, query: dict[str, str], _body: bytes) -> None:
        if not name:
            self._say(200, self._listing(query).encode())
        elif name not in self.place.kept:
            self._say(404, b"<Error><Code>NoSuchKey</Code></Error>")
        elif span := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"] or ""):
            first, last = map(int, span.groups())
            self._say(206, self.place.kept[name][first : last + 1])
        else:
            self._say(200, self.place.kept[name])

    _head = _get

    def _say(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.send_header("Last-Modified", "Mon, 30 Nov 2026 12:00:00 GMT")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _listing(self, query: dict[str, str]) -> str:
        assert query["list-type"] == "2"
        after = query.get("continuation-token", "")
        prefix = "" if self.place.lists_all else query.get("prefix", "")
        cut = query.get("delimiter", "")
        found = [n for n in self.place.kept if n.startswith(prefix)]
        names = sorted({_up_to(name, prefix, cut) for name in found if name > after} - {after})
        keys = "".join(
            f"<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>"
            if name not in self.place.kept
            else f"<Contents><Key>{name}</Key><Size>{len(self.place.kept[name])}</Size>"
            "<LastModified>2026-11-30T12:00:00.000Z</LastModified></Contents>"
            for name in names[: self.place.page]
        )
        more = (
            f"<NextContinuationToken>{names[self.place.page - 1]}</NextContinuationToken>"
            if len(names) > self.place.page
            else ""
        )
        cut_off = f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>"
        return f"<ListBucketResult>{cut_off}{keys}{more}</ListBucketResult>"

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


def _up_to(name: str, prefix: str, cut: str) -> str:
    """Return the name, or its beginning up to a sign that stands for a directory."""
    rest = name.removeprefix(prefix)
    return prefix + rest.partition(cut)[0] + cut if cut and cut in rest else name
