//! What an old file says of where a service is. Bascule takes IP addresses, with port or as URL, and resolves no name.

use std::net::{IpAddr, SocketAddr};

/// An address as edge.yaml takes it, or nothing for a name.
pub(crate) fn address(text: &str) -> Option<String> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => (Some(scheme), rest.trim_end_matches('/')),
        Some(_) => return None,
        None => (None, text),
    };
    let bare = rest.trim_start_matches('[').trim_end_matches(']');
    let host = if let Ok(ip) = bare.parse::<IpAddr>() {
        match (scheme, ip) {
            (Some(_), IpAddr::V6(ip)) => format!("[{ip}]"),
            (_, ip) => ip.to_string(),
        }
    } else {
        rest.parse::<SocketAddr>().ok()?.to_string()
    };
    Some(scheme.map_or_else(|| host.clone(), |scheme| format!("{scheme}://{host}")))
}

/// Whether a text may be a name of the site: letters, digits, hyphens and dots, at least one dot.
pub(crate) fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty() && label.len() <= 63 && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    text.len() <= 253 && text.contains('.') && text.split('.').all(label) && text.parse::<IpAddr>().is_err()
}
