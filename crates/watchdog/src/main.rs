//! The watchdog's program: command line, logs, run.

use std::path::PathBuf;
use watchdog::config::Config;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let path = PathBuf::from(std::env::args().last().unwrap_or_default());
    let (config, _) = match Config::load(&path) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}");
            std::process::exit(2);
        }
    };
    if let Err(error) = watchdog::drive::run(config, &path).await {
        eprintln!("{error}");
        std::process::exit(1);
    }
}
