"""Shapes become words of the model, with what is noticed on the way."""
