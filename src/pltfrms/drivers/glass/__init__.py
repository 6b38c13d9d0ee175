"""The looking glass that every machine offers, and how to ask it."""
