"""Machines: their first process, their units, their power."""
