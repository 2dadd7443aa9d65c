-- A single value of 100 MB (``hashes`` times 32 bytes) between ordinary rows.
CREATE TABLE documents (id integer PRIMARY KEY, body text STORAGE EXTERNAL);
INSERT INTO documents SELECT i, md5(i::text) FROM generate_series(1, 1000) AS i;
INSERT INTO documents SELECT 1001, string_agg(md5(i::text), '') FROM generate_series(1, :hashes::bigint) AS i;
INSERT INTO documents SELECT i, md5(i::text) FROM generate_series(1002, 2000) AS i;
VACUUM (FREEZE, ANALYZE);
CHECKPOINT;
