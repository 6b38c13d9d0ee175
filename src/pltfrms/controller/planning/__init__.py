"""Observe, plan, commit: the loop, and what it decides."""
