//! Chunked bodies of HTTP/1 (RFC 9112 section 7.1): what two servers could read in two ways is no request to anybody.

use crate::accounts::judge;
use crate::bad_input::assert_alive;
use crate::client::{Client, Speaks};
use crate::raw::{say, status};
use crate::site::{FQDN, Site};

fn post(body: &str) -> String {
    format!("POST /xuc/lab/count HTTP/1.1\r\nHost: {FQDN}\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

#[tokio::test]
async fn broken_chunks_are_answered_with_a_page_counted_and_completed_nowhere() {
    let mut site = Site::start();
    let next = format!("GET /xuc/lab/headers HTTP/1.1\r\nHost: {FQDN}\r\n\r\n");
    let long = format!("1;{}\r\n7\r\n0\r\n\r\n", "x".repeat(2000));
    for broken in [
        "\r\n7\r\n0\r\n\r\n",
        ";x\r\n7\r\n0\r\n\r\n",
        "+1\r\n7\r\n0\r\n\r\n",
        "0x1\r\n7\r\n0\r\n\r\n",
        " 1\r\n7\r\n0\r\n\r\n",
        "-1\r\n7\r\n0\r\n\r\n",
        "zz\r\n",
        "1\n7\r\n0\r\n\r\n",
        "1;a\nb\r\n7\r\n0\r\n\r\n",
        "1\r\n7\n0\r\n\r\n",
        "1\r\n77\r\n0\r\n\r\n",
        "1\r\n70\r\n\r\n",
        "1\r\n7\r\n0\n\n",
        "4000000000000001\r\n7\r\n",
        "ffffffffffffffff\r\n7\r\n",
        "10000000000000000\r\n7\r\n",
        "1\r\n7\r\n0\r\nContent-Length: 5\r\n\r\n",
        "1\r\n7\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "1\r\n7\r\n0\r\nGET / HTTP/1.1\r\n\r\n",
        &long,
    ] {
        let what = format!("{broken:.40?}");
        judge(&site, &what, (post(broken) + &next).as_bytes(), 400).await;
    }
    assert_eq!(site.main.ledger(), Vec::<String>::new());
    let status = site.status();
    assert_eq!((&status["live"], &status["sides"]["main"]["health"]), (&"main".into(), &"working".into()));
    assert_alive(&mut site).await;
}

#[tokio::test]
async fn whole_chunks_pass_and_their_trailers_go_no_further() {
    let mut site = Site::start();
    let client = Client::of(&site);
    for (number, whole) in [
        "1\r\n7\r\n0\r\n\r\n",
        "1;name=\"va;lue\"\r\n7\r\n00\r\n\r\n",
        "01 \r\n7\r\n0;last\r\n\r\n",
        "1\r\n7\r\n0\r\nChecksum: 1\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n",
    ]
    .iter()
    .enumerate()
    {
        let close = format!("GET /xuc/lab/headers HTTP/1.1\r\nHost: {FQDN}\r\nConnection: close\r\n\r\n");
        let answers = say(&client, (post(whole) + &close).as_bytes()).await;
        assert_eq!(status(&answers), 200, "{whole}{answers}");
        assert!(answers.contains("GET /xuc/lab/headers HTTP/1.1\n") && !answers.contains("10.0.0.1"), "{answers}");
        assert_eq!(site.main.ledger().len(), number + 1, "{whole}");
    }
    let mut h2 = client.connect(Speaks::H2).await.unwrap();
    assert_eq!(h2.get("/version").await.unwrap().status, 200);
    assert_alive(&mut site).await;
}
