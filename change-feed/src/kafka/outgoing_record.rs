//! Gives records to librdkafka.
//!
//! rdkafka copies the name of each header, and of the topic, to end it with a zero: with fifteen headers to a record
//! that was a fifth of what a record cost. librdkafka takes names with their lengths.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_void};
use std::ptr::{self, NonNull};

use rdkafka::bindings as sys;
use rdkafka::client::Client;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::ProducerContext;
use rdkafka::util::IntoOpaque as _;

/// The headers of a record.
#[derive(Debug)]
pub(crate) struct RecordHeaders {
    headers: NonNull<sys::rd_kafka_headers_t>,
}

// SAFETY: a list of texts that nobody else points to.
unsafe impl Send for RecordHeaders {}

/// A record, and the tag that its delivery report bears.
#[derive(Debug)]
pub(crate) struct OutgoingRecord<'r> {
    pub(crate) topic: &'r CStr,
    pub(crate) partition: i32,
    pub(crate) key: &'r [u8],
    /// `None` is a tombstone, which is not the same as a value of zero length.
    pub(crate) value: Option<&'r [u8]>,
    pub(crate) headers: RecordHeaders,
    pub(crate) tag: usize,
}

impl RecordHeaders {
    pub(crate) fn with_capacity(count: usize) -> Self {
        // SAFETY: it takes any number, and ends the process rather than answer null when memory runs out.
        let headers = unsafe { sys::rd_kafka_headers_new(count) };
        Self { headers: NonNull::new(headers).expect("librdkafka's constructors answer no null") }
    }

    pub(crate) fn add(&mut self, name: &str, value: &str) {
        // SAFETY: the list is ours; name and value are copied, by their lengths, during the call. The only error that it
        // answers is for a list that is read-only, as that of a consumed message is.
        unsafe {
            sys::rd_kafka_header_add(
                self.headers.as_ptr(),
                name.as_ptr().cast(),
                name.len().cast_signed(),
                value.as_ptr().cast(),
                value.len().cast_signed(),
            );
        }
    }

    /// Left to librdkafka.
    fn give(self) -> *mut sys::rd_kafka_headers_t {
        std::mem::ManuallyDrop::new(self).headers.as_ptr()
    }
}

impl Drop for RecordHeaders {
    fn drop(&mut self) {
        // SAFETY: the list is ours, and this is its end.
        unsafe { sys::rd_kafka_headers_destroy(self.headers.as_ptr()) }
    }
}

/// Queues a copy of the record. Given back with the reason where it is not taken.
///
/// The producer's delivery reports must bear tags: numbers.
pub(crate) fn produce<'r, C: ProducerContext<DeliveryOpaque = usize>>(
    client: &Client<C>,
    record: OutgoingRecord<'r>,
) -> Result<(), (RDKafkaErrorCode, OutgoingRecord<'r>)> {
    let OutgoingRecord { topic, partition, key, value, headers, tag } = record;
    let (value_start, value_len) = value.map_or((ptr::null_mut(), 0), |value| (value.as_ptr().cast_mut(), value.len()));
    let headers = headers.give();
    // SAFETY: the client owns the handle and outlives the call, and each argument has the type that stands before it.
    // Topic, key and value live during the call, which copies them. The tag is a number in a pointer's clothes, which
    // is how rdkafka's producers read it. The headers are librdkafka's if it takes the record, and ours if not.
    let answer = unsafe {
        sys::rd_kafka_producev(
            client.native_ptr(),
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_TOPIC,
            topic.as_ptr(),
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_PARTITION,
            partition,
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_MSGFLAGS,
            sys::RD_KAFKA_MSG_F_COPY,
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_VALUE,
            value_start.cast::<c_void>(),
            value_len,
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_KEY,
            key.as_ptr().cast::<c_void>(),
            key.len(),
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_OPAQUE,
            tag.into_ptr(),
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_HEADERS,
            headers,
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_END,
        )
    };
    if answer == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Ok(());
    }
    let headers = RecordHeaders { headers: NonNull::new(headers).expect("it was there before the call") };
    Err((RDKafkaErrorCode::from(answer), OutgoingRecord { topic, partition, key, value, headers, tag }))
}
