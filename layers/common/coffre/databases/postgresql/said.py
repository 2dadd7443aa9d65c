"""What PostgreSQL's programs say on standard error, without what may be secret.

With an error they print the statement that failed, in which a password may stand (of a user mapping, of a
subscription), and the server's details, which quote values of rows.  Messages, logs and events have neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

COMMAND = b"Command was: "
_PROGRAM = re.compile(rb"pg_\w+: ")
_FURTHER = (b"HINT:  ", b"CONTEXT:  ")
_VALUES = (b"DETAIL:  ", b"LINE ", b"QUERY:  ")
_LITERAL = re.compile(rb"['$]")


def without_values(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines without the server's details and quotations, and statements only up to their first value."""
    is_kept, in_command = True, False
    for line in lines:
        if line.startswith(COMMAND):
            is_kept, in_command = True, True
        elif _PROGRAM.match(line) or line.startswith(_FURTHER):
            is_kept, in_command = True, False
        elif line.startswith(_VALUES):
            is_kept, in_command = False, False
        if not is_kept:
            continue
        value = _LITERAL.search(line) if in_command else None
        if value is None:
            yield line
            continue
        is_kept = False
        yield line[: value.start()].rstrip() + b" ...\n"
