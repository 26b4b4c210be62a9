//! Addresses as people write them. Names are not resolved: what stands between users and a fault must work when DNS does
//! not.

use std::net::{IpAddr, SocketAddr};

use crate::problem::quoted;

/// What is wrong with an address, and what to do.
pub type Refusal = (String, &'static str);

/// Reads an address to listen on: IP and port.
///
/// # Errors
/// What is wrong with it, and what to do.
pub fn listener(text: &str) -> Result<SocketAddr, Refusal> {
    const REMEDY: &str = "write IP address and port, such as 0.0.0.0:443 or [::]:443";
    let address: SocketAddr =
        text.parse().map_err(|_| (format!("{} is not an address with a port", quoted(text)), REMEDY))?;
    if address.port() == 0 {
        return Err((format!("{} has the port 0", quoted(text)), "write the port clients know"));
    }
    Ok(address)
}

/// Whether `name` is a host name (RFC 1123), lower case or not, without trailing dot.
pub fn is_hostname(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    !name.is_empty() && name.len() <= 253 && name.split('.').all(label) && name.parse::<IpAddr>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostname_follows_rfc_1123() {
        assert!(["a", "edge.example.org", "3com.example", "xn--caf-dma.example"].into_iter().all(is_hostname));
        assert!(!["", ".", "a.", "a..b", "-a", "a-", "a_b", "10.0.0.1", "é.org", "a b"].into_iter().any(is_hostname));
        assert!(!is_hostname(&"a".repeat(64)));
    }
}
