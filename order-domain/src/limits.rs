//! The limits of values and orders.

/// The most characters of a SKU.
pub(crate) const MAX_SKU_LENGTH: usize = 64;
/// The smallest quantity.
pub(crate) const MIN_QUANTITY: u16 = 1;
/// The largest quantity.
pub(crate) const MAX_QUANTITY: u16 = 999;
/// The last version: that of SQL's `bigint`.
pub(crate) const MAX_VERSION: i64 = i64::MAX;
/// The most items that an order can have. It may be raised later, never lowered: old orders have to stay readable.
///
/// ```
/// assert_eq!(order_domain::MAX_ITEMS_PER_ORDER, 200);
/// ```
pub const MAX_ITEMS_PER_ORDER: usize = 200;
