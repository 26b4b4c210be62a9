//! What a SIP proxy does for WebSockets on the Edge's machine, and no more: each goes to the Asterisk of the live side.
//! Which that is the Edge keeps in files.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::net::{Host, Net};
use crate::outcome::{Outcome, because};

/// Where the Edge finds it.
pub(crate) const PORT: u16 = 8080;
/// Asterisk's own web server.
const ASTERISK: u16 = 5039;
const CONNECT: Duration = Duration::from_millis(500);
const BIGGEST: usize = 16 << 10;

/// Serves as long as this process does; nobody holds more than a socket of it.
pub(crate) fn start(net: &Net, edge: PathBuf) -> Outcome {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, PORT));
    let listener = net.inside(Host::Edge, bind)?.join().map_err(|_| "the relay panicked".to_owned())?;
    let listener = listener.map_err(because("the relay"))?;
    // Sockets of another machine can only be opened on it: one thread there for each client.
    let namespace = net.namespace(Host::Edge);
    let serve = move || {
        for client in listener.incoming().flatten() {
            let (namespace, edge) = (namespace.clone(), edge.clone());
            thread::spawn(move || {
                let _ = crate::net::enter(&namespace).and_then(|()| relay(client, &edge).map_err(because("the relay")));
            });
        }
    };
    thread::Builder::new().name("relay".to_owned()).spawn(serve).map(drop).map_err(because("the relay"))
}

fn relay(mut client: TcpStream, edge: &Path) -> io::Result<()> {
    let head = head(&mut client)?;
    let node = if live_side(edge) == "standby" { Host::StandbyXivo } else { Host::MainXivo };
    let mut asterisk = TcpStream::connect_timeout(&(node.address(), ASTERISK).into(), CONNECT)?;
    // Asterisk knows its WebSocket by another path.
    let line = head.split_once("\r\n").map_or("", |(_, rest)| rest);
    asterisk.write_all(format!("GET /ws HTTP/1.1\r\n{line}").as_bytes())?;
    let (mut up_from, mut up_to) = (client.try_clone()?, asterisk.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut up_from, &mut up_to);
        let _ = up_to.shutdown(Shutdown::Both);
    });
    let copied = io::copy(&mut asterisk, &mut client);
    let _ = client.shutdown(Shutdown::Both);
    copied.map(drop)
}

/// The live side, as the Edge of this directory says: in the file for those who follow it, or else in its state.
pub(crate) fn live_side(edge: &Path) -> String {
    if let Ok(word) = std::fs::read_to_string(edge.join("run/bascule/live")) {
        return word.trim().to_owned();
    }
    let state = std::fs::read(edge.join("state/live.json")).unwrap_or_default();
    let state: serde_json::Value = serde_json::from_slice(&state).unwrap_or_default();
    state.get("live").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}

/// The request's head, to its last byte and not further.
fn head(client: &mut TcpStream) -> io::Result<String> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") && bytes.len() < BIGGEST {
        client.read_exact(&mut byte)?;
        bytes.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
