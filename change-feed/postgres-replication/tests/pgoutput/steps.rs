//! What is done on a server, and what it must send for it.

/// Something done on a server.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) sql: &'static str,
    /// Whether values are asked for in binary.
    pub(crate) binary: bool,
    /// The sketches of what is sent for it.
    pub(crate) sent: &'static [&'static str],
}

const fn step(name: &'static str, sql: &'static str, sent: &'static [&'static str]) -> Step {
    Step { name, sql, binary: false, sent }
}

/// The tables that the steps work on.
pub(crate) const TABLES: &str = "
    create schema shop;
    create type shop.status as enum ('open', 'cancelled');
    create table shop.items (id int primary key, sku text not null, note varchar(40), photo text);
    alter table shop.items alter column photo set storage external;
    create table shop.orders (id int primary key, status shop.status not null);
    create table shop.whole (a int, b text);
    alter table shop.whole alter column b set storage external, replica identity full;
    create table shop.indexed (a int not null, b text not null, c text);
    create unique index by_b on shop.indexed (b);
    alter table shop.indexed replica identity using index by_b;
    create table shop.log (line text);
    alter table shop.log replica identity nothing;
    create table shop.empty ();
    create table shop.\"Größe ☃\" (\"Ø, \"\"x\"\"\" int primary key);
    create table shop.parent (id int generated always as identity primary key);
    create table shop.child (parent_id int references shop.parent);
    create table shop.kinds (
        a bool, b smallint, c int, d bigint, e real, f double precision, g numeric(10, 2), h text, i varchar(10),
        j char(5), k bytea, l date, m time, n timetz, o timestamp, p timestamptz, q interval, r uuid, s json, t jsonb,
        u int[], v text[], w shop.status, x inet);
";

const KINDS: &str =
    "relation shop.kinds Default (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x)";

/// In this order: each goes on with what the ones before have left.
pub(crate) const STEPS: &[Step] = &[
    step(
        "insert",
        "insert into shop.items values (1, 'milk', null, 'x')",
        &[
            "begin",
            "relation shop.items Default (id*, sku, note, photo)",
            "insert items ('1', 'milk', null, 'x')",
            "commit",
        ],
    ),
    step(
        "insert_many",
        "insert into shop.log select 'line ' || n from generate_series(1, 3) n",
        &[
            "begin",
            "relation shop.log Nothing (line)",
            "insert log ('line 1')",
            "insert log ('line 2')",
            "insert log ('line 3')",
            "commit",
        ],
    ),
    step(
        "insert_every_kind",
        r#"insert into shop.kinds values (
            true, -32768, 2147483647, -9223372036854775808, '1e20', 'NaN', 12.50, E'a\n"b"\\', 'é', 'x', '\x00ff',
            '2024-02-29', '12:34:56.789', '12:34:56+02', '2024-02-29 12:34:56.789', '2024-02-29 12:34:56.789+00',
            '1 day 02:03:04', '018f0000-0000-7000-8000-000000000001', '{"a":  1}', '{"a": 1}', '{1,null,3}',
            '{"a b",null,c}', 'open', '10.0.0.1/24')"#,
        &[
            "begin",
            "type shop.status",
            KINDS,
            r#"insert kinds ('t', '-32768', '2147483647', '-9223372036854775808', '1e+20', 'NaN', '12.50', 'a\n\"b\"\\', '\xc3\xa9', 'x    ', '\\x00ff', '2024-02-29', '12:34:56.789', '12:34:56+02', '2024-02-29 12:34:56.789', '2024-02-29 12:34:56.789+00', '1 day 02:03:04', '018f0000-0000-7000-8000-000000000001', '{\"a\":  1}', '{\"a\": 1}', '{1,NULL,3}', '{\"a b\",NULL,c}', 'open', '10.0.0.1/24')"#,
            "commit",
        ],
    ),
    step(
        "insert_nulls",
        "insert into shop.kinds default values",
        &[
            "begin",
            "type shop.status",
            KINDS,
            "insert kinds (null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null)",
            "commit",
        ],
    ),
    step(
        "insert_no_columns",
        "insert into shop.empty default values",
        &["begin", "relation shop.empty Default ()", "insert empty ()", "commit"],
    ),
    step(
        "insert_names",
        "insert into shop.\"Größe ☃\" values (1)",
        &["begin", "relation shop.Größe ☃ Default (Ø, \"x\"*)", "insert Größe ☃ ('1')", "commit"],
    ),
    Step {
        name: "insert_binary",
        sql: "insert into shop.items values (2, 'eggs', 'fresh', null)",
        binary: true,
        sent: &[
            "begin",
            "relation shop.items Default (id*, sku, note, photo)",
            r"insert items (binary '\x00\x00\x00\x02', binary 'eggs', binary 'fresh', null)",
            "commit",
        ],
    },
    step(
        "update",
        "update shop.items set note = 'cold' where id = 1",
        &[
            "begin",
            "relation shop.items Default (id*, sku, note, photo)",
            "update items ('1', 'milk', 'cold', 'x')",
            "commit",
        ],
    ),
    step(
        "update_key",
        "update shop.items set id = 3 where id = 2",
        &[
            "begin",
            "relation shop.items Default (id*, sku, note, photo)",
            "update items key ('2', null, null, null) -> ('3', 'eggs', 'fresh', null)",
            "commit",
        ],
    ),
    step(
        "update_toast",
        "update shop.items set photo = repeat('x', 2100) where id = 1; update shop.items set note = 'warm' where id = 1",
        &[
            "begin",
            "relation shop.items Default (id*, sku, note, photo)",
            "update items ('1', 'milk', 'cold', 2100 bytes)",
            "update items ('1', 'milk', 'warm', unchanged)",
            "commit",
        ],
    ),
    step(
        "update_whole",
        "insert into shop.whole values (1, repeat('x', 2100)), (null, 'b'); update shop.whole set a = 2",
        &[
            "begin",
            "relation shop.whole Full (a*, b*)",
            "insert whole ('1', 2100 bytes)",
            "insert whole (null, 'b')",
            "update whole old ('1', 2100 bytes) -> ('2', unchanged)",
            "update whole old (null, 'b') -> ('2', 'b')",
            "commit",
        ],
    ),
    step(
        "update_index",
        "insert into shop.indexed values (1, 'b', 'c'); update shop.indexed set a = 2; update shop.indexed set b = 'B'",
        &[
            "begin",
            "relation shop.indexed Index (a, b*, c)",
            "insert indexed ('1', 'b', 'c')",
            "update indexed ('2', 'b', 'c')",
            "update indexed key (null, 'b', null) -> ('2', 'B', 'c')",
            "commit",
        ],
    ),
    step(
        "update_enum",
        "insert into shop.orders values (1, 'open'); update shop.orders set status = 'cancelled'",
        &[
            "begin",
            "type shop.status",
            "relation shop.orders Default (id*, status)",
            "insert orders ('1', 'open')",
            "update orders ('1', 'cancelled')",
            "commit",
        ],
    ),
    step(
        "delete",
        "delete from shop.items where id = 3; delete from shop.indexed",
        &[
            "begin",
            "relation shop.items Default (id*, sku, note, photo)",
            "delete items key ('3', null, null, null)",
            "relation shop.indexed Index (a, b*, c)",
            "delete indexed key (null, 'B', null)",
            "commit",
        ],
    ),
    step(
        "delete_whole",
        "delete from shop.whole where b = 'b'",
        &["begin", "relation shop.whole Full (a*, b*)", "delete whole old ('2', 'b')", "commit"],
    ),
    step(
        "truncate",
        "truncate shop.log; truncate shop.whole restart identity; truncate shop.parent restart identity cascade",
        &[
            "begin",
            "relation shop.log Nothing (line)",
            "truncate log",
            "relation shop.whole Full (a*, b*)",
            "truncate whole restart identity",
            "relation shop.parent Default (id*)",
            "relation shop.child Default (parent_id)",
            "truncate child, parent cascade restart identity",
            "commit",
        ],
    ),
    step(
        "alter",
        "insert into shop.orders values (2, 'open');
         alter table shop.orders add paid boolean default false;
         insert into shop.orders values (3, 'open');
         alter table shop.orders drop status;
         alter table shop.orders rename paid to settled;
         insert into shop.orders values (4, true)",
        &[
            "begin",
            "type shop.status",
            "relation shop.orders Default (id*, status)",
            "insert orders ('2', 'open')",
            "type shop.status",
            "relation shop.orders Default (id*, status, paid)",
            "insert orders ('3', 'open', 'f')",
            "relation shop.orders Default (id*, settled)",
            "insert orders ('4', 't')",
            "commit",
        ],
    ),
    step(
        "message",
        "select pg_logical_emit_message(true, 'outbox', 'hello'); select pg_logical_emit_message(true, '', '')",
        &["begin", "message outbox 'hello'", "message  ''", "commit"],
    ),
    step(
        "message_at_once",
        "insert into shop.log values ('before'); select pg_logical_emit_message(false, 'heart', '\\x00ff'::bytea)",
        &[
            r"message at once heart '\x00\xff'",
            "begin",
            "relation shop.log Nothing (line)",
            "insert log ('before')",
            "commit",
        ],
    ),
    step(
        "origin",
        "insert into shop.log values ('from afar'); select pg_replication_origin_xact_setup('16/B374D848', now())",
        &[
            "begin",
            "origin upstream 16/B374D848",
            "relation shop.log Nothing (line)",
            "insert log ('from afar')",
            "commit",
        ],
    ),
];
