-- The accident: somebody tidies up, and all bookings go. CASCADE takes along the foreign keys of payments,
-- guests and reviews and the materialized view on top; the payments stay and point nowhere.

SET search_path = '';

DROP TABLE rental.bookings CASCADE;
