//! How fast a replication slot is drained to nothing, beside `pg_recvlogical`.
//!
//! `cargo bench -p benches --bench slot_drain` on the servers of `scripts/services env`; needs a role that may make
//! databases and slots (`ADMIN_DATABASE_URL`), and `pg_recvlogical` in `PG_BIN` or the path. For transactions of 1, 10 and
//! 1,000 rows of an outbox, about 400 bytes each, a backlog is written once and copied slots of it are drained by each
//! way in turn, the order rotated; printed are the medians and what they are of `pg_recvlogical`'s over TCP, then the best
//! runs and the CPU seconds of both sides, which show what a loaded machine hides.
//!
//! `SLOT_DRAIN_ROWS` (default 300000) and `SLOT_DRAIN_ROUNDS` (default 3) change the size; arguments choose ways by a part
//! of their name.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use postgres_replication::Lsn;
use postgres_replication::{ConnectOptions, Frame, ReplicationConnection, StartOptions};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const ROWS_PER_TRANSACTION: [u32; 3] = [1, 10, 1_000];

/// A way to drain a slot.
#[derive(Debug, Clone, Copy)]
enum Way {
    PgRecvlogical(Route),
    Stream(Route),
    /// By SQL: peeks at this many changes, then advances the slot.
    Peek(u32, Route),
}

#[derive(Debug, Clone, Copy)]
enum Route {
    Tcp,
    Unix,
}

const WAYS: [Way; 8] = [
    Way::PgRecvlogical(Route::Tcp),
    Way::PgRecvlogical(Route::Unix),
    Way::Stream(Route::Tcp),
    Way::Stream(Route::Unix),
    Way::Peek(100_000, Route::Tcp),
    Way::Peek(100_000, Route::Unix),
    Way::Peek(1_000_000, Route::Tcp),
    Way::Peek(1_000_000, Route::Unix),
];

fn main() -> Result<(), Failure> {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let number = |name: &str, default: u32| std::env::var(name).map_or(Ok(default), |text| text.parse());
    let rows = number("SLOT_DRAIN_ROWS", 300_000)?;
    let rounds = number("SLOT_DRAIN_ROUNDS", 3)?;
    let ways: Vec<Way> = WAYS
        .into_iter()
        .filter(|way| chosen.is_empty() || chosen.iter().any(|part| way.name().contains(part.as_str())))
        .collect();

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut server = Server::prepare().await?;
        for rows_per_transaction in ROWS_PER_TRANSACTION {
            let backlog = server.write_backlog(rows, rows_per_transaction).await?;
            let measured = measure(&mut server, &backlog, &ways, rounds).await;
            server.drop_slot(&backlog.slot).await?;
            print_table(&backlog, &ways, &measured?);
        }
        server.clear_away().await
    })
}

impl Way {
    fn name(self) -> String {
        match self {
            Self::PgRecvlogical(route) => format!("pg_recvlogical, {}", route.name()),
            Self::Stream(route) => format!("streaming, {}", route.name()),
            Self::Peek(changes, route) => format!("by SQL, {}k, {}", changes / 1_000, route.name()),
        }
    }
}

impl Way {
    fn route(self) -> Route {
        match self {
            Self::PgRecvlogical(route) | Self::Stream(route) | Self::Peek(_, route) => route,
        }
    }
}

impl Route {
    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Unix => "Unix socket",
        }
    }
}

/// What one run took.
#[derive(Debug, Clone, Copy)]
struct Taken {
    wall: Duration,
    /// Of the client: this process, or the one that it started.
    client_cpu: Duration,
    /// Of the server's process that served it; zero where the server doesn't run on this machine.
    server_cpu: Duration,
}

/// For each way, what its runs took.
async fn measure(
    server: &mut Server,
    backlog: &Backlog,
    ways: &[Way],
    rounds: u32,
) -> Result<Vec<Vec<Taken>>, Failure> {
    let mut taken = vec![Vec::new(); ways.len()];
    for round in 0..rounds as usize {
        for turn in 0..ways.len() {
            let index = (turn + round) % ways.len();
            let slot = server.copy_slot(backlog).await?;
            let run = drain(server, backlog, &slot, ways[index]).await;
            server.drop_slot(&slot).await?;
            taken[index].push(run?);
        }
    }
    Ok(taken)
}

async fn drain(server: &Server, backlog: &Backlog, slot: &str, way: Way) -> Result<Taken, Failure> {
    let own = std::process::id();
    let (began, client_before) = (Instant::now(), cpu_of(own) + cpu_of_ended_children(own));
    let server_before = cpu_of_ended_children(server.process);
    let (url, slot, end) = (server.url(way.route()), slot.to_owned(), backlog.end);
    match way {
        Way::PgRecvlogical(_) => pg_recvlogical(&url, &slot, end)?,
        Way::Stream(_) => backlog.check(tokio::spawn(async move { stream(&url, &slot, end).await }).await??)?,
        Way::Peek(changes, _) => {
            backlog.check(tokio::spawn(async move { peek(&url, &slot, changes, end).await }).await??)?;
        }
    }
    let wall = began.elapsed();
    let client_cpu = (cpu_of(own) + cpu_of_ended_children(own)).saturating_sub(client_before);
    // The server counts a process when it has ended.
    let deadline = Instant::now() + Duration::from_secs(2);
    let mut server_cpu = Duration::ZERO;
    while server_cpu.is_zero() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(50)).await;
        server_cpu = cpu_of_ended_children(server.process).saturating_sub(server_before);
    }
    Ok(Taken { wall, client_cpu, server_cpu })
}

fn pg_recvlogical(url: &str, slot: &str, end: Lsn) -> Result<(), Failure> {
    let program = std::env::var("PG_BIN").map_or("pg_recvlogical".into(), |bin| format!("{bin}/pg_recvlogical"));
    let status = Command::new(program)
        .args(["--start", "--no-loop", "--file", "/dev/null", "--slot", slot])
        .args(["--endpos", &end.to_string(), "--dbname", url])
        .args(["--option", "proto_version=1", "--option", "publication_names=drained"])
        .stdin(Stdio::null())
        .status()?;
    if status.success() { Ok(()) } else { Err(format!("pg_recvlogical: {status}").into()) }
}

/// Drains by the streaming protocol; gives the number of rows.
async fn stream(url: &str, slot: &str, end: Lsn) -> Result<u32, Failure> {
    let options: ConnectOptions = url.parse()?;
    let connection = ReplicationConnection::connect(&options).await?;
    let mut stream = connection.start(slot, Lsn::INVALID, &StartOptions::new(["drained"])).await?;
    let confirmer = stream.confirmer();
    let mut rows = 0;
    'stream: loop {
        let mut frame = Some(stream.next().await?);
        while let Some(taken) = frame {
            let at = match &taken {
                Frame::Data(change) => {
                    rows += u32::from(change.data.first() == Some(&b'I'));
                    if change.data.first() == Some(&b'C') {
                        confirmer.confirm(change.wal_end);
                    }
                    change.wal_end
                }
                Frame::Keepalive(keepalive) => keepalive.wal_end,
            };
            if at >= end {
                break 'stream;
            }
            frame = stream.next_buffered()?;
        }
    }
    stream.close().await?;
    Ok(rows)
}

/// Drains by SQL, in calls of `changes` changes each; returns the number of rows.
async fn peek(url: &str, slot: &str, changes: u32, end: Lsn) -> Result<u32, Failure> {
    let mut connection = PgConnection::connect(url).await?;
    let peek = format!(
        "COPY (SELECT lsn, data FROM pg_logical_slot_peek_binary_changes('{slot}', NULL, {changes}, \
         'proto_version', '1', 'publication_names', 'drained')) TO STDOUT (FORMAT binary)"
    );
    let mut rows = 0;
    loop {
        let mut through = Lsn::INVALID;
        let mut changes = connection.copy_out_raw(&peek).await?;
        while let Some(tuple) = changes.try_next().await? {
            let Some((lsn, kind)) = change_of(&tuple) else { continue };
            rows += u32::from(lsn < end && kind == b'I');
            through = lsn;
        }
        drop(changes);
        if through == Lsn::INVALID {
            break;
        }
        run(&mut connection, format!("SELECT pg_replication_slot_advance('{slot}', '{}')", through.min(end))).await?;
        if through >= end {
            break;
        }
    }
    connection.close().await?;
    Ok(rows)
}

/// Reads the place of a change and the first byte of its message from a tuple of a binary COPY: two fields, each after its
/// length. `None` for the header and the trailer.
fn change_of(tuple: &[u8]) -> Option<(Lsn, u8)> {
    let fields = tuple.strip_prefix(&[0, 2, 0, 0, 0, 8])?;
    let (lsn, rest) = fields.split_first_chunk::<8>()?;
    Some((Lsn::new(u64::from_be_bytes(*lsn)), *rest.get(4)?))
}

/// The backlog to drain.
struct Backlog {
    slot: String,
    rows: u32,
    rows_per_transaction: u32,
    end: Lsn,
}

impl Backlog {
    fn check(&self, rows: u32) -> Result<(), Failure> {
        if rows == self.rows { Ok(()) } else { Err(format!("{rows} rows came of {}", self.rows).into()) }
    }
}

/// A database of its own.
struct Server {
    /// Up to the name of the database.
    url: String,
    socket_folder: String,
    database: String,
    connection: PgConnection,
    /// The process that starts all others of the server.
    process: u32,
}

impl Server {
    async fn prepare() -> Result<Self, Failure> {
        let variable = |name: &str| {
            std::env::var(name).map_err(|_| format!("{name} is not set: run eval \"$(scripts/services env)\""))
        };
        let admin = variable("ADMIN_DATABASE_URL")?;
        let (url, _) = admin.rsplit_once('/').ok_or("ADMIN_DATABASE_URL names no database")?;
        let database = format!("slot_drain_{}", std::process::id());
        let mut connection = PgConnection::connect(&admin).await?;
        run(&mut connection, format!("CREATE DATABASE {database}")).await?;
        connection.close().await?;
        let (url, socket_folder) = (url.to_owned(), variable("PG_SOCKET_DIR")?);
        let mut connection = PgConnection::connect(&format!("{url}/{database}")).await?;
        run(&mut connection, TABLE.to_owned()).await?;
        let own: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut connection).await?;
        Ok(Self { url, socket_folder, database, connection, process: parent_of(own) })
    }

    fn url(&self, route: Route) -> String {
        let Self { url, database, socket_folder, .. } = self;
        match route {
            Route::Tcp => format!("{url}/{database}?sslmode=disable"),
            Route::Unix => format!("{url}/{database}?host={socket_folder}"),
        }
    }

    async fn write_backlog(&mut self, rows: u32, rows_per_transaction: u32) -> Result<Backlog, Failure> {
        let slot = format!("{}_{rows_per_transaction}", self.database);
        run(&mut self.connection, format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')")).await?;
        let transactions = rows / rows_per_transaction;
        let fill = format!("CALL fill({transactions}, {rows_per_transaction})");
        run(&mut self.connection, fill).await?;
        run(&mut self.connection, "CHECKPOINT".to_owned()).await?;
        let end: String =
            sqlx::query_scalar("SELECT pg_current_wal_insert_lsn()::text").fetch_one(&mut self.connection).await?;
        // The server reports this place only with the next record after it.
        run(&mut self.connection, "SELECT pg_logical_emit_message(false, 'end', '')".to_owned()).await?;
        let rows = transactions * rows_per_transaction;
        Ok(Backlog { slot, rows, rows_per_transaction, end: end.parse()? })
    }

    async fn copy_slot(&mut self, backlog: &Backlog) -> Result<String, Failure> {
        let copy = format!("{}_copy", backlog.slot);
        let statement = format!("SELECT pg_copy_logical_replication_slot('{}', '{copy}')", backlog.slot);
        run(&mut self.connection, statement).await?;
        Ok(copy)
    }

    async fn drop_slot(&mut self, slot: &str) -> Result<(), Failure> {
        // The server may not have noticed yet that pg_recvlogical has gone.
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match run(&mut self.connection, format!("SELECT pg_drop_replication_slot('{slot}')")).await {
                Err(_) if Instant::now() < deadline => tokio::time::sleep(Duration::from_millis(20)).await,
                answer => return answer,
            }
        }
    }

    async fn clear_away(self) -> Result<(), Failure> {
        self.connection.close().await?;
        let mut connection = PgConnection::connect(&format!("{}/postgres", self.url)).await?;
        run(&mut connection, format!("DROP DATABASE {}", self.database)).await
    }
}

async fn run(connection: &mut PgConnection, statement: String) -> Result<(), Failure> {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await?;
    Ok(())
}

const TABLE: &str = "
    CREATE TABLE events (
        sequence bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, event_id uuid NOT NULL, order_id uuid NOT NULL,
        version bigint NOT NULL, event_type text NOT NULL, payload text NOT NULL, occurred_at timestamptz NOT NULL,
        traceparent text, transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id());
    CREATE PUBLICATION drained FOR TABLE events;
    CREATE PROCEDURE fill(transactions int, rows int) LANGUAGE plpgsql AS $$
    BEGIN
        FOR t IN 1..transactions LOOP
            INSERT INTO events (event_id, order_id, version, event_type, payload, occurred_at)
            SELECT gen_random_uuid(), gen_random_uuid(), i, 'order.item_added.v1', repeat('0123456789', 22), now()
            FROM generate_series(1, rows) i;
            COMMIT;
            SET LOCAL synchronous_commit = off;
        END LOOP;
    END $$;";

/// The parent of a process of this machine; 0 if it isn't one.
fn parent_of(process: i32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    fields.split_whitespace().nth(1).and_then(|parent| parent.parse().ok()).unwrap_or_default()
}

/// User and system time of a process so far, where Linux tells it.
fn cpu_of(process: u32) -> Duration {
    ticks(process, 0)
}

/// The same of its children that have ended.
fn cpu_of_ended_children(process: u32) -> Duration {
    ticks(process, 2)
}

/// Of four fields, the sum of two, in hundredths of a second: user and system time, the children's user and system time.
fn ticks(process: u32, first: usize) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name, second of all fields, may hold spaces; the times are fields 14 to 17.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().skip(11 + first).take(2);
    Duration::from_millis(10 * ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>())
}

fn print_table(backlog: &Backlog, ways: &[Way], taken: &[Vec<Taken>]) {
    println!(
        "\n{} rows, {} in each transaction; CPU in seconds per million rows",
        backlog.rows, backlog.rows_per_transaction
    );
    println!(
        "{:<28} {:>10} {:>7} {:>10} {:>7} {:>11} {:>11}",
        "", "rows/s", "ratio", "best", "ratio", "client CPU", "server CPU"
    );
    let rows = f64::from(backlog.rows);
    let seconds = |runs: &[Taken]| Vec::from_iter(runs.iter().map(|run| run.wall.as_secs_f64()));
    let rate = |runs: &[Taken]| rows / median(seconds(runs));
    let best = |runs: &[Taken]| rows / seconds(runs).into_iter().fold(f64::INFINITY, f64::min);
    let reference = ways.iter().position(|way| matches!(way, Way::PgRecvlogical(Route::Tcp)));
    let of_reference = |rate: &dyn Fn(&[Taken]) -> f64, runs: &[Taken]| {
        reference.map_or(String::new(), |index| format!("{:.2}", rate(runs) / rate(&taken[index])))
    };
    for (way, runs) in ways.iter().zip(taken) {
        let cpu = |of: fn(&Taken) -> Duration| median(runs.iter().map(|run| of(run).as_secs_f64())) / rows * 1e6;
        let (client, server) = (cpu(|run| run.client_cpu), cpu(|run| run.server_cpu));
        println!(
            "{:<28} {:>10.0} {:>7} {:>10.0} {:>7} {client:>11.1} {server:>11.1}",
            way.name(),
            rate(runs),
            of_reference(&rate, runs),
            best(runs),
            of_reference(&best, runs),
        );
    }
}

fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
