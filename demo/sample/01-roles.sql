-- Sample database of a rental marketplace, 1 of 4: roles.
--
-- Needs a superuser and an empty UTF8 database on PostgreSQL 14 to 18; no extension but plpgsql.
-- Run the four numbered files in order. They hold no psql meta-command, so a driver may send each
-- file as one simple query. Roles belong to the cluster: this file may run again for a second database.

SET client_encoding = 'UTF8';
SET search_path = '';

DO $roles$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['rental_owner', 'rental_app', 'rental_analyst', 'rental_auditor'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        END IF;
    END LOOP;
END
$roles$;

ALTER ROLE rental_auditor BYPASSRLS;
ALTER ROLE rental_app CONNECTION LIMIT 40;
ALTER ROLE rental_app SET statement_timeout = '30s';
ALTER ROLE rental_analyst SET "DateStyle" = 'SQL, DMY';

DO $memberships$
BEGIN
    IF NOT pg_has_role('rental_auditor', 'rental_analyst', 'MEMBER') THEN
        GRANT rental_analyst TO rental_auditor WITH ADMIN OPTION;
    END IF;
END
$memberships$;

COMMENT ON ROLE rental_owner IS 'Owns every object of the marketplace';
COMMENT ON ROLE rental_app IS 'The web application''s privileges';
COMMENT ON ROLE rental_analyst IS 'Reads all but personal data';
COMMENT ON ROLE rental_auditor IS 'Reads everything, row-level security included';
