-- One table of about 1 GB on disk for ``entries`` = 10,000,000.
CREATE TABLE ledger (
    id bigint PRIMARY KEY,
    account integer NOT NULL,
    amount numeric(10, 2) NOT NULL,
    booked timestamptz NOT NULL,
    reference text NOT NULL
);
INSERT INTO ledger
SELECT i, i * 7919 % 250000, (i * 31 % 1000000) / 100.0,
       timestamptz '2020-01-01 00:00:00Z' + i * interval '31 seconds', md5(i::text)
FROM generate_series(1, :entries::bigint) AS i;
VACUUM (FREEZE, ANALYZE);
CHECKPOINT;
