"""What only some kinds of probes say."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTls:
    """That a probe speaks TLS, and whom it believes."""

    name: str = ""
    """Whose certificate it must be; empty: `ProbeHttp.host_name`, or the address asked."""
    ca: str = ""
    """Certificates that it must be signed by one of, as PEM; empty: those that the node's
    system trusts."""
    unverified: bool = False
    """Any certificate will do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeHttp:
    """What an HTTP question says beside its path, and what the answer must be."""

    host: str = ""
    """For `Host`; empty: the address that is asked."""
    headers: tuple[tuple[str, str], ...] = ()
    status: tuple[int, ...] = ()
    """Any of them is a success; empty: 200 to 399."""
    body: str = ""
    """The answer must have this in its first 64 KiB."""

    @property
    def host_name(self) -> str:
        """The host without the port that may stand behind it."""
        inside = self.host.partition("]")[0].removeprefix("[")
        return inside if self.host.startswith("[") else self.host.partition(":")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeUdp:
    """One datagram, and what must come back."""

    send: str
    """A byte for each character."""
    expect: str = ""
    """The answer must have this in it; empty: anything will do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeDns:
    """A question to a name server, and what it must answer."""

    name: str
    type: str = "A"
    rcode: str = "NOERROR"
    answer: str = ""
    """An address that must be among the answers; empty: none need be."""


DNS_TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28}
"""What may be asked of name servers, and its number (RFC 1035, RFC 3596)."""
DNS_RCODES = {
    "NOERROR": 0,
    "FORMERR": 1,
    "SERVFAIL": 2,
    "NXDOMAIN": 3,
    "NOTIMP": 4,
    "REFUSED": 5,
}
"""What name servers may answer, and its number (RFC 1035)."""
