-- What the golden archives hold: one of each kind of thing whose text or loading has its own rules.
CREATE ROLE shop_owner NOLOGIN;
CREATE ROLE shop_reader LOGIN;
GRANT pg_read_all_data TO shop_reader;
CREATE SCHEMA "odd ""names""" AUTHORIZATION shop_owner;
ALTER SCHEMA public OWNER TO shop_owner;
SET search_path = public;
SET ROLE shop_owner;

CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy', 'so "so"');
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE TYPE pair AS (one integer, two text);

CREATE TABLE numbers (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    small smallint, large bigint, exact numeric, scaled numeric(12, 3), single real, double double precision,
    amount money, flag boolean, doubled integer GENERATED ALWAYS AS (small * 2) STORED, plus positive
);
INSERT INTO numbers (small, large, exact, scaled, single, double, amount, flag, plus) VALUES
    (1, 9223372036854775807, 'NaN', 123456789.125, 0.1, 0.1, '1234.56', true, 1),
    (-2, -9223372036854775808, 'Infinity', -0.001, 'NaN', '-Infinity', '-0.01', false, 2147483647),
    (NULL, NULL, 1e-30, NULL, 1e-45, 2.2250738585072014e-308, NULL, NULL, NULL),
    (3, 0, 123456789012345678901234567890.123456789, 0, 3.4028235e38, 1.7976931348623157e308, '0', true, 7),
    (4, 1, '-0.0', 1, '-0', '-0', '92233720368547758.07', false, 8);

CREATE TABLE texts (id integer PRIMARY KEY, words text, padded char(8), limited varchar(20), raw bytea, "char" "char");
INSERT INTO texts VALUES
    (1, '', '', '', '', 'x'),
    (2, E'tab\tnewline\nreturn\rbackslash\\quote''"bell\x07vertical\x0b', 'ab', E'\\N', '\x00ff0a5c', NULL),
    (3, '\.', 'c', '\N', decode(repeat('deadbeef', 40), 'hex'), 'c'),
    (4, 'élève 🐘 日本語 עברית e' || U&'\0301', '🐘', 'ﬁ', NULL, '~'),
    (5, repeat('long ', 2000), NULL, NULL, NULL, NULL),
    (6, NULL, NULL, NULL, NULL, NULL);

CREATE TABLE times (
    id integer PRIMARY KEY, day date, moment timestamp, instant timestamptz, clock time, zoned timetz, span interval
);
INSERT INTO times VALUES
    (1, '2026-11-20', '2026-11-20 03:00:00.123456', '2026-11-20 03:00:00+05:30', '24:00', '12:00-03', '1 year 2 mons -3 days 04:05:06.789'),
    (2, '4713-01-01 BC', '-infinity', 'infinity', '00:00', '00:00+15:59', '-178000000 years'),
    (3, 'infinity', '294276-12-31 23:59:59.999999', '0001-01-01 00:00:00+00 BC', NULL, NULL, '1 mon -00:00:00.000001');

CREATE TABLE containers (
    id integer PRIMARY KEY, words text[], grid integer[][], document jsonb, plain json, whole pair, several mood[],
    during tstzrange, spans int4multirange, host inet, net cidr, card macaddr, key uuid, bits bit varying, place point, search tsvector
);
INSERT INTO containers VALUES
    (1, ARRAY['NULL', NULL, '', 'a,b', '{"x"}', E'\\'], '[2:3][0:1]={{1,2},{3,4}}', '{"a": [1, 1.10, null, "\u00e9 \ud83d\udc18"], "a": 2}',
     '{"a":  1, "a":2}', ROW (1, 'two, "three"'), '{sad,"so \"so\""}', '[2026-01-01 00:00+00,)', '{[1,3),[5,9)}', '::1/64', '10.0.0.0/8',
     '08:00:2b:01:02:03', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', B'0101', '(1.5,-0.1)', 'fat:2A cat:3'),
    (2, '{}', '{}', 'null', 'null', ROW (NULL, NULL), '{}', 'empty', '{}', '10.1.2.3', '::/0', NULL, NULL, B'', NULL, '');

CREATE TABLE no_columns ();
INSERT INTO no_columns DEFAULT VALUES;
INSERT INTO no_columns DEFAULT VALUES;
CREATE TABLE no_rows (id integer);

CREATE TABLE events (at date NOT NULL, what text, mood mood) PARTITION BY RANGE (at);
CREATE TABLE events_2025 (mood mood, what text, gone integer, at date NOT NULL);
ALTER TABLE events_2025 DROP COLUMN gone;
ALTER TABLE events ATTACH PARTITION events_2025 FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE events_rest PARTITION OF events DEFAULT;
INSERT INTO events SELECT date '2025-12-20' + n, 'event ' || n, (enum_range(NULL::mood))[1 + n % 4] FROM generate_series(1, 40) n;

CREATE TABLE moods (mood mood, id integer) PARTITION BY HASH (mood);
CREATE TABLE moods_0 PARTITION OF moods FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE moods_1 PARTITION OF moods FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO moods SELECT (enum_range(NULL::mood))[1 + n % 4], n FROM generate_series(1, 40) n;

CREATE TABLE parents (id integer PRIMARY KEY);
CREATE TABLE children (extra text) INHERITS (parents);
INSERT INTO parents VALUES (1), (2);
INSERT INTO children VALUES (3, 'child');

CREATE TABLE "odd ""names"""."line
break; -- /../ 🐘" ("a ""column""" text, "select" integer REFERENCES numbers (id));
INSERT INTO "odd ""names"""."line
break; -- /../ 🐘" VALUES ('one', 1), ('two', 2);

CREATE SEQUENCE unused START 42;
CREATE SEQUENCE down INCREMENT -3 MINVALUE -9223372036854775808 MAXVALUE 100 START 100;
SELECT nextval('down'), nextval('down');

CREATE VIEW happy AS SELECT id FROM moods WHERE mood = 'happy';
CREATE MATERIALIZED VIEW counts AS SELECT mood, count(*) FROM moods GROUP BY mood;
CREATE INDEX ON texts (md5(words));
CREATE FUNCTION no_future() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not loaded through triggers'; END $$;
CREATE TRIGGER no_future BEFORE INSERT ON no_rows FOR EACH ROW EXECUTE FUNCTION no_future();
ALTER TABLE numbers ENABLE ROW LEVEL SECURITY;
CREATE POLICY positives ON numbers FOR SELECT TO shop_reader USING (plus > 1);
GRANT SELECT ON texts TO shop_reader;
COMMENT ON TABLE texts IS 'words; with "quotes" and 🐘';

SELECT lo_from_bytea(424242, '\x00010203ff');
COMMENT ON LARGE OBJECT 424242 IS 'five bytes';
SELECT lo_create(424243);
RESET ROLE;
