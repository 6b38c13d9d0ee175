"""Wrong words about who reads metrics: what to change in an example, and what must be said."""

from tests.specfile.bad_specs import Bad

_TIMERS = "timers: {external_bfd_interval: 200ms}"
_TOKEN = f"metrics.{'ab' * 32}"


def _metrics(name: str, said: str, says: str) -> Bad:
    new = f"{_TIMERS}\nmetrics: {said} # <-"
    return Bad(name=f"metrics: {name}", old=_TIMERS, new=new, says=says)


METRICS = (
    _metrics("a token", f"{{readers: {{p: {_TOKEN}}}}}", "this is a token, which nobody may"),
    _metrics("a word", "{readers: {p: secret}}", "is not the SHA-256 of a token"),
    _metrics("capitals", f"{{readers: {{p: {'AB' * 32}}}}}", "is not the SHA-256 of a token"),
    _metrics("a number", "{readers: {p: 7}}", "metrics.readers.p"),
    _metrics("no name", f"{{readers: {{P: {'ab' * 32}}}}}", "'P' is not a name"),
    _metrics(
        "one for two",
        f"{{readers: {{p: {'ab' * 32}, q: {'ab' * 32}}}}}",
        "another reader has the same token",
    ),
    _metrics("nobody", "{readers: {}}", "metrics.readers"),
    _metrics("who", "{who: {}}", "metrics.who"),
)
