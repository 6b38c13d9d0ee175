"""TLS 1.3 between our machines: contexts of OpenSSL, and what a verified certificate says."""

import ssl
from collections.abc import Callable, Mapping
from typing import Any

from pltfrms.drivers.identity.files import IdentityFile
from pltfrms.errors import UsageError
from pltfrms.model.identity.words import ShownCertificate


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


def client_context(identity: IdentityFile, *, stranger: bool = False) -> ssl.SSLContext:
    """Return what this machine asks with; a `stranger` trusts the same and shows nothing.

    Raises:
        UsageError: the identity cannot be read.
    """
    context = trusting_context(identity.read().roots)
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
    """Have a context show what the file has now, from the next handshake on; UsageError."""
    identity.read()
    try:
        context.load_cert_chain(identity.path)
    except (OSError, ValueError) as error:
        raise UsageError(f"{identity.path} cannot be used: {error}; join again") from error


def shown_by(certificate: Mapping[str, Any] | None) -> ShownCertificate | None:
    """Return what a certificate says, as `ssl.SSLObject.getpeercert` returns it."""
    if not certificate:
        return None
    names = certificate.get("subjectAltName", ())
    return ShownCertificate(
        uris=tuple(value for kind, value in names if kind == "URI"),
        serial=int(certificate.get("serialNumber", "0"), 16),
    )


def _context(protocol: int, roots: str) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=roots)
    return context


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
