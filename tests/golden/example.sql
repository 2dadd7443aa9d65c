CREATE TABLE greetings (id integer GENERATED ALWAYS AS IDENTITY, words text);
INSERT INTO greetings (words) VALUES (E'hello\tworld'), (NULL), ('🐘');
