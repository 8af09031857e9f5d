//! The PostgreSQL server, and what the rig makes there: names that begin with the run's own.

use std::collections::HashMap;
use std::env;
use std::path::Path;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::outcome::Outcome;
use crate::usage::cpu_seconds_of;

const SLOT_RELEASE_LIMIT: Duration = Duration::from_secs(20);
const SLOT_RELEASE_POLL: Duration = Duration::from_millis(50);
/// How often the server's processes are looked at; what they use in the last moments before they end is missing.
const CPU_WATCH_INTERVAL: Duration = Duration::from_millis(200);

/// A server, and a role of this run's own.
#[derive(Debug, Clone)]
pub(crate) struct Postgres {
    admin: PgConnectOptions,
    run: String,
    password: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) version: String,
    /// The folder of its Unix socket, where it has one on this machine.
    pub(crate) socket: Option<String>,
}

impl Postgres {
    /// Asks the server of `ADMIN_DATABASE_URL`; makes nothing.
    pub(crate) async fn find(run: &str) -> Outcome<Self> {
        let url = env::var("ADMIN_DATABASE_URL")
            .map_err(|_| "ADMIN_DATABASE_URL is not set: eval \"$(scripts/services env)\"")?;
        let admin: PgConnectOptions = url.parse()?;
        let mut connection = admin.connect().await?;
        let (version, wal_level, sockets, is_superuser): (String, String, String, bool) = sqlx::query_as(
            "select current_setting('server_version'), current_setting('wal_level'),
                current_setting('unix_socket_directories'),
                (select rolsuper from pg_roles where rolname = current_user)",
        )
        .fetch_one(&mut connection)
        .await?;
        connection.close().await?;
        if wal_level != "logical" || !is_superuser {
            return Err("the rig needs a server with wal_level=logical, and a superuser of it".into());
        }
        let (host, port) = (admin.get_host().to_owned(), admin.get_port());
        let given = env::var("PG_SOCKET_DIR").ok().filter(|folder| !folder.is_empty());
        let socket = given.or_else(|| first_folder(&sockets)).filter(|folder| has_socket(folder, port));
        let password = uuid::Uuid::new_v4().simple().to_string();
        Ok(Self { admin, run: run.to_owned(), password, host, port, version, socket })
    }

    /// The role that everything but the set-up runs as.
    pub(crate) fn role(&self) -> &str {
        &self.run
    }

    pub(crate) fn password(&self) -> &str {
        &self.password
    }

    pub(crate) async fn create_role(&self) -> Outcome<()> {
        let Self { run, password, .. } = self;
        self.administer(&format!("create role {run} login replication password '{password}'")).await
    }

    /// Makes a database that the role owns, and returns its name.
    pub(crate) async fn create_database(&self, name: &str) -> Outcome<String> {
        let database = format!("{}_{name}", self.run);
        self.administer(&format!("create database {database} owner {}", self.run)).await?;
        Ok(database)
    }

    pub(crate) async fn drop_database(&self, database: &str) -> Outcome<()> {
        self.drop_slots_of("database = $1", database).await?;
        self.administer(&format!("drop database if exists {database} with (force)")).await
    }

    /// Leaves nothing to write back when a contender starts, so that all start alike.
    pub(crate) async fn checkpoint(&self) -> Outcome<()> {
        self.administer("checkpoint").await
    }

    pub(crate) async fn drop_slot(&self, slot: &str) -> Outcome<()> {
        self.drop_slots_of("slot_name = $1", slot).await
    }

    /// Removes everything that begins with the run's name.
    pub(crate) async fn clean_up(&self) -> Outcome<()> {
        self.drop_slots_of("starts_with(slot_name, $1)", &self.run).await?;
        let mut connection = self.admin.connect().await?;
        let databases: Vec<String> =
            sqlx::query_scalar("select datname::text from pg_database where starts_with(datname, $1)")
                .bind(format!("{}_", self.run))
                .fetch_all(&mut connection)
                .await?;
        connection.close().await?;
        for database in databases {
            self.administer(&format!("drop database if exists {database} with (force)")).await?;
        }
        self.administer(&format!("drop role if exists {}", self.run)).await
    }

    /// A connection as the run's role.
    pub(crate) async fn connect(&self, database: &str) -> Outcome<PgConnection> {
        Ok(self.options(database).connect().await?)
    }

    fn options(&self, database: &str) -> PgConnectOptions {
        self.admin.clone().username(&self.run).password(&self.password).database(database)
    }

    /// For programs: over TCP.
    pub(crate) fn url(&self, database: &str) -> String {
        let Self { run, password, host, port, .. } = self;
        format!("postgres://{run}:{password}@{host}:{port}/{database}")
    }

    /// For programs: over the Unix socket, where there is one.
    pub(crate) fn socket_url(&self, database: &str) -> Option<String> {
        let Self { run, password, port, socket, .. } = self;
        let socket = socket.as_deref()?.replace('/', "%2F");
        Some(format!("postgres://{run}:{password}@localhost:{port}/{database}?host={socket}"))
    }

    async fn administer(&self, statement: &str) -> Outcome<()> {
        let mut connection = self.admin.connect().await?;
        connection.execute(AssertSqlSafe(statement.to_owned())).await?;
        connection.close().await?;
        Ok(())
    }

    /// Ends the connections that read the slots, and drops the slots.
    async fn drop_slots_of(&self, condition: &str, value: &str) -> Outcome<()> {
        let mut connection = self.admin.connect().await?;
        let drop = format!(
            "select count(pg_terminate_backend(active_pid)), count(case when active_pid is null
                then pg_drop_replication_slot(slot_name) end), count(*) from pg_replication_slots where {condition}"
        );
        let deadline = Instant::now() + SLOT_RELEASE_LIMIT;
        loop {
            let (ended, _, found): (i64, i64, i64) =
                sqlx::query_as(AssertSqlSafe(drop.clone())).bind(value).fetch_one(&mut connection).await?;
            if ended == 0 || found == 0 {
                break;
            }
            if Instant::now() > deadline {
                return Err("a replication slot is not let go of".into());
            }
            sleep(SLOT_RELEASE_POLL).await;
        }
        connection.close().await?;
        Ok(())
    }

    /// Adds up the CPU time of the processes that serve a database, until it is asked.
    pub(crate) async fn watch_cpu(&self, database: &str) -> Outcome<ServerCpu> {
        let mut connection = self.admin.connect().await?;
        let database = database.to_owned();
        let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let mut seen: HashMap<i32, f64> = HashMap::new();
            loop {
                let processes = "select pid from pg_stat_activity where datname = $1";
                let answer = sqlx::query_scalar(processes).bind(&database).fetch_all(&mut connection).await;
                for process in answer.unwrap_or_default() {
                    if let Some(seconds) = u32::try_from(process).ok().and_then(cpu_seconds_of) {
                        seen.insert(process, seconds);
                    }
                }
                tokio::select! {
                    _ = &mut stopped => break,
                    () = sleep(CPU_WATCH_INTERVAL) => {}
                }
            }
            seen.values().sum()
        });
        Ok(ServerCpu { stop, task })
    }
}

/// A watch over the processes that serve a database.
#[derive(Debug)]
pub(crate) struct ServerCpu {
    stop: tokio::sync::oneshot::Sender<()>,
    task: JoinHandle<f64>,
}

impl ServerCpu {
    /// What they have used; nothing where the server runs on another machine.
    pub(crate) async fn seconds(self) -> f64 {
        // A watch that has ended still has its figures.
        let _: Result<(), ()> = self.stop.send(());
        self.task.await.unwrap_or_default()
    }
}

/// The setting is a list of folders, each of which may be quoted.
fn first_folder(setting: &str) -> Option<String> {
    let first = match setting.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => setting.split(',').next()?,
    };
    Some(first.trim().to_owned()).filter(|folder| folder.starts_with('/'))
}

fn has_socket(folder: &str, port: u16) -> bool {
    Path::new(folder).join(format!(".s.PGSQL.{port}")).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_folder_of_a_list_may_be_quoted() {
        assert_eq!(first_folder("/run/postgresql, /tmp").as_deref(), Some("/run/postgresql"));
        assert_eq!(first_folder("\"/a folder, really\",/tmp").as_deref(), Some("/a folder, really"));
        assert_eq!(first_folder(""), None);
        assert_eq!(first_folder("@abstract"), None);
    }
}
