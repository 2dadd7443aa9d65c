-- A small shop: ten tables and a few thousand rows, made the same way each time.
CREATE TYPE state AS ENUM ('new', 'paid', 'sent', 'returned');
CREATE DOMAIN email AS text CHECK (VALUE LIKE '%_@_%');

CREATE TABLE customers (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    address email NOT NULL UNIQUE,
    joined date NOT NULL,
    tastes jsonb NOT NULL DEFAULT '{}'
);
CREATE TABLE categories (id serial PRIMARY KEY, parent integer REFERENCES categories, name text NOT NULL UNIQUE);
CREATE TABLE products (
    id serial PRIMARY KEY,
    category integer NOT NULL REFERENCES categories,
    name text NOT NULL,
    price numeric(10, 2) NOT NULL CHECK (price >= 0),
    with_tax numeric(12, 4) GENERATED ALWAYS AS (price * 1.2) STORED,
    tags text[] NOT NULL DEFAULT '{}',
    picture bytea
);
CREATE TABLE orders (
    id bigint NOT NULL,
    customer integer NOT NULL,
    placed timestamptz NOT NULL,
    state state NOT NULL,
    PRIMARY KEY (id, placed)
) PARTITION BY RANGE (placed);
CREATE TABLE orders_2025 PARTITION OF orders FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE orders_2026 PARTITION OF orders FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE order_lines (
    order_id bigint NOT NULL, line smallint NOT NULL, product integer NOT NULL REFERENCES products,
    pieces integer NOT NULL CHECK (pieces > 0), PRIMARY KEY (order_id, line)
);
CREATE TABLE stock (product integer PRIMARY KEY REFERENCES products, pieces integer NOT NULL, counted interval);
CREATE TABLE reviews (id uuid PRIMARY KEY, product integer REFERENCES products, stars smallint, words text);
CREATE TABLE prices_before (product integer, price numeric(10, 2), until timestamptz);
CREATE TABLE settings (name text PRIMARY KEY, value text);
CREATE SEQUENCE invoice_numbers START 10000 INCREMENT 10;

CREATE FUNCTION remember_price() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.prices_before VALUES (OLD.product, OLD.price, '2026-11-20 03:00:00+00');
    RETURN NEW;
END $$;
CREATE FUNCTION product_label(public.products) RETURNS text LANGUAGE sql IMMUTABLE
    AS $$ SELECT $1.id || ' ' || $1.name $$;

INSERT INTO customers (name, address, joined, tastes)
SELECT 'Customer ' || n, 'customer' || n || '@example.com', date '2020-01-01' + n % 2000,
       jsonb_build_object('color', (ARRAY['red', 'green', 'blue'])[n % 3 + 1], 'size', n % 50)
FROM generate_series(1, 1500) n;
INSERT INTO categories (parent, name) SELECT nullif(n / 4, 0), 'Category ' || n FROM generate_series(1, 20) n;
INSERT INTO products (category, name, price, tags, picture)
SELECT n % 20 + 1, 'Product ' || n || E' \t "quoted" \\ 日本', n % 400 + 0.99, ARRAY['t' || n % 7, NULL, ''],
       CASE WHEN n % 10 = 0 THEN sha256(n::text::bytea) END
FROM generate_series(1, 600) n;
INSERT INTO orders
SELECT n, n % 1500 + 1, timestamptz '2025-01-01 00:00:00+00' + n * interval '3 hours',
       (enum_range(NULL::state))[n % 4 + 1]
FROM generate_series(1, 5000) n;
INSERT INTO order_lines SELECT n / 3 + 1, n % 3 + 1, n % 600 + 1, n % 9 + 1 FROM generate_series(0, 11999) n;
INSERT INTO stock SELECT n, n * 7 % 90, n * interval '90 seconds' FROM generate_series(1, 600) n;
INSERT INTO reviews
SELECT md5(n::text)::uuid, n % 600 + 1, n % 5 + 1, repeat('Words of review ' || n || '. ', n % 30)
FROM generate_series(1, 2000) n;
INSERT INTO settings VALUES ('currency', 'EUR'), ('empty', ''), ('nothing', NULL), ('backslash N', '\N');
SELECT nextval('invoice_numbers') FROM generate_series(1, 12);

ALTER TABLE orders ADD FOREIGN KEY (customer) REFERENCES customers;
CREATE INDEX ON order_lines (product);
CREATE INDEX ON customers USING gin (tastes);
CREATE INDEX ON products (lower(name)) WHERE price > 100;
CREATE VIEW dear_products AS SELECT * FROM products WHERE price > 300;
CREATE MATERIALIZED VIEW sales AS
    SELECT p.category, sum(l.pieces * p.price) AS amount
    FROM order_lines l JOIN products p ON p.id = l.product GROUP BY p.category;
CREATE TRIGGER keep_price AFTER UPDATE ON stock FOR EACH ROW WHEN (false) EXECUTE FUNCTION remember_price();
COMMENT ON TABLE orders IS 'One row an order; it''s partitioned by year';
