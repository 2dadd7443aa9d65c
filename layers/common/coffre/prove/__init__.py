"""Restore a backup where there is nothing to steal, and compare."""
