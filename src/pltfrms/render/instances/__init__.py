"""Files that instances and name servers read."""
