//! SQL statements. A change reads the order under the database's write lock, lets the domain decide, and writes what was
//! decided; the tables' rules decide_request it again.

/// An order as the JSON of `order_domain::OrderState`.
macro_rules! order_json {
    () => {
        "json_object(
        'order_id', o.order_id, 'customer_id', o.customer_id, 'status', o.status, 'version', o.version,
        'currency', o.currency,
        'items', (
            select json_group_array(json_object(
                'item_id', i.item_id, 'sku', i.sku, 'quantity', i.quantity, 'unit_price_minor', i.unit_price_minor))
              from order_items i where i.order_id = o.order_id),
        'delivery_window', case when o.delivery_starts_at is not null then
            json_object('starts_at', o.delivery_starts_at, 'ends_at', o.delivery_ends_at) end)"
    };
}

/// `$1` order id, `$2` request id.
pub(super) const BEFORE: &str = concat!(
    "select (select ",
    order_json!(),
    " from orders o where o.order_id = $1), r.order_id, r.version, r.fingerprint
  from (select 1) left join order_requests r on r.request_id = $2"
);

/// `$1` order id, `$2` customer id, `$3` currency.
pub(super) const CREATE: &str = "insert into orders (order_id, customer_id, currency) values ($1, $2, $3)";

/// `$1` order id, `$2` version, `$3` status, `$4` start and `$5` end of the window.
pub(super) const STEP_WITH_STATUS: &str = "update orders
   set version = $2, updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now'),
       status = $3, delivery_starts_at = $4, delivery_ends_at = $5
 where order_id = $1";

/// `$1` order id, `$2` version.
pub(super) const STEP: &str =
    "update orders set version = $2, updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') where order_id = $1";

/// `$1` order id, `$2` item id, `$3` SKU, `$4` quantity, `$5` unit price.
pub(super) const ADD_ITEM: &str =
    "insert into order_items (order_id, item_id, sku, quantity, unit_price_minor) values ($1, $2, $3, $4, $5)";

/// `$1` order id, `$2` item id, `$3` quantity.
pub(super) const CHANGE_QUANTITY: &str = "update order_items set quantity = $3 where order_id = $1 and item_id = $2";

/// `$1` order id, `$2` item id.
pub(super) const REMOVE_ITEM: &str = "delete from order_items where order_id = $1 and item_id = $2";

/// `$1` event id, `$2` order id, `$3` version, `$4` event type, `$5` payload, `$6` trace context.
pub(super) const APPEND: &str =
    "insert into order_events (event_id, order_id, version, event_type, payload, traceparent)
values ($1, $2, $3, $4, $5, $6)";

/// `$1` request id, `$2` order id, `$3` version, `$4` fingerprint.
pub(super) const ACCEPT: &str =
    "insert into order_requests (request_id, order_id, version, fingerprint) values ($1, $2, $3, $4)";

/// `$1` order id.
pub(super) const GET: &str = concat!("select ", order_json!(), " from orders o where o.order_id = $1");

/// `$1` customer id, `$2` order id that the page stays below, or null, `$3` how many.
pub(super) const LIST: &str = concat!(
    "select ",
    order_json!(),
    " from orders o where o.customer_id = $1 and o.order_id < coalesce($2, 'g') order by o.order_id desc limit $3"
);

/// `$1` order id, `$2` version.
pub(super) const HISTORY: &str = "select version, event_type, payload from order_events
 where order_id = $1 and version <= $2 order by version";

/// `$1` time, `$2` how many.
pub(super) const FORGET: &str = "delete from order_requests where request_id in (
    select request_id from order_requests where created_at < $1 order by created_at limit $2)";
