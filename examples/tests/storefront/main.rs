//! The storefront as its users meet it: the real program, over HTTP, with and without servers.

mod api;
mod bad_start;
mod demo;
mod live;
mod live_stream;
mod logical;
mod orders;
mod page;
mod place;
mod program;
mod servers;
mod two_storefronts;
