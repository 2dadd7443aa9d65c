"""Report on what was: each month on every database, each quarter on the exercise."""
