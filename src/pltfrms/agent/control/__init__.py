"""Targets that come in, reports that go out."""
