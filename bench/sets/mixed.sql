-- The tables that are measured.  psql sets the numbers of rows: narrow, wide, events, lookups.
-- About 98 bytes of COPY text a narrow row, 205 a wide one, 100 an event.
CREATE TABLE narrow (
    id bigint NOT NULL,
    customer integer NOT NULL,
    amount numeric(10, 2) NOT NULL,
    status text NOT NULL,
    created timestamptz NOT NULL,
    reference text NOT NULL
);
INSERT INTO narrow
SELECT i, i * 7919 % 250000, (i * 31 % 1000000) / 100.0, (ARRAY['new', 'paid', 'shipped', 'returned'])[1 + i * 13 % 4],
       timestamptz '2020-01-01 00:00:00Z' + i * interval '31 seconds', md5(i::text)
FROM generate_series(1, :narrow::bigint) AS i;

CREATE TABLE wide (
    id bigint NOT NULL,
    title text NOT NULL,
    attributes jsonb NOT NULL,
    body text
);
INSERT INTO wide
SELECT i, 'Item number ' || i,
       jsonb_build_object('colour', (ARRAY['red', 'green', 'blue'])[1 + i % 3], 'weight', i % 977, 'tags',
                          jsonb_build_array('t' || i % 17, 't' || i % 101), 'serial', left(md5(i::text), 12)),
       CASE WHEN i % 11 > 0 THEN 'A line of text, a tab' || E'\t' || 'and a break' || E'\n' || md5((i + 1)::text) || left(md5((i * 3)::text), (i % 32)::int) END
FROM generate_series(1, :wide::bigint) AS i;

CREATE TABLE events (
    id uuid NOT NULL,
    happened timestamptz NOT NULL,
    device integer NOT NULL,
    kind text NOT NULL,
    value double precision
);
INSERT INTO events
SELECT md5('e' || i)::uuid, timestamptz '2024-01-01 00:00:00Z' + i * interval '1.7777 seconds', i * 101 % 5000,
       (ARRAY['opened', 'closed', 'measured'])[1 + i % 3], CASE WHEN i % 5 > 0 THEN (i * 37 % 100003) / 7.0 END
FROM generate_series(1, :events::bigint) AS i;

CREATE TABLE lookups (code integer PRIMARY KEY, label text NOT NULL);
INSERT INTO lookups SELECT i, 'Label ' || i FROM generate_series(1, :lookups::bigint) AS i;

ALTER TABLE narrow ADD PRIMARY KEY (id);
ALTER TABLE wide ADD PRIMARY KEY (id);
ALTER TABLE events ADD PRIMARY KEY (id);
CREATE INDEX ON events (happened);
CREATE INDEX ON narrow (customer);
VACUUM (FREEZE, ANALYZE);
CHECKPOINT;
