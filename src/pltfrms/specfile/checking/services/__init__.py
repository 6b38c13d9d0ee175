"""What makes no sense in a service or a job."""
