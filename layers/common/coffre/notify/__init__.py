"""Events that Coffre publishes."""
