"""What may stand in a spec file: fields, types, units, and what editors show of them."""
