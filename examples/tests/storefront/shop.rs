//! A storefront without servers.

use tempfile::TempDir;

use crate::api::Api;
use crate::program::{Program, Start};

/// A storefront without servers.
pub(crate) struct Shop {
    pub(crate) api: Api,
    _program: Program,
    _folder: TempDir,
}

pub(crate) async fn shop() -> Shop {
    let folder = TempDir::new().expect("a folder for temporary files");
    let program = Start::within(folder.path()).args(&["--no-demo"]).serving().await;
    Shop { api: program.api().await, _program: program, _folder: folder }
}
