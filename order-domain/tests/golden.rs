//! The JSON of events and orders is a public contract: what is written here must stay readable for ever, and what
//! is written today must be exactly this. Readers get more fields at most, so a file only ever grows.

use chrono::{DateTime, Utc};
use order_domain::{
    Currency, CustomerId, DeliveryWindow, EventType, Item, ItemId, Money, Order, OrderEvent, OrderId, OrderStatus,
    Quantity, Sku, Version,
};
use serde_json::{Value, json};

const CREATED: &str = include_str!("golden/created.json");
const ITEM_ADDED: &str = include_str!("golden/item_added.json");
const ITEM_QUANTITY_CHANGED: &str = include_str!("golden/item_quantity_changed.json");
const ITEM_REMOVED: &str = include_str!("golden/item_removed.json");
const SCHEDULED: &str = include_str!("golden/scheduled.json");
const CANCELLED: &str = include_str!("golden/cancelled.json");
const ORDER_OPEN: &str = include_str!("golden/order_open.json");
const ORDER_SCHEDULED: &str = include_str!("golden/order_scheduled.json");
const ORDER_CANCELLED: &str = include_str!("golden/order_cancelled.json");

fn golden(event_type: EventType) -> Value {
    let text = match event_type {
        EventType::Created => CREATED,
        EventType::ItemAdded => ITEM_ADDED,
        EventType::ItemQuantityChanged => ITEM_QUANTITY_CHANGED,
        EventType::ItemRemoved => ITEM_REMOVED,
        EventType::Scheduled => SCHEDULED,
        EventType::Cancelled => CANCELLED,
    };
    serde_json::from_str(text).unwrap()
}

fn order_id() -> OrderId {
    "01998f3e-7c00-7000-8000-000000000001".parse().unwrap()
}

fn customer_id() -> CustomerId {
    "01998f3e-7c00-7000-8000-0000000000c1".parse().unwrap()
}

fn item(number: u8, sku: &str, quantity: u16, minor: i64) -> Item {
    let item_id: ItemId = format!("01998f3e-7c00-7000-8000-0000000001{number:02}").parse().unwrap();
    let price = Money::from_minor(minor, Currency::EUR).unwrap();
    Item::new(item_id, Sku::new(sku).unwrap(), Quantity::new(quantity).unwrap(), price)
}

fn delivery_window() -> DeliveryWindow {
    let time = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
    DeliveryWindow::new(time("2026-10-02T12:00:00Z"), time("2026-10-02T14:30:00.123456789Z")).unwrap()
}

/// One event of each type.
fn events() -> [OrderEvent; 6] {
    let order_id = order_id();
    let (milk, more_milk) = (item(1, "milk", 2, 149), item(1, "milk", 3, 149));
    let previous_quantity = milk.quantity();
    [
        OrderEvent::Created { order_id, customer_id: customer_id(), currency: Currency::EUR },
        OrderEvent::ItemAdded { order_id, item: milk },
        OrderEvent::ItemQuantityChanged { order_id, item: more_milk.clone(), previous_quantity },
        OrderEvent::ItemRemoved { order_id, item: more_milk },
        OrderEvent::Scheduled { order_id, delivery_window: delivery_window() },
        OrderEvent::Cancelled { order_id },
    ]
}

/// Orders after 1, 5 and 6 events, with the JSON of each.
fn orders() -> [(Order, &'static str); 3] {
    let [created, milk_added, changed, _, scheduled, cancelled] = events();
    let bread_added = OrderEvent::ItemAdded { order_id: order_id(), item: item(2, "bread/rye_1.5-kg", 1, 0) };
    let history = [created, bread_added, milk_added, changed, scheduled, cancelled];
    let after = |count: usize| {
        let versions = (1..=count).map(|number| Version::new(number).unwrap());
        Order::from_events(versions.zip(&history)).unwrap()
    };
    [(after(1), ORDER_OPEN), (after(5), ORDER_SCHEDULED), (after(6), ORDER_CANCELLED)]
}

#[test]
fn every_type_of_event_has_its_file() {
    assert_eq!(events().map(|event| event.event_type()), EventType::ALL);
}

#[test]
fn an_event_is_written_as_its_file_says() {
    for event in events() {
        assert_eq!(serde_json::to_value(&event).unwrap(), golden(event.event_type()), "{}", event.event_type());
    }
}

#[test]
fn an_event_is_read_from_its_file() {
    for event in events() {
        let read = OrderEvent::from_payload(event.event_type(), golden(event.event_type())).unwrap();
        assert_eq!(read, event);
    }
}

#[test]
fn fields_that_come_later_are_passed_over() {
    for event in events() {
        let mut payload = golden(event.event_type());
        payload["added_later"] = json!({"by": "a newer version"});
        assert_eq!(OrderEvent::from_payload(event.event_type(), payload).unwrap(), event);
    }
}

#[test]
fn a_payload_that_lacks_a_field_is_refused() {
    for event_type in EventType::ALL {
        let whole = golden(event_type);
        for field in whole.as_object().unwrap().keys() {
            let mut payload = whole.clone();
            payload.as_object_mut().unwrap().remove(field);
            let error = OrderEvent::from_payload(event_type, payload).unwrap_err();
            assert!(error.to_string().contains(field), "{event_type} without {field}: {error}");
        }
    }
}

#[test]
fn a_payload_with_a_value_that_can_not_be_built_is_refused() {
    let broken = [
        ("order_id", json!("order 1")),
        ("item_id", json!(7)),
        ("sku", json!("")),
        ("quantity", json!(0)),
        ("quantity", json!(1_000)),
        ("previous_quantity", json!(-1)),
        ("unit_price_minor", json!(-1)),
        ("unit_price_minor", json!(1.5)),
        ("currency", json!("XXX")),
    ];
    for (field, value) in broken {
        let mut payload = golden(EventType::ItemQuantityChanged);
        payload[field] = value.clone();
        assert!(OrderEvent::from_payload(EventType::ItemQuantityChanged, payload).is_err(), "{field}: {value}");
    }
}

#[test]
fn an_order_is_written_as_its_file_says() {
    for (order, text) in orders() {
        let expected: Value = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_value(&order).unwrap(), expected);
    }
}

#[test]
fn an_order_is_read_from_its_file_with_fields_that_come_later() {
    for (order, text) in orders() {
        let mut json: Value = serde_json::from_str(text).unwrap();
        json["added_later"] = json!(true);
        assert_eq!(serde_json::from_value::<Order>(json).unwrap(), order);
    }
    assert_eq!(OrderStatus::ALL, orders().map(|(order, _)| order.status()));
}
