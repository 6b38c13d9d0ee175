"""What a machine has, before and beside ours."""
