// One page, two parts: devices that show an order and change it, and the live feed of events as the broker gave them.
"use strict";

const FEED_ROWS_MAX = 200;
const ATTEMPTS_MAX = 3;
const RETRY_INTERVAL_MS = 1000;
const HEALTH_INTERVAL_MS = 3000;

const page = document.documentElement.dataset;
const devices = [...document.querySelectorAll(".device")].map(device);
document.querySelector("#create").addEventListener("click", createOrder);
devices.forEach((shown) => shown.load());
listen();
watchHealth();

// One key for all attempts: a repeated request is answered as the first was, and not done twice.
async function send(method, path, body) {
  const headers = { "Content-Type": "application/json", "Idempotency-Key": randomKey() };
  for (let attempt = 1; ; attempt += 1) {
    const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body) })
      .then(async (response) => ({ status: response.status, json: await response.json() }))
      .catch(() => ({ status: 503, json: { title: "The storefront does not answer", detail: "nothing is known of what was asked" } }));
    if (answer.status !== 503 || attempt === ATTEMPTS_MAX) return answer;
    await new Promise((wake) => setTimeout(wake, RETRY_INTERVAL_MS));
  }
}

function randomKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function createOrder() {
  const { status, json } = await send("POST", "/orders", { customer_id: page.customer, currency: "EUR" });
  if (status === 201) location.assign(`/?order=${json.order_id}&devices=2`);
  else document.querySelector("#create-answer").textContent = `${json.title}: ${json.detail}`;
}

// A device shows the last answer that it got, as a phone does. Its buttons are never disabled: the database decides.
function device(element) {
  const part = (name) => element.querySelector(`[data-part="${name}"]`);
  const path = `/orders/${page.order}`;
  let version = 0;

  async function load() {
    const response = await fetch(path).catch(() => null);
    if (!response) return;
    const json = await response.json();
    if (response.ok) show(json);
    else tell(false, json);
  }

  function show(order) {
    if (order.version < version) return;
    version = order.version;
    const price = money(order.currency);
    part("status").textContent = order.status;
    part("status").dataset.status = order.status;
    part("version").textContent = `version ${order.version}`;
    part("items").replaceChildren(...order.items.map((item) => row([
      [item.sku, "sku"],
      [quantityInput(item)],
      [price(item.unit_price_minor), "number"],
      [price(item.unit_price_minor * item.quantity), "number"],
      [button("Remove", () => change("DELETE", `${path}/items/${item.item_id}`, undefined, "removed"))],
    ])));
    part("empty").hidden = order.items.length > 0;
    part("total").textContent = price(order.items.reduce((sum, item) => sum + item.unit_price_minor * item.quantity, 0));
    const agreed = order.delivery_window;
    part("window").textContent = agreed ? `${local(agreed.starts_at)} to ${local(agreed.ends_at)}` : "not agreed";
  }

  function quantityInput(item) {
    const input = document.createElement("input");
    Object.assign(input, { type: "number", min: 1, max: 999, value: item.quantity, ariaLabel: `Quantity of ${item.sku}` });
    input.addEventListener("change", () =>
      change("PATCH", `${path}/items/${item.item_id}`, { quantity: Number(input.value) }, "changed"));
    return input;
  }

  async function change(method, where, body, word) {
    const { status, json } = await send(method, where, body);
    if (status < 300) {
      show(json);
      tell(true, { title: `${word}: version ${json.version}` });
    } else {
      tell(false, json);
      load();
    }
  }

  function tell(done, answer) {
    const words = answer.detail ? `${answer.title}: ${answer.detail}` : answer.title;
    const refused = !done && answer.status >= 400 && answer.status < 500;
    part("answer").textContent = refused ? `${words}. 0 events published.` : words;
    part("answer").className = done ? "answer done" : "answer refused";
  }

  part("add").addEventListener("submit", (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    const item = { sku: form.get("sku"), quantity: Number(form.get("quantity")), unit_price_minor: Number(form.get("price")) };
    change("POST", `${path}/items`, item, "added");
  });
  part("schedule").addEventListener("click", () => {
    const starts = new Date();
    starts.setDate(starts.getDate() + 1);
    starts.setHours(10, 0, 0, 0);
    const ends = new Date(starts.getTime() + 2 * 60 * 60 * 1000);
    change("PUT", `${path}/delivery-window`, { starts_at: starts.toISOString(), ends_at: ends.toISOString() }, "scheduled");
  });
  part("cancel").addEventListener("click", () => change("POST", `${path}/cancellation`, {}, "cancelled"));

  return { load };
}

function listen() {
  const rows = document.querySelector("#feed tbody");
  const seen = new Set();
  const stream = new EventSource("/events");
  stream.onmessage = ({ data }) => {
    const event = JSON.parse(data);
    const place = `${event.partition}/${event.offset}`;
    if (seen.has(place)) return;
    seen.add(place);
    rows.prepend(feedRow(event));
    while (rows.children.length > FEED_ROWS_MAX) rows.lastElementChild.remove();
    document.querySelector("#feed-empty").hidden = true;
    if (event.order_id === page.order) devices.forEach((shown) => shown.load());
  };
  stream.onerror = () => { document.querySelector("#feed-state").textContent = "reconnecting …"; };
  stream.onopen = () => { document.querySelector("#feed-state").textContent = "live"; };
}

function feedRow(event) {
  const link = document.createElement("a");
  link.href = `/?order=${event.order_id}&devices=2`;
  link.textContent = `…${event.order_id.slice(-8)}`;
  const made = row([
    [new Date(event.occurred_at).toLocaleTimeString()],
    [event.withheld ? `${event.type} (withheld)` : event.type, "type"],
    [link],
    [event.version, "number"],
    [event.partition, "number"],
    [event.offset, "number"],
    [event.milliseconds === null ? "–" : event.milliseconds.toFixed(1), "number"],
  ]);
  made.classList.toggle("ours", event.order_id === page.order);
  made.classList.toggle("duplicate", event.duplicate);
  return made;
}

async function watchHealth() {
  const badge = document.querySelector("#feed-status");
  const health = await fetch("/healthz").then((response) => response.json()).catch(() => null);
  badge.textContent = health?.feed?.words ?? health?.detail ?? "the storefront does not answer";
  badge.dataset.state = health?.feed ? health.feed.state : "away";
  setTimeout(watchHealth, HEALTH_INTERVAL_MS);
}

function row(cells) {
  const made = document.createElement("tr");
  for (const [content, kind] of cells) {
    const cell = made.insertCell();
    cell.append(content);
    if (kind) cell.className = kind;
  }
  return made;
}

function button(text, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.addEventListener("click", act);
  return made;
}

function money(currency) {
  const format = new Intl.NumberFormat(undefined, { style: "currency", currency });
  const { maximumFractionDigits } = format.resolvedOptions();
  return (minor) => format.format(minor / 10 ** maximumFractionDigits);
}

function local(time) {
  return new Date(time).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}
