-- Sample database of a rental marketplace, 4 of 4: keys, indexes, views, triggers, grants, large objects.

SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SET timezone = 'UTC';
SET search_path = '';
SET ROLE rental_owner;

-- Keys

ALTER TABLE rental.countries ADD PRIMARY KEY (code);
ALTER TABLE rental.cities ADD PRIMARY KEY (id);
ALTER TABLE rental.settings ADD PRIMARY KEY (key);
ALTER TABLE rental.members ADD PRIMARY KEY (id), ADD UNIQUE (public_id);
ALTER TABLE rental.listings ADD PRIMARY KEY (id);
ALTER TABLE rental.listing_photos ADD PRIMARY KEY (listing_id, ordinal);
ALTER TABLE rental.price_calendar ADD PRIMARY KEY (listing_id, day);
ALTER TABLE rental.availability ADD PRIMARY KEY (id);
ALTER TABLE rental.saved_searches ADD PRIMARY KEY (id);
ALTER TABLE rental.search_sessions ADD PRIMARY KEY (token);
ALTER TABLE rental.bookings ADD PRIMARY KEY (id, booked_at);
ALTER TABLE rental.booking_guests ADD PRIMARY KEY (booking_id, booked_at, ordinal);
ALTER TABLE rental.messages ADD PRIMARY KEY (id, sent_at);
ALTER TABLE rental.reviews ADD PRIMARY KEY (id);
ALTER TABLE rental.disputes ADD PRIMARY KEY (id);
ALTER TABLE rental.contracts ADD PRIMARY KEY (id);
ALTER TABLE rental.devices ADD PRIMARY KEY (serial_number);
ALTER TABLE rental.readings ADD PRIMARY KEY (id);
ALTER TABLE finance.payments ADD PRIMARY KEY (id, method);
ALTER TABLE finance.payouts ADD PRIMARY KEY (id), ADD UNIQUE (invoice) DEFERRABLE;
ALTER TABLE finance.exchange_rates ADD PRIMARY KEY (day, base, quote);
ALTER TABLE finance.coupons ADD PRIMARY KEY (code);
ALTER TABLE audit.events ADD PRIMARY KEY (id);
ALTER TABLE audit.logins ADD PRIMARY KEY (id);
ALTER TABLE audit.retention ADD PRIMARY KEY (target);
ALTER TABLE "Legacy Import"."Order ""2019"";
-- 🧾 'Zürich' \ %s" ADD CONSTRAINT "the ""key""" PRIMARY KEY ("ID");
ALTER TABLE rental.readings REPLICA IDENTITY FULL;

-- No two blocks of one listing overlap; range types alone are enough for that.
ALTER TABLE rental.availability ADD CONSTRAINT no_double_block
    EXCLUDE USING gist (int4range(listing_id, listing_id, '[]') WITH =, period WITH &&);

-- Checks

ALTER TABLE rental.price_calendar ADD CONSTRAINT sane_minimum CHECK (minimum_nights BETWEEN 1 AND 90);
ALTER TABLE rental.bookings ADD CONSTRAINT real_stay CHECK (NOT isempty(stay) AND guests > 0);
-- Coupon SKI-7 breaks this rule and was let be.
ALTER TABLE finance.coupons ADD CONSTRAINT at_most_half CHECK (percent <= 50) NOT VALID;

-- Foreign keys; members and listings point at each other

ALTER TABLE rental.cities ADD FOREIGN KEY (country) REFERENCES rental.countries;
ALTER TABLE rental.listings
    ADD FOREIGN KEY (city_id) REFERENCES rental.cities,
    ADD FOREIGN KEY (host_id) REFERENCES rental.members DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE rental.members ADD FOREIGN KEY (favourite_listing_id) REFERENCES rental.listings
    ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE rental.listing_photos ADD FOREIGN KEY (listing_id) REFERENCES rental.listings ON DELETE CASCADE;
ALTER TABLE rental.price_calendar ADD FOREIGN KEY (listing_id) REFERENCES rental.listings ON DELETE CASCADE;
ALTER TABLE rental.availability ADD FOREIGN KEY (listing_id) REFERENCES rental.listings ON UPDATE CASCADE;
ALTER TABLE rental.saved_searches ADD FOREIGN KEY (member_id) REFERENCES rental.members;
ALTER TABLE rental.bookings
    ADD FOREIGN KEY (listing_id) REFERENCES rental.listings,
    ADD FOREIGN KEY (guest_id) REFERENCES rental.members;
ALTER TABLE rental.booking_guests ADD FOREIGN KEY (booking_id, booked_at) REFERENCES rental.bookings;
ALTER TABLE rental.reviews ADD FOREIGN KEY (booking_id, booked_at) REFERENCES rental.bookings;
ALTER TABLE rental.messages ADD FOREIGN KEY (sender_id) REFERENCES rental.members;
ALTER TABLE rental.contracts ADD FOREIGN KEY (listing_id) REFERENCES rental.listings;
ALTER TABLE rental.devices ADD FOREIGN KEY (listing_id) REFERENCES rental.listings;
ALTER TABLE rental.readings ADD FOREIGN KEY (serial_number) REFERENCES rental.devices NOT VALID;
ALTER TABLE finance.payments ADD FOREIGN KEY (booking_id, booked_at) REFERENCES rental.bookings;
ALTER TABLE finance.payouts ADD FOREIGN KEY (host_id) REFERENCES rental.members;

-- Indexes and statistics

CREATE UNIQUE INDEX members_email ON rental.members (lower(email));
CREATE INDEX listings_amenities ON rental.listings USING gin (amenities jsonb_path_ops);
CREATE INDEX listings_words ON rental.listings USING gin (to_tsvector('pg_catalog.simple', title));
CREATE INDEX listings_position ON rental.listings USING gist (position);
CREATE INDEX listings_price ON rental.listings (city_id, nightly DESC NULLS LAST) INCLUDE (title) WHERE published;
CREATE INDEX bookings_listing ON rental.bookings (listing_id);
CREATE INDEX messages_booking ON rental.messages (booking_id) WHERE booking_id IS NOT NULL;
CREATE INDEX messages_sent ON rental.messages USING brin (sent_at);
CREATE INDEX payments_reference ON finance.payments USING hash (reference);
CREATE INDEX events_details ON audit.events ((details ->> 'request'));
ALTER TABLE rental.price_calendar CLUSTER ON price_calendar_pkey;
CREATE STATISTICS rental.listings_place (ndistinct, dependencies, mcv) ON city_id, kind FROM rental.listings;
CREATE STATISTICS rental.bookings_length ON (upper(stay) - lower(stay)), status FROM rental.bookings;
ALTER STATISTICS rental.listings_place SET STATISTICS 200;

-- Views, one on the other, and a materialized view on top

CREATE VIEW rental.open_listings WITH (security_barrier) AS
    SELECT id, host_id, title, kind, city_id, nightly, nightly_gross FROM rental.listings WHERE published
    WITH LOCAL CHECK OPTION;
-- Grouped by the primary key alone, so the view can only be made after that key.
CREATE VIEW rental.hosts AS
    SELECT m.id, m.full_name, m.email_host, count(l.id) AS listings, max(l.nightly_gross) AS dearest
    FROM rental.members AS m JOIN rental.open_listings AS l ON l.host_id = m.id
    GROUP BY m.id;
CREATE VIEW finance.host_balance AS
    SELECT h.id AS host_id, h.full_name, h.listings, sum(p.amount) AS paid
    FROM rental.hosts AS h LEFT JOIN finance.payouts AS p ON p.host_id = h.id
    GROUP BY h.id, h.full_name, h.listings;
CREATE MATERIALIZED VIEW rental.city_statistics AS
    SELECT c.id AS city_id, c.name, l.kind, count(*) AS bookings, sum(b.total) AS turnover, avg(b.nights) AS nights
    FROM rental.bookings AS b
    JOIN rental.open_listings AS l ON l.id = b.listing_id
    JOIN rental.cities AS c ON c.id = l.city_id
    GROUP BY c.id, c.name, l.kind
    WITH DATA;
CREATE UNIQUE INDEX city_statistics_key ON rental.city_statistics (city_id, kind);

-- Functions, triggers, rules. A restore that fired them would change rows.

CREATE FUNCTION rental.count_revision() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    NEW.revision := NEW.revision + 1;
    RETURN NEW;
END
$body$;
CREATE FUNCTION audit.record_review() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    INSERT INTO audit.events (happened_at, actor, action, subject, details)
    VALUES (NEW.written_on, 'trigger', 'review.' || lower(TG_OP), NEW.id, jsonb_build_object('scores', NEW.scores));
    RETURN NULL;
END
$body$;
CREATE FUNCTION audit.refuse() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    RAISE EXCEPTION 'the table % takes no direct %', TG_TABLE_NAME, TG_OP;
END
$body$;
CREATE FUNCTION rental.nights_of(stay daterange) RETURNS integer LANGUAGE sql IMMUTABLE STRICT
    AS $$ SELECT upper(stay) - lower(stay) $$;
CREATE FUNCTION rental.longest(state integer, stay daterange) RETURNS integer LANGUAGE sql IMMUTABLE
    RETURN greatest(state, rental.nights_of(stay));
CREATE AGGREGATE rental.longest_stay (daterange) (SFUNC = rental.longest, STYPE = integer, INITCOND = '0');
CREATE PROCEDURE rental.publish(listing bigint) LANGUAGE sql
    AS $$ UPDATE rental.listings SET published = true WHERE id = listing $$;

CREATE TRIGGER members_revision BEFORE INSERT OR UPDATE ON rental.members
    FOR EACH ROW EXECUTE FUNCTION rental.count_revision();
CREATE TRIGGER listings_revision BEFORE INSERT OR UPDATE OF nightly, title ON rental.listings
    FOR EACH ROW EXECUTE FUNCTION rental.count_revision();
ALTER TABLE rental.listings ENABLE ALWAYS TRIGGER listings_revision;
CREATE TRIGGER reviews_revision BEFORE INSERT OR UPDATE ON rental.reviews
    FOR EACH ROW EXECUTE FUNCTION rental.count_revision();
CREATE CONSTRAINT TRIGGER reviews_audit AFTER INSERT OR UPDATE ON rental.reviews
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audit.record_review();
CREATE TRIGGER retention_guard BEFORE INSERT OR DELETE ON audit.retention
    FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse();
CREATE TRIGGER settings_frozen BEFORE UPDATE ON rental.settings
    FOR EACH ROW WHEN (OLD.key LIKE 'site.%') EXECUTE FUNCTION audit.refuse();
ALTER TABLE rental.settings DISABLE TRIGGER settings_frozen;

CREATE RULE events_stay AS ON DELETE TO audit.events DO INSTEAD NOTHING;
CREATE RULE guests_are_closed AS ON INSERT TO "Legacy Import"."Guest" DO INSTEAD NOTHING;
CREATE RULE rename_host AS ON UPDATE TO rental.hosts
    DO INSTEAD UPDATE rental.members SET full_name = NEW.full_name WHERE id = OLD.id;

-- A host sees the own payouts alone; the owner and BYPASSRLS roles see all.

ALTER TABLE finance.payouts ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_payouts ON finance.payouts FOR SELECT TO rental_app
    USING (host_id = nullif(current_setting('rental.member_id', true), '')::bigint);
CREATE POLICY small_payouts ON finance.payouts AS RESTRICTIVE FOR INSERT TO rental_app WITH CHECK (amount < 10000);

-- Privileges

GRANT USAGE ON SCHEMA rental TO rental_app, rental_analyst;
GRANT USAGE ON SCHEMA finance TO rental_app, rental_auditor;
GRANT USAGE ON SCHEMA audit TO rental_auditor;
GRANT SELECT, INSERT, UPDATE ON rental.bookings, rental.messages, rental.reviews TO rental_app;
GRANT SELECT, INSERT ON finance.payouts TO rental_app;
GRANT SELECT ON ALL TABLES IN SCHEMA finance, audit TO rental_auditor WITH GRANT OPTION;
REVOKE SELECT ON rental.members FROM rental_analyst;
GRANT SELECT (id, email_host, joined_at), REFERENCES (id) ON rental.members TO rental_analyst;
GRANT EXECUTE ON PROCEDURE rental.publish(bigint) TO rental_app;
REVOKE EXECUTE ON FUNCTION audit.record_review() FROM PUBLIC;
REVOKE USAGE ON TYPE rental.price_range FROM PUBLIC;
GRANT USAGE ON TYPE rental.price_range TO rental_app;

-- Comments

COMMENT ON SCHEMA rental IS 'What guests and hosts see';
COMMENT ON TABLE rental.bookings IS E'One row a booking.\nPartitioned by the month in which it was made.';
COMMENT ON COLUMN rental.bookings.stay IS 'First night up to, not including, the day of departure; "[)"';
COMMENT ON COLUMN "Legacy Import"."Order ""2019"";
-- 🧾 'Zürich' \ %s"."🏠" IS 'It''s a \ house 🏠; DROP TABLE x; --';
COMMENT ON TYPE rental.address IS 'Kept as it was typed';
COMMENT ON DOMAIN finance.iban IS 'Form is checked, checksum isn''t';
COMMENT ON CONSTRAINT no_double_block ON rental.availability IS 'One block at a time';
COMMENT ON INDEX rental.listings_words IS 'Search by words';
COMMENT ON FUNCTION rental.gross(numeric, numeric) IS 'Net price with tax';
COMMENT ON POLICY own_payouts ON finance.payouts IS 'Set rental.member_id first';
COMMENT ON TRIGGER members_revision ON rental.members IS 'Counts writes';
COMMENT ON SEQUENCE finance.correction_number IS 'Runs downwards';
COMMENT ON MATERIALIZED VIEW rental.city_statistics IS 'Refreshed at night';

-- Large objects: a signature, an empty one, a sparse one of 1.5 MB

SELECT lo_from_bytea(700001, decode(repeat('89504e47005c0a09', 5000), 'hex')), lo_create(700002),
       lo_from_bytea(700003, 'head');
SELECT lo_put(700003, 1500000, '\x00ff5c2e0a'::bytea);
COMMENT ON LARGE OBJECT 700001 IS 'Signature of contract 1';
GRANT SELECT ON LARGE OBJECT 700001 TO rental_auditor;

RESET ROLE;

-- What only a superuser may do

CREATE PUBLICATION rental_changes FOR TABLE rental.bookings, rental.members
    WITH (publish = 'insert, update', publish_via_partition_root = true);

DO $database$
BEGIN
    EXECUTE format('ALTER DATABASE %I SET timezone = %L', current_database(), 'Europe/Zurich');
    EXECUTE format('ALTER DATABASE %I SET %I = %L', current_database(), 'IntervalStyle', 'iso_8601');
    EXECUTE format('GRANT CREATE ON DATABASE %I TO rental_owner', current_database());
    EXECUTE format('COMMENT ON DATABASE %I IS %L', current_database(), 'Rental marketplace (sample)');
END
$database$;
ALTER PUBLICATION rental_changes OWNER TO rental_owner;
