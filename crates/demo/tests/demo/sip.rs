use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

use super::process::{SOON, Side};

const OPTIONS: &str = "OPTIONS sip:main SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5999;rport;branch=z9hG4bKx\r\n\
    Max-Forwards: 70\r\nFrom: <sip:probe@x>;tag=1\r\nTo: <sip:main>\r\nCall-ID: c1\r\nCSeq: 7 OPTIONS\r\n\
    Content-Length: 0\r\n\r\n";
const ANSWER: &str = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1:5999;rport;branch=z9hG4bKx\r\n\
    From: <sip:probe@x>;tag=1\r\nTo: <sip:main>;tag=demo\r\nCall-ID: c1\r\nCSeq: 7 OPTIONS\r\nAllow: OPTIONS\r\n\
    Content-Length: 0\r\n\r\n";

#[test]
fn options_is_answered_over_udp_and_over_tcp_one_after_the_other() {
    let side = Side::start(&["--sip", "127.0.0.1:0"]);
    let sip = side.sip.unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(SOON)).unwrap();
    udp.send_to(b"no sip at all", sip).unwrap();
    udp.send_to(OPTIONS.as_bytes(), sip).unwrap();
    let mut answer = [0; 2048];
    let size = udp.recv(&mut answer).unwrap();
    assert_eq!(String::from_utf8_lossy(&answer[..size]), ANSWER);

    let mut tcp = TcpStream::connect(sip).unwrap();
    tcp.set_read_timeout(Some(SOON)).unwrap();
    let with_body = OPTIONS.replace("Content-Length: 0\r\n\r\n", "l: 4\r\n\r\nbody");
    tcp.write_all(format!("{with_body}{OPTIONS}").as_bytes()).unwrap();
    let mut answers = vec![0; 2 * ANSWER.len()];
    tcp.read_exact(&mut answers).unwrap();
    assert_eq!(String::from_utf8_lossy(&answers), ANSWER.repeat(2));
}

#[tokio::test]
async fn a_mute_side_says_nothing_in_sip_either() {
    let side = Side::start(&["--sip", "127.0.0.1:0"]);
    side.post("/xuc/lab/mode?mode=mute", "").await;
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    udp.send_to(OPTIONS.as_bytes(), side.sip.unwrap()).unwrap();
    assert!(udp.recv(&mut [0; 64]).is_err());
    side.post("/xuc/lab/mode?mode=ok", "").await;
    udp.set_read_timeout(Some(SOON)).unwrap();
    udp.send_to(OPTIONS.as_bytes(), side.sip.unwrap()).unwrap();
    assert!(udp.recv(&mut [0; 2048]).is_ok());
}
