"""The scale rehearsal: what plans, lists, decides and sweeps, on a made-up vault of 5 TB and 500 backups."""
