//! `bascule`: the Edge and the operator's command line.

fn main() -> std::process::ExitCode {
    // The first one wins; there is no other.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let path = std::env::args().nth(3).unwrap_or_default();
    match bascule::run::run(std::path::Path::new(&path)) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bascule: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
