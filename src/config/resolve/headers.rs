//! Response headers of ours: the preset's, the site's laid over them, a route's over those.

use http::header::{self, HeaderName, HeaderValue};
use settings::{Findings, KeyPath, Named, nearest, quoted};

/// What is added to answers that do not say it themselves.
pub(super) type Headers = Vec<(HeaderName, HeaderValue)>;

/// Takes a header away that stands beneath.
const OFF: &str = "off";
/// Headers of one answer: a browser reads each of them on every answer.
const MOST: usize = 32;
/// Bytes of a value; a Content-Security-Policy takes a few hundred.
const LONGEST: usize = 4096;

/// What frames an answer, belongs to one connection, or is said of one answer alone: the Edge and the upstreams say these,
/// and a fixed value would be wrong for most answers.
const NOT_OURS: [HeaderName; 17] = [
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::DATE,
    header::ETAG,
    header::LAST_MODIFIED,
    header::LOCATION,
    header::PROXY_AUTHENTICATE,
    header::SET_COOKIE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::WWW_AUTHENTICATE,
    HeaderName::from_static("keep-alive"),
];

/// Lays what is `written` over `beneath`; mistakes are noted, and leave the rest as it is.
pub(super) fn over(
    beneath: &[(HeaderName, HeaderValue)],
    written: Option<&Named<String>>,
    at: &KeyPath,
    findings: &mut Findings,
) -> Headers {
    let mut headers = beneath.to_vec();
    let mut seen: Vec<HeaderName> = Vec::new();
    for (text, value) in written.into_iter().flat_map(|named| &named.0) {
        let at = at.key(text);
        let Some(name) = name(text, &at, findings) else { continue };
        if seen.contains(&name) {
            findings.error(&at, format!("{} is listed already", quoted(text)), "keep one: their case does not matter");
            continue;
        }
        seen.push(name.clone());
        let place = headers.iter().position(|(known, _)| *known == name);
        match (value.as_str(), place) {
            (OFF, Some(place)) => drop(headers.remove(place)),
            (OFF, None) => {
                // Most likely a typing error: the header that was meant would still be sent.
                let near = nearest(name.as_str(), headers.iter().map(|(known, _)| known.as_str()));
                let remedy = near.map_or_else(|| "remove the line".into(), |near| format!("did you mean {near}?"));
                findings.error(&at, "is off, but nothing beneath sets it", remedy);
            }
            (value, place) => {
                let Some(value) = value_of(value, &at, findings) else { continue };
                match place {
                    Some(place) => headers[place].1 = value,
                    None => headers.push((name, value)),
                }
            }
        }
    }
    if headers.len() > MOST {
        findings.error(at, format!("{} headers are too many", headers.len()), format!("keep {MOST} at most"));
    }
    headers
}

fn name(text: &str, at: &KeyPath, findings: &mut Findings) -> Option<HeaderName> {
    let Ok(name) = HeaderName::try_from(text) else {
        findings.error(at, format!("{} is no header's name", quoted(text)), "write one such as x-frame-options");
        return None;
    };
    if NOT_OURS.contains(&name) {
        let message = format!("{} is said by whoever makes the answer", quoted(text));
        findings.error(at, message, "list only what holds for every answer");
        return None;
    }
    Some(name)
}

fn value_of(text: &str, at: &KeyPath, findings: &mut Findings) -> Option<HeaderValue> {
    let value = text.trim();
    // Visible ASCII, as RFC 9110 section 5.5 asks of new fields: a line break would be another header, or a whole answer.
    if value.is_empty() || !value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        findings.error(at, format!("{} is no header's value", quoted(text)), "write visible ASCII, or off for none");
        return None;
    }
    if value.len() > LONGEST {
        findings.error(at, format!("{} bytes are too many", value.len()), format!("write {LONGEST} at most"));
        return None;
    }
    HeaderValue::from_str(value).ok()
}
