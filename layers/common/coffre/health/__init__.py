"""Watch the databases and their backups."""
