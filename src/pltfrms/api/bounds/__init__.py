"""How much callers may take of a controller, before anything of it runs."""
