//! What deciding a command and applying its event cost, on an order of 1 item and of 100.
//!
//! `cargo bench -p benches --bench domain`

use std::hint::black_box;

use chrono::{DateTime, TimeDelta, Utc};
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use order_domain::{
    Command, Currency, CustomerId, DeliveryWindow, ItemId, Money, NewItem, NewOrder, Order, OrderEvent, OrderId,
    Quantity, Sku, Version, create, decide,
};
use uuid::Uuid;

const SIZES: [u16; 2] = [1, 100];

fn item_id(number: u16) -> ItemId {
    Uuid::from_u128(0x0199_8f3e_7c00_7000_8000_0000_0000_0000 + u128::from(number)).into()
}

fn add(number: u16) -> Command {
    let sku = Sku::new(format!("sku-{number}")).expect("a legal SKU");
    let price = Money::from_minor(149, Currency::EUR).expect("not negative");
    Command::AddItem { item_id: item_id(number), item: NewItem::new(sku, Quantity::MIN, price) }
}

/// A scheduled order of `size` items, numbered from 1, and its history.
fn scheduled(size: u16) -> (Order, Vec<OrderEvent>) {
    let order_id = OrderId::from(Uuid::from_u128(1));
    let created = create(order_id, &NewOrder::new(CustomerId::from(Uuid::from_u128(2)), Currency::EUR));
    let mut order = Order::from_events([(Version::FIRST, &created)]).expect("a history");
    let mut history = vec![created];
    for command in (1..=size).map(add).chain([schedule()]) {
        let event = decide(&order, &command).expect("a legal command");
        order.apply(&event).expect("the event that was decided");
        history.push(event);
    }
    (order, history)
}

fn schedule() -> Command {
    let starts_at: DateTime<Utc> = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
    let delivery_window = DeliveryWindow::new(starts_at, starts_at + TimeDelta::hours(2)).expect("a legal window");
    Command::Schedule { delivery_window }
}

/// One command of each kind that an order of `size` items accepts.
fn commands(size: u16) -> [(&'static str, Command); 5] {
    let item_id = item_id(size.div_ceil(2));
    [
        ("add_item", add(size + 1)),
        ("change_item_quantity", Command::ChangeItemQuantity { item_id, quantity: Quantity::MAX }),
        ("remove_item", Command::RemoveItem { item_id }),
        ("schedule", schedule()),
        ("cancel", Command::Cancel),
    ]
}

/// The order that a command changes. An order of one item gets a second one, so that an item can be removed.
fn order_for(name: &str, size: u16) -> Order {
    let (mut order, _) = scheduled(size);
    if name == "remove_item" && size == 1 {
        let event = decide(&order, &add(2)).expect("a legal command");
        order.apply(&event).expect("the event that was decided");
    }
    order
}

fn deciding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("domain/decide");
    for size in SIZES {
        for (name, command) in commands(size) {
            let order = order_for(name, size);
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter(|| decide(black_box(&order), black_box(&command)));
            });
        }
        let (order, _) = scheduled(size);
        let cancelled = decide(&order, &Command::Cancel).expect("a legal command");
        let mut order = order;
        order.apply(&cancelled).expect("the event that was decided");
        group.bench_function(BenchmarkId::new("refusal", size), |bencher| {
            let command = add(size + 1);
            bencher.iter(|| decide(black_box(&order), black_box(&command)));
        });
    }
    group.finish();
}

fn applying(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("domain/apply");
    for size in SIZES {
        for (name, command) in commands(size) {
            let order = order_for(name, size);
            let event = decide(&order, &command).expect("a legal command");
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                let copy = || order.clone();
                bencher.iter_batched_ref(copy, |order| order.apply(black_box(&event)), BatchSize::SmallInput);
            });
        }
    }
    group.finish();
}

fn replaying(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("domain/replay");
    for size in SIZES {
        let (_, events) = scheduled(size);
        let versions = (1_i64..).map(|number| Version::new(number).expect("a version"));
        let history: Vec<_> = versions.zip(events).collect();
        group.bench_function(BenchmarkId::new("history", size), |bencher| {
            bencher.iter(|| {
                let history = black_box(&history).iter();
                Order::from_events(history.map(|(version, event)| (*version, event)))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, deciding, applying, replaying);
criterion_main!(benches);
