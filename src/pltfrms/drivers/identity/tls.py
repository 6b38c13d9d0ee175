"""TLS 1.3 between our machines: contexts of OpenSSL, and what a verified certificate says."""

import ssl
from collections.abc import Callable
from typing import cast

from pltfrms.drivers.identity.der import read_words
from pltfrms.drivers.identity.files import IdentityFile
from pltfrms.drivers.private import locked
from pltfrms.errors import UsageError
from pltfrms.model.identity.words import ShownCertificate

Doubt = Callable[[ShownCertificate], str]
"""Returns why a certificate that OpenSSL has verified is not believed; empty: it is."""


def server_context(
    identity: IdentityFile, on_refusal: Callable[[str], None], *, required: bool = False
) -> ssl.SSLContext:
    """Return what this machine answers with, and who it answers shows if it has any.

    `on_refusal` is told why TLS itself refused somebody: OpenSSL says it to nobody else.

    Raises:
        UsageError: the identity cannot be read.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, identity.read().roots)
    context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    context.num_tickets = 0  # a ticket would let in who was revoked meanwhile
    context.sslobject_class = _telling(on_refusal)
    load_identity(context, identity)
    return context


def client_context(
    identity: IdentityFile, doubt: Doubt, *, stranger: bool = False
) -> ssl.SSLContext:
    """Return what this machine asks with; a `stranger` trusts the same and shows nothing.

    `doubt` judges who answers, after OpenSSL, before anything is said.

    Raises:
        UsageError: the identity cannot be read.
    """
    context = trusting_context(identity.read().roots)
    context.sslobject_class, context.sslsocket_class = _doubting(doubt)
    if not stranger:
        load_identity(context, identity)
    return context


def trusting_context(roots: str) -> ssl.SSLContext:
    """Return what somebody asks with who has only these roots (PEM)."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT, roots)
    context.check_hostname = True
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def doubting_context() -> ssl.SSLContext:
    """Return what somebody asks with who trusts nobody yet: what is heard must be verified."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def load_identity(context: ssl.SSLContext, identity: IdentityFile) -> None:
    """Have a context show what the file has now, from the next handshake on; UsageError.

    It trusts roots that are new, too; what it trusted before, until its process ends. OpenSSL
    reads the file twice, for the certificate and for the key.
    """
    trust_roots(context, identity)
    try:
        with locked(identity.directory):
            context.load_cert_chain(identity.path)
    except (OSError, ValueError) as error:
        raise UsageError(f"{identity.path} cannot be used: {error}; join again") from error


def trust_roots(context: ssl.SSLContext, identity: IdentityFile) -> None:
    """Have a context trust the roots that the file has now, too; UsageError."""
    context.load_verify_locations(cadata=identity.read().roots)


def shown_by(end: ssl.SSLObject | ssl.SSLSocket | None) -> ShownCertificate | None:
    """Return what the other end has shown, and OpenSSL has verified; None: nothing."""
    certificate = end.getpeercert() if end else None
    if end is None or not certificate:
        return None
    words = read_words(end.getpeercert(binary_form=True) or b"")
    names = cast("tuple[tuple[str, str], ...]", certificate.get("subjectAltName", ()))
    return ShownCertificate(
        uris=tuple(value for kind, value in names if kind == "URI"),
        serial=int(str(certificate.get("serialNumber", "0")), 16),
        issuer=words.issuer,
        public_key=words.public_key,
    )


def _context(protocol: int, roots: str) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=roots)
    return context


def _doubting(doubt: Doubt) -> tuple[type[ssl.SSLObject], type[ssl.SSLSocket]]:
    def judge(end: ssl.SSLObject | ssl.SSLSocket) -> None:
        shown = shown_by(end)
        why = doubt(shown) if shown else "it shows none"
        if why:
            error = ssl.SSLCertVerificationError(1, why)
            error.verify_message = why
            raise error

    class Doubting(ssl.SSLObject):
        """The client's end of a connection, for asyncio."""

        def do_handshake(self) -> None:
            """Shake hands; refuse who is not believed."""
            super().do_handshake()
            judge(self)

    class DoubtingSocket(ssl.SSLSocket):
        """The client's end of a connection, for all others."""

        def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - as there
            """Shake hands; refuse who is not believed."""
            super().do_handshake(block)
            judge(self)

    return Doubting, DoubtingSocket


def _telling(on_refusal: Callable[[str], None]) -> type[ssl.SSLObject]:
    class Telling(ssl.SSLObject):
        """The server's end of a connection, which says why it refused the other one."""

        def do_handshake(self) -> None:
            """Shake hands; say why not."""
            try:
                super().do_handshake()
            except ssl.SSLCertVerificationError as error:
                on_refusal(error.verify_message)
                raise

    return Telling
