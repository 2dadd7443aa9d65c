"""Read a backup back, have it proven, and keep the evidence."""
