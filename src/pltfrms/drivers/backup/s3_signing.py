"""AWS Signature, version 4, as places that speak like S3 want it below each question. Pure."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_PLAIN: Final = "-_.~"
"""What stays as it is, beside letters and digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedQuestion:
    """What is asked, before it is signed."""

    method: str
    path: str
    """Not quoted yet."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """All that are signed, in lower letters; `host` and `x-amz-date` are among them."""
    content_hash: str
    """SHA-256 of the content."""

    @property
    def target(self) -> str:
        """Path and query as they are sent."""
        query = self._query()
        return self._path() + (f"?{query}" if query else "")

    def canonical(self) -> str:
        """Return the one form of it that both sides hash."""
        headers = "".join(f"{name}:{text.strip()}\n" for name, text in self._headers())
        signed = ";".join(name for name, _ in self._headers())
        lines = (self.method, self._path(), self._query(), headers, signed, self.content_hash)
        return "\n".join(lines)

    def authorization(self, region: str, key: str, secret: str) -> str:
        """Return the header that says who asks, and proves it."""
        moment = self.headers["x-amz-date"]
        scope = f"{moment[:8]}/{region}/s3/aws4_request"
        digest = hashlib.sha256(self.canonical().encode()).hexdigest()
        derived = f"AWS4{secret}".encode()
        for word in scope.split("/"):
            derived = _mac(derived, word)
        signature = _mac(derived, f"{_ALGORITHM}\n{moment}\n{scope}\n{digest}").hex()
        signed = ";".join(name for name, _ in self._headers())
        return (
            f"{_ALGORITHM} Credential={key}/{scope}, SignedHeaders={signed}, "
            f"Signature={signature}"
        )

    def _headers(self) -> list[tuple[str, str]]:
        return sorted(self.headers.items())

    def _path(self) -> str:
        return quote(self.path, safe=f"/{_PLAIN}")

    def _query(self) -> str:
        pairs = ((quote(k, safe=_PLAIN), quote(v, safe=_PLAIN)) for k, v in self.query.items())
        return "&".join(f"{key}={text}" for key, text in sorted(pairs))


def _mac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
