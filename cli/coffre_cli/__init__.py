"""The `coffre` command: starts functions, follows them, prints."""
