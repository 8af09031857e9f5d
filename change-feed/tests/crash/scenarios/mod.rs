//! What happens to relays and servers, and what must hold then.

mod accidents;
mod brokers;
mod deaths;
mod drain;
mod flaws;
mod freezes;
mod kills;
mod outages;
mod readers;
mod standbys;
mod walsenders;

pub(crate) use accidents::accidents;
pub(crate) use brokers::broker_kills;
pub(crate) use deaths::deaths;
pub(crate) use drain::drains_when_told;
pub(crate) use flaws::shows_its_flaw;
pub(crate) use freezes::freezes;
pub(crate) use kills::kills;
pub(crate) use outages::{Fault, outages};
pub(crate) use readers::readers;
pub(crate) use standbys::standbys;
pub(crate) use walsenders::walsenders;
