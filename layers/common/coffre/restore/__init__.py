"""Bring a backup back into a new database."""
