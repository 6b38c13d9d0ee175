"""When a certificate is made anew, and whether this machine's clock may be believed."""

from zlib import crc32

from pltfrms.model.identity.lives import DAY_MS, EARLY_MS, Life


def renewal_at_ms(life: Life, machine: str) -> int:
    """Return when a machine asks for a younger certificate: in the second third of its life.

    Each machine at another moment, always the same for the same certificate.
    """
    span = life.not_after_ms - life.not_before_ms
    share = crc32(f"{machine} {life.not_after_ms}".encode()) / 2**32
    return life.not_before_ms + span // 3 + int(share * (span // 3))


def why_clock_is_wrong(now_ms: int, floor_ms: int) -> str:
    """Return why a clock is not believed, by something that has happened at `floor_ms`."""
    if now_ms >= floor_ms - EARLY_MS:
        return ""
    days = (floor_ms - now_ms) // DAY_MS
    return (
        f"this machine's clock is at least {days} days behind what it has seen already: "
        "certificates are not judged by it; have it follow NTP"
    )
