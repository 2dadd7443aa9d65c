"""Subscriptions of a restored database: disabled, and without a hand on the source's slots."""

from __future__ import annotations

from coffre.databases.postgresql.connection import Session, identifier
from coffre.errors import CoffreError
from coffre.results import Finding

_ATTACHED = """
SELECT subname FROM pg_subscription WHERE NOT subenabled AND subslotname IS NOT NULL
  AND subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1
"""


def detach_subscriptions(session: Session) -> list[Finding]:
    """Take the slot's name from each disabled subscription of this database, and tell of it.

    pg_dump keeps the name of the slot at the publisher, which the source's own subscription goes on using:
    whoever enabled the copy, or dropped it, would take the slot's changes or the slot itself.
    Source: https://www.postgresql.org/docs/current/sql-dropsubscription.html
    """
    findings = []
    for (name,) in session.run(_ATTACHED):
        try:
            session.run(f"ALTER SUBSCRIPTION {identifier(name)} SET (slot_name = NONE)")
            message = f"the subscription {name} is restored disabled and without a slot"
            advice = "To use it make a slot of its own: ALTER SUBSCRIPTION ... SET (slot_name = ...)."
        except CoffreError as error:
            message = f"the subscription {name} still names the source's slot: {error.message}"
            advice = "Before it is enabled or dropped: ALTER SUBSCRIPTION ... SET (slot_name = NONE)."
        findings.append(
            Finding(level="warn", code="subscription-detached", object=name, message=message, advice=advice)
        )
    return findings
