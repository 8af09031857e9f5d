-- Orders, their items, their events and the requests that were answered: version 1 of the tables of order-store.
-- Run as the tables' owner, in one transaction (psql --single-transaction), after the files with smaller numbers.
-- The crate's documentation lists tables, columns and constraint names: they are a contract.

create table public.order_store_migrations (
    version bigint not null,
    applied_at timestamptz not null default now(),
    constraint order_store_migrations_pkey primary key (version)
);

-- fillfactor: each change of an order updates its row, in place as long as the page has room (no index has a column that changes).
create table public.orders (
    order_id uuid not null,
    customer_id uuid not null,
    status text not null default 'open',
    version bigint not null default 1,
    currency text not null,
    delivery_starts_at timestamptz,
    delivery_ends_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint orders_pkey primary key (order_id),
    constraint orders_status_is_known check (status in ('open', 'scheduled', 'cancelled')),
    constraint orders_starts_open check (status = 'open' or version > 1),
    constraint orders_currency_is_a_code check (currency ~ '^[A-Z]{3}$'),
    constraint orders_window_fits_status check (
        (delivery_starts_at is null) = (delivery_ends_at is null)
        and (status <> 'open' or delivery_starts_at is null)
        and (status <> 'scheduled' or delivery_starts_at is not null)),
    constraint orders_window_ends_after_start check (delivery_starts_at < delivery_ends_at),
    constraint orders_window_years check (
        delivery_starts_at >= '1970-01-01 00:00:00+00' and delivery_ends_at < '10000-01-01 00:00:00+00')
) with (fillfactor = 75);
-- a customer's orders, a page at a time
create index orders_customer_id on public.orders (customer_id, order_id);

-- No foreign key to orders: the guard's order_items_has_aggregate says the same, and more.
create table public.order_items (
    order_id uuid not null,
    item_id uuid not null,
    sku text not null,
    quantity integer not null,
    unit_price_minor bigint not null,
    constraint order_items_pkey primary key (order_id, item_id),
    constraint order_items_sku_is_legal check (sku ~ '^[A-Za-z0-9._/-]{1,64}$'),
    constraint order_items_quantity_range check (quantity between 1 and 999),
    constraint order_items_price_is_not_negative check (unit_price_minor >= 0)
) with (fillfactor = 90);

-- Requests that were accepted: made again, they are answered and not done again. Rows may be deleted when nobody will ask again.
create table public.order_requests (
    request_id text not null,
    order_id uuid not null,
    version bigint not null,
    -- a hash of what was asked for, in hexadecimal digits
    fingerprint text not null,
    created_at timestamptz not null default now(),
    constraint order_requests_pkey primary key (request_id),
    constraint order_requests_request_id_length check (length(request_id) between 1 and 200),
    constraint order_requests_fingerprint_length check (length(fingerprint) = 32),
    constraint order_requests_version_is_positive check (version > 0)
);
create index order_requests_created_at on public.order_requests (created_at);

-- Written by the guard, from here
-- The outbox of public.orders: one row for each version of each row there, in the same transaction as the change.
-- The database assigns sequence and transaction_id: a writer's values are overwritten.
-- payload is json, not jsonb: it is published byte for byte as it was written, and its size is known without building it.
create table public.order_events (
    sequence bigint not null,
    -- a UUID of version 7: milliseconds in front, so that the index grows at one end
    event_id uuid not null default encode(
        set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
            placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6),
            52, 1), 53, 1), 'hex')::uuid,
    order_id uuid not null,
    version bigint not null,
    event_type text not null,
    payload json not null,
    occurred_at timestamptz not null default clock_timestamp(),
    traceparent text,
    transaction_id xid8 not null default pg_current_xact_id(),
    -- true for the event of an adopted row: it holds the effect of earlier versions, which have no event
    baseline boolean not null default false,
    constraint order_events_pkey primary key (sequence),
    constraint order_events_event_id_is_unique unique (event_id),
    constraint order_events_one_per_version unique (order_id, version),
    constraint order_events_version_is_positive check (version > 0),
    constraint order_events_event_type_length check (length(event_type) between 1 and 200),
    constraint order_events_traceparent_length check (length(traceparent) <= 512),
    constraint order_events_occurred_at_is_time check (isfinite(occurred_at)),
    constraint order_events_payload_size check (octet_length(payload::text) <= 900000)
);
-- for sources that poll: what committed since their last snapshot
create index order_events_transaction_id on public.order_events (transaction_id);
-- no cache: numbers handed out ahead to a session would be used out of order
create sequence public.order_events_sequence as bigint no cycle cache 1 owned by public.order_events.sequence;

-- The rules of public.orders: the event closes the version.
--   1. A row starts at version 1 and steps by exactly 1, when the present version has its event. A final state never steps.
--   2. Its children change only between the step and the event of that version.
--   3. An event is inserted at the present version and takes its number after the step's row lock.
--   4. A commit needs the event of the present version.
-- The legal order is: step, change, append; in one statement or in several.
--
-- The functions run with the caller's rights: it needs SELECT on what they read (of the outbox: key, version, sequence)
-- and USAGE on the sequence. Names and operators are qualified, so that the caller's search_path can't replace them.
-- Plain triggers, not ENABLE ALWAYS: restores and logical replication write rows that were checked at their origin.

create or replace function public.order_events_guard_refuse() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $guard$
begin
    raise exception using errcode = 'check_violation', constraint = tg_argv[0], table = tg_table_name, schema = tg_table_schema,
        message = tg_table_name || ': ' || tg_argv[1];
end $guard$;

-- public.orders: starts at 1, steps by 1, never leaves a final state, keeps its key, is never deleted.
create or replace function public.orders_guard_insert() returns trigger language plpgsql as $guard$
begin
    if new.version operator(pg_catalog.=) 1 then
        return new;
    end if;
    raise exception using errcode = 'check_violation', constraint = 'orders_version_starts_at_one', table = 'orders', schema = 'public',
            message = 'orders: a new row starts at version 1';
end $guard$;

create or replace function public.orders_guard_update() returns trigger language plpgsql as $guard$
begin
    -- A step. A row that another transaction committed has the event of its version: the foreign key ensures that.
    -- It can be missing only if this transaction wrote the row itself.
    if (old.status operator(pg_catalog.=) 'cancelled') is not true
        and new.version operator(pg_catalog.=) (old.version operator(pg_catalog.+) 1)
        and new.order_id operator(pg_catalog.=) old.order_id
        and pg_catalog.age(old.xmin) operator(pg_catalog.>) 0 then
        return new;
    end if;
    if old.status operator(pg_catalog.=) 'cancelled' then
        raise exception using errcode = 'check_violation', constraint = 'orders_is_final', table = 'orders', schema = 'public',
            message = 'orders: the row is in its final state: neither it nor its children can change';
    end if;
    if (new.order_id operator(pg_catalog.=) old.order_id) is not true then
        raise exception using errcode = 'check_violation', constraint = 'orders_key_is_fixed', table = 'orders', schema = 'public',
            message = 'orders: the key can''t change';
    end if;
    if new.version operator(pg_catalog.=) (old.version operator(pg_catalog.+) 1) then
        if not exists (select from public.order_events e where e.order_id operator(pg_catalog.=) old.order_id and e.version operator(pg_catalog.=) old.version) then
            raise exception using errcode = 'check_violation', constraint = 'orders_version_has_event', table = 'orders', schema = 'public',
            message = 'orders: the present version has no event yet: append it first';
        end if;
        return new;
    end if;
    if (new.version operator(pg_catalog.=) old.version) is not true then
        raise exception using errcode = 'check_violation', constraint = 'orders_version_steps_by_one', table = 'orders', schema = 'public',
            message = 'orders: the version steps up by exactly 1';
    end if;
    -- other columns: inside a step
    if exists (select from public.order_events e where e.order_id operator(pg_catalog.=) old.order_id and e.version operator(pg_catalog.=) old.version) then
        raise exception using errcode = 'check_violation', constraint = 'orders_changes_inside_a_step', table = 'orders', schema = 'public',
            message = 'orders: make changes after the step of the version and before its event';
    end if;
    return new;
end $guard$;

create or replace trigger orders_guard_insert before insert on public.orders
    for each row execute function public.orders_guard_insert();
create or replace trigger orders_guard_update before update on public.orders
    for each row execute function public.orders_guard_update();
create or replace trigger orders_guard_delete before delete on public.orders
    for each row execute function public.order_events_guard_refuse('orders_is_never_deleted', 'a row can''t be deleted, replaced or inserted again');
create or replace trigger orders_guard_truncate before truncate on public.orders
    for each statement execute function public.order_events_guard_refuse('orders_is_never_deleted', 'a row can''t be deleted, replaced or inserted again');

-- public.order_items: changes only between the step and the event, of both aggregates if a row moves.
-- Called for refusals, and where the step was made inside a savepoint (its row then has another transaction id). The row's
-- lock, which the stepping transaction has already, ensures that the version is not closed meanwhile.
create or replace function public.order_items_guard_check(guarded_key uuid) returns void language plpgsql set search_path = pg_catalog, pg_temp as $guard$
declare
    present_version bigint;
begin
    if guarded_key is null then
        return;
    end if;
    if exists (select from public.orders o where o.order_id = guarded_key and (o.status operator(pg_catalog.=) 'cancelled')) then
        raise exception using errcode = 'check_violation', constraint = 'orders_is_final', table = 'orders', schema = 'public',
            message = 'orders: the row is in its final state: neither it nor its children can change';
    end if;
    -- checked twice: a refusal should not wait for a lock
    if exists (select from public.orders o join public.order_events e on e.order_id = o.order_id and e.version = o.version where o.order_id = guarded_key) then
        raise exception using errcode = 'check_violation', constraint = 'order_items_changes_inside_a_step', table = 'order_items', schema = 'public',
            message = 'order_items: make changes after the step of the version and before its event';
    end if;
    select o.version into present_version from public.orders o where o.order_id = guarded_key for no key update;
    if not found then
        raise exception using errcode = 'foreign_key_violation', constraint = 'order_items_has_aggregate', table = 'order_items', schema = 'public',
            message = 'order_items: its aggregate does not exist';
    end if;
    if exists (select from public.order_events e where e.order_id = guarded_key and e.version = present_version) then
        raise exception using errcode = 'check_violation', constraint = 'order_items_changes_inside_a_step', table = 'order_items', schema = 'public',
            message = 'order_items: make changes after the step of the version and before its event';
    end if;
end $guard$;

create or replace function public.order_items_guard_insert() returns trigger language plpgsql as $guard$
begin
    perform from public.orders o
      where o.order_id operator(pg_catalog.=) new.order_id
        and (o.status operator(pg_catalog.=) 'cancelled') is not true
        and o.xmin operator(pg_catalog.=) pg_catalog.pg_current_xact_id()::pg_catalog.xid
        and (select e.version from public.order_events e where e.order_id operator(pg_catalog.=) o.order_id and e.version operator(pg_catalog.=) o.version) is null
        and (select pg_catalog.count(*) from public.order_items c where c.order_id operator(pg_catalog.=) new.order_id) operator(pg_catalog.<) 200;
    if found then
        return new;
    end if;
    perform public.order_items_guard_check(new.order_id);
    if (select pg_catalog.count(*) from public.order_items c where c.order_id operator(pg_catalog.=) new.order_id) operator(pg_catalog.>=) 200 then
        raise exception using errcode = 'check_violation', constraint = 'order_items_limit', table = 'order_items', schema = 'public',
            message = 'order_items: its aggregate has reached the limit of rows';
    end if;
    return new;
end $guard$;
create or replace trigger order_items_guard_insert before insert on public.order_items
    for each row execute function public.order_items_guard_insert();

create or replace function public.order_items_guard_update() returns trigger language plpgsql as $guard$
begin
    perform from public.orders o
      where o.order_id operator(pg_catalog.=) new.order_id
        and (o.status operator(pg_catalog.=) 'cancelled') is not true
        and o.xmin operator(pg_catalog.=) pg_catalog.pg_current_xact_id()::pg_catalog.xid
        and (select e.version from public.order_events e where e.order_id operator(pg_catalog.=) o.order_id and e.version operator(pg_catalog.=) o.version) is null
        and old.order_id operator(pg_catalog.=) new.order_id;
    if found then
        return new;
    end if;
    perform public.order_items_guard_check(old.order_id);
    perform public.order_items_guard_check(new.order_id);
    if (old.order_id operator(pg_catalog.=) new.order_id) is not true and (select pg_catalog.count(*) from public.order_items c where c.order_id operator(pg_catalog.=) new.order_id) operator(pg_catalog.>=) 200 then
        raise exception using errcode = 'check_violation', constraint = 'order_items_limit', table = 'order_items', schema = 'public',
            message = 'order_items: its aggregate has reached the limit of rows';
    end if;
    return new;
end $guard$;
create or replace trigger order_items_guard_update before update on public.order_items
    for each row execute function public.order_items_guard_update();

create or replace function public.order_items_guard_delete() returns trigger language plpgsql as $guard$
begin
    perform from public.orders o
      where o.order_id operator(pg_catalog.=) old.order_id
        and (o.status operator(pg_catalog.=) 'cancelled') is not true
        and o.xmin operator(pg_catalog.=) pg_catalog.pg_current_xact_id()::pg_catalog.xid
        and (select e.version from public.order_events e where e.order_id operator(pg_catalog.=) o.order_id and e.version operator(pg_catalog.=) o.version) is null;
    if found then
        return old;
    end if;
    perform public.order_items_guard_check(old.order_id);
    return old;
end $guard$;
create or replace trigger order_items_guard_delete before delete on public.order_items
    for each row execute function public.order_items_guard_delete();

create or replace trigger order_items_guard_truncate before truncate on public.order_items
    for each statement execute function public.order_events_guard_refuse('order_items_is_never_replaced', 'a row can''t be replaced or truncated');

-- public.order_events: an event closes the present version, once.
-- Called for refusals, and where the step was made inside a savepoint; see above.
create or replace function public.order_events_guard_check(guarded_key uuid, guarded_version bigint) returns void language plpgsql set search_path = pg_catalog, pg_temp as $guard$
begin
    if exists (select from public.order_events e where e.order_id = guarded_key and e.version = guarded_version) then
        raise exception using errcode = 'unique_violation', constraint = 'order_events_one_per_version', table = 'order_events', schema = 'public',
            message = 'order_events: this version has an event already';
    end if;
    if not exists (select from public.orders o where o.order_id = guarded_key and o.version = guarded_version) then
        raise exception using errcode = 'check_violation', constraint = 'order_events_at_present_version', table = 'order_events', schema = 'public',
            message = 'order_events: an event must be inserted at the present version, by the transaction that stepped it';
    end if;
    perform from public.orders o where o.order_id = guarded_key and o.version = guarded_version for no key update;
    if not found then
        raise exception using errcode = 'check_violation', constraint = 'order_events_at_present_version', table = 'order_events', schema = 'public',
            message = 'order_events: an event must be inserted at the present version, by the transaction that stepped it';
    end if;
    if exists (select from public.order_events e where e.order_id = guarded_key and e.version = guarded_version) then
        raise exception using errcode = 'unique_violation', constraint = 'order_events_one_per_version', table = 'order_events', schema = 'public',
            message = 'order_events: this version has an event already';
    end if;
end $guard$;

create or replace function public.order_events_guard_insert() returns trigger language plpgsql as $guard$
begin
    -- the number is drawn once the row of public.orders is found, so under the lock of its step
    select pg_catalog.nextval('public.order_events_sequence'), pg_catalog.pg_current_xact_id() into new.sequence, new.transaction_id
      from public.orders o
     where o.order_id operator(pg_catalog.=) new.order_id and o.version operator(pg_catalog.=) new.version
       and o.xmin operator(pg_catalog.=) pg_catalog.pg_current_xact_id()::pg_catalog.xid;
    if found then
        return new;
    end if;
    perform public.order_events_guard_check(new.order_id, new.version);
    new.sequence := pg_catalog.nextval('public.order_events_sequence');
    new.transaction_id := pg_catalog.pg_current_xact_id();
    return new;
end $guard$;
create or replace trigger order_events_guard_insert before insert on public.order_events
    for each row execute function public.order_events_guard_insert();

-- public.order_events: only the functions below change or delete a row. They make a setting, which any session could make, and run
-- as the table's owner, which other sessions can't.
create or replace function public.order_events_guard_immutable() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $guard$
begin
    if current_setting('change_feed.maintenance', true) = 'public.order_events'
        and pg_has_role(current_user, (select relowner from pg_class where oid = tg_relid), 'usage') then
        return case when tg_op = 'DELETE' then old else new end;
    end if;
    raise exception using errcode = 'check_violation', constraint = 'order_events_is_immutable', table = 'order_events', schema = 'public',
            message = 'order_events: an event can''t be changed or deleted';
end $guard$;
create or replace trigger order_events_guard_immutable before update or delete on public.order_events
    for each row execute function public.order_events_guard_immutable();
create or replace trigger order_events_guard_truncate before truncate on public.order_events
    for each statement execute function public.order_events_guard_refuse('order_events_is_immutable', 'an event can''t be changed or deleted');

-- Functions for the owner. Others may call them only if they are granted.
-- Pruning keeps the latest event of each key, all events from the given sequence number on, and all that are not visible
-- in the given snapshot: sequence numbers commit out of order, so that a number alone does not tell what is published.
-- Take a snapshot (SELECT pg_current_snapshot()), wait until every feed has passed it, and give the number of the event
-- that the slowest feed acknowledged last. Returns the number of deleted events; call it until it returns 0.
create or replace function public.order_events_prune(published pg_snapshot, below_sequence bigint, at_most bigint default 10000)
    returns bigint language plpgsql security definer set search_path = pg_catalog, pg_temp as $guard$
declare
    pruned bigint;
begin
    perform set_config('change_feed.maintenance', 'public.order_events', true);
    delete from public.order_events where sequence in (
        select e.sequence from public.order_events e
         where e.sequence < below_sequence
           and pg_visible_in_snapshot(e.transaction_id, published)
           and exists (select from public.order_events later where later.order_id = e.order_id and later.version = e.version + 1)
         order by e.sequence limit at_most);
    get diagnostics pruned = row_count;
    perform set_config('change_feed.maintenance', '', true);
    return pruned;
end $guard$;
revoke all on function public.order_events_prune(pg_snapshot, bigint, bigint) from public;

-- Erases a person's data: payloads are replaced, versions stay. Returns the number of scrubbed events. Records in Kafka
-- are not touched.
create or replace function public.order_events_erase(erased_key uuid, scrubbed json default '{"erased":true}')
    returns bigint language plpgsql security definer set search_path = pg_catalog, pg_temp as $guard$
declare
    erased bigint;
begin
    perform set_config('change_feed.maintenance', 'public.order_events', true);
    update public.order_events set payload = scrubbed where order_id = erased_key;
    get diagnostics erased = row_count;
    perform set_config('change_feed.maintenance', '', true);
    return erased;
end $guard$;
revoke all on function public.order_events_erase(uuid, json) from public;

-- A commit needs the event of the present version.
alter table public.orders add constraint orders_version_has_event foreign key (order_id, version)
    references public.order_events (order_id, version) deferrable initially deferred;
-- Written by the guard, to here

-- The rules of an order and its items that take more than one row to judge. Whoever changes items or a status holds the
-- order's row, by the guard's rules, so that nobody else changes them meanwhile.
create function public.order_items_last_stays() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $rule$
begin
    if exists (select from public.orders o where o.order_id = old.order_id and o.status = 'scheduled')
        and not exists (select from public.order_items i where i.order_id = old.order_id) then
        raise exception using errcode = 'check_violation', constraint = 'orders_scheduled_has_items', table = 'orders', schema = 'public',
            message = 'orders: a scheduled order keeps at least one item';
    end if;
    return null;
end $rule$;
create trigger order_items_last_stays after delete or update of order_id on public.order_items
    for each row execute function public.order_items_last_stays();

create function public.orders_status_rules() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $rule$
begin
    if new.status = 'scheduled' and not exists (select from public.order_items i where i.order_id = new.order_id) then
        raise exception using errcode = 'check_violation', constraint = 'orders_scheduled_has_items', table = 'orders', schema = 'public',
            message = 'orders: an order without items is not scheduled';
    end if;
    if new.status = 'open' and old.status <> 'open' then
        raise exception using errcode = 'check_violation', constraint = 'orders_never_reopens', table = 'orders', schema = 'public',
            message = 'orders: a scheduled order does not become open again';
    end if;
    if new.status = 'cancelled' and (new.delivery_starts_at, new.delivery_ends_at)
        is distinct from (old.delivery_starts_at, old.delivery_ends_at) then
        raise exception using errcode = 'check_violation', constraint = 'orders_cancelled_keeps_window', table = 'orders', schema = 'public',
            message = 'orders: a cancelled order keeps the delivery window that it had';
    end if;
    if new.currency <> old.currency then
        raise exception using errcode = 'check_violation', constraint = 'orders_currency_is_fixed', table = 'orders', schema = 'public',
            message = 'orders: the currency never changes';
    end if;
    return new;
end $rule$;
create trigger orders_status_rules before update of status, currency, delivery_starts_at, delivery_ends_at on public.orders
    for each row execute function public.orders_status_rules();

-- The items of an order as they are now, and not as they were when the statement that asks began: for a change that had
-- to wait for another one of the same order.
create function public.order_items_now(the_order uuid) returns json
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $rule$
begin
    return coalesce((select json_agg(i) from (
        select item_id, sku, quantity, unit_price_minor from public.order_items where order_id = the_order) i), '[]');
end $rule$;

insert into public.order_store_migrations (version) values (1);
