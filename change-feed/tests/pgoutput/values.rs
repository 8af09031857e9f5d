//! The value of every common type, from the server's log to Rust and to JSON, beside the server's own `to_jsonb`.

use change_feed::postgres::value::{Value, write_json};
use postgres_replication::pgoutput::{Column, Datum, Message};
use test_support::PgoutputSession;

const TYPES: &str = "
    create type status as enum ('open', 'cancelled');
    create domain positive as int check (value > 0);
    create type pair as (a int, b text);
";

/// What `to_jsonb` gives, as a JSON value.
#[derive(Clone, Copy)]
enum Oracle {
    /// The same.
    Agrees,
    /// This, by a difference that the module `change_feed::postgres::value` documents.
    Differs(&'static str),
}

use Oracle::{Agrees, Differs};

/// Type, what is inserted, its JSON, its value.
type Case = (&'static str, &'static str, &'static str, &'static str, Oracle);

const NUMBERS: &[Case] = &[
    ("boolean", "true", "true", "Bool(true)", Agrees),
    ("boolean", "false", "false", "Bool(false)", Agrees),
    ("smallint", "-32768", "-32768", "Int2(-32768)", Agrees),
    ("integer", "2147483647", "2147483647", "Int4(2147483647)", Agrees),
    ("bigint", "-9223372036854775808", "-9223372036854775808", "Int8(-9223372036854775808)", Agrees),
    ("bigint", "9007199254740993", "9007199254740993", "Int8(9007199254740993)", Agrees),
    ("oid", "4294967295", "4294967295", "Oid(4294967295)", Differs(r#""4294967295""#)),
    ("real", "0.1", "0.1", "Float4(0.1)", Agrees),
    ("real", "1e20", "1e+20", "Float4(1e20)", Agrees),
    ("real", "NaN", r#""NaN""#, "Float4(NaN)", Agrees),
    ("real", "-Infinity", r#""-Infinity""#, "Float4(-inf)", Agrees),
    ("double precision", "0.1", "0.1", "Float8(0.1)", Agrees),
    ("double precision", "-0", "-0", "Float8(-0.0)", Differs("0")),
    ("double precision", "5e-324", "5e-324", "Float8(5e-324)", Agrees),
    ("double precision", "1e300", "1e+300", "Float8(1e300)", Agrees),
    ("double precision", "Infinity", r#""Infinity""#, "Float8(inf)", Agrees),
    ("numeric", "12.50", "12.50", "Numeric(Decimal(12.50))", Agrees),
    ("numeric(10, 3)", "-0.5", "-0.500", "Numeric(Decimal(-0.500))", Agrees),
    (
        "numeric",
        "123456789012345678901234567890.12345678901234567890",
        "123456789012345678901234567890.12345678901234567890",
        "Numeric(Decimal(123456789012345678901234567890.12345678901234567890))",
        Agrees,
    ),
    ("numeric", "1e20", "100000000000000000000", "Numeric(Decimal(100000000000000000000))", Agrees),
    ("numeric", "NaN", r#""NaN""#, "Numeric(Decimal(NaN))", Agrees),
    ("numeric", "Infinity", r#""Infinity""#, "Numeric(Decimal(Infinity))", Agrees),
    ("numeric", "-Infinity", r#""-Infinity""#, "Numeric(Decimal(-Infinity))", Agrees),
];

const TEXTS: &[Case] = &[
    ("text", "", r#""""#, r#"Text("")"#, Agrees),
    (
        "text",
        "a\n\"b\"\\\t\u{1}\u{7f}",
        "\"a\\n\\\"b\\\"\\\\\\t\\u0001\u{7f}\"",
        r#"Text("a\n\"b\"\\\t\u{1}\u{7f}")"#,
        Agrees,
    ),
    ("text", "é ☃ 𝄞 \u{2028}", "\"é ☃ 𝄞 \u{2028}\"", r#"Text("é ☃ 𝄞 \u{2028}")"#, Agrees),
    ("varchar(5)", "true", r#""true""#, r#"Text("true")"#, Agrees),
    ("char(5)", "x", r#""x    ""#, r#"Text("x    ")"#, Agrees),
    ("name", "x", r#""x""#, r#"Text("x")"#, Agrees),
    (r#""char""#, "x", r#""x""#, r#"Text("x")"#, Agrees),
    ("status", "open", r#""open""#, r#"Text("open")"#, Agrees),
    ("positive", "7", r#""7""#, r#"Text("7")"#, Differs("7")),
    ("pair", r#"(1,"a b")"#, r#""(1,\"a b\")""#, r#"Text("(1,\"a b\")")"#, Differs(r#"{"a": 1, "b": "a b"}"#)),
    (
        "uuid",
        "018F0000-0000-7000-8000-000000000001",
        r#""018f0000-0000-7000-8000-000000000001""#,
        "Uuid(018f0000-0000-7000-8000-000000000001)",
        Agrees,
    ),
    ("bytea", r"\x00ff10", r#""AP8Q""#, "Bytes([0, 255, 16])", Differs(r#""\\x00ff10""#)),
    ("bytea", "", r#""""#, "Bytes([])", Differs(r#""\\x""#)),
    (
        "json",
        "{\"b\":  1,\n \"a\": 12.50, \"b\": 2}",
        "{\"b\":  1,\n \"a\": 12.50, \"b\": 2}",
        r#"Json("{\"b\":  1,\n \"a\": 12.50, \"b\": 2}")"#,
        Agrees,
    ),
    ("json", "null", "null", r#"Json("null")"#, Agrees),
    ("jsonb", r#"{"b":1,"a":"\u00e9\n"}"#, r#"{"a": "é\n", "b": 1}"#, r#"Json("{\"a\": \"é\\n\", \"b\": 1}")"#, Agrees),
    ("jsonb", "12.50", "12.50", r#"Json("12.50")"#, Agrees),
    ("interval", "1 day 2 hours", r#""1 day 02:00:00""#, r#"Text("1 day 02:00:00")"#, Agrees),
    ("inet", "10.0.0.1/24", r#""10.0.0.1/24""#, r#"Text("10.0.0.1/24")"#, Agrees),
    ("macaddr", "08:00:2b:01:02:03", r#""08:00:2b:01:02:03""#, r#"Text("08:00:2b:01:02:03")"#, Agrees),
    ("money", "1.5", r#""$1.50""#, r#"Text("$1.50")"#, Agrees),
    ("bit(3)", "101", r#""101""#, r#"Text("101")"#, Agrees),
    ("point", "(1,2)", r#""(1,2)""#, r#"Text("(1,2)")"#, Agrees),
    ("int4range", "[1,5)", r#""[1,5)""#, r#"Text("[1,5)")"#, Agrees),
    ("tsvector", "a b", r#""'a' 'b'""#, r#"Text("'a' 'b'")"#, Agrees),
    ("pg_lsn", "16/B374D848", r#""16/B374D848""#, r#"Text("16/B374D848")"#, Agrees),
    ("xid8", "12345678901", r#""12345678901""#, r#"Text("12345678901")"#, Agrees),
    ("int2vector", "1 2", r#""1 2""#, r#"Text("1 2")"#, Differs("[1, 2]")),
];

const TIMES: &[Case] = &[
    ("date", "2024-02-29", r#""2024-02-29""#, "Date(2024-02-29)", Agrees),
    ("date", "infinity", r#""infinity""#, r#"Text("infinity")"#, Agrees),
    ("date", "0044-03-15 BC", r#""0044-03-15 BC""#, r#"Text("0044-03-15 BC")"#, Agrees),
    ("date", "12024-01-01", r#""12024-01-01""#, r#"Text("12024-01-01")"#, Agrees),
    ("time", "12:34:56.789", r#""12:34:56.789""#, "Time(12:34:56.789)", Agrees),
    ("time", "24:00", r#""24:00:00""#, r#"Text("24:00:00")"#, Agrees),
    ("timetz", "12:34:56+02", r#""12:34:56+02:00""#, "TimeTz(12:34:56, +02:00)", Differs(r#""12:34:56+02""#)),
    ("timetz", "12:34:56-03:30", r#""12:34:56-03:30""#, "TimeTz(12:34:56, -03:30)", Agrees),
    ("timetz", "12:34:56+00:19:32", r#""12:34:56+00:19:32""#, "TimeTz(12:34:56, +00:19:32)", Agrees),
    (
        "timestamp",
        "2024-02-29 12:34:56.000001",
        r#""2024-02-29T12:34:56.000001""#,
        "Timestamp(2024-02-29T12:34:56.000001)",
        Agrees,
    ),
    ("timestamp", "-infinity", r#""-infinity""#, r#"Text("-infinity")"#, Agrees),
    (
        "timestamp",
        "0044-03-15 00:00:00 BC",
        r#""0044-03-15 00:00:00 BC""#,
        r#"Text("0044-03-15 00:00:00 BC")"#,
        Differs(r#""0044-03-15T00:00:00 BC""#),
    ),
    (
        "timestamp",
        "12024-01-01 00:00:00",
        r#""12024-01-01 00:00:00""#,
        r#"Text("12024-01-01 00:00:00")"#,
        Differs(r#""12024-01-01T00:00:00""#),
    ),
    (
        "timestamptz",
        "2024-02-29 12:34:56.5+02",
        r#""2024-02-29T10:34:56.5Z""#,
        "TimestampTz(2024-02-29T10:34:56.500Z)",
        Differs(r#""2024-02-29T10:34:56.5+00:00""#),
    ),
    ("timestamptz", "infinity", r#""infinity""#, r#"Text("infinity")"#, Agrees),
    (
        "timestamptz",
        "0044-03-15 00:00:00+00 BC",
        r#""0044-03-15 00:00:00+00 BC""#,
        r#"Text("0044-03-15 00:00:00+00 BC")"#,
        Differs(r#""0044-03-15T00:00:00+00:00 BC""#),
    ),
];

const ARRAYS: &[Case] = &[
    ("int[]", "{}", "[]", "Array([])", Agrees),
    ("int[]", "{1,null,3}", "[1,null,3]", "Array([Int4(1), Null, Int4(3)])", Agrees),
    (
        "bigint[]",
        "{{1,2},{3,4}}",
        "[[1,2],[3,4]]",
        "Array([Array([Int8(1), Int8(2)]), Array([Int8(3), Int8(4)])])",
        Agrees,
    ),
    ("int[]", "[0:1]={1,2}", r#""[0:1]={1,2}""#, r#"Text("[0:1]={1,2}")"#, Differs("[1, 2]")),
    ("smallint[]", "{-1}", "[-1]", "Array([Int2(-1)])", Agrees),
    ("oid[]", "{1}", "[1]", "Array([Oid(1)])", Differs(r#"["1"]"#)),
    ("boolean[]", "{t,f}", "[true,false]", "Array([Bool(true), Bool(false)])", Agrees),
    ("real[]", "{0.5,NaN}", r#"[0.5,"NaN"]"#, "Array([Float4(0.5), Float4(NaN)])", Agrees),
    ("double precision[]", "{1e300,Infinity}", r#"[1e+300,"Infinity"]"#, "Array([Float8(1e300), Float8(inf)])", Agrees),
    ("numeric[]", "{12.50,NaN}", r#"[12.50,"NaN"]"#, "Array([Numeric(Decimal(12.50)), Numeric(Decimal(NaN))])", Agrees),
    (
        "text[]",
        r#"{a b,"a\"b\\c","",NULL,"NULL",é,"{x,y}"}"#,
        r#"["a b","a\"b\\c","",null,"NULL","é","{x,y}"]"#,
        r#"Array([Text("a b"), Text("a\"b\\c"), Text(""), Null, Text("NULL"), Text("é"), Text("{x,y}")])"#,
        Agrees,
    ),
    ("varchar[]", "{x}", r#"["x"]"#, r#"Array([Text("x")])"#, Agrees),
    ("char(2)[]", "{x}", r#"["x "]"#, r#"Array([Text("x ")])"#, Agrees),
    ("name[]", "{x}", r#"["x"]"#, r#"Array([Text("x")])"#, Agrees),
    (r#""char"[]"#, "{x}", r#"["x"]"#, r#"Array([Text("x")])"#, Agrees),
    (
        "uuid[]",
        "{018f0000-0000-7000-8000-000000000001}",
        r#"["018f0000-0000-7000-8000-000000000001"]"#,
        "Array([Uuid(018f0000-0000-7000-8000-000000000001)])",
        Agrees,
    ),
    ("bytea[]", r#"{"\\x00ff"}"#, r#"["AP8="]"#, "Array([Bytes([0, 255])])", Differs(r#"["\\x00ff"]"#)),
    ("json[]", r#"{"{\"a\": 12.50}"}"#, r#"[{"a": 12.50}]"#, r#"Array([Json("{\"a\": 12.50}")])"#, Agrees),
    (
        "jsonb[]",
        r#"{"{\"a\": \"x\\ny\"}",1}"#,
        r#"[{"a": "x\ny"},1]"#,
        r#"Array([Json("{\"a\": \"x\\ny\"}"), Json("1")])"#,
        Agrees,
    ),
    (
        "date[]",
        "{2024-02-29,infinity}",
        r#"["2024-02-29","infinity"]"#,
        r#"Array([Date(2024-02-29), Text("infinity")])"#,
        Agrees,
    ),
    ("time[]", "{12:34:56}", r#"["12:34:56"]"#, "Array([Time(12:34:56)])", Agrees),
    (
        "timetz[]",
        "{12:34:56+02}",
        r#"["12:34:56+02:00"]"#,
        "Array([TimeTz(12:34:56, +02:00)])",
        Differs(r#"["12:34:56+02"]"#),
    ),
    (
        "timestamp[]",
        "{2024-02-29 12:34:56}",
        r#"["2024-02-29T12:34:56"]"#,
        "Array([Timestamp(2024-02-29T12:34:56)])",
        Agrees,
    ),
    (
        "timestamptz[]",
        "{2024-02-29 12:34:56+00}",
        r#"["2024-02-29T12:34:56Z"]"#,
        "Array([TimestampTz(2024-02-29T12:34:56Z)])",
        Differs(r#"["2024-02-29T12:34:56+00:00"]"#),
    ),
    ("interval[]", "{1 day}", r#"["1 day"]"#, r#"Array([Text("1 day")])"#, Agrees),
    ("inet[]", "{10.0.0.1}", r#"["10.0.0.1"]"#, r#"Array([Text("10.0.0.1")])"#, Agrees),
    ("cidr[]", "{10.0.0.0/8}", r#"["10.0.0.0/8"]"#, r#"Array([Text("10.0.0.0/8")])"#, Agrees),
    ("macaddr[]", "{08:00:2b:01:02:03}", r#"["08:00:2b:01:02:03"]"#, r#"Array([Text("08:00:2b:01:02:03")])"#, Agrees),
    (
        "macaddr8[]",
        "{08:00:2b:01:02:03:04:05}",
        r#"["08:00:2b:01:02:03:04:05"]"#,
        r#"Array([Text("08:00:2b:01:02:03:04:05")])"#,
        Agrees,
    ),
    ("money[]", "{1.5}", r#"["$1.50"]"#, r#"Array([Text("$1.50")])"#, Agrees),
    ("bit(3)[]", "{101}", r#"["101"]"#, r#"Array([Text("101")])"#, Agrees),
    ("varbit[]", "{101}", r#"["101"]"#, r#"Array([Text("101")])"#, Agrees),
    ("xml[]", "{<a/>}", r#"["<a/>"]"#, r#"Array([Text("<a/>")])"#, Agrees),
    ("jsonpath[]", "{$.a}", r#"["$.\"a\""]"#, r#"Array([Text("$.\"a\"")])"#, Agrees),
    ("tsvector[]", "{a}", r#"["'a'"]"#, r#"Array([Text("'a'")])"#, Agrees),
    ("tsquery[]", "{a}", r#"["'a'"]"#, r#"Array([Text("'a'")])"#, Agrees),
    ("xid[]", "{7}", r#"["7"]"#, r#"Array([Text("7")])"#, Agrees),
    ("xid8[]", "{7}", r#"["7"]"#, r#"Array([Text("7")])"#, Agrees),
    ("pg_lsn[]", "{0/1}", r#"["0/1"]"#, r#"Array([Text("0/1")])"#, Agrees),
    ("int4range[]", r#"{"[1,5)"}"#, r#"["[1,5)"]"#, r#"Array([Text("[1,5)")])"#, Agrees),
    ("int8range[]", r#"{"[1,5)"}"#, r#"["[1,5)"]"#, r#"Array([Text("[1,5)")])"#, Agrees),
    ("numrange[]", r#"{"[1,5)"}"#, r#"["[1,5)"]"#, r#"Array([Text("[1,5)")])"#, Agrees),
    ("daterange[]", "{empty}", r#"["empty"]"#, r#"Array([Text("empty")])"#, Agrees),
    ("tsrange[]", "{empty}", r#"["empty"]"#, r#"Array([Text("empty")])"#, Agrees),
    ("tstzrange[]", "{empty}", r#"["empty"]"#, r#"Array([Text("empty")])"#, Agrees),
    ("box[]", "{(2,2),(1,1)}", r#""{(2,2),(1,1)}""#, r#"Text("{(2,2),(1,1)}")"#, Differs(r#"["(2,2),(1,1)"]"#)),
    ("status[]", "{open}", r#""{open}""#, r#"Text("{open}")"#, Differs(r#"["open"]"#)),
];

/// The row as the log carries it, and `to_jsonb` of each of its columns.
struct Carried {
    columns: Vec<Column>,
    texts: Vec<String>,
    oracles: Vec<String>,
}

async fn carried(server: &mut PgoutputSession, cases: &[Case]) -> Carried {
    let list = |item: &dyn Fn(usize, &Case) -> String| {
        cases.iter().enumerate().map(|(index, case)| item(index, case)).collect::<Vec<_>>().join(", ")
    };
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    server.execute(&format!("create table cases ({})", list(&|n, case| format!("c{n} {}", case.0)))).await;
    server.execute(&format!("insert into cases values ({})", list(&|_, case| quoted(case.1)))).await;
    let oracle = format!("select array[{}] from cases", list(&|n, _| format!("to_jsonb(c{n})::text")));
    let (oracles,): (Vec<String>,) = server.row(&oracle).await;

    let (mut columns, mut texts) = (Vec::new(), Vec::new());
    for bytes in server.changes(false).await {
        match Message::decode(&bytes).expect("a message") {
            Message::Relation(relation) => columns = relation.columns,
            Message::Insert(insert) => {
                texts = insert
                    .new
                    .columns()
                    .map(|datum| match datum {
                        Datum::Text(text) => String::from_utf8(text.to_vec()).expect("UTF-8"),
                        other => panic!("{other:?}"),
                    })
                    .collect();
            }
            _ => {}
        }
    }
    Carried { columns, texts, oracles }
}

async fn check(cases: &[Case]) {
    let mut server = PgoutputSession::new(TYPES).await;
    let Carried { columns, texts, oracles } = carried(&mut server, cases).await;
    assert_eq!((columns.len(), texts.len(), oracles.len()), (cases.len(), cases.len(), cases.len()));
    let mut differences = Vec::new();
    for (index, (type_name, literal, expected, value, oracle)) in cases.iter().enumerate() {
        let mut json = Vec::new();
        write_json(columns[index].type_oid, &texts[index], &mut json);
        let json = String::from_utf8(json).expect("JSON is UTF-8");
        let typed = format!("{:?}", Value::from_text(columns[index].type_oid, &texts[index]));
        let server_agrees = match oracle {
            Agrees => parsed(&oracles[index]) == parsed(expected),
            Differs(other) => parsed(&oracles[index]) == parsed(other) && parsed(other) != parsed(expected),
        };
        if json != *expected || typed != *value || !server_agrees {
            differences.push(format!("{type_name} {literal}: {json} {typed} to_jsonb: {}", oracles[index]));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    server.end().await;
}

fn parsed(json: &str) -> serde_json::Value {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

#[tokio::test]
async fn numbers_keep_every_digit() {
    check(NUMBERS).await;
}

#[tokio::test]
async fn texts_bytes_and_documents_are_what_was_inserted() {
    check(TEXTS).await;
}

#[tokio::test]
async fn dates_and_times_are_iso_8601_or_stay_text() {
    check(TIMES).await;
}

#[tokio::test]
async fn arrays_are_arrays_or_stay_text() {
    check(ARRAYS).await;
}
