"""Decisions: snapshot in, plan out. Pure: no clock, random, I/O or logging."""
