//! Names that come again and again: one allocation for each, not one for each change.

use std::collections::HashMap;
use std::sync::Arc;

/// More different names than this are no names: they are kept no longer.
const NAMES_MAX: usize = 1_000;

#[derive(Debug, Default)]
pub(super) struct Names(HashMap<Box<str>, Arc<str>>);

impl Names {
    /// What `name` stands for, made by `make` when it is seen for the first time.
    pub(super) fn get(&mut self, name: &str, make: impl FnOnce(&str) -> Arc<str>) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return Arc::clone(known);
        }
        if self.0.len() == NAMES_MAX {
            self.0.clear();
        }
        let made = make(name);
        self.0.insert(name.into(), Arc::clone(&made));
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_once_and_the_store_is_bounded() {
        let mut names = Names::default();
        let first = names.get("created", |name| Arc::from(format!("order.{name}.v1")));
        let again = names.get("created", |_| unreachable!("it is known"));
        assert!(Arc::ptr_eq(&first, &again));
        for n in 0..3 * NAMES_MAX {
            names.get(&n.to_string(), |name| Arc::from(name));
        }
        assert!(names.0.len() <= NAMES_MAX);
    }
}
