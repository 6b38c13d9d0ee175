"""Observe, plan, commit: the loop that every controller runs."""
