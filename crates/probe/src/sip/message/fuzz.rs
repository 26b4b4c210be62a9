//! Whatever is sent as a SIP message is read in one way, or not at all.

use ::fuzz::Target;

use super::*;

const WORDS: &[&[u8]] = &[
    b"SIP/2.0 ",
    b"SIP/2.0 200 OK\r\n",
    b"OPTIONS sip:probe SIP/2.0\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\r\n ",
    b"\r\n\t",
    b"v: SIP/2.0/UDP h;branch=z9hG4bK1\r\n",
    b"Via:",
    b";branch=",
    b";rport",
    b"Call-ID: ",
    b"i:",
    b"CSeq: 1 OPTIONS\r\n",
    b"l: 0\r\n",
    b"Content-Length:",
    b":",
    b",",
    b"=",
    b"\"",
    b"\\",
    b"X: y\r\n",
    b"\xff\xfe",
    "\u{a0}".as_bytes(),
];

/// A message that says what `head` says, in the plainest form.
fn written(head: &Head) -> Vec<u8> {
    let mut text = match head.status {
        Some(status) => format!("SIP/2.0 {status} x\r\n"),
        None => "OPTIONS sip:a SIP/2.0\r\n".to_owned(),
    };
    if let Some(branch) = &head.branch {
        text += &format!("Via: SIP/2.0/UDP h;branch={branch}\r\n");
    }
    if let Some(call_id) = &head.call_id {
        text += &format!("Call-ID: {call_id}\r\n");
    }
    if let Some((number, method)) = &head.sequence {
        text += &format!("CSeq: {number} {method}\r\n");
    }
    text += &format!("Content-Length: {}\r\n\r\n", head.content_length);
    text.into_bytes()
}

#[test]
fn a_message_is_read_in_one_way_or_not_at_all() {
    Target::new("sip-message", 40_000).words(WORDS).check(|input| {
        let read = Head::parse(input);
        if let Some(end) = head_end(input, 0) {
            for from in [end / 2, end - 1] {
                assert_eq!(head_end(input, from), Some(end), "an earlier search gave up at {from}");
            }
            assert_eq!(Head::parse(&input[..end]), read, "what follows the head counts");
        } else {
            assert_eq!(read, Err(Malformed::Endless));
        }
        match read {
            Err(why) => (Some(why.to_string()), [false; 3], None),
            Ok(head) => {
                assert_eq!(Head::parse(&written(&head)).as_ref(), Ok(&head), "written anew");
                let has = [head.branch.is_some(), head.call_id.is_some(), head.sequence.is_some()];
                (None, has, head.status.map(|status| status / 100))
            }
        }
    });
}
