//! Networks as people write them: an address, or an address with the length of its prefix.

use std::fmt;
use std::net::IpAddr;

use settings::address::Refusal;
use settings::quoted;

/// A network of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Reads `10.0.0.0/8`, `fd00::/8`, or one address.
    ///
    /// # Errors
    /// It is none, or an address within one; with what to write instead.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        let remedy = "write a network such as 10.0.0.0/8 or fd00::/8, or one address";
        let none = || (format!("{} is no network", quoted(text)), remedy);
        let (address, prefix) = match text.split_once('/') {
            None => (text, None),
            Some((address, prefix)) => (address, Some(prefix)),
        };
        let address: IpAddr = address.parse().map_err(|_| none())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => most,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().ok().filter(|prefix| *prefix <= most).ok_or_else(none)?
            }
            Some(_) => return Err(none()),
        };
        let network = Self { address: masked(address, prefix), prefix };
        if network.address != address {
            return Err((
                format!("{} is an address within {network}", quoted(text)),
                "write the network, or the address alone",
            ));
        }
        Ok(network)
    }

    /// Whether every address of its family is one of its.
    pub fn is_everybody(&self) -> bool {
        self.prefix == 0
    }

    /// Whether `client` is one of its addresses. An IPv4 address that is written as IPv6 is the one it stands for.
    pub fn contains(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        client.is_ipv4() == self.address.is_ipv4() && masked(client, self.prefix) == self.address
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.prefix) {
            (IpAddr::V4(address), 32) => write!(f, "{address}"),
            (IpAddr::V6(address), 128) => write!(f, "{address}"),
            (address, prefix) => write!(f, "{address}/{prefix}"),
        }
    }
}

/// The first `prefix` bits of an address.
pub fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let rest = 32_u32.saturating_sub(prefix.into());
            IpAddr::V4((v4.to_bits() & u32::MAX.checked_shl(rest).unwrap_or(0)).into())
        }
        IpAddr::V6(v6) => {
            let rest = 128_u32.saturating_sub(prefix.into());
            IpAddr::V6((v6.to_bits() & u128::MAX.checked_shl(rest).unwrap_or(0)).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.1.2", "11.0.0.1"),
            ("172.16.0.0/12", "172.31.255.255", "172.32.0.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("0.0.0.0/0", "203.0.113.9", "2001:db8::1"),
            ("fd00::/8", "fdff::1", "fc00::1"),
            ("fe80::/10", "febf::1", "fec0::1"),
            ("::1", "::1", "::2"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::10.1.2.3"),
        ] {
            let read = Network::parse(network).unwrap();
            assert_eq!(read.to_string(), network);
            assert!(read.contains(inside.parse().unwrap()), "{inside} in {network}");
            assert!(!read.contains(outside.parse().unwrap()), "{outside} in {network}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in
            ["", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "10.0.0/8", "lan", "::/129", "10.0.0.0/8/8", "fe80::%1"]
        {
            assert!(Network::parse(text).is_err(), "{text}");
        }
        let (message, _) = Network::parse("10.1.2.3/8").unwrap_err();
        assert_eq!(message, "\"10.1.2.3/8\" is an address within 10.0.0.0/8");
    }
}
