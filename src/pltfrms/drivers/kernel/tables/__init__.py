"""Routes of the kernel: read, remembered and followed."""
