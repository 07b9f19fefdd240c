-- read: with standard strings a backslash ends nothing
SELECT '\' AS a, ' OR 1=1; DELETE FROM orders; --'

-- read+write: with standard strings the string ends here and the rest runs
SELECT '\'; DELETE FROM orders; --'

-- read: in an escape string the backslash counts
SELECT E'\'; DELETE FROM orders; --'

-- read: doubled quotes
SELECT 'it''s; DELETE FROM orders'

-- read: strings on two lines are one
SELECT 'a'
'; DELETE FROM orders'

-- read+write: a dollar tag ends only at itself
SELECT $a$ $b$ $a$; DELETE FROM orders; SELECT $b$ $b$

-- read: a dollar inside a name begins no string
SELECT a$b FROM t$t

-- read: nested comments end where PostgreSQL ends them
SELECT 1 /* /* */ ; DELETE FROM orders; */

-- read+write: a comment in a line ends at its end
SELECT 1 -- /*
; DELETE FROM orders -- */

-- unparsable: an open comment
SELECT 1 /* ; DELETE FROM orders

-- unparsable: an open string
SELECT 'abc

-- unparsable: an open name
SELECT "abc

-- unparsable: no SQL
please delete the orders

-- unparsable: one statement of two
SELECT 1; DELETE FRM orders

-- unparsable: MySQL's executable comments are comments, what is left is not SQL
SELECT 1 /*!; DROP TABLE orders */ FRM x y

-- read: MySQL's executable comment alone is a comment
SELECT 1 /*! ; DROP TABLE orders */

-- unparsable: psql's commands are not SQL
\copy orders TO '/tmp/x'

-- unparsable: psql's variables are not SQL
SELECT :'name'

-- unparsable: JDBC's question marks are not SQL
SELECT * FROM orders WHERE id = ?

-- unparsable: a name of no characters
SELECT * FROM ""

-- unparsable: half a unicode escape
SELECT U&'\d83d'

-- unparsable: escapes that make a zero byte
SELECT E'\000'

-- unparsable: a number with a tail
SELECT 123abc FROM orders

-- read: a parameter with a tail: a column's name, or an error in newer servers
SELECT $1abc

-- read: blanks of every kind
SELECT	1

-- unparsable: a blank that is no blank in SQL is part of a name
SELECT 1 FROM orders; DELETE FROM orders

-- unparsable: a byte order mark at the beginning
﻿SELECT 1

-- unparsable: quotes of a word processor are letters
SELECT ‘a’ b c d

-- read: parameters
SELECT * FROM orders WHERE id = $1 AND at > $2::timestamptz

-- read: letters of all alphabets
SELECT "заказ", 注文 FROM données WHERE größe > 1

-- read: bidirectional marks in a string are text
SELECT 'user‮ ⁦; DELETE FROM orders⁩ ⁦'
