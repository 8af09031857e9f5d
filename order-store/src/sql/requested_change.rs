//! A requested change, with everything that stays the same when it is tried again.

use chrono::Utc;
use order_domain::{
    Command, Currency, ItemId, NewItem, NewOrder, Order, OrderError, OrderEvent, OrderId, Version, decide,
};
use uuid::Uuid;

use crate::error::Refusal;
use crate::request::Request;

/// A requested change.
#[derive(Debug)]
pub struct RequestedChange {
    pub operation: Operation,
    pub request: Request,
    /// Distinguishes this change from others under the same request id.
    pub fingerprint: String,
    pub event_id: Uuid,
}

#[derive(Debug)]
pub enum Operation {
    Create { order_id: OrderId, order: NewOrder },
    Change { order_id: OrderId, command: Command },
}

/// The outcome of one attempt. Only [`Outcome::Done`] changed something.
#[derive(Debug)]
pub enum Outcome {
    Done(Order),
    /// A request of this id was accepted before.
    AcceptedBefore(Accepted),
    Refused(Refusal),
    /// Others changed the order while this attempt waited for it: try again.
    Overtaken,
}

/// A request that was accepted before.
#[derive(Debug)]
pub struct Accepted {
    pub order_id: OrderId,
    pub version: Version,
    pub fingerprint: String,
    /// The order as it is now, if the attempt read it.
    pub present: Option<Order>,
}

impl RequestedChange {
    pub(crate) fn create(order: NewOrder, request: Request) -> Self {
        let order_id = OrderId::generate(Utc::now());
        let fingerprint = fingerprint(&["create", &order.customer_id().to_string(), order.currency().as_str()]);
        Self { operation: Operation::Create { order_id, order }, request, fingerprint, event_id: Uuid::now_v7() }
    }

    /// The item gets its id here: asked for again, it would get another, so the fingerprint leaves the id out.
    pub(crate) fn add_item(order_id: OrderId, item: NewItem, request: Request) -> Self {
        let fingerprint = fingerprint_of_change(order_id, &item_parts(None, &item));
        let command = Command::AddItem { item_id: ItemId::generate(Utc::now()), item };
        Self { operation: Operation::Change { order_id, command }, request, fingerprint, event_id: Uuid::now_v7() }
    }

    pub(crate) fn change(order_id: OrderId, command: Command, request: Request) -> Self {
        let fingerprint = fingerprint_of_change(order_id, &command_parts(&command));
        Self { operation: Operation::Change { order_id, command }, request, fingerprint, event_id: Uuid::now_v7() }
    }

    /// For spans and logs.
    pub(crate) const fn name(&self) -> &'static str {
        match &self.operation {
            Operation::Create { .. } => "create",
            Operation::Change { command, .. } => match command {
                Command::AddItem { .. } => "add_item",
                Command::ChangeItemQuantity { .. } => "change_quantity",
                Command::RemoveItem { .. } => "remove_item",
                Command::Schedule { .. } => "schedule",
                Command::Cancel => "cancel",
            },
        }
    }

    pub(crate) const fn order_id(&self) -> OrderId {
        match &self.operation {
            Operation::Create { order_id, .. } | Operation::Change { order_id, .. } => *order_id,
        }
    }

    pub(crate) fn request_id(&self) -> Option<&str> {
        self.request.request_id().map(crate::request::RequestId::as_str)
    }
}

/// Decides a command with its request: the domain's rules, and the expected version.
pub(crate) fn decide_request(
    order: Option<&Order>,
    command: &Command,
    request: &Request,
) -> Result<OrderEvent, Refusal> {
    let order = order.ok_or(Refusal::OrderNotFound)?;
    match (decide(order, command), request.expected_version()) {
        (Err(cancelled @ (OrderError::Cancelled { .. } | OrderError::AlreadyCancelled { .. })), _) => {
            Err(cancelled.into())
        }
        (_, Some(expected)) if expected != order.version() => {
            Err(Refusal::VersionConflict { expected, actual: order.version() })
        }
        (answer, _) => answer.map_err(Refusal::from),
    }
}

fn fingerprint_of_change(order_id: OrderId, parts: &[String]) -> String {
    let order_id = order_id.to_string();
    let parts: Vec<&str> = std::iter::once(order_id.as_str()).chain(parts.iter().map(String::as_str)).collect();
    fingerprint(&parts)
}

fn command_parts(command: &Command) -> Vec<String> {
    match command {
        Command::AddItem { item_id, item } => item_parts(Some(*item_id), item),
        Command::ChangeItemQuantity { item_id, quantity } => {
            vec!["change_quantity".to_owned(), item_id.to_string(), quantity.to_string()]
        }
        Command::RemoveItem { item_id } => vec!["remove_item".to_owned(), item_id.to_string()],
        Command::Schedule { delivery_window } => vec![
            "schedule".to_owned(),
            delivery_window.starts_at().timestamp_micros().to_string(),
            delivery_window.ends_at().timestamp_micros().to_string(),
        ],
        Command::Cancel => vec!["cancel".to_owned()],
    }
}

fn item_parts(item_id: Option<ItemId>, item: &NewItem) -> Vec<String> {
    let mut parts = vec![
        "add_item".to_owned(),
        item.sku().to_string(),
        item.quantity().to_string(),
        item.unit_price_minor().to_string(),
        item.currency().map_or("", Currency::as_str).to_owned(),
    ];
    parts.extend(item_id.map(|id| id.to_string()));
    parts
}

/// Hashes the parts by FNV-1a with 128 bits, in hexadecimal digits. Databases keep it, so it never changes. It need not
/// withstand attackers: they could only fool request ids of their own.
fn fingerprint(parts: &[&str]) -> String {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    // No part has this byte, so no two lists of parts read the same.
    const SEPARATOR: u8 = 0;
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([SEPARATOR]));
    let hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
    format!("{hash:032x}")
}

#[cfg(test)]
mod tests {
    use order_domain::{CustomerId, DeliveryWindow, Money, Quantity, Sku};

    use super::*;

    fn order_id() -> OrderId {
        Uuid::from_u128(1).into()
    }

    fn milk(quantity: u16) -> NewItem {
        let price = Money::from_minor(149, Currency::EUR).unwrap();
        NewItem::new(Sku::new("milk").unwrap(), Quantity::new(quantity).unwrap(), price)
    }

    fn in_order_currency(quantity: u16) -> NewItem {
        NewItem::in_order_currency(Sku::new("milk").unwrap(), Quantity::new(quantity).unwrap(), 149).unwrap()
    }

    fn order() -> Order {
        let created = order_domain::create(order_id(), &NewOrder::new(Uuid::from_u128(2).into(), Currency::EUR));
        Order::from_events([(Version::FIRST, created)]).unwrap()
    }

    #[test]
    fn a_fingerprint_is_the_same_on_every_day() {
        let window =
            DeliveryWindow::new("2026-10-02T12:00:00Z".parse().unwrap(), "2026-10-02T14:00:00Z".parse().unwrap());
        let item_id = ItemId::from(Uuid::from_u128(3));
        let of = |command| RequestedChange::change(order_id(), command, Request::new()).fingerprint;
        let customer = CustomerId::from(Uuid::from_u128(2));
        let known = [
            RequestedChange::create(NewOrder::new(customer, Currency::EUR), Request::new()).fingerprint,
            RequestedChange::add_item(order_id(), milk(2), Request::new()).fingerprint,
            RequestedChange::add_item(order_id(), in_order_currency(2), Request::new()).fingerprint,
            of(Command::AddItem { item_id, item: milk(2) }),
            of(Command::ChangeItemQuantity { item_id, quantity: Quantity::MAX }),
            of(Command::RemoveItem { item_id }),
            of(Command::Schedule { delivery_window: window.unwrap() }),
            of(Command::Cancel),
        ];
        let expected = [
            "e12822c8e5ab6f592c42480e4f27a107",
            "1855eeb4d31399a3780990e57c14156a",
            "fbc7487836c6961eb8f012b8f0a5c5c6",
            "34763d0b3d7029b0953e6a84d929a1b9",
            "64d1dacabe920dbdca79da9d284346c6",
            "dfd10c6c6047c6485db3c1e1f4594c4b",
            "8a84bf8ff5a5678e2ba07d211fbc270e",
            "f6f05561de03ee29dc6044f5bf8655e8",
        ];
        assert_eq!(known, expected);
    }

    #[test]
    fn another_change_has_another_fingerprint_and_another_item_id_of_the_stores_own_does_not() {
        let add = |quantity| RequestedChange::add_item(order_id(), milk(quantity), Request::new());
        let (first, again) = (add(2), add(2));
        assert_eq!(first.fingerprint, again.fingerprint);
        assert_ne!(first.event_id, again.event_id);
        assert_ne!(first.fingerprint, add(3).fingerprint);
        let elsewhere = RequestedChange::add_item(Uuid::from_u128(9).into(), milk(2), Request::new());
        assert_ne!(first.fingerprint, elsewhere.fingerprint);
    }

    #[test]
    fn cancelled_comes_before_another_version_and_that_before_the_rest() {
        let mut order = order();
        let other_version = Request::new().expecting(Version::new(7).unwrap());
        let remove = Command::RemoveItem { item_id: Uuid::from_u128(3).into() };
        let conflict = Refusal::VersionConflict { expected: Version::new(7).unwrap(), actual: Version::FIRST };
        assert_eq!(decide_request(Some(&order), &remove, &other_version), Err(conflict.clone()));
        assert_eq!(decide_request(Some(&order), &Command::Cancel, &other_version), Err(conflict));
        assert_eq!(decide_request(Some(&order), &remove, &Request::new()), Err(Refusal::ItemNotFound));

        order.apply(&OrderEvent::Cancelled { order_id: order_id() }).unwrap();
        let at_version = Version::new(2).unwrap();
        assert_eq!(decide_request(Some(&order), &remove, &other_version), Err(Refusal::OrderCancelled { at_version }));
        let again = decide_request(Some(&order), &Command::Cancel, &other_version);
        assert_eq!(again, Err(Refusal::AlreadyCancelled { at_version }));
        assert_eq!(decide_request(None, &Command::Cancel, &other_version), Err(Refusal::OrderNotFound));
    }
}
