use http::{Method, StatusCode};

use super::process::{Side, raw, text};

#[tokio::test]
async fn e5_a_number_is_in_the_ledger_before_its_sender_is_told_and_sides_share_it() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = directory.path().join("ledger");
    let path = ledger.to_str().unwrap();
    let (one, other) = (Side::start(&["--ledger", path]), Side::start(&["--ledger", path]));
    for number in 0..20 {
        let side = if number % 2 == 0 { &one } else { &other };
        assert_eq!(side.post("/xuc/lab/count", &number.to_string()).await.status(), StatusCode::OK);
        let lines = std::fs::read_to_string(&ledger).unwrap();
        assert_eq!(lines.lines().last(), Some(number.to_string().as_str()));
    }
    assert_eq!(std::fs::read_to_string(&ledger).unwrap().lines().count(), 20);
    assert_eq!(text(&one.get("/xuc/lab/count").await), "10\n");
    for nonsense in ["", "seven", "-1", "123456789012345678901", "1\n2"] {
        assert_eq!(one.post("/xuc/lab/count", nonsense).await.status(), StatusCode::BAD_REQUEST, "{nonsense}");
    }
}

#[tokio::test]
async fn answers_are_as_slow_large_and_odd_as_they_are_ordered() {
    let side = Side::start(&[]);
    assert_eq!(side.get("/xuc/lab/big?bytes=1000001").await.body().len(), 1_000_001);
    assert_eq!(text(&side.get("/xuc/lab/slow?ms=20").await), "20 ms later\n");
    assert_eq!(side.get("/xuc/lab/status?code=418").await.status(), StatusCode::IM_A_TEAPOT);
    for nonsense in ["status?code=99", "status?code=700", "slow?ms=x", "half?bytes=0", "big?bytes=-1"] {
        let answer = side.get(&format!("/xuc/lab/{nonsense}")).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{nonsense}");
    }
    let redirect = side.get("/xuc/lab/redirect?to=/version").await;
    assert_eq!(redirect.status(), StatusCode::FOUND);
    assert_eq!(redirect.headers()["location"], format!("http://{}/version", side.address));
    assert!(side.get("/xuc/lab/cookie").await.headers()["set-cookie"].to_str().unwrap().contains("Domain=127.0.0.1"));
    let head = side.ask(Method::PUT, "/xuc/lab/headers?a=b", "body").await.unwrap();
    assert!(text(&head).starts_with("PUT /xuc/lab/headers?a=b HTTP/1.1\n"), "{}", text(&head));
    assert!(text(&head).contains(&format!("\nhost: {}\n", side.address)), "{}", text(&head));
    assert_eq!(side.get("/xuc/lab/nothing").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_connection_ends_without_an_answer_once_the_request_was_read() {
    let side = Side::start(&[]);
    let request = b"POST /xuc/lab/early-close HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody";
    assert_eq!(raw(side.address, request), b"");
    assert_eq!(side.stats().await["by_method"]["POST"], 1);
}

#[tokio::test]
async fn half_of_what_was_announced_comes_before_the_end() {
    let side = Side::start(&[]);
    let answer = raw(side.address, b"GET /xuc/lab/half?bytes=200000 HTTP/1.1\r\nHost: x\r\n\r\n");
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    assert!(String::from_utf8_lossy(&answer[..head]).contains("content-length: 200000\r\n"));
    assert_eq!(answer.len() - head, 100_000);
}
