//! A header is read alike whatever follows it, is none before it is whole, and what it tells is written as the same again.

use ::fuzz::Target;

use super::*;

const WORDS: &[&[u8]] = &[
    b"PROXY ",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    b"PROXY UNKNOWN",
    b"TCP4 ",
    b"TCP6 ",
    b" 65535",
    b" 0",
    b"+1",
    b"::ffff:192.0.2.1",
    b"2001:db8::1 ",
    b"\r\n",
    b"\r",
    b"\n",
    b" ",
    SIGNATURE,
    b"\x21\x11\x00\x0c",
    b"\x21\x21\x00\x24",
    b"\x20\x00\x00\x00",
    b"\x21\x31\x00\xd8",
    b"\x10\x00",
    b"\xff\xff",
];

#[test]
fn a_header_is_read_alike_whatever_follows_it_and_is_none_before_it_is_whole() {
    let property = |input: &[u8]| {
        let Ok(read) = parse(input) else {
            // More of it does not help.
            assert!(parse(&[input, b"\r\n"].concat()).is_err());
            return (0, None);
        };
        let Parsed::Header(length, told) = read else {
            assert!(input.len() < FIXED + MOST_BEHIND, "it must end somewhere");
            return (1, None);
        };
        assert!((SHORTEST..=FIXED + MOST_BEHIND).contains(&length) && length <= input.len() && begins(input));
        assert_eq!(parse(&input[..length]).ok(), Some(read), "what follows changes nothing");
        for end in [0, 1, 5, SHORTEST - 1, length / 2, length - 1] {
            assert_eq!(parse(&input[..end]).ok(), Some(Parsed::Incomplete), "{end} of {length} bytes");
        }
        if let Some(told) = told {
            let v2 = header(ProxyHeader::V2, told);
            let Ok(Parsed::Header(_, Some(again))) = parse(&v2) else { panic!("ours is no header") };
            // An IPv4 address that is written as IPv6 is the one it stands for.
            assert_eq!(again.client.ip().to_canonical(), told.client.ip().to_canonical());
            assert_eq!((again.client.port(), again.server.port()), (told.client.port(), told.server.port()));
            let v1 = header(ProxyHeader::V1, told);
            assert_eq!(parse(&v1).ok(), Some(Parsed::Header(v1.len(), Some(again))), "both versions tell the same");
        }
        (2, Some((told.is_some(), told.is_some_and(|told| told.client.is_ipv6()), length.min(120) / 16)))
    };
    Target::new("proxy-header", 40_000).words(WORDS).longest(5000).allocates(1 << 20, 64).check(property);
}
