"""Coffre: consistent, proven backups of PostgreSQL into a bucket that its owner controls."""

__version__ = "0.1.0"
