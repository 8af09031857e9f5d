//! Which order, and which item of it, an address names.

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use order_domain::{ItemId, OrderId};

use super::problem::{Problem, ProblemKind};

/// The order of `/orders/{order_id}`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OrderAt(pub(crate) OrderId);

/// The item of `/orders/{order_id}/items/{item_id}`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ItemAt(pub(crate) OrderId, pub(crate) ItemId);

impl<S: Send + Sync> FromRequestParts<S> for OrderAt {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(order_id) = Path::<String>::from_request_parts(parts, state).await.map_err(unreadable)?;
        Ok(Self(id("order_id", &order_id)?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ItemAt {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Path((order_id, item_id)) = path.map_err(unreadable)?;
        Ok(Self(id("order_id", &order_id)?, id("item_id", &item_id)?))
    }
}

/// An id out of an address.
pub(crate) fn id<T>(field: &str, text: &str) -> Result<T, Problem>
where
    T: std::str::FromStr<Err = order_domain::InvalidValue>,
{
    text.parse().map_err(|error| Problem::invalid(field, error))
}

fn unreadable(rejection: PathRejection) -> Problem {
    Problem::new(ProblemKind::InvalidRequest, format!("the address can't be read: {}", rejection.body_text()))
}
