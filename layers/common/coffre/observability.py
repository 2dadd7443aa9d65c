"""Logs: one JSON object a line, without secrets, the same from every function."""

from __future__ import annotations

import logging

LOGGER = logging.getLogger("coffre")


def log(message: str, **fields: object) -> None:
    """Write one line at INFO with structured fields.

    Lambda's JSON log format adds time, level and request id by itself.
    Source: https://docs.aws.amazon.com/lambda/latest/dg/python-logging.html
    """
    LOGGER.info(message, extra={"fields": fields} if fields else None)
