//! Headers of ours: on answers that do not say them, and never beside those of an upstream.

use http::{HeaderMap, Method, StatusCode};

use crate::client::{Client, Speaks};
use crate::odd::Odd;
use crate::raw::say;
use crate::site::{FQDN, Site};

fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    let first = all.next().map(|value| value.to_str().unwrap());
    assert!(all.next().is_none(), "{name} is there twice: {headers:?}");
    first
}

fn site(odd: &Odd) -> Site {
    Site::start_with(&format!(
        "shared: {{ sip: 'http://{}' }}\nheaders: {{ referrer-policy: no-referrer, permissions-policy: off, x-ours: yes }}\n\
         routes: [ {{ path: /odd, service: sip, websocket: true }}, {{ path: /framed, service: sip, \
         methods: [ GET, POST ], headers: {{ X-Frame-Options: off, cache-control: no-store, x-ours: no }} }} ]\n",
        odd.address
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_say_what_the_site_wants_unless_their_upstream_says_it() {
    let odd = Odd::answering(|head| match head.contains("/odd/own") {
        false => b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
        true => {
            b"HTTP/1.1 200 OK\r\nx-frame-options: DENY\r\nReferrer-Policy: origin\r\nContent-Length: 0\r\n\r\n".to_vec()
        }
    });
    let site = site(&odd);
    for speaks in [Speaks::H1, Speaks::H2] {
        let mut connection = Client::of(&site).connect(speaks).await.unwrap();
        let plain = connection.get("/odd/plain").await.unwrap().headers;
        // The preset's, the site's over them, and one that the site took away.
        assert_eq!(one(&plain, "strict-transport-security"), Some("max-age=31536000"));
        assert_eq!(one(&plain, "x-content-type-options"), Some("nosniff"));
        assert_eq!(one(&plain, "x-frame-options"), Some("SAMEORIGIN"));
        assert_eq!(one(&plain, "referrer-policy"), Some("no-referrer"));
        assert_eq!((one(&plain, "x-ours"), one(&plain, "permissions-policy")), (Some("yes"), None));
        let own = connection.get("/odd/own").await.unwrap().headers;
        assert_eq!((one(&own, "x-frame-options"), one(&own, "referrer-policy")), (Some("DENY"), Some("origin")));
        let framed = connection.get("/framed").await.unwrap().headers;
        assert_eq!((one(&framed, "x-frame-options"), one(&framed, "x-ours")), (None, Some("no")));
        assert_eq!(one(&framed, "cache-control"), Some("no-store"));
        assert_eq!(one(&framed, "referrer-policy"), Some("no-referrer"));
        let page = connection.get("/nowhere").await.unwrap();
        assert_eq!(page.status, StatusCode::NOT_FOUND);
        assert_eq!(one(&page.headers, "strict-transport-security"), Some("max-age=31536000"));
        assert_eq!(one(&page.headers, "x-content-type-options"), Some("nosniff"));
        for (method, status) in [(Method::HEAD, 200), (Method::POST, 200), (Method::OPTIONS, 405), (Method::PUT, 405)] {
            let answer = connection.send(method.clone(), "/framed", "").await.unwrap();
            assert_eq!(answer.status, status, "{method}");
            assert_eq!(one(&answer.headers, "allow"), (status == 405).then_some("GET, POST, HEAD"));
        }
        let options = connection.send(Method::OPTIONS, "/odd/plain", "").await.unwrap();
        assert_eq!(one(&options.headers, "x-ours"), Some("yes"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_is_refused_is_answered_as_a_request_is() {
    let odd = Odd::saying("HTTP/1.1 403 Forbidden\r\nX-Frame-Options: DENY\r\nContent-Length: 0\r\n\r\n");
    let site = site(&odd);
    let upgrade = format!(
        "GET /odd HTTP/1.1\r\nHost: {FQDN}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    let answer = say(&Client::of(&site), upgrade.as_bytes()).await.to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 403"), "{answer}");
    assert_eq!(answer.matches("x-frame-options:").count(), 1, "{answer}");
    assert!(answer.contains("\r\nx-frame-options: deny\r\n") && answer.contains("\r\nx-ours: yes\r\n"), "{answer}");
}
