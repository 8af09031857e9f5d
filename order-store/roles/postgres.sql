-- The roles of order-store on PostgreSQL, and what each may do.
--
--   order_owner        owns tables, functions and the outbox: runs migrations, and nothing else
--   order_application  what PostgresOrderStore connects as: reads and changes orders by their rules; no DDL, no DELETE of
--                      orders, nothing but INSERT in the outbox
--   order_feed         what change-feed connects as: REPLICATION, SELECT on what it publishes, and the schema change_feed
--                      for its own state
--
-- Run it in the database of the tables, after each migration, as a superuser (REPLICATION is a superuser's to give), in
-- one transaction: psql --single-transaction --file postgres.sql. It may be run again. For other names replace the three
-- everywhere, or use order_store::roles_sql. The roles have no passwords: give them some (\password in psql).
--
-- REPLICATION also permits base backups, and so to read every database of the server; that is for pg_hba.conf to refuse:
-- no line with the database "replication" for order_feed. Logical replication doesn't need one.

do $roles$
begin
    if not exists (select from pg_catalog.pg_roles where rolname = 'order_owner') then
        create role order_owner login;
    end if;
    if not exists (select from pg_catalog.pg_roles where rolname = 'order_application') then
        create role order_application login;
    end if;
    if not exists (select from pg_catalog.pg_roles where rolname = 'order_feed') then
        create role order_feed login replication;
    end if;
end $roles$;

-- The owner, and nobody else, makes things in the schema. (On PostgreSQL 14 and below everybody may by default.)
revoke create on schema public from public;
grant usage, create on schema public to order_owner;
alter table public.orders owner to order_owner;
alter table public.order_items owner to order_owner;
alter table public.order_events owner to order_owner;
alter table public.order_requests owner to order_owner;
alter table public.order_store_migrations owner to order_owner;
-- Each function by its whole signature: what else bears a name like these stays whose it is.
alter function public.order_events_guard_refuse() owner to order_owner;
alter function public.orders_guard_insert() owner to order_owner;
alter function public.orders_guard_update() owner to order_owner;
alter function public.order_items_guard_check(uuid) owner to order_owner;
alter function public.order_items_guard_insert() owner to order_owner;
alter function public.order_items_guard_update() owner to order_owner;
alter function public.order_items_guard_delete() owner to order_owner;
alter function public.order_events_guard_check(uuid, bigint) owner to order_owner;
alter function public.order_events_guard_insert() owner to order_owner;
alter function public.order_events_guard_immutable() owner to order_owner;
alter function public.order_events_prune(pg_snapshot, bigint, bigint) owner to order_owner;
alter function public.order_events_erase(uuid, json) owner to order_owner;
alter function public.order_items_last_stays() owner to order_owner;
alter function public.orders_status_rules() owner to order_owner;
alter function public.order_items_now(uuid) owner to order_owner;

-- The application. The columns that it may not write are those that never change, and those that the database fills in.
grant usage on schema public to order_application;
grant select, insert on public.orders, public.order_items to order_application;
grant update (status, version, delivery_starts_at, delivery_ends_at, updated_at) on public.orders to order_application;
grant update (quantity) on public.order_items to order_application;
grant delete on public.order_items to order_application;
grant select on public.order_events to order_application;
grant insert (event_id, order_id, version, event_type, payload, occurred_at, traceparent) on public.order_events
    to order_application;
grant usage on sequence public.order_events_sequence to order_application;
grant select, insert, delete on public.order_requests to order_application;
grant select on public.order_store_migrations to order_application;

-- The feed.
grant usage on schema public to order_feed;
grant select on public.orders, public.order_items, public.order_events to order_feed;
create schema if not exists change_feed authorization order_feed;
