//! What happens to relays and servers, and what must hold then.

mod drain;
mod flaws;
mod freezes;
mod kills;
mod outages;
mod readers;
mod standbys;

pub(crate) use drain::drains_when_told;
pub(crate) use flaws::shows_its_flaw;
pub(crate) use freezes::freezes;
pub(crate) use kills::kills;
pub(crate) use outages::{Fault, outages};
pub(crate) use readers::readers;
pub(crate) use standbys::standbys;
