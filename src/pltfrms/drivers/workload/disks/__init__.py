"""What instances keep, and see, of the machine's disks."""
