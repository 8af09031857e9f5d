//! What a database holds and no rule of the domain allows.

use crate::StoreError;

/// Says of which part of an order a value can't be built.
pub(crate) trait Readable<T> {
    fn readable(self, what: &'static str) -> Result<T, StoreError>;
}

impl<T, E: std::error::Error + Send + Sync + 'static> Readable<T> for Result<T, E> {
    fn readable(self, what: &'static str) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Unreadable { what, source: Some(source.into()) })
    }
}
