//! What moves through a feed: its forms on the wire.

mod cloudevents;
