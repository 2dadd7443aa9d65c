-- Large objects: of other owners, with rights, with comments, without bytes, with holes, of several pieces.  The
-- names of who owns them need quotes, and what is said of them needs more than that.
CREATE TABLE files (name text, content oid);
CREATE ROLE "a 'keeper'";
CREATE ROLE "READER";
SELECT lo_from_bytea(5001, 'bytes'), lo_create(5002), lo_create(5003), lo_create(4294967295);
SELECT lo_put(5003, 300000, decode(repeat('00ff27', 100000), 'hex'));
SELECT lo_put(4294967295, 0, 'the last one');
INSERT INTO files SELECT 'file ' || oid, oid FROM pg_largeobject_metadata;
ALTER LARGE OBJECT 5001 OWNER TO "a 'keeper'";
GRANT SELECT ON LARGE OBJECT 5001 TO "READER" WITH GRANT OPTION;
GRANT ALL ON LARGE OBJECT 5001 TO PUBLIC;
REVOKE ALL ON LARGE OBJECT 5002 FROM customer;
COMMENT ON LARGE OBJECT 5003 IS E'with holes;\nand a \\ and a \'quote\'';
