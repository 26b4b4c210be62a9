//! A telephone system for tests: answers OPTIONS over UDP, or does not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// Answers until it is told otherwise.
pub(super) struct Telephone {
    pub(super) address: SocketAddr,
    task: JoinHandle<()>,
    pub(super) mute: Arc<AtomicBool>,
    /// Takes nothing in; what is asked meanwhile is answered later.
    pub(super) stall: Arc<AtomicBool>,
    /// So many requests are lost.
    pub(super) lose: Arc<AtomicU32>,
}

impl Telephone {
    pub(super) async fn start() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap()).await
    }

    pub(super) async fn at(address: SocketAddr) -> Self {
        let socket = UdpSocket::bind(address).await.unwrap();
        let address = socket.local_addr().unwrap();
        let (mute, lose) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let stall = Arc::new(AtomicBool::new(false));
        let (muted, losing, stalled) = (mute.clone(), lose.clone(), stall.clone());
        let task = tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                while stalled.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                let less = |count: u32| count.checked_sub(1);
                let lost = losing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok();
                if !lost && !muted.load(Ordering::Relaxed) {
                    socket.send_to(&answer(&buffer[..length]), from).await.unwrap();
                }
            }
        });
        Self { address, task, mute, stall, lose }
    }

    pub(super) fn probe(address: SocketAddr) -> Arc<probe::Check> {
        let kind = probe::Kind::Sip(probe::SipCheck::new(probe::SipTransport::Udp));
        Arc::new(probe::Check::new(address, Duration::from_millis(500), kind))
    }

    /// Its port is closed when this returns.
    pub(super) async fn die(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Telephone {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn answer(request: &[u8]) -> Vec<u8> {
    let request = String::from_utf8_lossy(request);
    let copied = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
    let copied = request.lines().filter(|line| copied.iter().any(|name| line.starts_with(name)));
    let head: Vec<_> = copied.map(|line| line.replace("To: ", "To: <sip:x>;tag=1;")).collect();
    format!("SIP/2.0 200 OK\r\n{}\r\nContent-Length: 0\r\n\r\n", head.join("\r\n")).into_bytes()
}
