"""Take one consistent backup."""
