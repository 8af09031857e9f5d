//! The allocator of the program and of the C library in it.
//!
//! A feed allocates on one thread what Kafka's client frees on another: about fifteen pieces for a record with its headers.
//! glibc's allocator spends a third of the relay's CPU time on locks and on joining neighbours for that; jemalloc moves many
//! pieces between threads at once. Measured on two cores, a backlog reaches Kafka up to a fifth faster. It replaces `malloc`
//! itself, so that librdkafka uses it too. Other systems keep their allocator.
#![allow(unsafe_code)]

use std::ffi::c_char;

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// One heap for all threads, since two take a third more memory and are no faster. Pages that have been free for a second
/// return to the system. `MALLOC_CONF` overrides this.
// SAFETY: jemalloc reads a string that ends with a zero where it finds this name.
#[unsafe(export_name = "malloc_conf")]
static SETTINGS: Option<&'static c_char> = {
    let settings = c"narenas:1,dirty_decay_ms:1000,muzzy_decay_ms:0";
    // SAFETY: the first byte of the string, which lives for ever.
    Some(unsafe { &*settings.as_ptr() })
};
