"""Retention: decide, delete, mark and purge."""
