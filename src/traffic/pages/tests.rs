use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE};

use super::*;

fn page() -> WaitingPage {
    WaitingPage::new(Duration::from_secs(5))
}

fn field<'a>(answer: &'a Answer<'_>, name: &HeaderName) -> &'a str {
    let mut values = answer.headers.iter().filter(|(key, _)| key == name);
    let value = values.next().unwrap_or_else(|| panic!("no {name}")).1.to_str().unwrap();
    assert!(values.next().is_none(), "{name} twice");
    value
}

fn html<'a>(answer: &'a Answer<'_>) -> &'a str {
    std::str::from_utf8(&answer.body).unwrap()
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    text.split_once(before).unwrap().1.split_once(after).unwrap().0
}

fn every_answer(check: impl Fn(&Answer<'_>)) {
    let (waiting, errors) = (page(), ErrorPages::new());
    for language in [None, Some(b"fr".as_slice())] {
        check(&waiting.answer(language));
        check(&waiting.short(language));
        for error in ErrorPage::ALL {
            check(&errors.answer(error, language));
        }
    }
}

#[test]
fn the_waiting_page_is_a_503_that_says_when_to_come_back_and_is_never_stored() {
    let waiting = page();
    for answer in [waiting.answer(None), waiting.short(None)] {
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(field(&answer, &RETRY_AFTER), "5");
        assert_eq!(field(&answer, &MARKER), "1");
        assert_eq!(field(&answer, &CACHE_CONTROL), "no-store");
    }
}

#[test]
fn no_answer_of_ours_can_be_taken_for_json() {
    every_answer(|answer| {
        assert_eq!(field(answer, &CONTENT_TYPE), "text/html; charset=utf-8");
        assert!(html(answer).starts_with("<!DOCTYPE html>"));
        assert!(serde_json::from_slice::<serde_json::Value>(&answer.body).is_err());
    });
}

#[test]
fn every_page_is_small_complete_and_needs_nothing_else() {
    every_answer(|answer| {
        let html = html(answer);
        assert!(html.len() < 8 * 1024, "{} bytes", html.len());
        assert_eq!(field(answer, &CONTENT_LENGTH), html.len().to_string());
        for outside in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!html.contains(outside), "{outside}");
        }
        for placeholder in ["lang", "title", "what", "code", "seconds", "style", "script", "calm", "still", "back"] {
            assert!(!html.contains(&format!("{{{placeholder}}}")), "{placeholder}");
        }
    });
}

#[test]
fn the_policy_allows_exactly_the_style_and_script_of_the_page() {
    every_answer(|answer| {
        let (html, policy) = (html(answer), field(answer, &CONTENT_SECURITY_POLICY));
        let hash = |element: &str| {
            let text = between(html, &format!("<{element}>"), &format!("</{element}>"));
            format!("{element}-src 'sha256-{}'", STANDARD.encode(digest(&SHA256, text.as_bytes())))
        };
        assert!(policy.starts_with("default-src 'none';"));
        assert!(policy.contains(&hash("style")));
        assert_eq!(policy.contains("script-src"), html.contains("<script>"));
        if html.contains("<script>") {
            assert!(policy.contains(&hash("script")));
            assert!(policy.contains("connect-src 'self'"));
        }
        assert!(!html.contains("style="), "a style attribute is not covered by a hash");
    });
}

#[test]
fn a_page_speaks_one_language_and_names_it() {
    let waiting = page();
    for (accept, tag, word) in
        [(None, "en", "Nothing to do"), (Some(b"fr-FR,en;q=0.5".as_slice()), "fr", "Rien à faire")]
    {
        let answer = waiting.answer(accept);
        assert_eq!(field(&answer, &CONTENT_LANGUAGE), tag);
        assert!(html(&answer).contains(&format!("<html lang=\"{tag}\">")));
        assert!(html(&answer).contains(word));
    }
}

#[test]
fn without_a_script_the_page_returns_all_the_same() {
    let waiting = page();
    let answer = waiting.answer(None);
    let noscript = between(html(&answer), "<noscript>", "</noscript>");
    assert_eq!(noscript, r#"<meta http-equiv="refresh" content="5">"#);
}

#[test]
fn retry_after_is_rounded_up_and_never_zero() {
    for (retry_after, seconds) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2")] {
        let waiting = WaitingPage::new(Duration::from_millis(retry_after));
        assert_eq!(field(&waiting.answer(None), &RETRY_AFTER), seconds);
    }
}

#[test]
fn only_a_person_who_navigates_gets_the_whole_page() {
    let waiting = page();
    let whole = |method: Method, fields: &[(&'static str, &'static str)]| {
        let headers: HeaderMap = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        html(&waiting.for_request(&method, &headers)).contains("<script>")
    };
    let (page, any) = (("accept", "text/html,application/xhtml+xml;q=0.9"), ("accept", "*/*"));
    assert!(whole(Method::GET, &[page]));
    assert!(whole(Method::HEAD, &[page, ("sec-fetch-mode", "navigate")]));
    assert!(!whole(Method::GET, &[page, ("sec-fetch-mode", "cors")]));
    assert!(!whole(Method::GET, &[any]));
    assert!(!whole(Method::GET, &[]));
    assert!(!whole(Method::POST, &[page, ("sec-fetch-mode", "navigate")]));
}

#[test]
fn each_error_is_sent_with_its_own_status_and_shows_it() {
    let errors = ErrorPages::new();
    for (place, error) in ErrorPage::ALL.into_iter().enumerate() {
        assert_eq!(error as usize, place);
        let answer = errors.answer(error, None);
        assert_eq!(answer.status, error.status());
        assert!(html(&answer).contains(&format!(">{}<", error.status().as_str())));
    }
}

#[test]
fn giving_an_answer_copies_no_page() {
    let waiting = page();
    assert_eq!(waiting.answer(None).body.as_ptr(), waiting.answer(None).body.as_ptr());
}
