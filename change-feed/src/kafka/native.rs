//! Calls of librdkafka that rdkafka doesn't offer, or offers at a price.
//!
//! rdkafka's `flush`, and its `commit_transaction`, which calls it, poll in slices that always last
//! 100 ms. librdkafka's own functions return as soon as the last record is acknowledged; they need
//! another thread that serves the delivery reports, which a `ThreadedProducer` has. And rdkafka has
//! no call for the id of a topic. Records are given to librdkafka in [`outgoing_record`](super::outgoing_record).
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::RDKafkaErrorCode;

use super::deadline::Deadline;
use super::failure::Failure;

/// The pause before a call that librdkafka calls retriable is made again.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// How a commit ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commit {
    /// At the first attempt, as far as can be seen here.
    Plain,
    /// By another call, which librdkafka demanded.
    Repeated,
}

/// Waits for the delivery reports of the open transaction and commits it.
///
/// The producer's events must be served by another thread meanwhile.
pub(crate) fn commit_transaction<C: ClientContext>(client: &Client<C>, deadline: Deadline) -> Result<Commit, Failure> {
    let mut outcome = Commit::Plain;
    loop {
        // SAFETY: the client owns the handle and outlives the call; the function may be called from
        // any thread, and its answer is null or an error that is ours to destroy.
        let error = unsafe { sys::rd_kafka_commit_transaction(client.native_ptr(), milliseconds(deadline)) };
        let Some(error) = NonNull::new(error) else {
            return Ok(outcome);
        };
        let (failure, retriable) = take_error(error);
        if !retriable || deadline.has_passed() {
            return Err(failure);
        }
        outcome = Commit::Repeated;
        std::thread::sleep(RETRY_PAUSE);
    }
}

/// Sends the queued records without lingering and waits until no record is outstanding: every
/// delivery report has been served then. Answers whether that happened before the deadline.
///
/// The producer's events must be served by another thread meanwhile.
pub(crate) fn flush<C: ClientContext>(client: &Client<C>, deadline: Deadline) -> bool {
    // SAFETY: the client owns the handle and outlives the call; the function may be called from
    // any thread.
    let answer = unsafe { sys::rd_kafka_flush(client.native_ptr(), milliseconds(deadline)) };
    answer == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
}

/// The ids of the topics that exist, from brokers that have ids (Apache Kafka 2.8 and later).
pub(crate) fn topic_ids<C: ClientContext>(
    client: &Client<C>,
    topics: &[String],
    deadline: Deadline,
) -> BTreeMap<String, String> {
    let Ok(names) = topics.iter().map(|name| CString::new(name.as_str())).collect::<Result<Vec<_>, _>>() else {
        return BTreeMap::new();
    };
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let request = Describe::new(client, &mut pointers, deadline);
    let Some(event) = request.event.map(NonNull::as_ptr) else {
        return BTreeMap::new();
    };
    let mut count = 0;
    // SAFETY: the event lives until `request` is dropped; librdkafka answers null unless it is the
    // result of a DescribeTopics request, and an array of `count` descriptions that the event owns.
    unsafe {
        let result = sys::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return BTreeMap::new();
        }
        let descriptions = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        (0..count).filter_map(|index| name_and_id(*descriptions.add(index))).collect()
    }
}

/// # Safety
///
/// `description` must be one of a result that lives.
unsafe fn name_and_id(description: *const sys::rd_kafka_TopicDescription_t) -> Option<(String, String)> {
    /// A broker that knows no ids sends zeros (KIP-516).
    const NO_ID: &str = "AAAAAAAAAAAAAAAAAAAAAA";
    // SAFETY: the description lives, and owns all that is read here; the texts end with a zero.
    unsafe {
        let error = sys::rd_kafka_TopicDescription_error(description);
        if sys::rd_kafka_error_code(error) != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        let name = text(sys::rd_kafka_TopicDescription_name(description))?;
        let id = sys::rd_kafka_TopicDescription_topic_id(description);
        if id.is_null() {
            return None;
        }
        let id = text(sys::rd_kafka_Uuid_base64str(id))?;
        (id.trim_end_matches('=') != NO_ID).then_some((name, id))
    }
}

/// A DescribeTopics request and its answer, destroyed in the order that librdkafka wants.
struct Describe {
    queue: NonNull<sys::rd_kafka_queue_t>,
    topics: NonNull<sys::rd_kafka_TopicCollection_t>,
    options: NonNull<sys::rd_kafka_AdminOptions_t>,
    event: Option<NonNull<sys::rd_kafka_event_t>>,
}

impl Describe {
    fn new<C: ClientContext>(client: &Client<C>, names: &mut [*const c_char], deadline: Deadline) -> Self {
        /// librdkafka ends the process rather than answer null when memory runs out.
        const NEVER_NULL: &str = "librdkafka's constructors answer no null";
        let timeout_ms = milliseconds(deadline);
        // SAFETY: the client outlives this function, and nothing but the event is used after it; the
        // names live during the call that copies them; the queue's only event is polled here.
        unsafe {
            let handle = client.native_ptr();
            let mut request = Self {
                queue: NonNull::new(sys::rd_kafka_queue_new(handle)).expect(NEVER_NULL),
                topics: NonNull::new(sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len()))
                    .expect(NEVER_NULL),
                options: NonNull::new(sys::rd_kafka_AdminOptions_new(
                    handle,
                    sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
                ))
                .expect(NEVER_NULL),
                event: None,
            };
            // Refused only outside of 0 ms to an hour: the default of a minute is then as good.
            sys::rd_kafka_AdminOptions_set_request_timeout(request.options.as_ptr(), timeout_ms, ptr::null_mut(), 0);
            sys::rd_kafka_DescribeTopics(
                handle,
                request.topics.as_ptr(),
                request.options.as_ptr(),
                request.queue.as_ptr(),
            );
            request.event = NonNull::new(sys::rd_kafka_queue_poll(request.queue.as_ptr(), timeout_ms));
            request
        }
    }
}

impl Drop for Describe {
    fn drop(&mut self) {
        // SAFETY: each was made by librdkafka for this request, and is destroyed once. A late
        // answer goes to a queue that librdkafka itself still counts a reference to.
        unsafe {
            if let Some(event) = self.event {
                sys::rd_kafka_event_destroy(event.as_ptr());
            }
            sys::rd_kafka_AdminOptions_destroy(self.options.as_ptr());
            sys::rd_kafka_TopicCollection_destroy(self.topics.as_ptr());
            sys::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

/// The failure, and whether the same call may be made again. Destroys the error.
fn take_error(error: NonNull<sys::rd_kafka_error_t>) -> (Failure, bool) {
    let error = error.as_ptr();
    // SAFETY: the caller got the error from librdkafka and gives it up; its text lives as long as it.
    unsafe {
        let code = RDKafkaErrorCode::from(sys::rd_kafka_error_code(error));
        let words = text(sys::rd_kafka_error_string(error)).unwrap_or_default();
        let retriable = sys::rd_kafka_error_is_retriable(error) != 0;
        sys::rd_kafka_error_destroy(error);
        (Failure::of("commit the Kafka transaction", code, words), retriable)
    }
}

/// # Safety
///
/// `text` must be null or point to a text that ends with a zero.
unsafe fn text(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: by the caller's promise.
    let text = unsafe { CStr::from_ptr(text) };
    Some(text.to_string_lossy().into_owned())
}

fn milliseconds(deadline: Deadline) -> c_int {
    c_int::try_from(deadline.remaining().as_millis()).unwrap_or(c_int::MAX)
}
