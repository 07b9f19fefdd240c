-- Invoices: what hurts when it leaks.
create table invoices (
  id integer primary key,
  customer text not null,
  amount_cents integer not null,
  iban text not null,
  issued date not null
);
insert into invoices
select n, 'Customer ' || n, 1000 + n * 7919 % 90000, 'CZ' || lpad((n * 104729 % 99999999)::text, 22, '0'), date '2025-01-01' + n % 600
from generate_series(1, 10000) n;
analyze;
