//! What holds for every sequence of commands.

use order_domain::{
    Command, Currency, MAX_ITEMS_PER_ORDER, Money, Order, OrderError, OrderEvent, OrderState, OrderStatus, Version,
    create, decide, testing,
};
use proptest::prelude::*;

/// A life of an order: what it was asked, what it answered, what became of it.
struct Life {
    order: Order,
    history: Vec<(Version, OrderEvent)>,
    /// The order before each command, the command, and the answer.
    answers: Vec<(Order, Command, Result<OrderEvent, OrderError>)>,
}

/// Any life of up to 60 commands.
fn life() -> impl Strategy<Value = Life> {
    (testing::order_id(), testing::new_order(), testing::commands(0..60)).prop_map(|(order_id, new_order, commands)| {
        let created = create(order_id, &new_order);
        let mut order = Order::from_events([(Version::FIRST, &created)]).unwrap();
        let mut history = vec![(Version::FIRST, created)];
        let mut answers = Vec::new();
        for command in commands {
            let before = order.clone();
            let answer = decide(&order, &command);
            if let Ok(event) = &answer {
                order.apply(event).unwrap();
                history.push((order.version(), event.clone()));
            }
            answers.push((before, command, answer));
        }
        Life { order, history, answers }
    })
}

impl std::fmt::Debug for Life {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.answers.iter().map(|(_, command, answer)| (command, answer))).finish()
    }
}

fn assert_invariants(order: &Order) {
    let ids: Vec<_> = order.items().iter().map(|item| item.id()).collect();
    assert!(ids.is_sorted_by(|left, right| left < right), "sorted, each once");
    assert!(ids.len() <= MAX_ITEMS_PER_ORDER);
    assert!(order.items().iter().all(|item| item.unit_price().currency() == order.currency()));
    match order.status() {
        OrderStatus::Open => assert!(order.delivery_window().is_none()),
        OrderStatus::Scheduled => assert!(order.delivery_window().is_some() && !order.items().is_empty()),
        OrderStatus::Cancelled => {}
    }
    assert_eq!(Order::try_from(OrderState::from(order)).as_ref(), Ok(order));
}

proptest! {
    #[test]
    fn every_order_keeps_every_invariant(life in life()) {
        for (before, _, _) in &life.answers {
            assert_invariants(before);
        }
        assert_invariants(&life.order);
    }

    #[test]
    fn versions_are_dense_and_count_the_accepted_commands(life in life()) {
        let accepted = life.answers.iter().filter(|(_, _, answer)| answer.is_ok()).count();
        prop_assert_eq!(usize::try_from(life.order.version().get()).unwrap(), 1 + accepted);
        for (index, (version, event)) in life.history.iter().enumerate() {
            prop_assert_eq!(usize::try_from(version.get()).unwrap(), index + 1);
            prop_assert_eq!(event.order_id(), life.order.id());
        }
    }

    #[test]
    fn replaying_the_events_gives_the_order(life in life()) {
        prop_assert_eq!(Order::from_events(life.history.iter().cloned()), Ok(life.order));
    }

    #[test]
    fn replaying_the_events_from_their_json_gives_the_order(life in life()) {
        let read_back = life.history.iter().map(|(version, event)| {
            let payload = serde_json::to_value(event).unwrap();
            (*version, OrderEvent::from_payload(event.event_type(), payload).unwrap())
        });
        prop_assert_eq!(Order::from_events(read_back), Ok(life.order));
    }

    #[test]
    fn a_history_that_lost_doubled_or_swapped_an_event_is_noticed(
        life in life(),
        place in any::<prop::sample::Index>(),
    ) {
        let place = place.index(life.history.len());
        if place + 1 < life.history.len() {
            let mut lost = life.history.clone();
            lost.remove(place);
            prop_assert!(Order::from_events(lost).is_err());
            let mut swapped = life.history.clone();
            swapped.swap(place, place + 1);
            prop_assert!(Order::from_events(swapped).is_err());
        }
        let mut doubled = life.history.clone();
        doubled.insert(place, doubled[place].clone());
        prop_assert!(Order::from_events(doubled).is_err());
    }

    #[test]
    fn nothing_follows_a_cancellation(life in life()) {
        let cancelled = life.history.iter().position(|(_, event)| matches!(event, OrderEvent::Cancelled { .. }));
        prop_assert_eq!(cancelled.is_some(), life.order.status() == OrderStatus::Cancelled);
        if let Some(place) = cancelled {
            prop_assert_eq!(place + 1, life.history.len());
        }
        for (before, command, answer) in &life.answers {
            if before.status() == OrderStatus::Cancelled {
                let at_version = before.version();
                let refusal = match command {
                    Command::Cancel => OrderError::AlreadyCancelled { at_version },
                    _ => OrderError::Cancelled { at_version },
                };
                prop_assert_eq!(answer, &Err(refusal));
            }
        }
    }

    #[test]
    fn an_open_or_scheduled_order_can_always_be_cancelled(life in life()) {
        if life.order.status() != OrderStatus::Cancelled {
            prop_assert!(decide(&life.order, &Command::Cancel).is_ok());
        }
    }

    #[test]
    fn a_total_is_the_exact_sum_or_an_error(life in life()) {
        let exact: i128 = life.order.items().iter()
            .map(|item| i128::from(item.unit_price().minor()) * i128::from(item.quantity().get()))
            .sum();
        let expected = i64::try_from(exact).ok().map(|minor| Money::from_minor(minor, Currency::EUR).unwrap());
        prop_assert_eq!(life.order.total().ok(), expected);
    }

    #[test]
    fn an_order_survives_json(life in life()) {
        let json = serde_json::to_string(&life.order).unwrap();
        prop_assert_eq!(serde_json::from_str::<Order>(&json).unwrap(), life.order);
    }

    #[test]
    fn sums_and_products_of_money_are_exact_or_an_error(
        left in 0..=i64::MAX,
        right in 0..=i64::MAX,
        quantity in testing::quantity(),
    ) {
        let euro = |minor: i64| Money::from_minor(minor, Currency::EUR).unwrap();
        let exact = |minor: i128| i64::try_from(minor).ok();
        let sum = i128::from(left) + i128::from(right);
        prop_assert_eq!(euro(left).plus(euro(right)).ok().map(Money::minor), exact(sum));
        let product = i128::from(left) * i128::from(quantity.get());
        prop_assert_eq!(euro(left).times(quantity).ok().map(Money::minor), exact(product));
        let difference = left.checked_sub(right).filter(|minor| *minor >= 0);
        prop_assert_eq!(euro(left).minus(euro(right)).ok().map(Money::minor), difference);
    }
}

/// The generator has to reach the rules, or the properties above prove little.
#[test]
fn random_commands_reach_every_event_and_every_refusal_of_few_items() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let strategy = life();
    let mut reached = std::collections::BTreeMap::<&'static str, u32>::new();
    for _ in 0..512 {
        let life = strategy.new_tree(&mut runner).unwrap().current();
        let overflow = life.order.total().is_err().then_some("total overflows");
        let answers = life.answers.iter().map(|(_, _, answer)| match answer {
            Ok(event) => event.event_type().as_str(),
            Err(OrderError::Cancelled { .. }) => "refused: cancelled",
            Err(OrderError::AlreadyCancelled { .. }) => "refused: already cancelled",
            Err(OrderError::Empty) => "refused: empty",
            Err(OrderError::LastItem) => "refused: last item",
            Err(OrderError::ItemNotFound { .. }) => "refused: item not found",
            Err(OrderError::ItemExists { .. }) => "refused: item exists",
            Err(OrderError::CurrencyMismatch { .. }) => "refused: currency",
            Err(OrderError::TooManyItems { .. } | OrderError::VersionsExhausted) => "refused: limit",
        });
        for name in answers.chain(overflow) {
            *reached.entry(name).or_default() += 1;
        }
    }
    for name in [
        "item_added",
        "item_quantity_changed",
        "item_removed",
        "scheduled",
        "cancelled",
        "refused: cancelled",
        "refused: already cancelled",
        "refused: empty",
        "refused: last item",
        "refused: item not found",
        "refused: item exists",
        "refused: currency",
        "total overflows",
    ] {
        assert!(reached.get(name).is_some_and(|times| *times >= 10), "{name}: {reached:?}");
    }
}
