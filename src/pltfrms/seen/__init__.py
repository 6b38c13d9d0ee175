"""What is, as people see it. Pure: from one snapshot to rows and sentences."""
