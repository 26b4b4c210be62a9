use super::*;

/// Reads a whole answer, in one piece and byte by byte: status and body, or why not.
fn read(answer: &[u8]) -> Result<(u16, Vec<u8>), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let whole = runtime.block_on(whole(answer));
    let dripped = runtime.block_on(async {
        let (mut sender, receiver) = tokio::io::duplex(1);
        let bytes = answer.to_vec();
        let drip = async move {
            // The reader may leave early.
            let _ = tokio::io::AsyncWriteExt::write_all(&mut sender, &bytes).await;
            drop(sender);
        };
        tokio::join!(whole_of(receiver), drip).0
    });
    assert_eq!(whole, dripped, "{}", String::from_utf8_lossy(answer));
    whole
}

async fn whole(answer: &[u8]) -> Result<(u16, Vec<u8>), String> {
    whole_of(answer).await
}

async fn whole_of<R: AsyncRead + Unpin>(mut stream: R) -> Result<(u16, Vec<u8>), String> {
    let mut buf = BytesMut::new();
    let read = async {
        let head = Head::read(&mut stream, &mut buf).await?;
        let mut body = Body::new(framing(head.status, &head.headers, false)?);
        let mut bytes = Vec::new();
        while let Some(piece) = body.next(&mut stream, &mut buf).await? {
            bytes.extend_from_slice(&piece);
        }
        Ok((head.status.as_u16(), bytes))
    };
    read.await.map_err(|error: NoAnswer| match error {
        NoAnswer::Broken(_) => "broken".to_owned(),
        NoAnswer::Faulty(faulty) => format!("{faulty:?}"),
    })
}

#[test]
fn what_traffic_takes_is_taken() {
    let fields = |count: usize| (0..count).map(|n| format!("x-{n}: y\r\n")).collect::<String>();
    let large = format!("x: {}\r\n", "y".repeat(200_000));
    for head in [
        "Content-Length: 2\r\n",
        "Content-Length : 2\r\n",
        "Content-Length\t: 2 \r\n",
        "X: folded\r\n here\r\n\tand there\r\nContent-Length: 2\r\n",
        "Content-Length: 2\r\nContent-Length: 2\r\n",
        "Content-Length: 2, 2\r\n",
        "Content-Length: 02\r\n",
        "Content-Length:\r\n 2\r\n",
        "x: caf\u{e9}\r\nContent-Length: 2\r\n",
        "",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity\r\nContent-Length: 99\r\n",
        &format!("{}Content-Length: 2\r\n", fields(255)),
        &format!("{large}Content-Length: 2\r\n"),
    ] {
        for line in ["HTTP/1.1 200 OK", "HTTP/1.0 200 OK", "HTTP/1.1 200", "HTTP/1.1 200 \u{fc}ber"] {
            let answer = format!("{line}\r\n{head}\r\nok");
            assert_eq!(read(answer.as_bytes()), Ok((200, b"ok".to_vec())), "{line} {head:.200}");
        }
    }
    for coding in ["chunked", "Chunked", "identity, chunked", "identity\r\nTransfer-Encoding: chunked"] {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: {coding}\r\n\r\n");
        let body = "1\r\no\r\n1 ;x=y\r\nk\r\n0\r\nTrailer: t\r\n\r\nmore";
        assert_eq!(read((answer + body).as_bytes()), Ok((200, b"ok".to_vec())), "{coding}");
    }
    let bare = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";
    assert_eq!(read(bare.as_bytes()), Ok((200, b"ok".to_vec())));
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n".repeat(10);
    assert_eq!(read((interim + "HTTP/1.1 204 No\r\nTransfer-Encoding: gzip\r\n\r\n").as_bytes()), Ok((204, vec![])));
}

#[test]
fn what_can_be_read_in_two_ways_is_not() {
    let fields = (0..257).map(|n| format!("x-{n}: y\r\n")).collect::<String>();
    for (head, why) in [
        ("Content-Length: 1\r\nContent-Length: 2\r\n", "Length"),
        ("Content-Length: 2, 3\r\n", "Length"),
        ("Content-Length: -2\r\n", "Length"),
        ("Content-Length: +2\r\n", "Length"),
        ("Content-Length: 2.0\r\n", "Length"),
        ("Content-Length: 0x2\r\n", "Length"),
        ("Content-Length:\r\n", "Length"),
        ("Content-Length: 2,\r\n", "Length"),
        ("Content-Length: 18446744073709551616\r\n", "Length"),
        ("Transfer-Encoding: gzip\r\n", "Coding"),
        ("Transfer-Encoding: gzip, chunked\r\n", "Coding"),
        ("Transfer-Encoding: chunked, identity\r\n", "Coding"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "Coding"),
        ("Transfer-Encoding: chunked,\r\n", "Coding"),
        ("Transfer-Encoding: chunked;x\r\n", "Coding"),
        (&fields, "HeadTooLarge"),
        (&format!("x: {}\r\n", "y".repeat(MOST_HEAD)), "HeadTooLarge"),
        ("no colon\r\n", "Unparseable"),
        ("x\0: y\r\n", "Unparseable"),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\nok");
        assert_eq!(read(answer.as_bytes()), Err(why.to_owned()), "{head:.200}");
    }
    for (answer, why) in [
        ("HTTP/2 200 OK\r\n\r\n", "Unparseable"),
        ("HTTP/1.1 099 Low\r\n\r\n", "Unparseable"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "Chunk"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nok\r\n0\r\n\r\n", "Chunk"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\n0\r\n\r\n", "Chunk"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", "broken"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", "broken"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n", "broken"),
        ("HTTP/1.1 200 OK\r\nContent-", "broken"),
        ("", "broken"),
        (&"HTTP/1.1 102 Wait\r\n\r\n".repeat(100), "Interim"),
    ] {
        assert_eq!(read(answer.as_bytes()), Err(why.to_owned()), "{answer:.200}");
    }
    let trailers = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{}", "x: y\r\n".repeat(20_000));
    assert_eq!(read(trailers.as_bytes()), Err("Chunk".to_owned()));
}

#[test]
fn a_folded_field_is_one_line() {
    let (_, head) = Head::parse(b"HTTP/1.1 200 OK\r\nx: a\r\n  b\r\n\tc  \r\n\r\n").unwrap().unwrap();
    assert_eq!(head.headers["x"], "a b c");
}
