//! The decoder of pgoutput's messages: against servers, against a corpus of what servers sent, and against bytes that
//! no server sends; and the values in its rows.

mod bytes;
mod corpus;
mod refusals;
mod script;
mod sent;
mod server;
mod sketch;
mod steps;
mod values;
