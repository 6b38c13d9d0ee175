"""Controllers, as agents and operators call them."""
