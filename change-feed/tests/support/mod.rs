//! What tests of several systems share.

// No binary uses all of it.
#![allow(dead_code)]

pub(crate) mod instance;
pub(crate) mod proxy;
