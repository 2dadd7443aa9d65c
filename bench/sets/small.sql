-- ``tables`` tables of 100 rows, each with a primary key and an index; in transactions that hold few locks.
SELECT set_config('bench.tables', :'tables', false);
DO $$
BEGIN
    FOR i IN 1 .. current_setting('bench.tables')::integer LOOP
        EXECUTE format('CREATE TABLE small_%s (id integer PRIMARY KEY, label text NOT NULL, made timestamptz)', i);
        EXECUTE format('INSERT INTO small_%s SELECT n, md5(n::text || %s), timestamptz ''2024-01-01Z'' + n * interval ''1 hour'' '
                       'FROM generate_series(1, 100) AS n', i, i);
        EXECUTE format('CREATE INDEX ON small_%s (made)', i);
        IF i % 100 = 0 THEN COMMIT; END IF;
    END LOOP;
END $$;
VACUUM (FREEZE, ANALYZE);
CHECKPOINT;
