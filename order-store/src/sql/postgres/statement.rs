//! SQL statements. Each change is one statement: one round trip and one transaction.
//!
//! ```text
//!  before   the order, its items and the request of this id, as the statement's snapshot shows them
//!  stepped  the order's next version, if it may change: waits for its row, then checks it as it is by then
//!  changed  what the change does to the items; returns the event's payload
//!  event    closes the version
//!  request  remembers the request's id
//!  answer   all of that: the caller sees why nothing was stepped, or makes the order as it is now
//! ```
//!
//! *Overtaken*: where `stepped` had to wait for another change, `before` is older than what it stepped. What only rows of
//! items can tell (is there such an item, how many are there) was then checked against old ones. Triggers and keys check
//! again, so that nothing wrong commits; a refusal that only the old rows justify is tried again; and an answer takes
//! the items from `order_items_now`, which looks again while the order's row is held.
//!
//! Parameters of every change: `$1` order id, `$2` expected version, `$3` request id, `$4` fingerprint, `$5` event id,
//! `$6` trace context, `$7` lock timeout in milliseconds; from `$8` on those of the change.

use order_domain::Command;

/// An order's columns and its items, each column of them as an array. Of an order that isn't there, all are null.
macro_rules! order_columns {
    () => {
        "o.order_id, o.customer_id, o.status, o.version, o.currency, o.delivery_starts_at, o.delivery_ends_at,
           i.item_ids, i.skus, i.quantities, i.unit_prices_minor"
    };
}

/// The items of the order `$of`.
macro_rules! items_of {
    ($of:literal) => {
        concat!(
            "lateral (
          select array_agg(i.item_id) as item_ids, array_agg(i.sku) as skus, array_agg(i.quantity) as quantities,
                 array_agg(i.unit_price_minor) as unit_prices_minor
            from public.order_items i where i.order_id = ",
            $of,
            ") i"
        )
    };
}

/// Limits the waits for locks to this many milliseconds until the transaction ends, so that the server gives up before
/// the store does, and what the store reports as failed is never made later. A limit that the role has already stays.
/// One row; null is no limit. (`before` is evaluated before the first row is locked.)
macro_rules! lock_timeout {
    ($milliseconds:literal) => {
        concat!(
            "(select case when ",
            $milliseconds,
            "::text is not null and current_setting('lock_timeout') = '0'
               then set_config('lock_timeout', ",
            $milliseconds,
            "::text, true) end) lock_timeout"
        )
    };
}

macro_rules! change {
    (event_type: $event_type:literal, set: $set:literal, if_before: $if_before:literal, changed: $changed:literal) => {
        concat!(
            "with before as materialized (
    select ",
            order_columns!(),
            ",
           r.order_id as request_order_id, r.version as request_version, r.fingerprint
      from ",
            lock_timeout!("$7"),
            "
      left join public.orders o on o.order_id = $1
      left join public.order_requests r on r.request_id = $3
      cross join ",
            items_of!("$1"),
            "
), stepped as (
    update public.orders o
       set version = o.version + 1, updated_at = clock_timestamp()",
            $set,
            "
     where o.order_id = $1 and o.status <> 'cancelled' and o.version < 9223372036854775807
       and o.version = coalesce($2, o.version)
       and (select b.fingerprint is null and ",
            $if_before,
            " from before b)
    returning o.order_id, o.version, o.status, o.currency, o.delivery_starts_at, o.delivery_ends_at
), ",
            $changed,
            ", event as (
    insert into public.order_events (event_id, order_id, version, event_type, payload, traceparent)
    select $5, s.order_id, s.version, '",
            $event_type,
            "', c.payload, $6 from stepped s join changed c on c.order_id = s.order_id
    returning order_id, version
), request as (
    insert into public.order_requests (request_id, order_id, version, fingerprint)
    select $3, e.order_id, e.version, $4 from event e where $3 is not null
)
select b.*, e.version, s.status, s.delivery_starts_at, s.delivery_ends_at,
       case when e.version - 1 <> b.version then public.order_items_now(e.order_id)::text end
  from before b
  left join (stepped s join event e on e.order_id = s.order_id) on true"
        )
    };
}

/// `$8` item id, `$9` SKU, `$10` quantity, `$11` unit price, `$12` currency, or null for the order's,
/// `$13` the most items of an order.
const ADD_ITEM: &str = change!(
    event_type: "item_added",
    set: "",
    if_before: "b.currency = coalesce($12, b.currency) and coalesce(cardinality(b.item_ids), 0) < $13 and ($8 = any (b.item_ids)) is not true",
    changed: "added as (
    insert into public.order_items (order_id, item_id, sku, quantity, unit_price_minor)
    select s.order_id, $8, $9, $10, $11 from stepped s
    returning order_id, item_id, sku, quantity, unit_price_minor
), changed as (
    select a.order_id, format(
        '{\"order_id\":\"%s\",\"item_id\":\"%s\",\"sku\":%s,\"quantity\":%s,\"unit_price_minor\":%s,\"currency\":\"%s\"}',
        a.order_id, a.item_id, to_json(a.sku), a.quantity, a.unit_price_minor, s.currency)::json as payload
      from added a join stepped s on s.order_id = a.order_id
)"
);

/// `$8` item id, `$9` quantity.
///
/// `previous` reads with a row lock, so it returns the quantity that the update replaces: a plain read would return
/// that of the statement's snapshot.
const CHANGE_QUANTITY: &str = change!(
    event_type: "item_quantity_changed",
    set: "",
    if_before: "$8 = any (b.item_ids)",
    changed: "previous as (
    select i.order_id, i.quantity, s.currency
      from stepped s join public.order_items i on i.order_id = s.order_id
     where i.item_id = $8 for no key update of i
), changed as (
    update public.order_items i set quantity = $9 from previous p
     where i.order_id = p.order_id and i.item_id = $8
    returning i.order_id, format(
        '{\"order_id\":\"%s\",\"item_id\":\"%s\",\"sku\":%s,\"quantity\":%s,\"previous_quantity\":%s,\"unit_price_minor\":%s,\"currency\":\"%s\"}',
        i.order_id, i.item_id, to_json(i.sku), i.quantity, p.quantity, i.unit_price_minor, p.currency)::json as payload
)"
);

/// `$8` item id.
const REMOVE_ITEM: &str = change!(
    event_type: "item_removed",
    set: "",
    if_before: "$8 = any (b.item_ids) and (b.status <> 'scheduled' or cardinality(b.item_ids) > 1)",
    changed: "changed as (
    delete from public.order_items i using stepped s
     where i.order_id = s.order_id and i.item_id = $8
    returning i.order_id, format(
        '{\"order_id\":\"%s\",\"item_id\":\"%s\",\"sku\":%s,\"quantity\":%s,\"unit_price_minor\":%s,\"currency\":\"%s\"}',
        i.order_id, i.item_id, to_json(i.sku), i.quantity, i.unit_price_minor, s.currency)::json as payload
)"
);

/// `$8` start, `$9` end, `$10` payload.
const SCHEDULE: &str = change!(
    event_type: "scheduled",
    set: ", status = 'scheduled', delivery_starts_at = $8, delivery_ends_at = $9",
    if_before: "cardinality(b.item_ids) > 0",
    changed: "changed as (
    select s.order_id, $10::text::json as payload from stepped s
)"
);

/// `$8` payload.
const CANCEL: &str = change!(
    event_type: "cancelled",
    set: ", status = 'cancelled'",
    if_before: "true",
    changed: "changed as (
    select s.order_id, $8::text::json as payload from stepped s
)"
);

pub(super) const fn of(command: &Command) -> &'static str {
    match command {
        Command::AddItem { .. } => ADD_ITEM,
        Command::ChangeItemQuantity { .. } => CHANGE_QUANTITY,
        Command::RemoveItem { .. } => REMOVE_ITEM,
        Command::Schedule { .. } => SCHEDULE,
        Command::Cancel => CANCEL,
    }
}

/// `$1` order id, `$2` request id, `$3` fingerprint, `$4` event id, `$5` trace context, `$6` customer id, `$7` currency,
/// `$8` payload, `$9` lock timeout in milliseconds.
pub(super) const CREATE: &str = concat!(
    "with before as materialized (
    select r.order_id, r.version, r.fingerprint
      from ",
    lock_timeout!("$9"),
    " left join public.order_requests r on r.request_id = $2
), created as (
    insert into public.orders (order_id, customer_id, currency)
    select $1, $6, $7 from before b where b.fingerprint is null
    returning order_id, version
), event as (
    insert into public.order_events (event_id, order_id, version, event_type, payload, traceparent)
    select $4, c.order_id, c.version, 'created', $8::text::json, $5 from created c
    returning order_id, version
), request as (
    insert into public.order_requests (request_id, order_id, version, fingerprint)
    select $2, e.order_id, e.version, $3 from event e where $2 is not null
)
select b.order_id, b.version, b.fingerprint, e.version from before b left join event e on true"
);

/// Takes the weakest lock that keeps an order from changing: foreign keys to it don't wait.
pub(super) const LOCK: &str = "select from public.orders where order_id = $1 for no key update";

pub(super) const GET: &str = concat!(
    "select ",
    order_columns!(),
    " from public.orders o cross join ",
    items_of!("o.order_id"),
    " where o.order_id = $1"
);

pub(super) const LIST: &str = concat!(
    "select ",
    order_columns!(),
    " from (select * from public.orders where customer_id = $1 and ($2 is null or order_id < $2)
             order by order_id desc limit $3) o cross join ",
    items_of!("o.order_id"),
    " order by o.order_id desc"
);

pub(super) const HISTORY: &str = "select version, event_type, payload::text from public.order_events
 where order_id = $1 and version <= $2 order by version";

/// `$1` time, `$2` how many.
pub(super) const FORGET: &str = "delete from public.order_requests where request_id in (
    select request_id from public.order_requests where created_at < $1 order by created_at limit $2)";
