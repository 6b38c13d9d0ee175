"""Programs and maps in the kernel."""
