"""Training and publishing the task classifier."""
