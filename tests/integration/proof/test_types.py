"""Edge values of every built-in type come back, on the same and on a newer major, whatever the owner sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.proof.edge_values import tables
from tests.support.postgres import create, customer_server, dumped, sql, target
from tests.support.vault import Verbs

SETTINGS = {
    "DateStyle": "'SQL, DMY'",
    "IntervalStyle": "iso_8601",
    "TimeZone": "'Asia/Kathmandu'",
    "array_nulls": "off",
    "backslash_quote": "off",
    "bytea_output": "escape",
    "client_encoding": "LATIN1",
    "default_transaction_deferrable": "on",
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "enable_tidscan": "off",
    "extra_float_digits": "-5",
    "quote_all_identifiers": "on",
    "search_path": "pg_catalog, public",
    "standard_conforming_strings": "off",
    "transform_null_equals": "on",
    "xmlbinary": "hex",
    "xmloption": "document",
}
"""Of the source: none may change what is written."""


@pytest.mark.parametrize("major", [15, 18])
def test_edge_values_of_every_type_come_back(
    verbs: Verbs, postgres_root: Path, scratch_root: Path, major: int
) -> None:
    with (
        customer_server(postgres_root, major, scratch_root) as server,
        customer_server(postgres_root, 18, scratch_root) as newest,
    ):
        source = create(server, "types", *tables(major))
        expected = dumped(postgres_root, source)
        admin = target(server, "postgres")
        sql(admin, *(f"ALTER DATABASE types SET {name} = {value}" for name, value in SETTINGS.items()))
        made = verbs.backup(source)
        proof = verbs.verify(upgrade_to=18 if major < 18 else None)
        assert (proof.verdict, proof.reasons) == ("proven", [])
        assert proof.upgrade is None or proof.upgrade.verdict == "upgrade-ready"
        for where in (server, newest):
            restored = target(where, "types back")
            result = verbs.restore(restored)
            assert (result.rows, result.digests_equal) == (made.rows, True)
            sql(target(where, "postgres"), 'ALTER DATABASE "types back" RESET ALL')
            assert dumped(postgres_root, restored) == expected
