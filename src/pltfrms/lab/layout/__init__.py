"""From the words of an operator to the machines and wires of a lab. Pure."""
