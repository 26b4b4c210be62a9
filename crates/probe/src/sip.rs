//! The SIP check (RFC 3261): one OPTIONS, over UDP, TCP or TLS, and any final response that does not admit a failure.
//!
//! No library: those that exist are either no longer maintained or whole stacks. What a probe needs of SIP fits into
//! [`message`].

mod message;
mod stream;
mod udp;
mod uri;

use std::net::SocketAddr;

use rustls::crypto::CryptoProvider;

use self::message::Head;
pub use self::uri::{InvalidSipText, SipUri, UserAgent};
use crate::check::Check;
use crate::failure::{Failure, FailureKind};
use crate::meter::Meter;
use crate::status::StatusSet;
use crate::tls::Tls;
use crate::wire::Wire;

/// A response's head beyond this is no answer to OPTIONS.
const HEAD_LIMIT: usize = 16 * 1024;
/// How many messages that answer something else are skipped.
const MOST_STRAYS: usize = 64;

/// An OPTIONS request and what must come back.
#[derive(Clone, Debug)]
pub struct SipCheck {
    /// What to send it over.
    pub transport: SipTransport,
    /// Whom to ask; `None`: the target itself, `sip:address:port`.
    pub request_uri: Option<SipUri>,
    /// Who asks; `None`: `sip:probe@` and the local address.
    pub from: Option<SipUri>,
    /// Where the prober can be reached; `None`: as `from`, with the local port and transport.
    pub contact: Option<SipUri>,
    /// The `User-Agent` field (RFC 3261 section 20.41).
    pub user_agent: UserAgent,
    /// The final responses that count as working. Below 500 by default: a server that asks for a password, or knows no
    /// such user, is alive.
    pub status: StatusSet,
}

/// What carries SIP to the target.
#[derive(Clone, Debug)]
pub enum SipTransport {
    /// Datagrams, sent again until answered.
    Udp,
    /// A TCP connection, in the clear.
    Tcp,
    /// TLS in a connection, verified by these rules.
    Tls(Tls),
}

impl SipCheck {
    /// OPTIONS to the target itself; any final response below 500 will do.
    #[must_use]
    pub fn new(transport: SipTransport) -> Self {
        Self {
            transport,
            request_uri: None,
            from: None,
            contact: None,
            user_agent: UserAgent::default(),
            status: StatusSet::below(500),
        }
    }

    fn judge(&self, status: u16) -> Result<String, Failure> {
        if self.status.contains(status) {
            Ok(format!("SIP {status}"))
        } else {
            Err(Failure::status(status, format_args!("SIP {status} (expected {})", self.status)))
        }
    }
}

pub(crate) async fn ask(sip: &SipCheck, check: &Check, meter: &mut Meter) -> Result<String, Failure> {
    let transaction = Transaction::begin()?;
    let status = match &sip.transport {
        SipTransport::Udp => udp::ask(sip, check, &transaction, meter).await?,
        SipTransport::Tcp => {
            stream::ask(sip, check, Wire::connect(check, None, meter).await?, &transaction, meter).await?
        }
        SipTransport::Tls(tls) => {
            stream::ask(sip, check, Wire::connect(check, Some(tls), meter).await?, &transaction, meter).await?
        }
    };
    sip.judge(status)
}

/// What marks a response as ours. 128 random bits: a stranger who cannot read the request cannot answer it.
#[derive(Debug)]
struct Transaction {
    branch: String,
    call_id: String,
    tag: String,
    sequence: u32,
}

/// What a message that arrived means for our request.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    Final(u16),
    Provisional(u16),
    Stray,
}

impl Transaction {
    fn begin() -> Result<Self, Failure> {
        let mut bytes = [0; 44];
        let random = match CryptoProvider::get_default() {
            Some(provider) => provider.secure_random.fill(&mut bytes),
            None => rustls::crypto::aws_lc_rs::default_provider().secure_random.fill(&mut bytes),
        };
        random.map_err(|_| Failure::local("begin a SIP transaction", "no random numbers"))?;
        let hexadecimal = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        Ok(Self {
            // The cookie says that the rest is unique (RFC 3261, 8.1.1.7).
            branch: format!("z9hG4bK{}", hexadecimal(&bytes[..16])),
            call_id: hexadecimal(&bytes[16..32]),
            tag: hexadecimal(&bytes[32..40]),
            // Below 2^31 (8.1.1.5).
            sequence: u32::from_be_bytes([bytes[40] & 0x7f, bytes[41], bytes[42], bytes[43]]),
        })
    }

    /// RFC 3261, 17.1.3: branch of the topmost Via and method; Call-ID and number make it certain.
    fn meaning(&self, head: &Head) -> Meaning {
        let Some(status) = head.status else { return Meaning::Stray };
        let ours = head.branch.as_ref().is_some_and(|branch| branch.eq_ignore_ascii_case(&self.branch))
            && head.call_id.as_ref() == Some(&self.call_id)
            && head.sequence.as_ref().is_some_and(|(number, method)| *number == self.sequence && method == "OPTIONS");
        match status {
            _ if !ours => Meaning::Stray,
            100..=199 => Meaning::Provisional(status),
            _ => Meaning::Final(status),
        }
    }
}

/// Counts what arrives without being the answer, and keeps ready what to say if the time runs out over it.
struct Waiting<'a> {
    meter: &'a mut Meter,
    strays: usize,
}

impl<'a> Waiting<'a> {
    fn new(meter: &'a mut Meter) -> Self {
        Self { meter, strays: 0 }
    }

    fn provisional(&mut self, status: u16) {
        self.meter.on_time_limit =
            Some(Err(Failure::new(FailureKind::Silent, format_args!("SIP {status}, but no final response in time"))));
    }

    fn stray(&mut self) -> Result<(), Failure> {
        self.strays += 1;
        let failure =
            Failure::wrong(format_args!("{} messages arrived, none of them an answer to this OPTIONS", self.strays));
        if self.strays >= MOST_STRAYS {
            return Err(failure);
        }
        // What our own request was told, if only for the time being, says more than what others were.
        if self
            .meter
            .on_time_limit
            .as_ref()
            .is_none_or(|found| matches!(found, Err(Failure { kind: FailureKind::Wrong, .. })))
        {
            self.meter.on_time_limit = Some(Err(failure));
        }
        Ok(())
    }
}

impl SipTransport {
    fn name(&self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls(_) => "TLS",
        }
    }
}

/// Writes the OPTIONS as it goes out from `local`.
fn request(sip: &SipCheck, target: SocketAddr, local: SocketAddr, transaction: &Transaction) -> String {
    let transport = sip.transport.name();
    let (here, there) = (host_port(local), host_port(target));
    let request_uri = sip.request_uri.as_ref().map_or_else(|| format!("sip:{there}"), ToString::to_string);
    let from = sip.from.as_ref().map_or_else(|| format!("sip:probe@{}", host(local)), ToString::to_string);
    let contact = sip
        .contact
        .as_ref()
        .map_or_else(|| format!("sip:probe@{here};transport={}", transport.to_ascii_lowercase()), ToString::to_string);
    let Transaction { branch, call_id, tag, sequence } = transaction;
    [
        format!("OPTIONS {request_uri} SIP/2.0"),
        format!("Via: SIP/2.0/{transport} {here};rport;branch={branch}"),
        "Max-Forwards: 70".to_owned(),
        format!("From: <{from}>;tag={tag}"),
        format!("To: <{request_uri}>"),
        format!("Call-ID: {call_id}"),
        format!("CSeq: {sequence} OPTIONS"),
        format!("Contact: <{contact}>"),
        "Accept: application/sdp".to_owned(),
        format!("User-Agent: {}", sip.user_agent),
        "Content-Length: 0".to_owned(),
        String::new(),
        String::new(),
    ]
    .join("\r\n")
}

fn host(address: SocketAddr) -> String {
    // Without the scope an IPv6 address may carry: it means nothing elsewhere.
    match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}

fn host_port(address: SocketAddr) -> String {
    format!("{}:{}", host(address), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(transaction: &Transaction, status: u16) -> Head {
        Head {
            status: Some(status),
            branch: Some(transaction.branch.clone()),
            call_id: Some(transaction.call_id.clone()),
            sequence: Some((transaction.sequence, "OPTIONS".to_owned())),
            content_length: 0,
        }
    }

    #[test]
    fn only_a_response_that_matches_in_everything_is_an_answer() {
        let transaction = Transaction::begin().unwrap();
        let ours = || head(&transaction, 200);
        assert_eq!(transaction.meaning(&ours()), Meaning::Final(200));
        assert_eq!(transaction.meaning(&head(&transaction, 100)), Meaning::Provisional(100));
        let table = [
            ("no branch", Head { branch: None, ..ours() }),
            ("another branch", Head { branch: Some("z9hG4bK1".into()), ..ours() }),
            ("no Call-ID", Head { call_id: None, ..ours() }),
            ("another Call-ID", Head { call_id: Some(transaction.call_id.to_uppercase() + "x"), ..ours() }),
            ("no CSeq", Head { sequence: None, ..ours() }),
            ("another number", Head { sequence: Some((transaction.sequence ^ 1, "OPTIONS".into())), ..ours() }),
            ("another method", Head { sequence: Some((transaction.sequence, "INVITE".into())), ..ours() }),
            ("a request", Head { status: None, ..ours() }),
        ];
        for (what, head) in table {
            assert_eq!(transaction.meaning(&head), Meaning::Stray, "{what}");
        }
    }

    #[test]
    fn no_two_transactions_are_alike() {
        let (one, two) = (Transaction::begin().unwrap(), Transaction::begin().unwrap());
        assert!(one.branch != two.branch && one.call_id != two.call_id && one.tag != two.tag);
        assert!(one.branch.starts_with("z9hG4bK") && one.sequence < 1 << 31);
    }

    #[test]
    fn a_request_can_be_read_back_and_names_ipv6_in_brackets() {
        let transaction = Transaction::begin().unwrap();
        let local = "[fe80::1%7]:5070".parse().unwrap();
        let text = request(&SipCheck::new(SipTransport::Tcp), "[::1]:5060".parse().unwrap(), local, &transaction);
        assert!(
            text.starts_with("OPTIONS sip:[::1]:5060 SIP/2.0\r\nVia: SIP/2.0/TCP [fe80::1]:5070;rport;branch=z9hG4bK"),
            "{text}"
        );
        let head = Head::parse(text.as_bytes()).unwrap();
        assert_eq!(head, Head { status: None, ..head_of(&transaction) });
    }

    fn head_of(transaction: &Transaction) -> Head {
        head(transaction, 200)
    }
}
