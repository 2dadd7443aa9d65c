"""The engines: what Coffre can read and write databases with."""
