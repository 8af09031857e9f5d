//! The page: what a browser is given.

use tempfile::TempDir;

use crate::api::path;
use crate::program::Start;

#[tokio::test]
async fn the_page_shows_an_order_on_two_devices_and_loads_nothing_from_elsewhere() {
    let folder = TempDir::new().expect("a folder for temporary files");
    let program = Start::within(folder.path()).args(&["--no-demo"]).serving().await;
    let api = program.api().await;
    let order = api.create().await;
    let order_id = path(&order).trim_start_matches("/orders/").to_owned();
    let response = api.request("GET", &format!("/?order={order_id}&devices=2")).send().await.expect("an answer");
    let policy = response.headers()["content-security-policy"].to_str().expect("text").to_owned();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let page = response.text().await.expect("a page");
    for words in ["Device A", "Device B", &order_id, "Create an order", "development broker", "storefront.db"] {
        assert!(page.contains(words), "{words:?} is not in {page}");
    }
    for address in ["/", "/page.js", "/page.css"] {
        let response = api.request("GET", address).send().await.expect("an answer");
        assert_eq!(response.status(), 200, "{address}");
        let text = response.text().await.expect("text");
        assert!(!text.contains("http://") && !text.contains("https://"), "{address} names another server");
    }
}
