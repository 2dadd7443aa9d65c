r"""Edge values of the built-in types, as their text, and of types that a user makes.

Each type's values become a table of their own.  Values of `SINCE` exist from that major version on.
"""

from __future__ import annotations

from coffre.databases.postgresql.connection import literal

MADE = """
CREATE TYPE mood AS ENUM ('a', 'b "q"', 'c,d');
CREATE TYPE pair AS (x int, y text, z numeric[]);
CREATE DOMAIN few AS int[] CHECK (cardinality(VALUE) < 5);
CREATE TYPE floats AS RANGE (subtype = float8);
"""

_MOMENTS = ["infinity", "-infinity", "4713-01-01 00:00 BC", "294276-12-31 23:59:59.999999"]

VALUES: dict[str, list[str]] = {
    "bool": ["true", "false"],
    "int2": ["-32768", "32767"],
    "int4": ["-2147483648", "2147483647"],
    "int8": ["-9223372036854775808", "9223372036854775807"],
    "float4": ["Infinity", "-Infinity", "NaN", "-0", "1e-45", "3.4028235e38", "1.1754944e-38", "0.1", "1e15"],
    "float8": [
        "Infinity",
        "-Infinity",
        "NaN",
        "-0",
        "5e-324",
        "1.7976931348623157e308",
        "0.30000000000000004",
    ],
    "numeric": ["NaN", "Infinity", "-Infinity", "-0.000", "1e-1000", "9" * 200 + "." + "1" * 200],
    "numeric(20,3)": ["12345678.9"],
    "money": ["-92233720368547758.08", "92233720368547758.07", "0.01"],
    "text": ["", "\\N", "NULL", "\\.", "a\tb\nc\rd\b\v\f\\", "日\U0001f418\ufeff", "'\"{}(),"],
    "varchar(3)": ["a  "],
    "char(5)": ["ab", ""],
    "name": ["x" * 63, ""],
    '"char"': ["", "a", "\\"],
    "bytea": ["\\x", "\\x00ff5c0a"],
    "date": ["infinity", "-infinity", "4713-01-01 BC", "5874897-12-31"],
    "time": ["00:00", "24:00", "23:59:59.999999"],
    "timetz": ["00:00+15:59:59", "24:00-15:59"],
    "timestamp": _MOMENTS,
    "timestamptz": [*_MOMENTS, "1900-01-01 00:00:00+00"],
    "timestamptz(0)": ["2020-01-01 00:00:00.6"],
    "interval": ["178000000 years", "1 mon -1 day 00:00:00.000001", "-1 mon +1 day", "0"],
    "interval year to month": ["1-2"],
    "uuid": ["00000000-0000-0000-0000-000000000000"],
    "json": ['{"a":1,"a" : 2}', " null ", '"\\u0000"'],
    "jsonb": ['{"a":1,"b":[1e400,-0.0]}', "null", '"\\n\\ud83d\\ude00"'],
    "jsonpath": [
        "$",
        'strict $.a[*] ? (@.b > 1 && @.c like_regex "x" flag "i").size()',
        '$."k\\"y"[1 to last]',
    ],
    "xml": [
        "<a>x</a>",
        "text only",
        '<?xml version="1.0" encoding="latin1"?><a>é</a>',
        "<!DOCTYPE a><a/>",
        "",
    ],
    "bit(3)": ["101"],
    "varbit": ["", "1" * 70],
    "inet": ["10.1.2.3/8", "::1", "::ffff:1.2.3.4/96", "0.0.0.0/0"],
    "cidr": ["10.0.0.0/8", "::/0"],
    "macaddr": ["08:00:2b:01:02:03"],
    "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "point": ["(1e300,-1e-300)", "(NaN,Infinity)"],
    "line": ["{1,-1,0}", "{0.1,0.2,0.3}"],
    "lseg": ["[(0,0),(1,1)]"],
    "box": ["(0,0),(1,1)"],
    "path": ["[(0,0),(1,1)]", "((0,0),(1,1))"],
    "polygon": ["((0,0),(1,1),(2,0))"],
    "circle": ["<(0,0),0>", "<(1,2),Infinity>"],
    "tsvector": ["", "a:1A b:2,3B 'it''s \\\\x':16383"],
    "tsquery": ["", "a & !b | c <-> d", "a:*AB <3> 'x y'", "!(a <2> b)"],
    "pg_lsn": ["0/0", "FFFFFFFF/FFFFFFFF"],
    "txid_snapshot": ["10:20:10,14,15"],
    "pg_snapshot": ["10:20:10,14,15"],
    "xid": ["0", "4294967295"],
    "xid8": ["0", "18446744073709551615"],
    "cid": ["4294967295"],
    "tid": ["(0,0)", "(4294967295,65535)"],
    "oid": ["4294967295"],
    "oidvector": ["1 2 3", ""],
    "int2vector": ["1 2", ""],
    "regclass": ["pg_class", "-", "999999"],
    "regproc": ["now", "-"],
    "regprocedure": ["now()", "lower(text)"],
    "regoper": ["pg_catalog.||/"],
    "regoperator": ["+(integer,integer)"],
    "regtype": ["integer[]", "numeric", "-"],
    "regrole": ["postgres"],
    "regnamespace": ["public", "-"],
    "regconfig": ["english"],
    "regdictionary": ["simple"],
    "regcollation": ['"C"', "-"],
    "aclitem": ["=r/postgres", "postgres=r*w*/postgres"],
    "refcursor": ["c"],
    "int4range": ["empty", "[1,)", "(,5)", "(,)"],
    "numrange": ["[1.10,2.0]", "[-Infinity,Infinity]"],
    "tsrange": ["[2020-01-01,infinity)"],
    "tstzrange": ["[2020-01-01 00:00+00,)"],
    "daterange": ["[-infinity,infinity]"],
    "int4multirange": ["{}", "{[1,2),[5,6)}"],
    "nummultirange": ["{[1.1,2.2]}"],
    "int4[]": ["{}", "{NULL,1}", "[0:1]={1,2}", "{{1,2},{3,4}}"],
    "text[]": ['{"NULL",NULL,"","a,b","\\\\"}'],
    "float8[]": ["{NaN,-0,5e-324}"],
    "money[]": ["{1.23,-4}"],
    "bytea[]": ['{"\\\\x00"}'],
    '"char"[]': ['{a,""}'],
    "mood": ["a", 'b "q"', "c,d"],
    "mood[]": ['{a,"b \\"q\\""}'],
    "pair": ['(1,"a,""b","{1.0,NULL}")', "(,,)", '(,"",)'],
    "pair[]": ['{"(1,x,)"}'],
    "few": ["{1,2}"],
    "floats": ["[-0,NaN)", "[0.1,0.2)"],
}

SINCE: dict[int, dict[str, list[str]]] = {17: {"interval": ["infinity", "-infinity"]}}


def tables(major: int) -> list[str]:
    """What makes a table of each type with its values, and a NULL."""
    made = [MADE]
    for number, (kind, values) in enumerate(VALUES.items()):
        later = [value for since, more in SINCE.items() if major >= since for value in more.get(kind, ())]
        rows = ", ".join(f"({literal(value)}::{kind})" for value in (*values, *later))
        made.append(f"CREATE TABLE t{number} (v {kind}); INSERT INTO t{number} VALUES {rows}, (NULL)")
    return made
