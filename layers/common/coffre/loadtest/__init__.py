"""A load test: what backups and restores do to the application, and whether the objectives hold."""
