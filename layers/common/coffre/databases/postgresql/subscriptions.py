"""Subscriptions of a restored database: disabled, and without a hand on the source's slots.

pg_dump keeps the name of the slot at the publisher, which the source's own subscription goes on using:
whoever enabled the copy would take the slot's changes, and whoever dropped it the slot itself.
Source: https://www.postgresql.org/docs/current/sql-dropsubscription.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coffre.databases.postgresql.connection import Session, identifier
from coffre.errors import CoffreError

if TYPE_CHECKING:
    from coffre.results import Finding

DETACH = b"""
DO $coffre$
DECLARE attached name;
BEGIN
  FOR attached IN SELECT subname FROM pg_catalog.pg_subscription
    WHERE NOT subenabled AND subslotname IS NOT NULL AND subdbid =
      (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
  LOOP
    EXECUTE pg_catalog.format('ALTER SUBSCRIPTION %I SET (slot_name = NONE)', attached);
  END LOOP;
END
$coffre$;
"""
"""What `detach_subscriptions` does, as a script: in one message with what makes a subscription."""

_OWN = """
SELECT subname, subslotname IS NOT NULL AND NOT subenabled FROM pg_subscription
WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1
"""
_EVENT_TRIGGERS = "SELECT evtname FROM pg_event_trigger WHERE evtenabled <> 'D'"


def detach_subscriptions(session: Session) -> list[Finding]:
    """Take the slot's name from each disabled subscription of this database, and tell of all."""
    from coffre.results import Finding  # a worker that makes one needs no models

    findings = []
    for name, attached in session.run(_OWN):
        message = f"the subscription {name} is restored disabled and without a slot"
        advice = "To use it make a slot of its own: ALTER SUBSCRIPTION ... SET (slot_name = ...)."
        try:
            if attached:
                session.run(f"ALTER SUBSCRIPTION {identifier(name)} SET (slot_name = NONE)")
        except CoffreError as error:
            message = f"the subscription {name} still names the source's slot: {error.message}"
            advice = "Before it is enabled or dropped: ALTER SUBSCRIPTION ... SET (slot_name = NONE)."
        findings.append(
            Finding(level="warn", code="subscription-detached", object=name, message=message, advice=advice)
        )
    return findings


def drop_subscriptions(session: Session) -> None:
    """Drop this database's subscriptions, which stand in the way of dropping the database itself.

    No publisher is asked for anything.  The database's own event triggers are disabled: they have no say.

    Raises
    ------
    CoffreError
    """
    for (name,) in session.run(_EVENT_TRIGGERS):
        session.run(f"ALTER EVENT TRIGGER {identifier(name)} DISABLE")
    for name, _ in session.run(_OWN):
        subscription = f"SUBSCRIPTION {identifier(name)}"
        session.run(f"ALTER {subscription} DISABLE")
        session.run(f"ALTER {subscription} SET (slot_name = NONE)")
        session.run(f"DROP {subscription}")
