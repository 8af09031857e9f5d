//! Guards that look right and are not. They are here so that the oracle has something to see.

use change_feed::outbox::{Dialect, Guard, Rule};

use crate::guard::world::Rules;

/// The rules of an unsafe guard, in place of [`Guard::rules_sql`].
pub(crate) fn rules(guard: &Guard, rules: Rules, dialect: Dialect) -> String {
    match (rules, dialect) {
        (Rules::KeyAlone, Dialect::Postgres) => format!("{NUMBERS}{}", key(guard)),
        (Rules::PlainRead, Dialect::Postgres) => format!("{NUMBERS}{}{PLAIN_READ}", key(guard)),
        (Rules::NumberBeforeLock, Dialect::Postgres) => format!("{NUMBERS}{NUMBER_BEFORE_LOCK}"),
        // On SQLite the key stands in the table, or there is no rule at all.
        _ => String::new(),
    }
}

/// Numbers by a default, which is evaluated before any trigger.
const NUMBERS: &str = "alter table order_events alter sequence set default nextval('order_events_sequence');";

/// The foreign key alone judges a row's last version: it knows nothing of the ones before, nor of children.
fn key(guard: &Guard) -> String {
    let name = guard.constraint(Rule::VersionHasEvent);
    format!(
        "alter table orders add constraint {name} foreign key (order_id, version)
             references order_events (order_id, version) deferrable initially deferred;"
    )
}

/// Reads the state without a lock: what it read may be gone when it answers.
const PLAIN_READ: &str = "
create function reads_only() returns trigger language plpgsql as $$
begin
    if (select status from orders where order_id = new.order_id) = 'cancelled' then
        raise exception using errcode = 'check_violation', constraint = 'orders_is_final', message = 'cancelled';
    end if;
    return new;
end $$;
create trigger reads_only before insert on order_items for each row execute function reads_only();";

/// The event's own insert steps the order: its number is older than its lock.
const NUMBER_BEFORE_LOCK: &str = "
create function steps_late() returns trigger language plpgsql as $$
begin
    update orders set version = version + 1 where order_id = new.order_id returning version into new.version;
    return new;
end $$;
create trigger steps_late before insert on order_events for each row when (new.event_type = 'changed')
    execute function steps_late();";
