-- Sample database of a rental marketplace, 3 of 4: about one million rows.
-- Every value comes from the row's number through a hash, so each load yields the same content.

SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SET timezone = 'UTC';
SET search_path = '';
SET ROLE rental_owner;

-- The seeded hash behind hash partitioning: the same on all majors. Inlined by the planner.
CREATE OR REPLACE FUNCTION pg_temp.pick(n bigint, salt integer, choices integer) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT ((hashint8extended(n, salt::bigint) & 2147483647) % choices)::integer $$;
CREATE OR REPLACE FUNCTION pg_temp.one_of(n bigint, salt integer, choices text[]) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT choices[1 + pg_temp.pick(n, salt, cardinality(choices))] $$;
CREATE OR REPLACE FUNCTION pg_temp.noise(n bigint, salt integer) RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT sha256(int8send(n) || int4send(salt)) $$;

-- Reference data

INSERT INTO rental.countries VALUES
    ('CH', 'Schweiz, Suisse, Svizzera', 'CHF', '{+,4,1}', '{117,118,144}'),
    ('FR', 'France', 'EUR', '{+,3,3}', '{15,17,18,NULL}'),
    ('IT', 'Italia', 'EUR', '{+,3,9}', '{112}'),
    ('AT', 'Österreich', 'EUR', '{+,4,3}', '{122,133,144}'),
    ('JP', '日本', 'JPY', '{+,8,1}', '{}'),
    ('GR', 'Ελλάδα', 'EUR', NULL, NULL);

INSERT INTO rental.cities
SELECT n, name || CASE WHEN n > 20 THEN ' ' || (n / 20 + 1) ELSE '' END,
       (ARRAY['CH', 'CH', 'FR', 'IT', 'AT', 'JP', 'GR'])[1 + n % 7],
       point(45 + pg_temp.pick(n, 1, 40000) / 10000.0, 6 + pg_temp.pick(n, 2, 40000) / 10000.0),
       (pg_temp.pick(n, 3, 9000) / 1000.0)::numeric(6,3),
       CASE WHEN n % 4 = 0 THEN polygon(box(point(n, n), point(n + 1, n + 0.5))) END
FROM generate_series(1, 60) AS n,
     LATERAL (SELECT pg_temp.one_of(n, 0, '{Zürich,Genève,Lugano,Chur,Sion,Annecy,Lyon,Como,Torino,Innsbruck,
         Salzburg,Kyoto,Nara,Chania,Kalamata,Zermatt,Davos,"St. Moritz",Thun,"L''Isle"}')) AS c(name);

INSERT INTO rental.settings VALUES
    ('booking.hold', '{"minutes":  15,   "extend": true, "extend": false}', B'10100000', B'1'),
    ('search.weights', E'[1.0, 2.50,\n\t3e-2]', B'00000001', B''),
    ('site.banner', '"Ski weekend \ud83c\udfbf \\ 20 % off"', DEFAULT, NULL),
    ('payout.window', 'null', B'11111111', B'101010101010');

-- People and places

INSERT INTO rental.members (id, public_id, email, full_name, born, joined_at, phones, languages, home,
                            preferences, last_address, favourite_listing_id)
OVERRIDING SYSTEM VALUE
SELECT n, encode(substr(pg_temp.noise(n, 1), 1, 16), 'hex')::uuid,
       lower(first) || '.' || n || '@' || pg_temp.one_of(n, 4, '{example.com,example.org,mail.example.net}'),
       first || ' ' || last,
       CASE WHEN n % 9 <> 0 THEN date '1950-01-01' + pg_temp.pick(n, 5, 20000) END,
       timestamptz '2021-01-01' + n * interval '6200.000123 seconds',
       CASE n % 5 WHEN 0 THEN NULL WHEN 1 THEN '{}' WHEN 2 THEN ARRAY[NULL, '+41 44 ' || n]
           ELSE ARRAY['+33 ' || pg_temp.pick(n, 6, 1000000)] END,
       CASE n % 4 WHEN 0 THEN '{de,en}' WHEN 1 THEN '{fr}' WHEN 2 THEN '{en,日本語}' ELSE '{it,rm}'
           END::rental.language[],
       CASE WHEN n % 3 = 0 THEN ROW('Rue du "Lac", ' || last, n % 200, NULL, 'Genève', 'CH')::rental.address END,
       jsonb_build_object('newsletter', n % 2 = 0, 'theme', pg_temp.one_of(n, 7, '{light,dark}'),
           'limits', jsonb_build_array(n % 7, NULL, 1.50)),
       CASE WHEN n % 6 <> 0 THEN inet '10.0.0.0' + pg_temp.pick(n, 8, 16000000) END,
       CASE WHEN n % 10 = 0 THEN 1 + pg_temp.pick(n, 9, 4000) END
FROM generate_series(1, 25000) AS n,
     LATERAL (SELECT pg_temp.one_of(n, 2, '{Anna,Luca,Noémie,Jean-Luc,Miyu,Sofia,Urs,Zoë,Petros,Elif,Maël,Ida}'),
                     pg_temp.one_of(n, 3, '{Müller,Rossi,"d''Arc",Sato,Papadakis,Favre,"von Salis",Öztürk}'))
         AS names(first, last);

INSERT INTO rental.listings (id, host_id, title, description, kind, city_id, location, position, nightly, tax_rate,
                             price_band, amenities, tags, bedrooms, beds, check_in_from, check_out_until, notice,
                             seasons, listed_at, published)
SELECT n, 1 + pg_temp.pick(n, 10, 2500),
       initcap(adjective) || ' ' || kind || ' ' || pg_temp.one_of(n, 12, '{by the lake,near the station,"in the hills","with a view 🏔️"}'),
       CASE WHEN n % 11 <> 0 THEN 'A ' || adjective || ' place for ' || 2 + n % 6 || E' people.\n\n'
           || repeat(E'\t- quiet street; the shop''s around the corner\r\n', 1 + n % 4) || 'C:\keys\' || n END,
       kind::rental.listing_kind, 1 + pg_temp.pick(n, 13, 60),
       ROW(pg_temp.one_of(n, 14, '{Seestrasse,"Via Roma",Hauptgasse,"Chemin des Vignes"}'), n % 150,
           (1000 + n % 9000)::text, 'Stadt', 'CH')::rental.address,
       CASE WHEN n % 8 <> 0 THEN point(46 + n / 7000.0, 8 - n / 3000.0) END,
       nightly, CASE n % 3 WHEN 0 THEN 0.0810 WHEN 1 THEN 0.0380 ELSE 0 END,
       CASE n % 5 WHEN 0 THEN NULL WHEN 1 THEN 'empty' ELSE rental.price_range(nightly * 0.8, nightly * 2, '[]') END,
       jsonb_build_object('wifi', n % 13 <> 0, 'parking', n % 3, 'kitchen',
           jsonb_build_object('oven', n % 2 = 0, 'notes', CASE WHEN n % 17 = 0 THEN E'ask "Ursli"\n' END)),
       CASE n % 4 WHEN 0 THEN NULL WHEN 1 THEN ARRAY['pets', NULL, 'NULL', ''] WHEN 2 THEN ARRAY['a,b', 'c"d', 'e\f']
           ELSE '{}' END,
       1 + n % 5, CASE WHEN n % 6 = 0 THEN '[0:1][1:2]={{1,2},{2,NULL}}'::integer[] ELSE ARRAY[n % 3] END,
       time '13:00' + (n % 12) * interval '15 minutes',
       CASE WHEN n % 2 = 0 THEN timetz '11:00:00.5+01' + (n % 4) * interval '10 minutes' END,
       CASE n % 4 WHEN 0 THEN interval '2 days 03:30' WHEN 1 THEN '1 mon -1 day' WHEN 2 THEN '-00:00:01.5' ELSE '0' END,
       CASE WHEN n % 3 = 0 THEN datemultirange(daterange('2026-05-01', '2026-10-01'), daterange('2026-12-15', NULL)) END,
       timestamptz '2022-03-01 08:00' + n * interval '9 hours 7 minutes', n % 25 <> 0
FROM generate_series(1, 4000) AS n,
     LATERAL (SELECT pg_temp.one_of(n, 11, '{sunny,quiet,bright,tiny,charming,"family-friendly"}'),
                     pg_temp.one_of(n, 15, '{flat,flat,flat,house,room,chalet,houseboat,"tree house"}'),
                     (45 + pg_temp.pick(n, 16, 40000) / 100.0)::numeric(12,2)) AS l(adjective, kind, nightly);

INSERT INTO rental.listing_photos
SELECT n, k, CASE k WHEN 1 THEN 'Front' WHEN 2 THEN E'Kitchen\\Bath' END,
       CASE WHEN n % 40 = 0 THEN '' ELSE '\x89504e470d0a1a0a00'::bytea || pg_temp.noise(n, k) || pg_temp.noise(n, k + 9) END,
       1200 + 40 * k, 800
FROM generate_series(1, 4000) AS n, generate_series(1, 3) AS k;

INSERT INTO rental.price_calendar
SELECT n, date '2026-11-20' + d,
       ((60 + n % 300) * CASE WHEN (d + 4) % 7 IN (5, 6) THEN 1.25 ELSE 1 END + pg_temp.pick(n * 100 + d, 20, 2000) / 100.0),
       CASE n % 9 WHEN 0 THEN 'EUR' ELSE 'CHF' END, CASE WHEN d BETWEEN 30 AND 45 THEN 7 WHEN n % 2 = 0 THEN 2 END,
       pg_temp.pick(n * 100 + d, 21, 10) > 2, CASE WHEN d = 35 THEN 'Neujahr / Nouvel An 🎆' END
FROM generate_series(1, 4000) AS n, generate_series(0, 99) AS d;

INSERT INTO rental.availability (id, listing_id, period, reason, held)
OVERRIDING SYSTEM VALUE
SELECT row_number() OVER (ORDER BY n, k), n, daterange(date '2026-01-01' + k * 60, date '2026-01-02' + k * 60 + (n + k) % 50),
       pg_temp.one_of(n, 22, ARRAY['owner''s use', 'repairs', NULL, 'school holidays']),
       CASE WHEN n % 3 = 0 THEN tstzrange(timestamptz '2026-01-01' + n * interval '1 minute', NULL, '(]') END
FROM generate_series(1, 3000) AS n, generate_series(0, 4) AS k;

INSERT INTO rental.saved_searches (id, member_id, name, wanted, budget, around, filter, matching)
SELECT n, 1 + pg_temp.pick(n, 23, 25000), 'Trip ' || n,
       CASE WHEN n % 2 = 0 THEN '{flat,"tree house",NULL}'::rental.listing_kind[] END,
       rental.price_range(CASE WHEN n % 3 > 0 THEN n % 80 END, CASE WHEN n % 4 > 0 THEN 300 + n % 90 END),
       ARRAY[ROW(NULL, '', 'a "b", c', E'back\\slash', 'FR')::rental.address, NULL],
       '$.kitchen ? (@.oven == true)', 'lake & !(road | rail:*)'
FROM generate_series(1, 6000) AS n;

INSERT INTO rental.search_sessions
SELECT pg_temp.noise(n, 4), CASE WHEN n % 2 = 0 THEN n END, ARRAY[n, NULL, n * 3],
       CASE n % 50 WHEN 0 THEN 'infinity' ELSE timestamp '2026-11-20' + n * interval '1 second' END
FROM generate_series(1, 4000) AS n;

-- Bookings and what hangs on them. Booking n was made 339 seconds after the one before it.

INSERT INTO rental.bookings (id, booked_at, listing_id, guest_id, stay, status, guests, total, currency, wishes, extras)
SELECT n, booked_at, 1 + pg_temp.pick(n, 30, 4000), 1 + pg_temp.pick(n, 31, 25000),
       daterange(arrival, arrival + 1 + pg_temp.pick(n, 33, 14)),
       CASE WHEN n % 15 = 0 THEN 'cancelled' WHEN arrival < date '2026-11-15' THEN 'completed'
            WHEN arrival < date '2026-11-20' THEN 'staying' ELSE 'confirmed' END::rental.booking_status,
       1 + pg_temp.pick(n, 34, 6), 80 + pg_temp.pick(n, 35, 400000) / 100.0, CASE n % 9 WHEN 0 THEN 'EUR' ELSE 'CHF' END,
       CASE WHEN n % 7 = 0 THEN pg_temp.one_of(n, 36, ARRAY['Late arrival, after 22:00', E'Cot, please.\nAnd a high chair.',
           'Nous venons avec un chien 🐕', E'allergies:\tnuts', '\N', '\.', '', 'C:\temp\new']) END,
       CASE WHEN n % 5 = 0 THEN jsonb_build_object('breakfast', n % 2, 'source', pg_temp.one_of(n, 37, '{ad,friend,map}')) END
FROM generate_series(1, 90000) AS n,
     LATERAL (SELECT timestamptz '2025-12-01' + n * interval '339 seconds') AS b(booked_at),
     LATERAL (SELECT b.booked_at::date + pg_temp.pick(n, 32, 90)) AS a(arrival);

INSERT INTO rental.booking_guests
SELECT n * 4, timestamptz '2025-12-01' + n * 4 * interval '339 seconds', 1,
       pg_temp.one_of(n, 40, '{"Ng, Bo","O''Neil, Ada","Weiß, Jürgen","الخوارزمي","Nguyễn Thị"}'),
       CASE n % 1000 WHEN 0 THEN 'infinity' WHEN 1 THEN '0044-03-15 BC' ELSE date '1940-01-01' + pg_temp.pick(n, 41, 28000) END,
       CASE WHEN n % 3 = 0 THEN pg_temp.noise(n, 5) END
FROM generate_series(1, 20000) AS n;

INSERT INTO rental.messages (id, sent_at, booking_id, sender_id, channel, body, attachments, read_after)
SELECT n, timestamptz '2025-12-01' + n * interval '122 seconds',
       CASE WHEN n % 20 > 0 THEN 1 + (n - 1) * 9 / 25 END, 1 + pg_temp.pick(n, 50, 25000),
       (ARRAY['web', 'app', 'app', 'e-mail', 'sms'])[1 + pg_temp.pick(n, 51, 5)]::rental.channel,
       CASE WHEN n % 499 = 0 THEN pg_temp.one_of(n, 52, ARRAY[E'tab\there\nand\r\nthere', '\.', '\N', E'end\\', ' ', 'NULL',
               E'\u2028 line separator', E'\x01\x7f', '👩‍👩‍👧‍👦 👍🏽', 'שלום, مرحبا', E'quote '' " \\" $$ ;--', '{"a": [1, 2]}'])
       ELSE pg_temp.one_of(n, 53, '{Hello,Bonjour,"Grüezi mitenand",Buongiorno,"Hi there 👋",こんにちは}')
           || pg_temp.one_of(n, 54, ARRAY[', is the flat free from ', E',\nwe arrive on the ', ', could we leave our bags until ',
               ', many thanks for our stay until ', ', the heating has been cold since '])
           || 1 + pg_temp.pick(n, 55, 28) || pg_temp.one_of(n, 56, ARRAY[' December? Best wishes, ', E' August?\n\nCordialement\n',
               ' June. The code of the door is 4', ' March. Kind regards, '])
           || pg_temp.one_of(n, 57, '{Anna,Luca,Noémie,Miyu,Urs,Zoë,Petros,Elif}') END,
       CASE WHEN n % 30 = 0 THEN ARRAY['photo ' || n || '.jpg', NULL] END,
       CASE WHEN n % 4 > 0 THEN pg_temp.pick(n, 58, 90000) * interval '1 second' END
FROM generate_series(1, 250000) AS n;

INSERT INTO rental.reviews (id, booking_id, booked_at, listing_id, author_id, scores, overall, body, reply, written_on)
SELECT n, n * 2, timestamptz '2025-12-01' + n * 2 * interval '339 seconds', 1 + pg_temp.pick(n * 2, 30, 4000),
       1 + pg_temp.pick(n * 2, 31, 25000), ARRAY[1 + pg_temp.pick(n, 60, 5), 1 + pg_temp.pick(n, 61, 5), NULL, 5]::smallint[],
       CASE WHEN n % 12 > 0 THEN (1 + pg_temp.pick(n, 62, 41) / 10.0)::real END,
       pg_temp.one_of(n, 63, ARRAY['Lovely host, spotless kitchen.', E'Trop bruyant.\nDommage !', 'Gerne wieder ❤️', '  ', NULL,
           E'5/5 \\o/ — the view!', 'すばらしい']) || pg_temp.one_of(n, 64, ARRAY['', ' Ten minutes from the station.', ' Beds a bit soft.']),
       CASE WHEN n % 6 = 0 THEN 'Thank you, come again!' END, date '2025-12-08' + n / 117
FROM generate_series(1, 40000) AS n;

INSERT INTO rental.contracts
SELECT n, n * 16, repeat('Article ' || n || E': the guest leaves the place as it was found. \n', 300 + n * 2),
       (SELECT string_agg(pg_temp.noise(n * 100000 + k, 6), '' ORDER BY k)
        FROM generate_series(1, CASE n WHEN 250 THEN 60000 ELSE 300 END) AS k),
       jsonb_build_object('clauses', (SELECT jsonb_agg(jsonb_build_object('no', k, 'fee', k * 1.10)) FROM generate_series(1, 60) AS k)),
       CASE WHEN n <= 3 THEN 700000 + n END
FROM generate_series(1, 250) AS n;

INSERT INTO rental.devices
SELECT 'LOCK-' || lpad(n::text, 5, '0'), CASE WHEN n % 10 > 0 THEN n * 5 END, ('08:00:2b:00:' || to_hex(16 + n / 200) || ':' || to_hex(16 + n % 200))::macaddr,
       CASE WHEN n % 2 = 0 THEN macaddr8 '08:00:2b:ff:fe:01:02:03' END, set_masklen(inet '10.0.0.0' + n * 256, 24)::cidr,
       tstzrange(timestamptz '2026-01-01' + n * interval '1 day', timestamptz '2026-01-01 02:00' + n * interval '1 day'),
       timestamp '2024-02-29 12:00:00.000001' + n * interval '1 hour'
FROM generate_series(1, 500) AS n;

INSERT INTO rental.readings (id, serial_number, measured_at, temperature, humidity, voltage)
SELECT n, 'LOCK-' || lpad((1 + n % 500)::text, 5, '0'), timestamptz '2026-11-01' + n * interval '100.123 seconds',
       (pg_temp.pick(n, 70, 4000) / 100.0 - 10)::real, pg_temp.pick(n, 71, 1000000) / 7.0::float8, 3 + pg_temp.pick(n, 72, 600) / 1000.0
FROM generate_series(1, 15000) AS n;
INSERT INTO rental.readings (id, serial_number, measured_at, temperature, humidity, voltage) VALUES
    (15001, 'LOCK-00001', '2026-11-19 00:00:00+14', 'NaN', 'NaN', 'NaN'),
    (15002, 'LOCK-00001', 'infinity', 'Infinity', '-Infinity', NULL),
    (15003, 'LOCK-00001', '-infinity', '-0', '-0', -0.000),
    (15004, 'LOCK-00001', '4713-01-01 00:00:00+00 BC', 1.17549435e-38, 5e-324, 999.999),
    (15005, 'LOCK-00001', '294276-12-31 23:59:59.999+00', 3.4028235e38, 1.7976931348623157e308, -999.999),
    (15006, 'LOCK-00001', '2026-03-29 01:30:00+00', 0.1, 0.30000000000000004, 0.001),
    (15007, 'LOCK-00001', '2026-10-25 00:30:00.0005+00', 16777216, 9007199254740993, 1);

INSERT INTO rental.night_watches DEFAULT VALUES;
INSERT INTO rental.night_watches DEFAULT VALUES;
INSERT INTO rental.night_watches DEFAULT VALUES;

-- Money

INSERT INTO finance.payments (id, method, booking_id, booked_at, paid_at, amount, fee, reference, provider)
SELECT n, (ARRAY['card', 'card', 'card', 'sepa', 'paypal', 'twint', 'twint', 'invoice', 'voucher', 'bank''s own', 'cash'])
           [1 + pg_temp.pick(n, 80, 11)]::finance.payment_method,
       n, booked_at, CASE WHEN n % 15 > 0 THEN booked_at + pg_temp.pick(n, 81, 900000) * interval '1 second' END,
       80 + pg_temp.pick(n, 35, 400000) / 100.0, pg_temp.pick(n, 82, 900000) / 10000.0,
       'RF' || lpad(pg_temp.pick(n, 83, 2000000000)::text, 12, '0'),
       CASE WHEN n % 3 = 0 THEN jsonb_build_object('risk', pg_temp.pick(n, 84, 100), 'bank', pg_temp.one_of(n, 85, '{UBS,BCV,"Crédit X"}')) END
FROM generate_series(1, 80000) AS n,
     LATERAL (SELECT timestamptz '2025-12-01' + n * interval '339 seconds') AS b(booked_at);

INSERT INTO finance.payouts
SELECT n, 1 + pg_temp.pick(n, 90, 2500), 1000 + n * 10, pg_temp.pick(n, 91, 900000) / 100.0,
       'CH' || lpad((n % 97)::text, 2, '0') || lpad(n::text, 17, '0'), date '2025-12-15' + n / 34,
       CASE n % 10 WHEN 0 THEN NULL WHEN 1 THEN interval '1 year 2 mons -3 days +04:05:06.789' ELSE n % 9 * interval '1 day' END,
       E'Payout\t' || n || E'\n' || repeat('=', 20)
FROM generate_series(1, 12000) AS n;

INSERT INTO finance.exchange_rates
SELECT date '2022-01-01' + n / 3, (ARRAY['CHF', 'EUR', 'JPY'])[1 + n % 3], 'USD', 0.9 + pg_temp.pick(n, 92, 100000000) / 1000000000.0, 'ecb'
FROM generate_series(0, 4999) AS n;
INSERT INTO finance.exchange_rates VALUES
    ('2021-12-31', 'AAA', 'USD', 'NaN', NULL),
    ('2021-12-31', 'AAB', 'USD', 'Infinity', ''),
    ('2021-12-31', 'AAC', 'USD', '-Infinity', 'manual'),
    ('2021-12-31', 'AAD', 'USD', 1e-200, 'manual'),
    ('2021-12-31', 'AAE', 'USD', 123456789012345678901234567890.0100, 'manual'),
    ('2021-12-31', 'AAF', 'USD', 0.00000, 'manual'),
    ('-infinity', 'AAG', 'USD', -1e300, 'manual');

INSERT INTO finance.coupons
SELECT 'SKI-' || n, CASE n WHEN 7 THEN 80 ELSE n % 50 END, daterange('2026-12-01', '2027-03-31'), n % 6
FROM generate_series(1, 200) AS n;

-- Audit

INSERT INTO audit.events
SELECT n, timestamptz '2026-01-01' + n * interval '690 seconds', pg_temp.one_of(n, 95, '{web,worker,"support: Léa",cron}'),
       pg_temp.one_of(n, 96, '{booking.created,price.changed,member.updated,payout.sent}'), pg_temp.pick(n, 97, 90000),
       jsonb_build_object('before', pg_temp.pick(n, 98, 500), 'after', pg_temp.pick(n, 99, 500), 'request', n * 7919)
FROM generate_series(1, 40000) AS n;

INSERT INTO audit.logins
SELECT 40000 + n, timestamptz '2026-06-01' + n * interval '740 seconds', 'web', 'login', 1 + pg_temp.pick(n, 100, 25000), NULL,
       CASE WHEN n % 4 = 0 THEN inet '2001:db8::/32' + n ELSE inet '192.0.2.0' + n % 256 END,
       pg_temp.one_of(n, 101, '{"Mozilla/5.0 (X11; Linux x86_64)","RentalApp/4.2 (iOS 19)","curl/8.9"}'), n % 17 > 0
FROM generate_series(1, 20000) AS n;

INSERT INTO audit.retention VALUES
    ('audit.events', '7 years', 'rental_owner'), ('audit.logins', '90 days', 'rental_auditor'),
    ('"Legacy Import".guest', '0', NULL), ('rental.search_sessions', '1 day 12:00', 'rental_app');

-- Import

INSERT INTO "Legacy Import"."Order ""2019"";
-- 🧾 'Zürich' \ %s"
SELECT n, CASE WHEN n % 2 = 0 THEN -n END, 'Guest "' || n || '"', E'line\nbreak', (n * 12.34)::numeric::money, n % 2 = 0,
       repeat('x', n), '🏠', '\' || n
FROM generate_series(1, 40) AS n;
INSERT INTO "Legacy Import"."Guest" VALUES ('Grace', '0001-01-01 BC', '-infinity'), (NULL, NULL, NULL), ('', 'infinity', 'infinity');
INSERT INTO "Legacy Import".guest VALUES ('grace', '9999-12-31', '2019-06-30 23:59:60');

-- Sequences follow their rows

SELECT setval('rental.booking_id_seq', 90000), setval('rental.message_id_seq', 250000),
       setval('finance.payment_id_seq', 80000), setval('audit.event_id_seq', 60000),
       setval('rental.members_id_seq', 25000), setval('rental.listings_id_seq', 4000),
       setval('rental.availability_id_seq', 15000), setval('rental.saved_searches_id_seq', 6000),
       setval('rental.reviews_id_seq', 40000), setval('rental.readings_id_seq', 15007),
       setval('finance.payouts_id_seq', 12000), setval('finance.invoice_number', 121000, false),
       setval('finance.correction_number', -42), setval('rental.cleaning_shift', 7);

RESET ROLE;
