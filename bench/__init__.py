"""Coffre side by side with pg_dump and others, on one machine in one run."""
