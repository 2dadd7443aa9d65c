-- Memberships with options: who administers a group, who only inherits from it or only may become it, and two of
-- the same roles by different grantors.
CREATE ROLE "the 'Crew'";
CREATE ROLE lead;
CREATE ROLE apart NOINHERIT;
CREATE ROLE narrow;
CREATE ROLE twice;
CREATE ROLE plain;
GRANT "the 'Crew'" TO lead WITH ADMIN OPTION;
GRANT "the 'Crew'" TO apart WITH INHERIT TRUE, SET FALSE;
GRANT "the 'Crew'" TO narrow WITH INHERIT FALSE, SET FALSE;
GRANT "the 'Crew'" TO twice WITH INHERIT FALSE;
GRANT "the 'Crew'" TO twice WITH INHERIT TRUE, SET FALSE GRANTED BY lead;
GRANT lead TO twice WITH SET FALSE;
GRANT "the 'Crew'" TO plain;
CREATE TABLE notes AS SELECT 1 AS n;
GRANT SELECT ON notes TO "the 'Crew'", lead, apart, narrow, twice, plain;
