"""Hide what readers of the state need not know. Agents get it in their targets."""

from dataclasses import replace
from typing import Final

from pltfrms.model.messages.api import SnapshotView
from pltfrms.model.network.topology import Platform

HIDDEN: Final = "(hidden)"
"""Stands for a password: that there is one may be known."""


def without_passwords(view: SnapshotView) -> SnapshotView:
    """Return the same state, with `HIDDEN` for every password of a session."""
    platform = _without_passwords(view.snapshot.platform)
    return replace(view, snapshot=replace(view.snapshot, platform=platform))


def _without_passwords(platform: Platform) -> Platform:
    peers = tuple(
        replace(
            peer,
            sessions=tuple(
                replace(session, password=HIDDEN) if session.password else session
                for session in peer.sessions
            ),
        )
        for peer in platform.peers
    )
    return replace(platform, peers=peers)
