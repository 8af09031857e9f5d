//! The page: devices that show one order, and the live feed. All of it is in the program; it loads nothing from elsewhere.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{Html, IntoResponse};
use chrono::Utc;
use maud::{DOCTYPE, Markup, html};
use order_domain::{CustomerId, OrderId};
use serde::Deserialize;

use super::problem::{Problem, ProblemKind};
use super::shop::{Shop, Surroundings};

/// The most devices that are shown side by side.
const DEVICES_MAX: u8 = 2;

/// The order that the page shows, and the number of devices.
#[derive(Debug, Deserialize)]
pub(crate) struct PageQuery {
    order: Option<OrderId>,
    devices: Option<u8>,
}

/// `GET /`: the page; with an order, on one device or more.
pub(crate) async fn show(
    State(shop): State<Shop>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Query(PageQuery { order, devices }) =
        query.map_err(|rejection| Problem::new(ProblemKind::InvalidRequest, rejection.body_text()))?;
    let (around, devices) = (&*shop.around, devices.unwrap_or(1).clamp(1, DEVICES_MAX));
    let markup = html! {
        (DOCTYPE)
        html lang="en" data-customer=(CustomerId::generate(Utc::now())) data-order=[order] {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Storefront" }
                link rel="stylesheet" href="/page.css";
                link rel="icon" href="data:,";
                script src="/page.js" defer {}
            }
            body {
                (head(around))
                main {
                    (bar(order, devices))
                    @if order.is_some() {
                        section.devices aria-label="Devices" {
                            @for number in 0..devices { (device(number, order)) }
                        }
                    }
                    (feed(&around.topic))
                }
            }
        }
    };
    Ok((guarded(), Html(markup.into_string())))
}

/// `GET /page.js`: the page's program.
pub(crate) async fn script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], guarded(), include_str!("page.js"))
}

/// `GET /page.css`: the page's looks.
pub(crate) async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], guarded(), include_str!("page.css"))
}

/// Whatever an order's texts may hold, a browser runs and loads only what this program gave it.
fn guarded() -> [(HeaderName, HeaderValue); 3] {
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                          base-uri 'none'; form-action 'none'; frame-ancestors 'self'";
    [
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ]
}

fn head(around: &Surroundings) -> Markup {
    html! {
        header {
            h1 { a href="/" { "Storefront" } }
            dl {
                div { dt { "database" } dd { (around.database) } }
                div { dt { "broker" } dd { (around.broker) } }
                div { dt { "feed" } dd #feed-status role="status" { "…" } }
            }
        }
    }
}

fn bar(order: Option<OrderId>, devices: u8) -> Markup {
    html! {
        div.bar {
            button #create type="button" .main { "Create an order" }
            span #create-answer .quiet role="status" {}
            @if let Some(order) = order {
                span.quiet { "Order " code { (order) } }
                @if devices == 1 {
                    a href=(format!("/?order={order}&devices=2")) { "Two devices side by side" }
                } @else {
                    a href=(format!("/?order={order}")) { "Show one device, and open its address on another one" }
                }
            } @else {
                span.quiet { "Create an order, open it on two devices, cancel it on one, and add an item on the other." }
            }
        }
    }
}

fn device(number: u8, order: Option<OrderId>) -> Markup {
    let name = char::from(b'A' + number);
    html! {
        article.device aria-label={ "Device " (name) } {
            header {
                h2 { "Device " (name) }
                span.chip data-part="status" { "…" }
                span.quiet data-part="version" {}
                @if order.is_none() { span.quiet { "no order" } }
            }
            table {
                thead { tr {
                    th { "item" } th { "quantity" } th.number { "price" } th.number { "sum" } th { }
                } }
                tbody data-part="items" {}
            }
            p.quiet data-part="empty" { "No items yet." }
            div.foot {
                span { "Total " strong data-part="total" {} }
                span.quiet { "Delivery: " span data-part="window" {} }
            }
            form data-part="add" {
                label { "item" input name="sku" value="milk" required; }
                label { "quantity" input name="quantity" type="number" min="1" max="999" value="2" required; }
                label { "price, in cents" input name="price" type="number" min="0" value="149" required; }
                button type="submit" { "Add" }
            }
            div.foot {
                button type="button" data-part="schedule" { "Schedule for tomorrow, 10 to 12" }
                button.danger type="button" data-part="cancel" { "Cancel the order" }
            }
            p.answer data-part="answer" role="status" { "Whatever a device shows, the database decides." }
        }
    }
}

fn feed(topic: &str) -> Markup {
    html! {
        section #feed aria-label="Live feed" {
            div.foot {
                h2 { "Events as they came from the topic " code { (topic) } }
                span #feed-state .quiet role="status" { "connecting …" }
            }
            table {
                thead { tr {
                    th { "written at" } th { "event" } th { "order" } th.number { "version" }
                    th.number { "partition" } th.number { "offset" } th.number { "ms until read back" }
                } }
                tbody {}
            }
            p #feed-empty .quiet { "No event has come yet." }
        }
    }
}
