-- A day of business after the sample was loaded, 20 November 2026: about 1 % new bookings and messages at
-- the end of the newest partitions, new prices for neighbouring listings, a few reviews (whose triggers fire).

SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SET timezone = 'UTC';
SET search_path = '';
SET ROLE rental_owner;

CREATE OR REPLACE FUNCTION pg_temp.pick(n bigint, salt integer, choices integer) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT ((hashint8extended(n, salt::bigint) & 2147483647) % choices)::integer $$;

WITH booked AS (
    INSERT INTO rental.bookings (booked_at, listing_id, guest_id, stay, status, guests, total, wishes)
    SELECT timestamptz '2026-11-20 06:00' + n * interval '1 minute', 1 + pg_temp.pick(n, 1, 4000),
           1 + pg_temp.pick(n, 2, 25000), daterange(arrival, arrival + 1 + pg_temp.pick(n, 3, 10)), 'confirmed',
           1 + pg_temp.pick(n, 4, 5), 90 + pg_temp.pick(n, 5, 300000) / 100.0,
           CASE WHEN n % 8 = 0 THEN E'Ski lockers?\n⛷️' END
    FROM generate_series(1, 900) AS n,
         LATERAL (SELECT date '2026-11-21' + pg_temp.pick(n, 6, 60)) AS a(arrival)
    RETURNING id, booked_at, total
)
INSERT INTO finance.payments (method, booking_id, booked_at, paid_at, amount, fee, reference)
SELECT CASE WHEN id % 4 = 0 THEN 'twint' ELSE 'card' END::finance.payment_method, id, booked_at,
       booked_at + interval '20 seconds', total, round(total * 0.0129, 4), 'RF' || lpad(id::text, 12, '0')
FROM booked;

INSERT INTO rental.messages (sent_at, booking_id, sender_id, channel, body)
SELECT timestamptz '2026-11-20 06:00' + n * interval '20 seconds', 86000 + pg_temp.pick(n, 7, 4000),
       1 + pg_temp.pick(n, 8, 25000), 'app',
       'Hello, the road is snowed up; we arrive at ' || 14 + n % 9 || E':00.\nThanks, guest ' || n
FROM generate_series(1, 2500) AS n;

INSERT INTO rental.reviews (booking_id, booked_at, listing_id, author_id, scores, overall, body, written_on)
SELECT id, booked_at, listing_id, guest_id, ARRAY[4, 5, id % 6]::smallint[], 4.5, 'Warm rooms, fine fondue.', '2026-11-20'
FROM rental.bookings
WHERE id BETWEEN 85001 AND 85060
ORDER BY id;

-- One host raises the prices of listings that lie next to each other.
UPDATE rental.price_calendar SET price = price + 15, note = 'World cup week'
WHERE listing_id BETWEEN 2000 AND 2011 AND day BETWEEN '2027-01-11' AND '2027-01-17';

UPDATE rental.listings SET nightly = nightly + 15 WHERE id BETWEEN 2000 AND 2011;

DELETE FROM rental.saved_searches WHERE id BETWEEN 3000 AND 3019;

REFRESH MATERIALIZED VIEW rental.city_statistics;

RESET ROLE;
