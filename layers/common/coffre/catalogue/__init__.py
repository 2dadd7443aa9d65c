"""The catalogue: an index of the vault, leases, runs and the audit trail."""
