//! Answers over h2: what comes before them, when they were made, and what is never passed on.

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, Method, Request, StatusCode};
use tokio::time::timeout;

use crate::answers::numbered;
use crate::bad_input::assert_alive;
use crate::client::{Client, Speaks};
use crate::raw::say;
use crate::site::{FQDN, PATIENCE, Site};

type Sender = SendRequest<Bytes>;

/// The library at hand tells interim answers, unlike the client above it.
async fn h2(client: &Client) -> Sender {
    let stream = client.tls(Speaks::H2).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    sender.ready().await.unwrap()
}

fn get(target: &str) -> Request<()> {
    Request::get(format!("https://{FQDN}{target}")).body(()).unwrap()
}

/// All interim answers, and the final one with its body; none: it was reset.
async fn answers(asking: ResponseFuture) -> (Vec<(StatusCode, HeaderMap)>, Option<(StatusCode, HeaderMap, Bytes)>) {
    let mut asking = asking;
    let mut interim = Vec::new();
    let answer = timeout(PATIENCE, async {
        while let Some(one) = std::future::poll_fn(|cx| asking.poll_informational(cx)).await {
            let Ok(one) = one else { return None };
            interim.push((one.status(), one.headers().clone()));
        }
        let answer = asking.await.ok()?;
        let (head, mut body) = answer.into_parts();
        let mut whole = Vec::new();
        while let Some(part) = body.data().await {
            whole.extend_from_slice(&part.ok()?);
        }
        Some((head.status, head.headers, whole.into()))
    });
    let answer = answer.await.expect("an answer");
    (interim, answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn interim_answers_pass_over_h2_and_end_before_the_final_one() {
    let hints = "HTTP/1.1 103 Hints\r\nLink: </a.css>\r\nContent-Length: 5\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n";
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let large = |count: usize| format!("HTTP/1.1 103 H\r\nX: {}\r\n\r\n", "y".repeat(7_500)).repeat(count);
    let odd = numbered(vec![
        format!("{hints}HTTP/1.1 102 Wait\r\n\r\n{hints}{ok}"),
        format!("{}{ok}", "HTTP/1.1 102 Wait\r\n\r\n".repeat(32)),
        format!("{}{ok}", "HTTP/1.1 102 Wait\r\n\r\n".repeat(33)),
        format!("{}{ok}", large(30)),
        format!("{}{}{ok}", large(30), "HTTP/1.1 103 H\r\nX: {}\r\n\r\n".replace("{}", &"y".repeat(60_000))),
        format!("{ok}{hints}"),
        format!("{hints}HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
    ]);
    let mut site = odd.site();
    let client = Client::of(&site);
    for (number, passed, status) in
        [(0, 3, 200), (1, 32, 200), (2, 32, 502), (3, 30, 200), (4, 30, 502), (5, 0, 200), (6, 1, 502)]
    {
        let (asking, _) = h2(&client).await.send_request(get(&format!("/odd/{number}")), true).unwrap();
        let (interim, answer) = answers(asking).await;
        let answer = answer.map(|(status, _, body)| (status.as_u16(), body));
        let (said, body) = answer.unwrap_or_else(|| panic!("{number} is answered"));
        // Of those that come with what is refused, some may go with it.
        let whole = interim.len() == passed || status == 502 && interim.len() <= passed;
        assert!(whole && said == status, "{number}: {} and {said}", interim.len());
        assert!(status != 200 || body == "ok", "{number}: {body:?}");
        for (status, fields) in interim.iter().filter(|(status, _)| *status == 103 && number == 0) {
            assert_eq!(fields.get("link").map(|link| link.as_bytes()), Some(&b"</a.css>"[..]), "{status}");
            assert_eq!(fields.len(), 1, "{fields:?}");
        }
    }
    assert_alive(&mut site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_expects_100_gets_it_over_h2_and_sends_its_body_then() {
    let odd = numbered(vec!["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".into()]);
    let site = odd.site();
    let mut sender = h2(&Client::of(&site)).await;
    let request =
        Request::builder().method(Method::POST).header("expect", "100-continue").header("content-length", "1");
    let request = request.uri(format!("https://{FQDN}/odd/0")).body(()).unwrap();
    let (mut asking, mut body) = sender.send_request(request, false).unwrap();
    let first = timeout(PATIENCE, std::future::poll_fn(|cx| asking.poll_informational(cx))).await.unwrap();
    assert_eq!(first.expect("an interim answer").unwrap().status(), 100);
    // The answer may have been whole by then.
    let _ = body.send_data(Bytes::from("7"), true);
    let (_, answer) = answers(asking).await;
    assert_eq!(answer.unwrap().0, 200);
    assert!(odd.heard("/odd/0").unwrap().to_ascii_lowercase().contains("\r\nexpect: 100-continue\r\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstreams_date_stays_and_one_is_added_where_there_is_none() {
    let old = "Tue, 15 Nov 1994 08:12:31 GMT";
    let odd = numbered(vec![
        format!("HTTP/1.1 200 OK\r\nDate: {old}\r\nContent-Length: 2\r\n\r\nok"),
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(),
    ]);
    let site = odd.site();
    let client = Client::of(&site);
    for (target, kept) in [("/odd/0", true), ("/odd/1", false), ("/nowhere", false)] {
        let answer = client.connect(Speaks::H2).await.unwrap().get(target).await.unwrap();
        let dates: Vec<_> = answer.headers.get_all("date").iter().collect();
        assert_eq!(dates.len(), 1, "{target}: {dates:?}");
        assert_eq!(dates[0] == old, kept, "{target}: {dates:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_waits_for_its_client_ends_with_it() {
    let mut site = Site::start();
    let client = Client::of(&site);
    let mut sender = h2(&client).await;
    let (asking, _) = sender.send_request(get("/xuc/lab/hang"), true).unwrap();
    crate::site::wait_until("it is under way", || site.main.requests() == 1);
    drop(asking);
    crate::site::wait_until("it ends", || site.access_log().contains("\"ended\":\"client_gone\""));
    // An answer's body that nobody takes goes with its stream too.
    let (asking, _) = sender.send_request(get("/xuc/lab/big?bytes=20000000"), true).unwrap();
    let answer = timeout(PATIENCE, asking).await.unwrap().unwrap();
    drop(answer);
    crate::site::wait_until("it ends", || site.access_log().matches("\"ended\":\"client_gone\"").count() == 2);
    assert!(!say(&client, b"GET /version HTTP/1.0\r\n\r\n").await.is_empty());
    assert_alive(&mut site).await;
}
