"""The vault: format 1 lives here and nowhere else."""
