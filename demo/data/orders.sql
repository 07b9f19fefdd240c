-- A web shop: 5,000 customers, 300 products, 40,000 orders with about 100,000 lines. The same rows every time.
create table customers (
  id integer primary key,
  name text not null,
  email text not null unique,
  country text not null,
  joined date not null
);
create table products (
  id integer primary key,
  name text not null,
  price_cents integer not null check (price_cents > 0),
  stock integer not null check (stock >= 0)
);
create table orders (
  id integer primary key,
  customer_id integer not null references customers,
  status text not null check (status in ('new', 'paid', 'shipped', 'delivered', 'returned')),
  placed_at timestamptz not null,
  note text
);
create table order_items (
  order_id integer not null references orders,
  product_id integer not null references products,
  quantity integer not null check (quantity > 0),
  primary key (order_id, product_id)
);
create index on orders (customer_id);
create index on orders (status);

insert into customers
select n, first || ' ' || last, lower(first) || '.' || lower(last) || n || '@example.com', country, date '2021-01-01' + (n * 7919 % 1800)
from generate_series(1, 5000) n,
  lateral (select (array['Ada','Ben','Chloe','Daniel','Eva','Felix','Greta','Hugo','Iris','Jan'])[n % 10 + 1] as first,
                  (array['Novak','Smith','Garcia','Rossi','Dubois','Larsen','Kowalski','Silva'])[n / 10 % 8 + 1] as last,
                  (array['CZ','GB','ES','IT','FR','DK','PL','PT'])[n / 80 % 8 + 1] as country) names;

insert into products
select n, (array['Kettle','Lamp','Chair','Desk','Mug','Rug','Clock','Shelf','Blanket','Radio'])[n % 10 + 1] || ' ' ||
  (array['Oak','Steel','Linen','Clay','Glass'])[n / 10 % 5 + 1] || ' No. ' || n, 500 + n * 4337 % 24500, n * 31 % 400
from generate_series(1, 300) n;

insert into orders
select n, n * 48271 % 5000 + 1,
  case when n > 39700 then 'new' when n > 39000 then 'paid' when n > 38000 then 'shipped' when n % 41 = 0 then 'returned' else 'delivered' end,
  timestamptz '2025-01-01 00:00+00' + n * interval '17 minutes', null
from generate_series(1, 40000) n;

insert into order_items
select n, (n * 7 + k * 101) % 300 + 1, (n + k) % 3 + 1
from generate_series(1, 40000) n, generate_series(0, 4) k
where k <= n % 4 + (n % 3 = 0)::integer;

analyze;
