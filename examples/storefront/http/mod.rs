//! The store's HTTP API, the live feed and the page, as one router.

mod body;
mod conditions;
mod health;
mod live;
mod orders;
mod place;
mod problem;
mod refusal;
mod routes;
mod shop;

pub(crate) use routes::routes;
pub(crate) use shop::Shop;
