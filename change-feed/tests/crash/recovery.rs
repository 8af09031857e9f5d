//! Relays and servers crash under load: the quick version. `long_crash_recovery` does the same at length.

use super::{Capture, Fault, Mode};

#[test]
fn a_relay_process_drains_when_it_is_told_to_end() {
    super::drains_when_told();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_killed_at_random_moments_publishes_each_change_of_postgres_once() {
    super::kills(Capture::PostgresPoll, Mode::Transactional, 6, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_killed_at_random_moments_publishes_each_change_of_sqlite_once() {
    super::kills(Capture::Sqlite, Mode::Transactional, 6, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_killed_at_random_moments_publishes_each_change_in_the_log_of_postgres_once() {
    super::kills(Capture::PostgresLog, Mode::Transactional, 6, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_transactions_a_killed_relay_repeats_and_loses_nothing_in_the_log_of_postgres() {
    super::kills(Capture::PostgresLog, Mode::Idempotent, 6, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_transactions_a_killed_relay_repeats_and_loses_nothing_of_postgres() {
    super::kills(Capture::PostgresPoll, Mode::Idempotent, 6, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_transactions_a_killed_relay_repeats_and_loses_nothing_of_sqlite() {
    super::kills(Capture::Sqlite, Mode::Idempotent, 6, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_killed_at_each_step_publishes_each_change_in_the_log_of_postgres_once() {
    super::deaths(Capture::PostgresLog, Mode::Transactional, 2, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_transactions_a_relay_killed_at_each_step_loses_nothing_in_the_log_of_postgres() {
    super::deaths(Capture::PostgresLog, Mode::Idempotent, 2, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_killed_at_each_step_publishes_each_change_of_sqlite_once() {
    super::deaths(Capture::Sqlite, Mode::Transactional, 1, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_whose_walsender_is_terminated_reads_on_in_the_log_of_postgres() {
    super::walsenders(Mode::Transactional, 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_of_a_transaction_that_arrives_late_changes_nothing_in_what_the_log_of_postgres_tells() {
    super::accidents(Capture::PostgresLog, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_relays_on_postgres_is_active_and_the_other_takes_over() {
    super::standbys(Capture::PostgresPoll, Mode::Transactional, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_relays_on_the_log_of_postgres_is_active_and_the_other_takes_over() {
    super::standbys(Capture::PostgresLog, Mode::Transactional, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_relays_on_sqlite_is_active_and_the_other_takes_over() {
    super::standbys(Capture::Sqlite, Mode::Transactional, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_relay_on_postgres_steps_back_when_it_wakes_up() {
    super::freezes(Capture::PostgresPoll, Mode::Transactional, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_relay_on_the_log_of_postgres_steps_back_when_it_wakes_up() {
    super::freezes(Capture::PostgresLog, Mode::Transactional, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_relay_on_sqlite_goes_on_when_it_wakes_up() {
    super::freezes(Capture::Sqlite, Mode::Transactional, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_or_a_database_that_comes_back_finds_the_lag_return_to_nothing() {
    let faults = [Fault::BrokerStopped, Fault::BrokerKilled, Fault::PostgresStopped, Fault::PostgresKilled];
    super::outages(Capture::PostgresPoll, Mode::Transactional, &faults, 1, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_of_transactions_that_is_killed_costs_the_log_of_postgres_nothing() {
    super::broker_kills(Capture::PostgresLog, Mode::Transactional, 0, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_are_open_while_the_broker_restarts_read_on_when_it_is_back() {
    super::readers(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_or_a_database_that_comes_back_finds_the_lag_of_its_log_return_to_nothing() {
    let faults = [Fault::BrokerKilled, Fault::PostgresStopped, Fault::PostgresKilled];
    super::outages(Capture::PostgresLog, Mode::Transactional, &faults, 1, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn relays_that_are_broken_on_purpose_are_seen_to_fail() {
    super::shows_its_flaw(Capture::PostgresPoll).await;
}
