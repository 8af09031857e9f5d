//! The domain is the specification: random commands get the same answers, orders and events from it and from the stores.

use order_domain::{Command, NewOrder, Order, Version, create, decide, testing};
use order_store::{Refusal, Request, StoreError};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::world::{World, on_both_databases, version};

/// How many orders are tried, and how many commands on each.
const ORDERS: usize = 60;
const COMMANDS: std::ops::Range<usize> = 1..24;

on_both_databases![random_commands_get_the_domains_answers_order_and_events, the_two_hundredth_item_is_the_last];

async fn random_commands_get_the_domains_answers_order_and_events(world: World) {
    // Fixed, so that both databases see the same commands and a failure comes again.
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let cases = (testing::new_order(), testing::commands(COMMANDS));
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..ORDERS {
        let (new_order, commands) = cases.new_tree(&mut runner).expect("a case").current();
        let (yes, no) = agree(&world, new_order, &commands).await;
        accepted += yes;
        refused += no;
    }
    assert!(accepted > ORDERS && refused > ORDERS, "the commands reach both answers: {accepted}, {refused}");
}

/// Runs the commands on both, and answers how many were accepted and refused.
async fn agree(world: &World, new_order: NewOrder, commands: &[Command]) -> (usize, usize) {
    let created = world.store.create(new_order, Request::new()).await.expect("a new order");
    let first = create(created.id(), &new_order);
    let mut order = Order::from_events([(Version::FIRST, &first)]).expect("a new order");
    assert_eq!(created, order);
    let mut events = vec![first];
    for command in commands {
        let answer = world.store.change(order.id(), command.clone(), Request::new()).await;
        match decide(&order, command) {
            Ok(event) => {
                order.apply(&event).expect("what was decided");
                events.push(event);
                assert_eq!(answer.expect("the domain accepts it"), order);
            }
            Err(refusal) => match answer {
                Err(StoreError::Refused(refused)) => assert_eq!(refused, Refusal::from(refusal)),
                answer => panic!("{answer:?}, where the domain refuses: {refusal}"),
            },
        }
    }
    assert_eq!(world.store.get(order.id()).await.expect("the order"), order);
    assert_eq!(world.replayed(order.id()).await, order);
    let rows = world.events(order.id()).await;
    assert_eq!(rows.len(), events.len());
    for (number, (row, event)) in (1..).zip(rows.iter().zip(&events)) {
        assert_eq!(row.event(), (version(number), event.clone()));
        let payload: serde_json::Value = serde_json::from_str(&row.payload).expect("JSON");
        assert_eq!(payload, serde_json::to_value(event).expect("JSON"), "the same fields");
        assert!(!row.payload.contains(": "), "compact: {}", row.payload);
    }
    (events.len() - 1, commands.len() + 1 - events.len())
}

async fn the_two_hundredth_item_is_the_last(world: World) {
    let limit = order_domain::MAX_ITEMS_PER_ORDER;
    let order = world.with_items(limit).await;
    assert_eq!(order.items().len(), limit);
    let answer = world.store.add_item(order.id(), crate::world::milk(1), Request::new()).await;
    assert!(matches!(answer, Err(StoreError::Refused(Refusal::TooManyItems { limit: 200 }))), "{answer:?}");
    // An item that exists is refused before the limit, as the domain does.
    let again = Command::AddItem { item_id: order.items()[3].id(), item: crate::world::milk(1) };
    let answer = world.store.change(order.id(), again, Request::new()).await;
    assert!(matches!(answer, Err(StoreError::Refused(Refusal::ItemExists))), "{answer:?}");
    let last = order.items()[199].id();
    let order = world.store.remove_item(order.id(), last, Request::new()).await.expect("room for another one");
    let order = world.store.add_item(order.id(), crate::world::milk(1), Request::new()).await.expect("another one");
    assert_eq!(world.replayed(order.id()).await, order);
}
