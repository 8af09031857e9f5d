//! Relays and servers crash under load: at length. `crash_recovery` is the quick version.

use super::{Capture, Fault, Mode};

const KILLS: u32 = 40;
const DEATHS: u32 = 10;
const FAIL_OVERS: u32 = 15;
const FREEZES: u32 = 5;
const ROUNDS: u32 = 4;
const BROKER_ROUNDS: u32 = 2;
const COORDINATORS: u32 = 5;
const TERMINATIONS: u32 = 100;
const ACCIDENTS: u32 = 5;
const KILLS_ON_THREE_BROKERS: u32 = 100;
const THREE: Option<u32> = Some(3);
const EVERY_FAULT: [Fault; 4] =
    [Fault::BrokerStopped, Fault::BrokerKilled, Fault::PostgresStopped, Fault::PostgresKilled];

#[test]
fn a_relay_process_drains_when_it_is_told_to_end() {
    super::drains_when_told();
}

/// A test of one scenario for each database and each mode of Kafka.
macro_rules! on_each_pair {
    ($($scenario:ident($capture:ident, $mode:ident) => $run:expr;)+) => {$(
        mod $scenario {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn from_postgres_in_transactions() {
                let ($capture, $mode) = (Capture::PostgresPoll, Mode::Transactional);
                $run.await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn from_postgres_without_transactions() {
                let ($capture, $mode) = (Capture::PostgresPoll, Mode::Idempotent);
                $run.await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn from_the_log_of_postgres_in_transactions() {
                let ($capture, $mode) = (Capture::PostgresLog, Mode::Transactional);
                $run.await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn from_the_log_of_postgres_without_transactions() {
                let ($capture, $mode) = (Capture::PostgresLog, Mode::Idempotent);
                $run.await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn from_sqlite_in_transactions() {
                let ($capture, $mode) = (Capture::Sqlite, Mode::Transactional);
                $run.await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn from_sqlite_without_transactions() {
                let ($capture, $mode) = (Capture::Sqlite, Mode::Idempotent);
                $run.await;
            }
        }
    )+};
}

on_each_pair! {
    a_relay_is_killed_at_random_moments(capture, mode) => crate::kills(capture, mode, KILLS, None);
    a_relay_is_killed_at_each_step(capture, mode) => crate::deaths(capture, mode, DEATHS, None);
    the_active_one_of_two_relays_is_killed(capture, mode) => crate::standbys(capture, mode, FAIL_OVERS);
    the_active_one_of_two_relays_is_frozen_and_wakes_up(capture, mode) => crate::freezes(capture, mode, FREEZES);
    servers_go_away_and_come_back(capture, mode) => crate::outages(capture, mode, faults(capture), ROUNDS, 1);
}

/// A file has no server that goes away.
fn faults(capture: Capture) -> &'static [Fault] {
    match capture {
        Capture::PostgresPoll | Capture::PostgresLog => &EVERY_FAULT,
        Capture::Sqlite => &EVERY_FAULT[..2],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_is_killed_at_random_moments_on_three_brokers_in_transactions() {
    crate::kills(Capture::PostgresLog, Mode::Transactional, KILLS_ON_THREE_BROKERS, THREE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_is_killed_at_random_moments_on_three_brokers_without_transactions() {
    crate::kills(Capture::PostgresLog, Mode::Idempotent, KILLS_ON_THREE_BROKERS, THREE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_is_killed_at_each_step_on_three_brokers_in_transactions() {
    crate::deaths(Capture::PostgresLog, Mode::Transactional, DEATHS, THREE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_is_killed_at_each_step_on_three_brokers_without_transactions() {
    crate::deaths(Capture::PostgresLog, Mode::Idempotent, DEATHS, THREE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_three_brokers_and_the_coordinator_is_killed_under_transactions() {
    super::broker_kills(Capture::PostgresLog, Mode::Transactional, BROKER_ROUNDS, COORDINATORS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_three_brokers_is_killed_without_transactions() {
    super::broker_kills(Capture::PostgresLog, Mode::Idempotent, BROKER_ROUNDS, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_stopped_at_once_and_started_beside_three_brokers() {
    let faults = [Fault::PostgresKilled];
    crate::outages(Capture::PostgresLog, Mode::Transactional, &faults, 3 * ROUNDS, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_walsender_is_terminated_in_transactions() {
    super::walsenders(Mode::Transactional, TERMINATIONS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_walsender_is_terminated_without_transactions() {
    super::walsenders(Mode::Idempotent, TERMINATIONS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_transaction_arrives_late_from_the_log_of_postgres() {
    super::accidents(Capture::PostgresLog, ACCIDENTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_transaction_arrives_late_from_sqlite() {
    super::accidents(Capture::Sqlite, ACCIDENTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_are_open_while_the_broker_restarts_read_on_when_it_is_back() {
    super::readers(10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn relays_that_are_broken_on_purpose_are_seen_to_fail_on_postgres() {
    super::shows_its_flaw(Capture::PostgresPoll).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn relays_that_are_broken_on_purpose_are_seen_to_fail_on_the_log_of_postgres() {
    super::shows_its_flaw(Capture::PostgresLog).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn relays_that_are_broken_on_purpose_are_seen_to_fail_on_sqlite() {
    super::shows_its_flaw(Capture::Sqlite).await;
}
