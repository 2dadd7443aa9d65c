-- Two tables with ``rows`` narrow rows together, about 98 bytes of COPY text each.
CREATE TABLE narrow_1 (
    id bigint NOT NULL,
    customer integer NOT NULL,
    amount numeric(10, 2) NOT NULL,
    status text NOT NULL,
    created timestamptz NOT NULL,
    reference text NOT NULL
);
CREATE TABLE narrow_2 (LIKE narrow_1);
INSERT INTO narrow_1
SELECT i, i * 7919 % 250000, (i * 31 % 1000000) / 100.0, (ARRAY['new', 'paid', 'shipped', 'returned'])[1 + i * 13 % 4],
       timestamptz '2020-01-01 00:00:00Z' + i * interval '31 seconds', md5(i::text)
FROM generate_series(1, :rows::bigint / 2) AS i;
INSERT INTO narrow_2
SELECT i, i * 104729 % 250000, (i * 37 % 1000000) / 100.0, (ARRAY['new', 'paid', 'shipped', 'returned'])[1 + i * 7 % 4],
       timestamptz '2023-01-01 00:00:00Z' + i * interval '29 seconds', md5('n' || i)
FROM generate_series(1, :rows::bigint / 2) AS i;
ALTER TABLE narrow_1 ADD PRIMARY KEY (id);
ALTER TABLE narrow_2 ADD PRIMARY KEY (id);
VACUUM (FREEZE, ANALYZE);
CHECKPOINT;
