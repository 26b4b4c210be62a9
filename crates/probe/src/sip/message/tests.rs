//! Tables for the codec: what servers send, what they should not, and what nobody sends by accident.

use super::*;

fn response(headers: &str) -> Result<Head, Malformed> {
    Head::parse(format!("SIP/2.0 200 OK\r\n{headers}\r\n").as_bytes())
}

#[test]
fn a_plain_response_is_read() {
    let head = response(concat!(
        "Via: SIP/2.0/UDP 10.0.0.41:5070;rport=5070;received=10.0.0.41;branch=z9hG4bKabc\r\n",
        "From: <sip:probe@10.0.0.41>;tag=1\r\nTo: <sip:10.0.0.11>;tag=2\r\n",
        "Call-ID: xyz@10.0.0.41\r\nCSeq: 7 OPTIONS\r\nAllow: INVITE, ACK\r\nContent-Length: 12\r\n"
    ));
    let expected = Head {
        status: Some(200),
        branch: Some("z9hG4bKabc".into()),
        call_id: Some("xyz@10.0.0.41".into()),
        sequence: Some((7, "OPTIONS".into())),
        content_length: 12,
    };
    assert_eq!(head.unwrap(), expected);
}

#[test]
fn every_form_of_the_same_headers_reads_the_same() {
    let forms = [
        "Via: SIP/2.0/UDP h;branch=b\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nContent-Length: 3\r\n",
        "v: SIP/2.0/UDP h;branch=b\r\ni: c\r\ncseq: 1 OPTIONS\r\nl: 3\r\n",
        "VIA  :  SIP / 2.0 / UDP h ; rport ; BRANCH = b \r\nCALL-ID\t:c\r\nCSEQ:1   OPTIONS\r\nL:3\r\n",
        "Via: SIP/2.0/UDP h\r\n ;branch=b\r\nCall-ID:\r\n\tc\r\nCSeq: 1\r\n  OPTIONS\r\nContent-Length:\r\n 3\r\n",
        "Via: SIP/2.0/UDP h;branch=b, SIP/2.0/UDP k;branch=x\r\nVia: SIP/2.0/UDP m;branch=y\r\nCall-ID: c\r\nCSeq: 0001 OPTIONS\r\nContent-Length: 03\r\n",
        "Via: SIP/2.0/UDP h;x=\",;branch=no\\\"\";branch=b\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nContent-Length: 3\r\n",
        "Via: SIP/2.0/UDP h;branch=b\nCall-ID: c\nCSeq: 1 OPTIONS\nContent-Length: 3\n",
        "Server: caf\u{e9} \u{1f980}\r\nVia: SIP/2.0/UDP h;branch=b\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nContent-Length: 3\r\nX-Empty:\r\n",
    ];
    for form in forms {
        let head = response(form).unwrap();
        assert_eq!(head.branch.as_deref(), Some("b"), "{form}");
        assert_eq!(head.call_id.as_deref(), Some("c"), "{form}");
        assert_eq!(head.sequence, Some((1, "OPTIONS".into())), "{form}");
        assert_eq!(head.content_length, 3, "{form}");
    }
}

#[test]
fn the_branch_is_only_ever_the_topmost_vias() {
    assert_eq!(response("Via: SIP/2.0/UDP h\r\nVia: SIP/2.0/UDP k;branch=b\r\n").unwrap().branch, None);
    assert_eq!(response("Via: SIP/2.0/UDP h, SIP/2.0/UDP k;branch=b\r\n").unwrap().branch, None);
    assert_eq!(response("Via: \"never closed;branch=b\r\n").unwrap().branch, None);
}

#[test]
fn a_doubtful_message_is_no_answer() {
    let table = [
        ("Call-ID: a\r\nCall-ID: b\r\n", Malformed::Twice("Call-IDs")),
        ("Call-ID: a\r\ni: a\r\n", Malformed::Twice("Call-IDs")),
        ("CSeq: 1 OPTIONS\r\nCSeq: 1 OPTIONS\r\n", Malformed::Twice("CSeqs")),
        ("Content-Length: 0\r\nl: 5\r\n", Malformed::Twice("Content-Lengths")),
        ("CSeq: OPTIONS\r\n", Malformed::Sequence),
        ("CSeq: 4294967296 OPTIONS\r\n", Malformed::Sequence),
        ("CSeq: +1 OPTIONS\r\n", Malformed::Sequence),
        ("CSeq: 1\r\n", Malformed::Sequence),
        ("CSeq: 1 OPTIONS extra\r\n", Malformed::Sequence),
        ("Content-Length: -1\r\n", Malformed::ContentLength),
        ("Content-Length: +1\r\n", Malformed::ContentLength),
        ("Content-Length: 99999999999999999999\r\n", Malformed::ContentLength),
        ("Content-Length:\r\n", Malformed::ContentLength),
        ("no colon here\r\n", Malformed::NoColon),
        (" folded onto nothing\r\n", Malformed::NoColon),
    ];
    for (headers, malformed) in table {
        assert_eq!(response(headers).unwrap_err(), malformed, "{headers}");
    }
    assert_eq!(response(&"X: y\r\n".repeat(1000)).unwrap_err(), Malformed::TooManyLines);
}

#[test]
fn a_first_line_is_a_status_a_request_or_refused() {
    let parse = |line: &str| Head::parse(format!("{line}\r\n\r\n").as_bytes()).map(|head| head.status);
    for (line, status) in [
        ("SIP/2.0 200 OK", Some(200)),
        ("sip/2.0 404 Not Found", Some(404)),
        ("SIP/2.0 699 ", Some(699)),
        ("SIP/2.0 100", Some(100)),
        ("SIP/2.0 486 Occupé", Some(486)),
        ("NOTIFY sip:probe@10.0.0.41 SIP/2.0", None),
    ] {
        assert_eq!(parse(line), Ok(status), "{line}");
    }
    for line in [
        "HTTP/1.1 400 Bad Request",
        "SIP/2.0",
        "SIP/2.0 ",
        "SIP/2.0 20 OK",
        "SIP/2.0 2000 OK",
        "SIP/2.0 099 x",
        "SIP/2.0 700 x",
        "SIP/2.0 +20 x",
        "SIP/3.0 200 OK",
        " SIP/2.0 200 OK",
        "SIP/2.0  200 OK",
        "SIP/2.0\t200 OK",
        "GET / HTTP/1.1",
        "options sip:a SIP/2.0",
        "x",
        "",
    ] {
        assert_eq!(parse(line), Err(Malformed::StartLine), "{line}");
    }
}

#[test]
fn the_end_of_a_head_is_found_wherever_the_search_resumes() {
    let table: [(&[u8], Option<usize>); 7] = [
        (b"a\r\n\r\nb", Some(5)),
        (b"a\n\nb", Some(3)),
        (b"a\n\r\nb", Some(4)),
        (b"a\r\n\nb", Some(4)),
        (b"a\r\n\r", None),
        (b"a\r\rb", None),
        (b"", None),
    ];
    for (bytes, end) in table {
        for from in 0..=end.unwrap_or(bytes.len()).saturating_sub(1) {
            assert_eq!(head_end(bytes, from), end, "{bytes:?} from {from}");
        }
    }
}

/// Every prefix, every single-byte change by a set of nasty bytes, and every deleted byte of a good response: never a
/// panic, and never another's answer.
#[test]
fn a_damaged_response_is_never_mistaken_for_another() {
    let good: &[u8] =
        b"SIP/2.0 200 OK\r\nv: SIP/2.0/UDP h;branch=z9hG4bK1\r\n ;rport\r\ni: c@h\r\nCSeq: 9 OPTIONS\r\nl: 0\r\n\r\n";
    let whole = Head::parse(good).unwrap();
    let is_answer = |bytes: &[u8]| {
        Head::parse(bytes).is_ok_and(|head| {
            head.branch == whole.branch && head.call_id == whole.call_id && head.sequence == whole.sequence
        })
    };
    assert!(is_answer(good));
    for length in 0..good.len() {
        assert!(!is_answer(&good[..length]), "{length} bytes");
    }
    let values = ["z9hG4bK1", "c@h", "9 OPTIONS"].map(|value| {
        let at = good.windows(value.len()).position(|window| window == value.as_bytes()).unwrap();
        at..at + value.len()
    });
    for at in 0..good.len() {
        for byte in [0, b'\r', b'\n', b' ', b',', b';', b':', b'"', b'\\', b'=', b'A', 0x80, 0xff] {
            let mut bytes = good.to_vec();
            bytes[at] = byte;
            let answer = is_answer(&bytes);
            if values.iter().any(|range| range.contains(&at)) && bytes != good && !byte.is_ascii_whitespace() {
                assert!(!answer, "byte {at} is {byte:#04x}");
            }
        }
        let mut bytes = good.to_vec();
        bytes.remove(at);
        let _ = is_answer(&bytes);
    }
}

#[test]
fn a_huge_message_costs_no_more_than_its_size() {
    let folded = format!("SIP/2.0 200 OK\r\nX: y\r\n{}\r\n", " z\r\n".repeat(200_000));
    assert_eq!(Head::parse(folded.as_bytes()).unwrap_err(), Malformed::TooManyLines);
    let long = format!("SIP/2.0 200 OK\r\nX: {}\r\n\r\n", "z".repeat(4_000_000));
    assert!(Head::parse(long.as_bytes()).is_ok());
}
