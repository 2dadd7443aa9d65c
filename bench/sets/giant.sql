-- One table; from 10.5 million ``rows`` on it has more than 1 GiB on disk.
CREATE TABLE giant (
    id bigint PRIMARY KEY,
    account integer NOT NULL,
    amount numeric(10, 2) NOT NULL,
    booked timestamptz NOT NULL,
    reference text NOT NULL
);
INSERT INTO giant
SELECT i, i * 7919 % 250000, (i * 31 % 1000000) / 100.0,
       timestamptz '2020-01-01 00:00:00Z' + i * interval '31 seconds', md5(i::text)
FROM generate_series(1, :rows::bigint) AS i;
VACUUM (FREEZE, ANALYZE);
CHECKPOINT;
