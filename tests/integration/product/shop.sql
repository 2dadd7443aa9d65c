-- Tables with all that may come along with a table, and with what may not.
CREATE SCHEMA shop;
CREATE TYPE shop.mood AS ENUM ('fine', 'poor');
CREATE TYPE shop.size AS (width int, height int);
CREATE DOMAIN shop.positive AS int CHECK (value > 0);
CREATE FUNCTION shop.one() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION shop.noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TABLE shop.customers (
    id serial PRIMARY KEY,
    mood shop.mood DEFAULT 'fine',
    born shop.positive,
    size shop.size,
    doubled int GENERATED ALWAYS AS (born * 2) STORED,
    CHECK (mood <> 'poor' OR born > 5)
);
CREATE TABLE shop.orders (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer int REFERENCES shop.customers
);
CREATE TABLE shop.days (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE shop.days_26 PARTITION OF shop.days FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE shop.moods (mood shop.mood, n int) PARTITION BY HASH (mood);
CREATE TABLE shop.moods_0 PARTITION OF shop.moods FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE shop.moods_1 PARTITION OF shop.moods FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TYPE shop.span AS RANGE (subtype = int, multirange_type_name = shop.spans);
CREATE SEQUENCE shop.numbers START 7;
CREATE COLLATION shop.plain (LOCALE = 'C');
CREATE TABLE shop.kept (
    id int DEFAULT nextval('shop.numbers'), span shop.span, spans shop.spans, name text COLLATE shop.plain
);
CREATE TABLE shop.coded (id int DEFAULT shop.one());
CREATE TABLE shop.base (x int);
CREATE TABLE shop.heir (y int) INHERITS (shop.base);
CREATE TABLE shop."odd ""name.1" ("a b" text);
CREATE INDEX ON shop.customers (mood);
CREATE STATISTICS shop.both ON id, mood FROM shop.customers;
CREATE TRIGGER noted BEFORE INSERT ON shop.customers FOR EACH ROW EXECUTE FUNCTION shop.noted();
COMMENT ON TABLE shop.customers IS 'who buys';
COMMENT ON TYPE shop.mood IS 'how they are';
COMMENT ON INDEX shop.customers_mood_idx IS 'to find the poor';
GRANT SELECT ON shop.customers TO PUBLIC;
CREATE POLICY own ON shop.customers USING (true);
CREATE TABLE shop.visits (customer int REFERENCES shop.customers);
CREATE VIEW shop.names AS SELECT id FROM shop.customers;
INSERT INTO shop.customers (born, size) SELECT i, ROW(i, -i)::shop.size FROM generate_series(1, 500) i;
INSERT INTO shop.orders (customer) SELECT i FROM generate_series(1, 300) i;
INSERT INTO shop.days SELECT i, '2026-01-01'::date + i FROM generate_series(1, 300) i;
INSERT INTO shop.moods SELECT (ARRAY['fine', 'poor'])[1 + i % 2]::shop.mood, i FROM generate_series(1, 90) i;
INSERT INTO shop."odd ""name.1" VALUES (E'x\ty');
INSERT INTO shop.kept (span, spans, name) VALUES ('[1,5)', '{[1,2),[4,9)}', 'x');
INSERT INTO shop.visits VALUES (1), (2);
SET session_replication_role = replica;
INSERT INTO shop.visits VALUES (9999);
RESET session_replication_role;
