-- Enough small tables that they share chunks: empty ones, unusual names, text that only looks like other rows.
DO $$
BEGIN
    FOR i IN 1 .. 215 LOOP
        EXECUTE format('CREATE TABLE small_%s (id integer, words text)', i);
        EXECUTE format('INSERT INTO small_%s SELECT n, repeat(%L, n) FROM generate_series(1, %s) AS n', i, i, i % 4);
    END LOOP;
END $$;
CREATE TABLE "Small; 🐘" (id integer, twice integer GENERATED ALWAYS AS (id * 2) STORED, words text);
INSERT INTO "Small; 🐘" (id, words) VALUES (1, E'a\nb\t\\N'), (2, NULL), (3, '');
CREATE TYPE mood AS ENUM ('low', 'high');
CREATE TABLE moods (m mood, n integer) PARTITION BY HASH (m);
CREATE TABLE moods_0 PARTITION OF moods FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE moods_1 PARTITION OF moods FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO moods SELECT (enum_range(NULL::mood))[1 + n % 2], n FROM generate_series(1, 6) AS n;
