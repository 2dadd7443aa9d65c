"""Plans of restores: each is confirmed once, as it was shown, while it is good."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from coffre.catalogue.table import Table, expiry
from coffre.errors import PlanChangedError, PlanExpiredError, PlanUnknownError, PlanUsedError
from coffre.ids import stamp

GOOD = timedelta(minutes=15)
"""How long a plan can be confirmed."""


class Plans:
    """The plans of one database.

    Every method may raise CatalogueUnavailableError.
    """

    def __init__(self, table: Table, database: str, now: Callable[[], datetime]) -> None:
        self._table = table
        self._database = database
        self._now = now

    def offer(self, token: str, digest: str) -> str:
        """Record a plan that may be confirmed once, within `GOOD`.

        Parameters
        ----------
        digest:
            A hash over everything that the plan binds.

        Returns
        -------
        str
            Until when.
        """
        until = self._now() + GOOD
        values = {"token": token, "digest": digest, "expires": stamp(until)}
        kept = expiry(until)
        self._table.put(self._database, f"PLAN#{token}", {**values, "expires_at": kept})
        return stamp(until)

    def confirm(self, token: str, digest: str) -> None:
        """Use up a plan: of several calls at the same time one succeeds.

        Raises
        ------
        PlanUnknownError, PlanUsedError, PlanExpiredError, PlanChangedError
        """
        sort, now = f"PLAN#{token}", stamp(self._now())
        condition = "attribute_not_exists(#used) AND #digest = :digest AND #expires > :now"
        given = {"digest": digest, "now": now}
        if self._table.update(self._database, sort, {"used": now}, condition=condition, given=given):
            return
        item, what = self._table.get(self._database, sort), f"restore of {self._database}"
        if item is None:
            raise PlanUnknownError(f"no plan of a {what} has this token")
        if item.get("used"):
            raise PlanUsedError(f"this plan of a {what} was confirmed at {item['used']}")
        if item["expires"] <= now:
            raise PlanExpiredError(f"this plan of a {what} was good until {item['expires']}")
        raise PlanChangedError(f"the {what} that would run now isn't the one that was planned")
