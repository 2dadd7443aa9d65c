"""Statements are read out of what pg_restore writes, whatever stands in them."""

from __future__ import annotations

from coffre.databases.postgresql.archive import read_scripts

WRITTEN = r"""--
-- PostgreSQL database dump
--

\restrict abc

-- Dumped from database version 16.14
SET statement_timeout = 0;

SET default_tablespace = '';

--
-- TOC entry 3128 (class 2606 OID 16394)
-- Dependencies: 215 216 3127
-- Name: c fk; Type: FK CONSTRAINT; Schema: public; Owner: customer
-- Data Pos: 0
--

ALTER TABLE ONLY public.c
    ADD CONSTRAINT fk FOREIGN KEY (id) REFERENCES public.p(id);


--
-- TOC entry 3282 (class 0 OID 0)
-- Name: CONSTRAINT fk ON c; Type: COMMENT; Schema: public; Owner: customer
--

COMMENT ON CONSTRAINT fk ON public.c IS '--
-- TOC entry 3 (class 1 OID 2)
-- Name: x; Type: TABLE; Schema: public; Owner: customer
--

DROP TABLE x;
-- Completed on a day
';


-- Completed on 2026-11-26 03:04:14 UTC

--
-- PostgreSQL database dump complete
--

\unrestrict abc
"""


def test_each_entry_has_its_own_statements_without_what_stands_around_them() -> None:
    scripts = read_scripts(WRITTEN, [3282, 3128])
    assert scripts == {
        3128: "ALTER TABLE ONLY public.c\n    ADD CONSTRAINT fk FOREIGN KEY (id) REFERENCES public.p(id);",
        3282: WRITTEN[WRITTEN.index("COMMENT ON") : WRITTEN.index("\n';") + 3],
    }
    assert read_scripts(WRITTEN, [3128]).keys() == {3128}
    assert read_scripts("", [1]) == {}
    assert read_scripts(WRITTEN, []) == {}
