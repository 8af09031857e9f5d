//! The decoder of pgoutput's messages: against servers, against a corpus of what servers sent, and against bytes that
//! no server sends.

mod bytes;
mod corpus;
mod refusals;
mod script;
mod sent;
mod sketch;
mod steps;
