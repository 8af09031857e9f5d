//! The allocator of the program, and of the C library in it.
//!
//! A feed allocates on one thread what Kafka's client frees on another: with its headers, some fifteen pieces to a
//! record. glibc's allocator spends a third of the relay's CPU time on that, taking locks and joining neighbours;
//! jemalloc moves pieces between threads many at a time. Measured on two cores, a backlog goes to Kafka up to a fifth
//! faster. It stands in for `malloc` itself, or librdkafka would go on with glibc's. On other systems nothing is set.
#![allow(unsafe_code)]

use std::ffi::c_char;

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// One heap for all threads, since two take a third more memory and are no faster, and pages that are free for a
/// second go back to the system. Whoever knows better sets `MALLOC_CONF`, which comes after this.
// SAFETY: jemalloc reads a string that ends with a zero where it finds this name.
#[unsafe(export_name = "malloc_conf")]
static SETTINGS: Option<&'static c_char> = {
    let settings = c"narenas:1,dirty_decay_ms:1000,muzzy_decay_ms:0";
    // SAFETY: the first byte of the string, which lives for ever.
    Some(unsafe { &*settings.as_ptr() })
};
