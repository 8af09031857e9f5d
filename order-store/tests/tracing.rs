//! Spans and events: each change with its outcome, never its payload.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use order_domain::{Currency, CustomerId, Money, NewItem, NewOrder, Quantity, Sku};
use order_store::{OrderStore, Request, SqliteOrderStore};
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panicked").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test(flavor = "current_thread")]
async fn each_change_and_refusal_is_logged_without_its_payload() {
    let logged = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false).without_time();
    let _guard = tracing::subscriber::set_default(subscriber.with_writer(logged.clone()).finish());

    let store = SqliteOrderStore::connect("sqlite::memory:").await.unwrap();
    store.migrate().await.unwrap();
    let customer: CustomerId = "01998f3e-7c00-7000-8000-0000000000c1".parse().unwrap();
    let order = store.create(NewOrder::new(customer, Currency::EUR), Request::new()).await.unwrap();
    let price = Money::from_minor(7_654_321, Currency::EUR).unwrap();
    let item = NewItem::new(Sku::new("what-was-ordered").unwrap(), Quantity::new(987).unwrap(), price);
    store.add_item(order.id(), item.clone(), Request::new()).await.unwrap();
    store.cancel(order.id(), Request::new()).await.unwrap();
    store.add_item(order.id(), item, Request::new()).await.unwrap_err();

    let logged = String::from_utf8(logged.0.lock().unwrap().clone()).unwrap();
    let of = |words: &[&str]| logged.lines().any(|line| words.iter().all(|word| line.contains(word)));
    let id = order.id().to_string();
    assert!(of(&["order_store", "migrating"]), "{logged}");
    assert!(of(&["change", "kind=\"create\"", "done", "version=1"]), "{logged}");
    assert!(of(&["change", "kind=\"add_item\"", &id, "done", "version=2"]), "{logged}");
    assert!(of(&["kind=\"add_item\"", &id, "refused", "cancelled at version 3"]), "{logged}");
    for secret in ["what-was-ordered", "7654321"] {
        assert!(!logged.contains(secret), "{secret}: {logged}");
    }
    // Part of a longer number, such as a time or an id, it would say nothing: only the quantity is a word of its own.
    let mut words = logged.split(|character: char| !character.is_ascii_alphanumeric());
    assert!(words.all(|word| word != "987"), "the quantity: {logged}");
}
