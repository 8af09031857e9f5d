-- Orders, their items, their events and the requests that were answered: version 1 of the tables of order-store.
-- Run in one transaction (begin immediate; .read this file; commit), after the files with smaller numbers.
-- The crate's documentation lists tables, columns and constraint names: they are a contract.
-- Ids are UUIDs in lower case with hyphens. Times are text, RFC 3339 in UTC.

create table order_store_migrations (
    version integer not null,
    applied_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    constraint order_store_migrations_pkey primary key (version)
) strict;

create table orders (
    order_id text not null,
    customer_id text not null,
    status text not null default 'open',
    version integer not null default 1,
    currency text not null,
    delivery_starts_at text,
    delivery_ends_at text,
    created_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    updated_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    constraint orders_pkey primary key (order_id),
    constraint orders_version_has_event foreign key (order_id, version)
        references order_events (order_id, version) deferrable initially deferred,
    constraint orders_ids_are_uuids check (
        order_id glob '????????-????-????-????-????????????' and order_id not glob '*[^0-9a-f-]*'
        and length(replace(order_id, '-', '')) = 32
        and customer_id glob '????????-????-????-????-????????????' and customer_id not glob '*[^0-9a-f-]*'
        and length(replace(customer_id, '-', '')) = 32),
    constraint orders_status_is_known check (status in ('open', 'scheduled', 'cancelled')),
    constraint orders_starts_open check (status = 'open' or version > 1),
    constraint orders_currency_is_a_code check (currency glob '[A-Z][A-Z][A-Z]'),
    constraint orders_window_fits_status check (
        (delivery_starts_at is null) = (delivery_ends_at is null)
        and (status <> 'open' or delivery_starts_at is null)
        and (status <> 'scheduled' or delivery_starts_at is not null)),
    -- YYYY-MM-DDTHH:MM:SS, up to six decimals, Z: the same moment has one text once the decimals are filled up
    constraint orders_window_form check (
        (delivery_starts_at is null or coalesce(length(delivery_starts_at) <= 27
            and (delivery_starts_at glob '*:[0-9][0-9]Z' or delivery_starts_at glob '*:[0-9][0-9].[0-9]*Z')
            and strftime('%Y-%m-%dT%H:%M:%S', substr(delivery_starts_at, 1, 19)) = substr(delivery_starts_at, 1, 19)
            and julianday(delivery_starts_at) is not null, false))
        and (delivery_ends_at is null or coalesce(length(delivery_ends_at) <= 27
            and (delivery_ends_at glob '*:[0-9][0-9]Z' or delivery_ends_at glob '*:[0-9][0-9].[0-9]*Z')
            and strftime('%Y-%m-%dT%H:%M:%S', substr(delivery_ends_at, 1, 19)) = substr(delivery_ends_at, 1, 19)
            and julianday(delivery_ends_at) is not null, false))),
    constraint orders_window_ends_after_start check (
        substr(rtrim(delivery_starts_at, 'Z') || iif(length(delivery_starts_at) = 20, '.', '') || '000000', 1, 26)
        < substr(rtrim(delivery_ends_at, 'Z') || iif(length(delivery_ends_at) = 20, '.', '') || '000000', 1, 26)),
    constraint orders_window_years check (delivery_starts_at >= '1970')
) strict, without rowid;
-- a customer's orders, a page at a time
create index orders_customer_id on orders (customer_id, order_id);

-- No foreign key to orders: the guard's order_items_has_aggregate says the same, and more.
create table order_items (
    order_id text not null,
    item_id text not null,
    sku text not null,
    quantity integer not null,
    unit_price_minor integer not null,
    constraint order_items_pkey primary key (order_id, item_id),
    constraint order_items_ids_are_uuids check (
        item_id glob '????????-????-????-????-????????????' and item_id not glob '*[^0-9a-f-]*'
        and length(replace(item_id, '-', '')) = 32),
    constraint order_items_sku_is_legal check (
        length(cast(sku as blob)) between 1 and 64 and sku not glob '*[^A-Za-z0-9._/-]*' and instr(sku, char(0)) = 0),
    constraint order_items_quantity_range check (quantity between 1 and 999),
    constraint order_items_price_is_not_negative check (unit_price_minor >= 0)
) strict, without rowid;

-- Requests that were accepted: made again, they are answered and not done again. Rows may be deleted when nobody will ask again.
create table order_requests (
    request_id text not null,
    order_id text not null,
    version integer not null,
    -- a hash of what was asked for, in hexadecimal digits
    fingerprint text not null,
    created_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    constraint order_requests_pkey primary key (request_id),
    constraint order_requests_request_id_length check (length(request_id) between 1 and 200),
    constraint order_requests_fingerprint_length check (length(fingerprint) = 32),
    constraint order_requests_version_is_positive check (version > 0)
) strict, without rowid;
create index order_requests_created_at on order_requests (created_at);

-- Written by the guard, from here
-- The outbox of orders: one row for each version of each row there, in the same transaction as the change.
-- The database assigns sequence. Every program that writes here needs PRAGMA foreign_keys = ON.
create table order_events (
    sequence integer primary key autoincrement,
    -- a UUID of version 7: milliseconds in front, so that the index grows at one end
    event_id text not null default (
        substr(printf('%012x', cast((julianday('now') - 2440587.5) * 86400000 as integer)), 1, 8) || '-' || substr(printf('%012x', cast((julianday('now') - 2440587.5) * 86400000 as integer)), 9, 4)
        || '-7' || substr(lower(hex(randomblob(2))), 2)
        || '-' || substr('89ab', 1 + (random() & 3), 1) || substr(lower(hex(randomblob(2))), 2)
        || '-' || lower(hex(randomblob(6)))),
    -- the reference keeps REPLACE from removing a row of orders
    order_id text not null references orders (order_id),
    version integer not null,
    event_type text not null,
    payload text not null,
    occurred_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    traceparent text,
    -- true for the event of an adopted row: it holds the effect of earlier versions, which have no event
    baseline integer not null default false,
    constraint order_events_event_id_is_unique unique (event_id),
    constraint order_events_one_per_version unique (order_id, version),
    constraint order_events_payload_is_json check (json_valid(payload)),
    constraint order_events_version_is_positive check (version > 0),
    constraint order_events_event_type_length check (length(event_type) between 1 and 200),
    constraint order_events_traceparent_length check (length(traceparent) <= 512),
    constraint order_events_occurred_at_is_time check (julianday(occurred_at) is not null),
    constraint order_events_payload_size check (length(cast(payload as blob)) <= 900000)
) strict;

-- The rules of orders: the event closes the version.
--   1. A row starts at version 1 and steps by exactly 1, when the present version has its event. A final state never steps.
--   2. Its children change only between the step and the event of that version.
--   3. An event is inserted at the present version and takes the next sequence number.
--   4. A commit needs the event of the present version (PRAGMA foreign_keys = ON).
-- The legal order is: step, change, append. A refusal's text begins with the name of the rule.

-- orders: starts at 1, steps by 1, never leaves a final state, keeps its key, is never deleted.
create trigger orders_guard_insert before insert on orders begin
    select raise(abort, 'orders_version_starts_at_one: orders: a new row starts at version 1')
     where new.version is not 1;
end;
create trigger orders_guard_insert_again after insert on orders begin
    select raise(abort, 'orders_is_never_deleted: orders: a row can''t be deleted, replaced or inserted again')
     where exists (select 1 from order_events e where e.order_id = new.order_id);
end;
create trigger orders_guard_update before update on orders begin
    select raise(abort, 'orders_is_final: orders: the row is in its final state: neither it nor its children can change')
     where old.status = 'cancelled';
    select raise(abort, 'orders_key_is_fixed: orders: the key can''t change')
     where new.order_id is not old.order_id;
    select raise(abort, 'orders_version_steps_by_one: orders: the version steps up by exactly 1')
     where new.version is not old.version and new.version is not old.version + 1;
    select raise(abort, 'orders_version_has_event: orders: the present version has no event yet: append it first')
     where new.version is old.version + 1
       and not exists (select 1 from order_events e where e.order_id = old.order_id and e.version = old.version);
    select raise(abort, 'orders_changes_inside_a_step: orders: make changes after the step of the version and before its event')
     where new.version is old.version
       and exists (select 1 from order_events e where e.order_id = old.order_id and e.version = old.version);
end;
create trigger orders_guard_delete before delete on orders begin
    select raise(abort, 'orders_is_never_deleted: orders: a row can''t be deleted, replaced or inserted again')
     where true;
end;

-- order_items: changes only between the step and the event, of both aggregates if a row moves.
create trigger order_items_guard_insert before insert on order_items begin
    select raise(abort, 'orders_is_final: orders: the row is in its final state: neither it nor its children can change')
     where exists (select 1 from orders a where a.order_id = new.order_id and (a.status = 'cancelled'));
    select raise(abort, 'order_items_has_aggregate: order_items: its aggregate does not exist')
     where new.order_id is not null and not exists (select 1 from orders a where a.order_id = new.order_id);
    select raise(abort, 'order_items_changes_inside_a_step: order_items: make changes after the step of the version and before its event')
     where exists (select 1 from orders a join order_events e on e.order_id = a.order_id and e.version = a.version
       where a.order_id = new.order_id);
    select raise(abort, 'order_items_limit: order_items: its aggregate has reached the limit of rows')
     where (select count(*) from order_items c where c.order_id = new.order_id) >= 200;
end;
create trigger order_items_guard_update before update on order_items begin
    select raise(abort, 'orders_is_final: orders: the row is in its final state: neither it nor its children can change')
     where exists (select 1 from orders a where a.order_id = old.order_id and (a.status = 'cancelled'));
    select raise(abort, 'order_items_has_aggregate: order_items: its aggregate does not exist')
     where old.order_id is not null and not exists (select 1 from orders a where a.order_id = old.order_id);
    select raise(abort, 'order_items_changes_inside_a_step: order_items: make changes after the step of the version and before its event')
     where exists (select 1 from orders a join order_events e on e.order_id = a.order_id and e.version = a.version
       where a.order_id = old.order_id);
    select raise(abort, 'orders_is_final: orders: the row is in its final state: neither it nor its children can change')
     where exists (select 1 from orders a where a.order_id = new.order_id and (a.status = 'cancelled'));
    select raise(abort, 'order_items_has_aggregate: order_items: its aggregate does not exist')
     where new.order_id is not null and not exists (select 1 from orders a where a.order_id = new.order_id);
    select raise(abort, 'order_items_changes_inside_a_step: order_items: make changes after the step of the version and before its event')
     where exists (select 1 from orders a join order_events e on e.order_id = a.order_id and e.version = a.version
       where a.order_id = new.order_id);
    select raise(abort, 'order_items_limit: order_items: its aggregate has reached the limit of rows')
     where new.order_id is not old.order_id and (select count(*) from order_items c where c.order_id = new.order_id) >= 200;
end;
create trigger order_items_guard_delete before delete on order_items begin
    select raise(abort, 'orders_is_final: orders: the row is in its final state: neither it nor its children can change')
     where exists (select 1 from orders a where a.order_id = old.order_id and (a.status = 'cancelled'));
    select raise(abort, 'order_items_has_aggregate: order_items: its aggregate does not exist')
     where old.order_id is not null and not exists (select 1 from orders a where a.order_id = old.order_id);
    select raise(abort, 'order_items_changes_inside_a_step: order_items: make changes after the step of the version and before its event')
     where exists (select 1 from orders a join order_events e on e.order_id = a.order_id and e.version = a.version
       where a.order_id = old.order_id);
end;

-- order_events: an event closes the present version, once. No row is changed or deleted.
create trigger order_events_guard_insert before insert on order_events begin
    select raise(abort, 'order_events_one_per_version: order_events: this version has an event already')
     where exists (select 1 from order_events e where e.order_id = new.order_id and e.version = new.version);
    select raise(abort, 'order_events_at_present_version: order_events: an event must be inserted at the present version, by the transaction that stepped it')
     where not exists (select 1 from orders a where a.order_id = new.order_id and a.version = new.version);
    select raise(abort, 'order_events_event_id_is_unique: order_events: this event id is used already')
     where exists (select 1 from order_events e where e.event_id = new.event_id);
    select raise(abort, 'order_events_sequence_moves_on: order_events: the database assigns the sequence number: leave it out')
     where new.sequence > 0;
end;
create trigger order_events_guard_sequence after insert on order_events begin
    select raise(abort, 'order_events_sequence_moves_on: order_events: the database assigns the sequence number: leave it out')
     where new.sequence < 1 or exists (select 1 from order_events e where e.sequence > new.sequence);
end;
create trigger order_events_guard_immutable_update before update on order_events begin
    select raise(abort, 'order_events_is_immutable: order_events: an event can''t be changed or deleted')
     where true;
end;
create trigger order_events_guard_immutable_delete before delete on order_events begin
    select raise(abort, 'order_events_is_immutable: order_events: an event can''t be changed or deleted')
     where true;
end;

-- Written by the guard, to here

-- The rules of an order and its items that take more than one row to judge.
create trigger order_items_last_stays after delete on order_items begin
    select raise(abort, 'orders_scheduled_has_items: orders: a scheduled order keeps at least one item')
     where exists (select 1 from orders o where o.order_id = old.order_id and o.status = 'scheduled')
       and not exists (select 1 from order_items i where i.order_id = old.order_id);
end;
create trigger order_items_last_stays_move after update of order_id on order_items begin
    select raise(abort, 'orders_scheduled_has_items: orders: a scheduled order keeps at least one item')
     where exists (select 1 from orders o where o.order_id = old.order_id and o.status = 'scheduled')
       and not exists (select 1 from order_items i where i.order_id = old.order_id);
end;
-- Of a cancelled order the guard speaks; SQLite runs triggers in no certain order.
create trigger orders_status_rules before update of status, currency, delivery_starts_at, delivery_ends_at on orders
    when old.status is not 'cancelled' begin
    select raise(abort, 'orders_scheduled_has_items: orders: an order without items is not scheduled')
     where new.status = 'scheduled' and not exists (select 1 from order_items i where i.order_id = new.order_id);
    select raise(abort, 'orders_never_reopens: orders: a scheduled order does not become open again')
     where new.status = 'open' and old.status is not 'open';
    select raise(abort, 'orders_cancelled_keeps_window: orders: a cancelled order keeps the delivery window that it had')
     where new.status = 'cancelled'
       and (new.delivery_starts_at is not old.delivery_starts_at or new.delivery_ends_at is not old.delivery_ends_at);
    select raise(abort, 'orders_currency_is_fixed: orders: the currency never changes')
     where new.currency is not old.currency;
end;

insert into order_store_migrations (version) values (1);
