//! The storefront as its users meet it: the real program, over HTTP, with and without servers.

mod api;
mod bad_start;
mod conditions;
mod demo;
mod live;
mod live_stream;
mod logical;
mod malformed;
mod orders;
mod page;
mod place;
mod program;
mod protocol;
mod servers;
mod shop;
mod two_storefronts;
