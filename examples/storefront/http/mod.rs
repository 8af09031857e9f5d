//! The store's HTTP API, the live feed and the page, as one router, and the server below it.

mod etag;
mod health;
mod live;
mod orders;
mod page;
mod problem;
mod request;
mod routes;
mod server;
mod shop;

pub(crate) use routes::routes;
pub(crate) use server::{Limits, serve};
pub(crate) use shop::{Shop, Surroundings};
