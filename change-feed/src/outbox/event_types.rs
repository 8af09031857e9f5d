//! The types of events as consumers see them: one allocation for each type instead of one for each event.

use std::collections::HashMap;
use std::sync::Arc;

use super::table::Outbox;

/// The most types that are kept. An outbox with more uses its types as something else.
const TYPES_MAX: usize = 1_000;

/// The types of an outbox's events as consumers see them.
#[derive(Debug)]
pub(crate) struct EventTypes {
    outbox: Outbox,
    made: HashMap<Box<str>, Arc<str>>,
}

impl EventTypes {
    /// Creates an empty store.
    pub(crate) fn of(outbox: &Outbox) -> Self {
        Self { outbox: outbox.clone(), made: HashMap::new() }
    }

    /// Returns the type that consumers see for this type of a row.
    pub(crate) fn get(&mut self, stored: &str) -> Arc<str> {
        if let Some(known) = self.made.get(stored) {
            return Arc::clone(known);
        }
        if self.made.len() == TYPES_MAX {
            self.made.clear();
        }
        let seen: Arc<str> = Arc::from(self.outbox.cloud_event_type(stored));
        self.made.insert(stored.into(), Arc::clone(&seen));
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_made_once_and_the_store_is_bounded() {
        let outbox = Outbox::new("order_events", "order_id").event_type_format("order.", ".v1");
        let mut types = EventTypes::of(&outbox);
        let first = types.get("created");
        assert_eq!(&*first, "order.created.v1");
        assert!(Arc::ptr_eq(&first, &types.get("created")));
        for n in 0..3 * TYPES_MAX {
            types.get(&n.to_string());
        }
        assert!(types.made.len() <= TYPES_MAX);
    }
}
