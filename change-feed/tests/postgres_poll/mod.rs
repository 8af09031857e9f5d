//! Outbox polling of PostgreSQL by snapshot difference.

mod adversity;
mod capture;
mod election;
mod load;
#[cfg(feature = "long-tests")]
mod long;
#[cfg(feature = "long-tests")]
mod long_crash;
#[cfg(feature = "long-tests")]
mod long_standby;
mod pollers;
mod reads;
mod rights;
mod steps;
mod trial;
mod world;
