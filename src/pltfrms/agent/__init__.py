"""Read target, render, apply, report: the loop that every machine runs."""
