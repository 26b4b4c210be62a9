//! Echo request and reply (RFC 792, RFC 4443).

use std::hash::{BuildHasher, RandomState};

use super::socket::Family;

const HEADER: usize = 8;

/// Marks the packets of one asker: a raw socket also hears the answers to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token([u8; 8]);

impl Token {
    pub(super) fn new() -> Self {
        // The standard library's keys of hash maps are random.
        Self(RandomState::new().hash_one(std::process::id()).to_be_bytes())
    }

    pub(super) fn request(&self, family: Family, number: u16) -> Vec<u8> {
        let kind = match family {
            Family::V4 => 8,
            Family::V6 => 128,
        };
        let mut packet = vec![kind, 0, 0, 0, self.0[0], self.0[1]];
        packet.extend_from_slice(&number.to_be_bytes());
        packet.extend_from_slice(&self.0);
        if family == Family::V4 {
            // Of ICMPv6 the kernel computes it: it covers the addresses.
            let sum = checksum(&packet).to_be_bytes();
            packet[2..4].copy_from_slice(&sum);
        }
        packet
    }

    /// Returns the number of the request that `packet` answers.
    pub(super) fn answered(&self, family: Family, packet: &[u8]) -> Option<u16> {
        let packet = match family {
            // A raw socket of IPv4 shows the IP header (version 4); an echo reply's own type is 0.
            Family::V4 if packet.first()? >> 4 == 4 => packet.get(usize::from(packet.first()? & 0xf) * 4..)?,
            Family::V4 | Family::V6 => packet,
        };
        let kind = match family {
            Family::V4 => 0,
            Family::V6 => 129,
        };
        let ours = packet.first() == Some(&kind) && packet.get(HEADER..HEADER + self.0.len())? == self.0;
        ours.then(|| u16::from_be_bytes([packet[6], packet[7]]))
    }
}

/// Computes the checksum of RFC 1071 over an ICMP packet.
fn checksum(packet: &[u8]) -> u16 {
    let words = packet.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_adds_up_and_only_its_own_answer_counts() {
        let token = Token(*b"12345678");
        let mut packet = token.request(Family::V4, 300);
        assert_eq!(checksum(&packet), 0, "a right checksum sums up to none");
        assert_eq!(token.answered(Family::V4, &packet), None, "a request is no answer");
        packet[0] = 0;
        assert_eq!(token.answered(Family::V4, &packet), Some(300));
        assert_eq!(Token(*b"87654321").answered(Family::V4, &packet), None);
        let with_header = [&[0x45; 20][..], &packet].concat();
        assert_eq!(token.answered(Family::V4, &with_header), Some(300));
        let mut packet = token.request(Family::V6, 7);
        packet[0] = 129;
        assert_eq!(token.answered(Family::V6, &packet), Some(7));
    }

    #[test]
    fn short_packets_are_no_answers() {
        let token = Token(*b"12345678");
        for length in 0..16 {
            for first in [0, 129, 0x45, 0x4f] {
                assert_eq!(token.answered(Family::V4, &vec![first; length]), None);
                assert_eq!(token.answered(Family::V6, &vec![first; length]), None);
            }
        }
    }
}
