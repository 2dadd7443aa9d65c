-- Objects in public that would take the place of built-in ones, and tell when they ran.
CREATE TABLE items (id int PRIMARY KEY, name text, at timestamptz);
INSERT INTO items SELECT n, 'item ' || n, '2026-11-01 00:00:00+00' FROM generate_series(1, 100) n;
CREATE VIEW names AS SELECT name FROM items; CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM items;
CREATE SEQUENCE numbers;
CREATE TABLE pwned (how text);
CREATE FUNCTION pwn(how text) RETURNS void LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO public.pwned VALUES (how || ' as ' || current_user); END $$;
CREATE FUNCTION now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT public.pwn('now'); SELECT pg_catalog.now() $$;
CREATE FUNCTION md5(text) RETURNS text LANGUAGE sql AS $$ SELECT public.pwn('md5'); SELECT pg_catalog.md5($1) $$;
CREATE FUNCTION set_config(text, text, boolean) RETURNS text LANGUAGE sql
    AS $$ SELECT public.pwn('set_config'); SELECT pg_catalog.set_config($1, $2, $3) $$;
CREATE FUNCTION format(text, name, name) RETURNS text LANGUAGE sql AS $$ SELECT public.pwn('format'); SELECT $1 $$;
CREATE FUNCTION pg_export_snapshot() RETURNS text LANGUAGE sql AS $$ SELECT public.pwn('export'); SELECT 'x' $$;
CREATE FUNCTION setval(regclass, int, boolean) RETURNS bigint LANGUAGE sql AS $$ SELECT public.pwn('setval'); SELECT 1::bigint $$;
CREATE FUNCTION same(name, text) RETURNS boolean LANGUAGE sql AS $$ SELECT public.pwn('name = text'); SELECT true $$;
CREATE FUNCTION same(name, name) RETURNS boolean LANGUAGE sql AS $$ SELECT public.pwn('name = name'); SELECT true $$;
CREATE FUNCTION same(oid, oid) RETURNS boolean LANGUAGE sql AS $$ SELECT public.pwn('oid = oid'); SELECT true $$;
CREATE FUNCTION same("char", "char") RETURNS boolean LANGUAGE sql AS $$ SELECT public.pwn('char = char'); SELECT true $$;
CREATE OPERATOR = (LEFTARG = name, RIGHTARG = text, FUNCTION = same);
CREATE OPERATOR = (LEFTARG = name, RIGHTARG = name, FUNCTION = same);
CREATE OPERATOR = (LEFTARG = oid, RIGHTARG = oid, FUNCTION = same);
CREATE OPERATOR = (LEFTARG = "char", RIGHTARG = "char", FUNCTION = same);
