-- ``files`` values of 100 kB in a column of bytea, a hundred times as many of 64 bytes, and a tenth as many
-- large objects of 320 kB; all of them can't be compressed.
CREATE TABLE files (id integer PRIMARY KEY, name text NOT NULL, content bytea);
ALTER TABLE files ALTER COLUMN content SET STORAGE EXTERNAL;
CREATE TABLE keys (id integer PRIMARY KEY, fingerprint bytea NOT NULL);
CREATE FUNCTION pg_temp.noise(i integer, hashes integer) RETURNS bytea LANGUAGE sql AS $$
SELECT string_agg(sha256(convert_to(i || '/' || n, 'UTF8')), '') FROM generate_series(1, hashes) AS n
$$;
INSERT INTO files SELECT i, 'file-' || i || '.bin', pg_temp.noise(i, 3125) FROM generate_series(1, :files::integer) AS i;
INSERT INTO keys SELECT i, pg_temp.noise(-i, 2) FROM generate_series(1, 100 * :files::integer) AS i;
SELECT count(lo_from_bytea(0, pg_temp.noise(10000000 + i, 10000))) FROM generate_series(1, :files::integer / 10) AS i;
VACUUM (FREEZE, ANALYZE);
CHECKPOINT;
