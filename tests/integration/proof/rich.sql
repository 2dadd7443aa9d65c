-- What real databases hold beside tables: contrib, ICU, XML.
CREATE ROLE shop_owner;
CREATE EXTENSION pgcrypto; CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION pg_trgm;
CREATE EXTENSION "uuid-ossp"; CREATE EXTENSION btree_gist;
CREATE COLLATION german (provider = icu, locale = 'de-u-co-phonebk');
CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE DOMAIN mail AS citext CHECK (VALUE ~ '@');
CREATE TABLE people (
    id uuid PRIMARY KEY DEFAULT uuid_generate_v4(), mail mail UNIQUE, tags hstore, secret bytea,
    name text COLLATE german, nick text COLLATE loose UNIQUE, other text COLLATE "fr-x-icu",
    doc xml, stay int4range, EXCLUDE USING gist (nick WITH =, stay WITH &&)
);
INSERT INTO people
SELECT uuid_generate_v5(uuid_ns_dns(), n::text), 'Person' || n || '@Example.org', hstore('n', n::text),
    digest(n::text, 'sha256'), chr(228) || n, 'Nick' || n, 'e' || chr(769) || n,
    xmlelement(name person, xmlattributes(n AS id)), int4range(n, n + 2)
FROM generate_series(1, 200) n;
CREATE INDEX people_name_trgm ON people USING gin (name gin_trgm_ops);
CREATE INDEX people_tags ON people USING gin (tags);
CREATE MATERIALIZED VIEW ages AS SELECT xpath('//@id', doc)::text AS id, name COLLATE "sv-x-icu" FROM people;
CREATE INDEX ON ages (name);
ALTER TABLE people OWNER TO shop_owner;
CREATE VIEW mails AS SELECT lower(mail::text) AS mail FROM people;
