"""A place outside that is asked as Amazon's S3 is, by TLS and signed questions."""

import hashlib
import re
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

import structlog

from pltfrms.drivers.backup.ports import BackupName
from pltfrms.drivers.backup.s3_file import S3Bucket
from pltfrms.drivers.backup.s3_signing import SignedQuestion
from pltfrms.drivers.failover import SilentError
from pltfrms.drivers.kept_http import HttpQuestion, KeptHttp, TlsEnd
from pltfrms.errors import UnavailableError, UsageError

_CONNECT_SECONDS: Final = 10.0
_SECONDS: Final = 120.0
_PAGES_MAX: Final = 1000
"""Of 1000 names each."""
_SAID_MAX: Final = 200
_CONTENT_TYPE: Final = "application/octet-stream"
_KEY: Final = re.compile(r"<Key>([^<]*)</Key>")
_NEXT: Final = re.compile(r"<NextContinuationToken>([^<]+)</NextContinuationToken>")
_WHY: Final = re.compile(r"<(?:Code|Message)>([^<]*)</(?:Code|Message)>")

_log = structlog.get_logger(__name__)


def _now() -> datetime:
    return datetime.now(UTC)


class S3Place:
    """`ports.BackupPlace` in a bucket. What is too old there is deleted if that is wanted."""

    def __init__(self, bucket: S3Bucket, now: Callable[[], datetime] = _now) -> None:
        """Send to a bucket; UsageError if its address or its authorities are none."""
        self._bucket = bucket
        self._now = now
        by_host, host = bucket.style == "host", bucket.endpoint.removeprefix("https://")
        self._host = f"{bucket.bucket}.{host}" if by_host else host
        self._root = "/" if by_host else f"/{bucket.bucket}/"
        try:
            parts = urlsplit(f"https://{self._host}")
            name, _port = parts.hostname or "", parts.port
        except ValueError as error:
            raise UsageError(f"{self._host} is no address: {error}") from error
        try:
            context = ssl.create_default_context(cafile=bucket.ca)
        except OSError as error:
            raise UsageError(f"{bucket.ca}: no certificates: {error}") from error
        self._tls = TlsEnd(context, name)

    async def send(self, name: BackupName, sealed: str) -> None:
        """See `ports.BackupPlace`. The place keeps it only if its checksum is as signed."""
        await self._ask("PUT", f"{self._bucket.prefix}{name}", body=sealed.encode())
        if self._bucket.keep:
            try:
                await self._forget(name)
            except UnavailableError as error:  # it has got there, and that is what counts
                _log.warning("old backups not deleted", reason=str(error))

    async def names(self, platform: str) -> list[BackupName]:
        """Return the backups of a platform that are there, oldest first; UnavailableError."""
        prefix = self._bucket.prefix
        found: list[BackupName] = []
        query = {"list-type": "2", "prefix": f"{prefix}{platform}."}
        for _ in range(_PAGES_MAX):
            text = (await self._ask("GET", "", query)).decode(errors="replace")
            for key in _KEY.findall(text):
                try:
                    found.append(BackupName.of(key.removeprefix(prefix)))
                except UsageError:
                    continue  # somebody else's
            if not (more := _NEXT.search(text)):
                break
            query["continuation-token"] = more[1]
        return sorted(each for each in found if each.platform == platform)

    async def _forget(self, sent: BackupName) -> None:
        """Delete the oldest that are too many, and never what was sent just now.

        Where a clock was wrong, there are some of the future, beside which it looks old.
        """
        names = await self.names(sent.platform)
        older = [each for each in names if each < sent]
        for name in older[: max(len(names) - self._bucket.keep, 0)]:
            await self._ask("DELETE", f"{self._bucket.prefix}{name}")

    async def _ask(
        self, method: str, key: str, query: Mapping[str, str] | None = None, body: bytes = b""
    ) -> bytes:
        """Return the content of the answer; UnavailableError: there is none, or it is no."""
        question = self._signed(method, self._root + key, query or {}, body)
        bucket = self._bucket
        headers = {
            name: text for name, text in question.headers.items() if name.startswith("x-amz-")
        }
        headers["Authorization"] = question.authorization(
            bucket.region, bucket.key, bucket.secret
        )
        http = KeptHttp(
            f"https://{self._host}", _CONNECT_SECONDS, headers=headers, tls=self._tls
        )
        asked = HttpQuestion(method, question.target, body, _CONTENT_TYPE)
        try:
            status, content = await http.ask(asked, _SECONDS, _SECONDS)
        except SilentError as error:
            raise UnavailableError(f"{bucket.endpoint}: {error}") from error
        finally:
            await http.close()
        if status // 100 != 2:  # noqa: PLR2004 - of HTTP
            raise UnavailableError(f"{bucket.endpoint} answers {status}{_why(content)}")
        return content

    def _signed(
        self, method: str, path: str, query: Mapping[str, str], body: bytes
    ) -> SignedQuestion:
        digest = hashlib.sha256(body).hexdigest()
        headers = {
            "host": self._host,
            "x-amz-content-sha256": digest,
            "x-amz-date": self._now().strftime("%Y%m%dT%H%M%SZ"),
        }
        if body:
            headers["content-type"] = _CONTENT_TYPE
        return SignedQuestion(
            method=method, path=path, query=query, headers=headers, content_hash=digest
        )


def _why(content: bytes) -> str:
    said = ": ".join(_WHY.findall(content.decode(errors="replace")))
    return f": {said[:_SAID_MAX]}" if said else ""
