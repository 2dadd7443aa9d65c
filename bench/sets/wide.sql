-- Two tables with ``rows`` rows of JSON and text together, about 680 bytes of COPY text each.
CREATE TABLE wide_1 (
    id bigint NOT NULL,
    title text NOT NULL,
    attributes jsonb NOT NULL,
    body text
);
CREATE TABLE wide_2 (LIKE wide_1);
CREATE FUNCTION pg_temp.attributes(i bigint) RETURNS jsonb LANGUAGE sql AS $$
SELECT jsonb_build_object('colour', (ARRAY['red', 'green', 'blue'])[1 + i % 3], 'weight', i % 977, 'tags',
                          jsonb_build_array('t' || i % 17, 't' || i % 101, 't' || i % 1009), 'serial', md5(i::text),
                          'owner', jsonb_build_object('name', 'Owner ' || i % 5003, 'mail', 'o' || i % 5003 || '@example.org'))
$$;
CREATE FUNCTION pg_temp.body(i bigint) RETURNS text LANGUAGE sql AS $$
SELECT CASE WHEN i % 11 > 0 THEN
       'The item was seen by a visitor who wrote a line, a tab' || E'\t' || 'and a break' || E'\n'
       || repeat('Some words come again and again, as they do in texts. ', (i % 5)::int)
       || md5((i + 1)::text) || md5((i * 3)::text) || md5((i * 5)::text) || left(md5((i * 7)::text), (i % 32)::int) END
$$;
INSERT INTO wide_1 SELECT i, 'Item number ' || i, pg_temp.attributes(i), pg_temp.body(i)
FROM generate_series(1, :rows::bigint / 2) AS i;
INSERT INTO wide_2 SELECT i, 'Article number ' || i, pg_temp.attributes(-i), pg_temp.body(i * 2)
FROM generate_series(1, :rows::bigint / 2) AS i;
ALTER TABLE wide_1 ADD PRIMARY KEY (id);
ALTER TABLE wide_2 ADD PRIMARY KEY (id);
VACUUM (FREEZE, ANALYZE);
CHECKPOINT;
