use futures_util::{SinkExt, StreamExt, future::join_all};
use http::StatusCode;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::process::{SOON, Side};

const TOKEN: &str = "token=YQ.eyJsb2dpbiI6ImFsaWNlIn0.Yg";

#[tokio::test]
async fn cti_ticks_and_sends_back_what_it_gets() {
    let side = Side::start(&[]);
    let mut cti = side.websocket(&format!("/xuc/api/2.0/cti?{TOKEN}")).await;
    let tick: Value = serde_json::from_str(cti.next().await.unwrap().unwrap().to_text().unwrap()).unwrap();
    assert_eq!(tick, serde_json::json!({ "side": "main", "n": 1 }));
    cti.send(Message::text("hello")).await.unwrap();
    let mut came = Vec::new();
    while came.len() < 2 {
        came.push(cti.next().await.unwrap().unwrap().into_text().unwrap().to_string());
    }
    assert!(came.iter().any(|text| text == "hello") && came.iter().any(|text| text.contains("\"n\":2")), "{came:?}");
    until_open(&side, 1).await;
    cti.close(None).await.unwrap();
    while let Some(Ok(_)) = cti.next().await {}
    until_open(&side, 0).await;
}

#[tokio::test]
async fn sip_sockets_speak_sip_and_nothing_else() {
    let side = Side::start(&[]);
    for path in ["/wssip", "/wssip-mds_1"] {
        let request = |subprotocol: Option<&str>| {
            let mut request = format!("ws://{}{path}?{TOKEN}", side.address).into_client_request().unwrap();
            if let Some(subprotocol) = subprotocol {
                request.headers_mut().insert("sec-websocket-protocol", subprotocol.parse().unwrap());
            }
            request
        };
        let tcp = || TcpStream::connect(side.address);
        let (mut sip, head) = client_async(request(Some("sip")), tcp().await.unwrap()).await.unwrap();
        assert_eq!(head.headers()["sec-websocket-protocol"], "sip");
        sip.send(Message::text("REGISTER")).await.unwrap();
        assert_eq!(sip.next().await.unwrap().unwrap(), Message::text("REGISTER"));
        let Err(Error::Http(refused)) = client_async(request(None), tcp().await.unwrap()).await else { panic!() };
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    }
    assert_eq!(side.get("/wssip").await.status(), StatusCode::UPGRADE_REQUIRED);
}

#[tokio::test]
async fn a_flood_brings_every_frame_and_echoes_afterwards() {
    let side = Side::start(&[]);
    let mut flood = side.websocket("/xuc/lab/ws/flood?frame=5000&count=200").await;
    for _ in 0..200 {
        assert_eq!(flood.next().await.unwrap().unwrap().len(), 5000);
    }
    flood.send(Message::text("still there?")).await.unwrap();
    assert_eq!(flood.next().await.unwrap().unwrap(), Message::text("still there?"));
}

#[tokio::test]
async fn one_message_comes_in_many_fragments() {
    let side = Side::start(&[]);
    let mut whole = side.websocket("/xuc/lab/ws/fragmented?bytes=1000001&chunk=65536").await;
    assert_eq!(whole.next().await.unwrap().unwrap().len(), 1_000_001);

    let mut tcp = upgrade(&side, "/xuc/lab/ws/fragmented?bytes=10&chunk=4&pause_ms=1").await;
    let mut frames = [0; 16];
    tcp.read_exact(&mut frames).await.unwrap();
    assert_eq!(&frames, b"\x02\x04xxxx\x00\x04xxxx\x80\x02xx");
}

#[tokio::test]
async fn a_stalled_frame_is_never_finished() {
    let side = Side::start(&[]);
    let mut tcp = upgrade(&side, "/xuc/lab/ws/stall").await;
    let mut half = vec![0; 504];
    tcp.read_exact(&mut half).await.unwrap();
    assert_eq!(&half[..4], b"\x82\x7e\x03\xe8");
    // A Ping brings no Pong into the frame; the end of the client ends it.
    tcp.write_all(b"\x89\x80\0\0\0\0").await.unwrap();
    tcp.shutdown().await.unwrap();
    assert_eq!(tcp.read(&mut half).await.unwrap(), 0);
}

#[tokio::test]
async fn a_thousand_sockets_are_open_at_once() {
    let side = Side::start(&[]);
    let open = (0..1000).map(|_| side.websocket("/xuc/lab/ws/echo"));
    let mut sockets = join_all(open).await;
    until_open(&side, 1000).await;
    for socket in &mut sockets {
        socket.send(Message::text("x")).await.unwrap();
    }
    for socket in &mut sockets {
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("x"));
    }
}

/// Waits until a side counts so many: a handshake is answered before.
async fn until_open(side: &Side, count: u64) {
    let counted = async { while side.stats().await["websockets"] != count {} };
    timeout(SOON, counted).await.unwrap_or_else(|_| panic!("never {count} open"));
}

async fn upgrade(side: &Side, path: &str) -> TcpStream {
    let mut tcp = TcpStream::connect(side.address).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    tcp
}
