//! A side as a process, and somebody who talks to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

/// For what happens at once on a machine that has other things to do.
pub(super) const SOON: Duration = Duration::from_secs(20);

/// The program under test.
pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_bascule-demo");

pub(super) struct Side {
    child: Child,
    pub(super) address: SocketAddr,
    pub(super) sip: Option<SocketAddr>,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Side {
    pub(super) fn start(arguments: &[&str]) -> Self {
        Self::start_on("127.0.0.1:0", arguments)
    }

    pub(super) fn start_on(listen: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["side", "--side", "main", "--listen", listen])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let words: Vec<_> = line.split_whitespace().collect();
        let (address, sip) = match words[..] {
            ["listening", "on", address] => (address, None),
            ["listening", "on", address, "sip", sip] => (address, Some(sip.parse().unwrap())),
            _ => panic!("{line:?}"),
        };
        Self {
            child,
            address: address.parse().unwrap(),
            sip,
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    pub(super) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    pub(super) fn ended(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    pub(super) async fn ask(&self, method: Method, path: &str, body: &str) -> Result<Response<Bytes>, String> {
        let request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        self.send(request.body(Full::from(body.to_owned())).unwrap()).await
    }

    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, String> {
        let response = self.client.request(request).await.map_err(|error| format!("{error:?}"))?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| format!("{error:?}"))?.to_bytes();
        Ok(Response::from_parts(head, body))
    }

    pub(super) async fn get(&self, path: &str) -> Response<Bytes> {
        self.ask(Method::GET, path, "").await.unwrap()
    }

    pub(super) async fn post(&self, path: &str, body: &str) -> Response<Bytes> {
        self.ask(Method::POST, path, body).await.unwrap()
    }

    pub(super) async fn stats(&self) -> Value {
        serde_json::from_slice(self.get("/xuc/lab/stats").await.body()).unwrap()
    }

    pub(super) async fn websocket(&self, path: &str) -> WebSocketStream<TcpStream> {
        let request = format!("ws://{}{path}", self.address).into_client_request().unwrap();
        let tcp = TcpStream::connect(self.address).await.unwrap();
        client_async(request, tcp).await.unwrap().0
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn text(response: &Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).unwrap()
}

/// Runs a side that does not get far; its exit code and what it said on standard error.
pub(super) fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let mut child = Command::new(PROGRAM)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (child.wait().unwrap().code(), said)
}

pub(super) fn wait(what: &str, until: impl Fn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !until() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sends bytes over a connection of their own; all that comes back.
pub(super) fn raw(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}
