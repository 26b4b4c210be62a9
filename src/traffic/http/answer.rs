//! What an upstream's answer must be before a client sees it: framed so that everybody reads it alike (RFC 9112 section
//! 6.3), without what concerned the connection it came on, and of a bounded size. Pingora reads it; it is judged here.

use http::header::{CONTENT_LENGTH, DATE, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Method, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::date::get_cached_date;
use probe::answer::{self, Faulty, Framing, MOST_HEAD};
use probe::upgrade::items;

use super::hop;

/// Brings an answer to `request` into the one form in which it is passed on, or says why it cannot be.
///
/// # Errors
/// The answer can be framed in two ways, or says what no answer to this request may.
pub fn normalise(response: &mut ResponseHeader, request: &RequestHeader) -> Result<(), Faulty> {
    if response.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Faulty::Unasked101);
    }
    if size(&response.headers) > MOST_HEAD {
        return Err(Faulty::HeadTooLarge);
    }
    // Read before the fields of the connection are removed, `Transfer-Encoding` among them.
    let framing = answer::framing(response.status, &response.headers, request.method == Method::HEAD)?;
    let offers_websockets = response.headers.get_all(UPGRADE).iter().any(names_websocket);
    for name in hop::not_for_clients(&response.headers) {
        response.remove_header(&name);
    }
    if response.status == StatusCode::UPGRADE_REQUIRED && offers_websockets {
        // RFC 9110 section 15.5.22: it says to what. Of all protocols we carry this one.
        set(response, UPGRADE, HeaderValue::from_static("websocket"));
    }
    frame(response, framing, request.version);
    Ok(())
}

/// Bytes of fields, as HTTP/1 writes them.
pub fn size(fields: &HeaderMap) -> usize {
    fields.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// Adds headers of ours that the answer does not have: whoever made it knows it better, and two of a name are read differently
/// by different browsers.
///
/// # Errors
/// There are more than a map of headers takes.
pub fn add_missing(response: &mut ResponseHeader, ours: &[(HeaderName, HeaderValue)]) -> pingora::Result<()> {
    for (name, value) in ours {
        if !response.headers.contains_key(name) {
            response.insert_header(name.clone(), value.clone())?;
        }
    }
    Ok(())
}

/// Says when a final answer was made, where nobody who made it says so (RFC 9110 section 6.6.1): caches reckon its age by it.
pub fn date(response: &mut ResponseHeader) {
    if !response.headers.contains_key(DATE) {
        set(response, DATE, get_cached_date());
    }
}

fn names_websocket(value: &HeaderValue) -> bool {
    items(value.as_bytes()).any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
}

/// Says the framing once, in the one form that the client's version of HTTP knows.
fn frame(response: &mut ResponseHeader, framing: Framing, client: Version) {
    match framing {
        // RFC 9110 section 8.6: no length where there can be no body; that of a 304 or of HEAD is another answer's.
        Framing::Nothing if response.status.is_informational() || response.status == StatusCode::NO_CONTENT => {
            response.remove_header(&CONTENT_LENGTH);
        }
        Framing::Nothing => {
            if let Ok(Some(length)) = answer::length(&response.headers) {
                set(response, CONTENT_LENGTH, HeaderValue::from(length));
            }
        }
        Framing::Length(length) => set(response, CONTENT_LENGTH, HeaderValue::from(length)),
        Framing::Chunked | Framing::UntilClosed => {
            response.remove_header(&CONTENT_LENGTH);
            // Whoever knows chunks sees whether it got all. HTTP/1.0 knows none: its answer ends with the connection.
            if client != Version::HTTP_10 {
                response.set_version(Version::HTTP_11);
                set(response, TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
        }
    }
}

fn set(response: &mut ResponseHeader, name: http::HeaderName, value: HeaderValue) {
    let said = response.headers.get_all(&name);
    if said.iter().count() == 1 && response.headers.get(&name) == Some(&value) {
        return;
    }
    // A name and a value that are valid are taken.
    let _ = response.insert_header(name, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed_on(method: &str, version: Version, status: u16, fields: &[(&str, &str)]) -> Result<Vec<String>, Faulty> {
        let mut request = RequestHeader::build(method, b"/", None).unwrap();
        request.set_version(version);
        let mut response = ResponseHeader::build(status, None).unwrap();
        for (name, value) in fields {
            response.append_header((*name).to_owned(), *value).unwrap();
        }
        normalise(&mut response, &request)?;
        let mut left: Vec<String> =
            response.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        left.sort();
        Ok(left)
    }

    #[test]
    fn an_answer_says_once_how_long_it_is() {
        const LENGTH: &str = "content-length";
        const CODING: &str = "transfer-encoding";
        let get = |status, fields: &[(&str, &str)]| passed_on("GET", Version::HTTP_11, status, fields);
        let five = Ok(vec!["content-length: 5".to_owned()]);
        let chunked = Ok(vec!["transfer-encoding: chunked".to_owned()]);
        assert_eq!(get(200, &[(LENGTH, "5")]), five);
        assert_eq!(get(200, &[(LENGTH, "5"), (LENGTH, "5")]), five);
        assert_eq!(get(200, &[(LENGTH, "5, 5")]), five);
        assert_eq!(get(200, &[(LENGTH, "05")]), five);
        assert_eq!(get(200, &[(CODING, "chunked")]), chunked);
        assert_eq!(get(200, &[(CODING, "identity")]), chunked);
        assert_eq!(get(200, &[(CODING, "identity, Chunked")]), chunked);
        assert_eq!(get(200, &[(CODING, "chunked"), (LENGTH, "5")]), chunked);
        assert_eq!(get(204, &[(CODING, "chunked")]), Ok(vec![]));
        assert_eq!(get(204, &[(LENGTH, "5")]), Ok(vec![]));
        assert_eq!(get(304, &[(CODING, "chunked")]), Ok(vec![]));
        assert_eq!(get(304, &[(LENGTH, "5, 5")]), five);
        assert_eq!(get(103, &[(CODING, "chunked")]), Ok(vec![]));
        assert_eq!(get(103, &[(LENGTH, "5")]), Ok(vec![]));
        assert_eq!(passed_on("HEAD", Version::HTTP_11, 200, &[(LENGTH, "5"), (LENGTH, "5")]), five);
        assert_eq!(passed_on("HEAD", Version::HTTP_11, 200, &[(CODING, "chunked")]), Ok(vec![]));
        assert_eq!(passed_on("GET", Version::HTTP_10, 200, &[(CODING, "chunked")]), Ok(vec![]));
        for wrong in ["-5", "+5", "5.0", "0x5", "", "5,6", "5 5", "99999999999999999999"] {
            assert_eq!(get(200, &[(LENGTH, wrong)]), Err(Faulty::Length), "{wrong}");
        }
        assert_eq!(get(200, &[(LENGTH, "5"), (LENGTH, "6")]), Err(Faulty::Length));
        for coding in ["gzip", "gzip, chunked", "chunked, gzip", "chunked, chunked"] {
            assert_eq!(get(200, &[(CODING, coding)]), Err(Faulty::Coding), "{coding}");
        }
        assert_eq!(get(101, &[]), Err(Faulty::Unasked101));
        assert_eq!(get(200, &[("x", &"y".repeat(MOST_HEAD))]), Err(Faulty::HeadTooLarge));
    }

    #[test]
    fn what_concerns_the_upstreams_connection_stays_there() {
        let fields = [
            ("connection", "x-hop, close"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("trailer", "x-sum"),
            ("upgrade", "h2c"),
            ("content-length", "0"),
        ];
        let left = passed_on("GET", Version::HTTP_11, 200, &fields);
        assert_eq!(left, Ok(vec!["content-length: 0".to_owned()]));
        let required =
            passed_on("GET", Version::HTTP_11, 426, &[("upgrade", "h2c, WebSocket"), ("content-length", "0")]);
        assert_eq!(required, Ok(vec!["content-length: 0".to_owned(), "upgrade: websocket".to_owned()]));
    }
}
