//! The rules of an order, one sentence each.

use chrono::{DateTime, TimeDelta, Utc};
use order_domain::{
    Command, Currency, CustomerId, DeliveryWindow, InvalidOrder, InvalidValue, Item, ItemId, MAX_ITEMS_PER_ORDER,
    Money, MoneyError, NewItem, NewOrder, Order, OrderError, OrderEvent, OrderId, OrderState, OrderStatus, Quantity,
    ReplayError, Sku, Version, create, decide,
};
use uuid::Uuid;

fn order_id() -> OrderId {
    Uuid::from_u128(1).into()
}

fn item_id(number: u128) -> ItemId {
    Uuid::from_u128(number).into()
}

fn version(number: i64) -> Version {
    Version::new(number).unwrap()
}

fn quantity(pieces: u16) -> Quantity {
    Quantity::new(pieces).unwrap()
}

fn item(id: u128, minor: i64, currency: Currency) -> Item {
    let price = Money::from_minor(minor, currency).unwrap();
    Item::new(item_id(id), Sku::new("milk").unwrap(), quantity(2), price)
}

fn priced(minor: i64, currency: Currency) -> NewItem {
    NewItem::new(Sku::new("milk").unwrap(), quantity(2), Money::from_minor(minor, currency).unwrap())
}

fn window(hour: i64) -> DeliveryWindow {
    let starts_at: DateTime<Utc> = DateTime::UNIX_EPOCH + TimeDelta::hours(hour);
    DeliveryWindow::new(starts_at, starts_at + TimeDelta::hours(2)).unwrap()
}

fn add(number: u128) -> Command {
    Command::AddItem { item_id: item_id(number), item: priced(149, Currency::EUR) }
}

fn change(number: u128, pieces: u16) -> Command {
    Command::ChangeItemQuantity { item_id: item_id(number), quantity: quantity(pieces) }
}

fn remove(number: u128) -> Command {
    Command::RemoveItem { item_id: item_id(number) }
}

fn schedule(hour: i64) -> Command {
    Command::Schedule { delivery_window: window(hour) }
}

fn created() -> OrderEvent {
    create(order_id(), &NewOrder::new(CustomerId::from(Uuid::from_u128(2)), Currency::EUR))
}

/// A new order after these commands, all of which it accepts.
fn order_after(commands: &[Command]) -> Order {
    let mut order = Order::from_events([(Version::FIRST, created())]).unwrap();
    for command in commands {
        let event = decide(&order, command).unwrap();
        order.apply(&event).unwrap();
    }
    order
}

#[test]
fn a_new_order_is_open_and_empty_at_version_1() {
    let order = order_after(&[]);
    assert_eq!((order.id(), order.status(), order.version()), (order_id(), OrderStatus::Open, Version::FIRST));
    assert!(order.items().is_empty() && order.delivery_window().is_none());
    assert_eq!(order.total(), Ok(Money::zero(Currency::EUR)));
}

#[test]
fn items_are_added_changed_and_removed_while_an_order_is_open() {
    let order = order_after(&[add(1), add(2), change(1, 3), remove(2)]);
    assert_eq!((order.status(), order.version()), (OrderStatus::Open, version(5)));
    assert_eq!(order.items().len(), 1);
    assert_eq!(order.item(item_id(1)).map(Item::quantity), Some(quantity(3)));
    assert_eq!(order.item(item_id(2)), None);
}

#[test]
fn items_are_added_changed_and_removed_while_an_order_is_scheduled() {
    let order = order_after(&[add(1), schedule(1), add(2), change(2, 3), remove(1)]);
    assert_eq!((order.status(), order.version()), (OrderStatus::Scheduled, version(6)));
    assert_eq!(order.items().iter().map(Item::id).collect::<Vec<_>>(), [item_id(2)]);
}

#[test]
fn an_open_order_may_lose_its_last_item() {
    assert!(order_after(&[add(1), remove(1)]).items().is_empty());
}

#[test]
fn an_order_without_items_can_not_be_scheduled() {
    assert_eq!(decide(&order_after(&[]), &schedule(1)), Err(OrderError::Empty));
    assert_eq!(decide(&order_after(&[add(1), remove(1)]), &schedule(1)), Err(OrderError::Empty));
}

#[test]
fn a_scheduled_order_keeps_its_last_item() {
    let order = order_after(&[add(1), add(2), schedule(1), remove(2)]);
    assert_eq!(decide(&order, &remove(1)), Err(OrderError::LastItem));
    assert_eq!(decide(&order, &remove(2)), Err(OrderError::ItemNotFound { item_id: item_id(2) }));
}

#[test]
fn a_scheduled_order_is_scheduled_again_for_another_window() {
    let order = order_after(&[add(1), schedule(1), schedule(5)]);
    assert_eq!((order.delivery_window(), order.version()), (Some(window(5)), version(4)));
}

#[test]
fn a_cancelled_order_refuses_everything_and_says_since_when() {
    for before in [vec![], vec![add(1)], vec![add(1), schedule(1)]] {
        let order = order_after(&[before, vec![Command::Cancel]].concat());
        let at_version = order.version();
        for command in [add(1), add(9), change(1, 3), remove(1), remove(9), schedule(2)] {
            assert_eq!(decide(&order, &command), Err(OrderError::Cancelled { at_version }), "{command:?}");
        }
        assert_eq!(decide(&order, &Command::Cancel), Err(OrderError::AlreadyCancelled { at_version }));
    }
}

#[test]
fn a_cancelled_order_keeps_its_items_and_its_window() {
    let order = order_after(&[add(1), schedule(1), Command::Cancel]);
    assert_eq!(order.status(), OrderStatus::Cancelled);
    assert_eq!((order.items().len(), order.delivery_window()), (1, Some(window(1))));
}

#[test]
fn an_item_id_is_taken_until_its_item_is_removed() {
    let order = order_after(&[add(1)]);
    assert_eq!(decide(&order, &add(1)), Err(OrderError::ItemExists { item_id: item_id(1) }));
    assert_eq!(order_after(&[add(1), remove(1), add(1)]).items().len(), 1);
}

#[test]
fn an_item_that_an_order_does_not_have_is_neither_changed_nor_removed() {
    let order = order_after(&[add(1)]);
    let not_found = Err(OrderError::ItemNotFound { item_id: item_id(2) });
    assert_eq!(decide(&order, &change(2, 1)), not_found);
    assert_eq!(decide(&order, &remove(2)), not_found);
}

#[test]
fn setting_the_quantity_that_an_item_has_is_a_change_too() {
    let order = order_after(&[add(1), change(1, 2)]);
    assert_eq!((order.version(), order.items()[0].quantity()), (version(3), quantity(2)));
}

#[test]
fn an_order_has_one_currency() {
    let in_yen = Command::AddItem { item_id: item_id(1), item: priced(149, Currency::JPY) };
    let mismatch = OrderError::CurrencyMismatch { order: Currency::EUR, item: Currency::JPY };
    assert_eq!(decide(&order_after(&[]), &in_yen), Err(mismatch));
}

#[test]
fn an_order_has_at_most_200_items() {
    let fill: Vec<_> = (1..=200).map(add).collect();
    let order = order_after(&fill);
    assert_eq!(order.items().len(), MAX_ITEMS_PER_ORDER);
    assert_eq!(decide(&order, &add(201)), Err(OrderError::TooManyItems { limit: 200 }));
    let order = order_after(&[fill, vec![remove(7), add(201)]].concat());
    assert_eq!(order.items().len(), MAX_ITEMS_PER_ORDER);
}

#[test]
fn an_item_without_a_currency_takes_the_orders() {
    let order = order_after(&[]);
    let bread = NewItem::in_order_currency(Sku::new("bread").unwrap(), quantity(1), 320).unwrap();
    let event = decide(&order, &Command::AddItem { item_id: item_id(1), item: bread }).unwrap();
    let OrderEvent::ItemAdded { item, .. } = &event else { panic!("{event:?}") };
    assert_eq!(item.unit_price(), Money::from_minor(320, order.currency()).unwrap());
    let negative = NewItem::in_order_currency(Sku::new("bread").unwrap(), quantity(1), -1);
    assert_eq!(negative, Err(InvalidValue::NegativeMoney));
}

#[test]
fn the_event_of_a_quantity_tells_the_item_and_the_quantity_before() {
    let event = decide(&order_after(&[add(1)]), &change(1, 5)).unwrap();
    let item = item(1, 149, Currency::EUR).with_quantity(quantity(5));
    let expected = OrderEvent::ItemQuantityChanged { order_id: order_id(), item, previous_quantity: quantity(2) };
    assert_eq!(event, expected);
}

#[test]
fn items_stay_sorted_by_id_in_whatever_order_they_come() {
    let order = order_after(&[add(3), add(1), add(2)]);
    assert_eq!(order.items().iter().map(Item::id).collect::<Vec<_>>(), [item_id(1), item_id(2), item_id(3)]);
}

#[test]
fn a_total_is_exact_or_an_error() {
    assert_eq!(order_after(&[add(1), add(2)]).total().map(Money::minor), Ok(596));
    let dear = |number| Command::AddItem { item_id: item_id(number), item: priced(i64::MAX / 2, Currency::EUR) };
    assert!(order_after(&[dear(1)]).total().is_ok());
    assert_eq!(order_after(&[dear(1), dear(2)]).total(), Err(MoneyError::Overflow));
}

#[test]
fn deciding_changes_nothing() {
    let order = order_after(&[add(1)]);
    let before = order.clone();
    let _ = decide(&order, &Command::Cancel);
    assert_eq!(order, before);
}

#[test]
fn an_order_at_the_last_version_refuses_what_would_need_another() {
    let mut state = OrderState::from(&order_after(&[add(1)]));
    state.version = Version::MAX;
    let order = Order::try_from(state).unwrap();
    for command in [add(2), change(1, 3), remove(1), schedule(1), Command::Cancel] {
        assert_eq!(decide(&order, &command), Err(OrderError::VersionsExhausted), "{command:?}");
    }
    let mut same = order.clone();
    let source = OrderError::VersionsExhausted;
    let illegal = ReplayError::Illegal { version: Version::MAX, source };
    assert_eq!(same.apply(&OrderEvent::Cancelled { order_id: order_id() }), Err(illegal));
    assert_eq!(same, order);
}

#[test]
fn a_history_without_events_is_no_order() {
    assert_eq!(Order::from_events(Vec::<(Version, OrderEvent)>::new()), Err(ReplayError::NoEvents));
}

#[test]
fn a_history_begins_with_created_at_version_1_and_has_it_once() {
    let cancelled = OrderEvent::Cancelled { order_id: order_id() };
    let found = cancelled.event_type();
    assert_eq!(Order::from_events([(Version::FIRST, cancelled)]), Err(ReplayError::NotCreated { found }));
    let late = ReplayError::OutOfSequence { expected: Version::FIRST, found: version(2) };
    assert_eq!(Order::from_events([(version(2), created())]), Err(late));
    let twice = [(version(1), created()), (version(2), created())];
    assert_eq!(Order::from_events(twice), Err(ReplayError::CreatedAgain { version: version(2) }));
}

#[test]
fn a_history_with_a_gap_a_double_or_an_inversion_is_refused() {
    let cancelled = OrderEvent::Cancelled { order_id: order_id() };
    for found in [version(1), version(3)] {
        let history = [(version(1), created()), (found, cancelled.clone())];
        let refused = ReplayError::OutOfSequence { expected: version(2), found };
        assert_eq!(Order::from_events(history), Err(refused));
    }
}

#[test]
fn an_event_of_another_order_is_not_applied() {
    let mut order = order_after(&[]);
    let other: OrderId = Uuid::from_u128(99).into();
    let refused = ReplayError::OtherOrder { expected: order_id(), found: other };
    assert_eq!(order.apply(&OrderEvent::Cancelled { order_id: other }), Err(refused));
    assert_eq!(order, order_after(&[]));
}

#[test]
fn an_event_that_no_command_could_have_caused_is_not_applied() {
    let order_id = order_id();
    let milk = item(1, 149, Currency::EUR);
    let yen = item(2, 149, Currency::JPY);
    let added = |item: &Item| OrderEvent::ItemAdded { order_id, item: item.clone() };
    let removed = OrderEvent::ItemRemoved { order_id, item: milk.clone() };
    let scheduled = OrderEvent::Scheduled { order_id, delivery_window: window(1) };
    let cancelled = OrderEvent::Cancelled { order_id };
    let (empty, open) = (vec![], vec![add(1)]);
    let (planned, ended) = (vec![add(1), schedule(1)], vec![add(1), Command::Cancel]);
    let at_version = version(3);
    let mismatch = OrderError::CurrencyMismatch { order: Currency::EUR, item: Currency::JPY };
    for (before, event, source) in [
        (&empty, &scheduled, OrderError::Empty),
        (&empty, &removed, OrderError::ItemNotFound { item_id: item_id(1) }),
        (&open, &added(&milk), OrderError::ItemExists { item_id: item_id(1) }),
        (&open, &added(&yen), mismatch),
        (&planned, &removed, OrderError::LastItem),
        (&ended, &added(&milk), OrderError::Cancelled { at_version }),
        (&ended, &cancelled, OrderError::AlreadyCancelled { at_version }),
    ] {
        let mut order = order_after(before);
        let version = order.version().next().unwrap();
        assert_eq!(order.apply(event), Err(ReplayError::Illegal { version, source }), "{event:?}");
        assert_eq!(order, order_after(before));
    }
}

#[test]
fn an_event_that_tells_an_item_otherwise_than_the_order_has_it_is_not_applied() {
    let order_id = order_id();
    let dearer = item(1, 150, Currency::EUR);
    let milk = item(1, 149, Currency::EUR);
    let contradiction = ReplayError::Contradiction { version: version(3), item_id: item_id(1) };
    for event in [
        OrderEvent::ItemRemoved { order_id, item: dearer.clone() },
        OrderEvent::ItemRemoved { order_id, item: milk.with_quantity(quantity(9)) },
        OrderEvent::ItemQuantityChanged { order_id, item: dearer, previous_quantity: quantity(2) },
        OrderEvent::ItemQuantityChanged { order_id, item: milk, previous_quantity: quantity(9) },
    ] {
        let mut order = order_after(&[add(1)]);
        assert_eq!(order.apply(&event), Err(contradiction), "{event:?}");
        assert_eq!(order, order_after(&[add(1)]));
    }
}

#[test]
fn parts_that_no_history_could_have_made_are_no_order() {
    let open = OrderState::from(&order_after(&[add(1)]));
    let scheduled = OrderState::from(&order_after(&[add(1), schedule(1)]));
    let broken = |state: &OrderState, break_it: fn(&mut OrderState)| {
        let mut state = state.clone();
        break_it(&mut state);
        Order::try_from(state)
    };
    let item = open.items[0].clone();
    assert_eq!(broken(&open, |state| state.delivery_window = Some(window(1))), Err(InvalidOrder::OpenWithWindow));
    assert_eq!(broken(&scheduled, |state| state.delivery_window = None), Err(InvalidOrder::ScheduledWithoutWindow));
    assert_eq!(broken(&scheduled, |state| state.items.clear()), Err(InvalidOrder::WindowWithoutItems));
    assert_eq!(
        broken(&open, |state| state.items.push(state.items[0].clone())),
        Err(InvalidOrder::ItemTwice { item_id: item.item_id })
    );
    assert!(matches!(broken(&open, |state| state.items[0].unit_price_minor = -1), Err(InvalidOrder::Value(_))));
    assert_eq!(
        broken(&open, |state| state.items = vec![state.items[0].clone(); MAX_ITEMS_PER_ORDER + 1]),
        Err(InvalidOrder::TooManyItems { limit: MAX_ITEMS_PER_ORDER })
    );
}
