//! An upstream that says whatever it is told to, and remembers what it was asked.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use crate::site::Site;

/// An upstream of one's own making: each connection is one request and one answer.
pub struct Odd {
    pub address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Odd {
    /// Answers each request by what `answer` makes of its head.
    pub fn answering(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let (answer, told) = (Arc::new(answer), heard.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let (answer, told) = (answer.clone(), told.clone());
                std::thread::spawn(move || {
                    let mut head = Vec::new();
                    let mut byte = [0];
                    while !head.ends_with(b"\r\n\r\n") {
                        // Probes may connect and say nothing.
                        let Ok(1) = stream.read(&mut byte) else { return };
                        head.push(byte[0]);
                    }
                    let head = String::from_utf8_lossy(&head).into_owned();
                    let bytes = answer(&head);
                    told.lock().unwrap().push(head);
                    // Who does not like an answer leaves.
                    let _ = stream.write_all(&bytes);
                    let _ = stream.shutdown(std::net::Shutdown::Write);
                    let _ = stream.read_to_end(&mut Vec::new());
                });
            }
        });
        Self { address, heard }
    }

    /// Always the same answer.
    pub fn saying(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::answering(move |_| answer.clone())
    }

    /// The head of the last request for a target that begins like this.
    pub fn heard(&self, target: &str) -> Option<String> {
        let heard = self.heard.lock().unwrap();
        let asked = |head: &&String| head.split(' ').nth(1).is_some_and(|asked| asked.starts_with(target));
        heard.iter().rev().find(asked).cloned()
    }

    /// How many requests came for a target that begins like this.
    pub fn count(&self, target: &str) -> usize {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter(|head| head.split(' ').nth(1).is_some_and(|asked| asked.starts_with(target))).count()
    }

    /// A site that serves `/odd` from it, WebSockets too.
    pub fn site(&self) -> Site {
        Site::start_with(&format!(
            "shared: {{ sip: 'http://{}' }}\nroutes: [ {{ path: /odd, service: sip, websocket: true }}, \
             {{ path: /sip-only, service: sip, websocket: {{ subprotocols: [ sip ] }} }} ]\n",
            self.address
        ))
    }
}
