//! The words metrics use as label values, one closed set each.

use std::marker::PhantomData;

pub use failover::Label;
use failover::closed_set;

closed_set! {
    /// Who answered or should have, or where a session ends.
    pub enum By {
        /// Main.
        Main => "main",
        /// Standby.
        Standby => "standby",
        /// A shared service.
        Shared => "shared",
        /// The Edge itself: waiting page, redirect, refusal of what a client sent.
        Edge => "edge",
    }

    /// First digit of a status code.
    pub enum Class {
        /// 100 to 199.
        Informational => "1xx",
        /// 200 to 299.
        Success => "2xx",
        /// 300 to 399.
        Redirection => "3xx",
        /// 400 to 499.
        ClientError => "4xx",
        /// 500 to 599, and what is no status.
        ServerError => "5xx",
    }

    /// What a probe came to.
    pub enum ProbeOutcome {
        /// As it should.
        Ok => "ok",
        /// Nobody listens.
        Refused => "refused",
        /// The connection was reset.
        Reset => "reset",
        /// No answer in time.
        Silent => "silent",
        /// No way there.
        Unreachable => "unreachable",
        /// The TLS handshake failed.
        Tls => "tls",
        /// It answered that it has too much to do.
        Overloaded => "overloaded",
        /// It answered, but not as it should.
        Wrong => "wrong",
        /// The probe could not be made here.
        Local => "local",
    }

    /// How an upstream failed a request that it had got.
    pub enum AnswerFailure {
        /// No answer in time.
        Silent => "silent",
        /// The connection ended before an answer began.
        Lost => "lost",
        /// The connection ended in the middle of an answer.
        Cut => "cut",
        /// It answered what is not HTTP as everybody reads it.
        Wrong => "wrong",
    }

    /// Why an upstream could not be connected.
    pub enum ConnectFailure {
        /// Nobody listens.
        Refused => "refused",
        /// The connection was reset.
        Reset => "reset",
        /// No answer in time.
        Silent => "silent",
        /// No way there.
        Unreachable => "unreachable",
        /// The TLS handshake failed.
        Tls => "tls",
        /// Anything else.
        Other => "other",
    }

    /// What became of a request that waited.
    pub enum Parked {
        /// A side was live in time.
        Released => "released",
        /// The wait was over first.
        Expired => "expired",
        /// The client left.
        Gone => "gone",
        /// There was no room to wait.
        Full => "full",
    }

    /// Why a request was refused.
    pub enum Refusal {
        /// Its path is not listed.
        NoRoute => "no_route",
        /// Its host is not ours.
        BadHost => "bad_host",
        /// Its path cannot be understood one way only.
        BadPath => "bad_path",
        /// Its framing cannot be understood one way only.
        Framing => "framing",
        /// Its head is too large or has too many fields.
        HeadTooLarge => "head_too_large",
        /// Its head came too slowly.
        HeadTimeout => "head_timeout",
        /// Its client left before its head was whole.
        HeadIncomplete => "head_incomplete",
        /// Its client gave up more streams than anybody needs to: the connection is ended.
        ResetFlood => "reset_flood",
        /// Its body came too slowly.
        BodyTimeout => "body_timeout",
        /// Its body is too large.
        BodyTooLarge => "body_too_large",
        /// Its route takes no upgrade.
        UpgradeNotAllowed => "upgrade_not_allowed",
        /// Its subprotocol is not one of the route's.
        Subprotocol => "subprotocol",
        /// Its token is missing or has the wrong shape.
        Token => "token",
        /// Its method is not carried.
        Method => "method",
        /// Its zone is over its rate.
        Rate => "rate",
        /// An operator has the route in maintenance.
        Maintenance => "maintenance",
        /// Requests under way hold as much memory as they may, or its client's do.
        Memory => "memory",
        /// Neither side works: the waiting page.
        NobodyWorks => "nobody_works",
    }

    /// What a zone made of a request.
    pub enum ZoneOutcome {
        /// It went on at once.
        Passed => "passed",
        /// It waited for its time.
        Delayed => "delayed",
        /// Its client was over the rate.
        Refused => "refused",
        /// It was to wait, but too many did already.
        Full => "full",
        /// Its client is of an exempt network.
        Exempt => "exempt",
    }

    /// Why a connection was refused.
    pub enum ConnectionRefusal {
        /// Too many connections in all.
        Limit => "limit",
        /// Too many of one client.
        ClientLimit => "client_limit",
        /// The ClientHello came too slowly.
        ClientHelloTimeout => "client_hello_timeout",
        /// It does not speak TLS.
        NotTls => "not_tls",
        /// It began with a header of the PROXY protocol, and comes from nobody who is believed.
        ProxyStranger => "proxy_stranger",
        /// Whoever is believed sent no header of the PROXY protocol, or one that cannot be understood, or not in time.
        ProxyHeader => "proxy_header",
        /// It asks for a name that nobody here has, and such are refused.
        UnknownName => "unknown_name",
        /// No descriptor left.
        Descriptors => "descriptors",
    }

    /// Protocol agreed upon in a handshake.
    pub enum Alpn {
        /// HTTP/2.
        H2 => "h2",
        /// HTTP/1.1.
        H1 => "http/1.1",
        /// None agreed.
        None => "none",
    }

    /// Whether a handshake was a whole one.
    pub enum Handshake {
        /// Whole.
        Full => "full",
        /// By a ticket.
        Resumed => "resumed",
    }

    /// By which key exchange a handshake came to its secret: whether what is recorded today can be read by a quantum
    /// computer one day.
    pub enum KeyExchange {
        /// The hybrid of X25519 and ML-KEM, which a quantum computer does not undo.
        Hybrid => "x25519mlkem768",
        /// The curve alone.
        X25519 => "x25519",
        /// NIST's smaller curve.
        P256 => "secp256r1",
        /// NIST's larger curve.
        P384 => "secp384r1",
        /// None: a session of TLS 1.2 was resumed, which goes on with the secret it had.
        Resumed => "none",
        /// One that the library has learned since.
        Other => "other",
    }

    /// Why a handshake failed.
    pub enum HandshakeFailure {
        /// No version or cipher in common, or not TLS as it is written.
        Protocol => "protocol",
        /// The client did not like our certificate.
        Certificate => "certificate",
        /// Not finished in time.
        Timeout => "timeout",
        /// The client left.
        Gone => "gone",
        /// Anything else.
        Other => "other",
    }

    /// Which way bytes went.
    pub enum Direction {
        /// From the client.
        In => "in",
        /// To the client.
        Out => "out",
    }

    /// What the witness answers.
    pub enum Ruled {
        /// The vote.
        Grant => "grant",
        /// Not now.
        Deny => "deny",
        /// It is the other's.
        Lost => "lost",
        /// The asker needs a longer promise than the Edge may give.
        TooLong => "too_long",
        /// Nothing: it cannot write, or is too busy.
        Refused => "refused",
    }

    /// What a node does, as far as is known.
    pub enum NodeState {
        /// It serves.
        Active => "active",
        /// It does not, and is not meant to.
        Inactive => "inactive",
        /// It is being started.
        Starting => "starting",
        /// It is being stopped.
        Stopping => "stopping",
        /// It should serve and does not.
        Faulty => "faulty",
        /// It has not reported lately.
        Unknown => "unknown",
    }

    /// Why somebody at the nodes' endpoint was turned away.
    pub enum TurnedAway {
        /// At the handshake.
        Handshake => "handshake",
        /// The certificate does not let it ask that.
        Role => "role",
    }

    /// How a switch of the whole site ended.
    pub enum SwitchoverResult {
        /// Everything was moved and verified.
        Done => "done",
        /// A step failed, and what was done was undone.
        Undone => "undone",
        /// A step failed, and not all could be undone.
        Failed => "failed",
        /// It did not begin.
        Refused => "refused",
    }

    /// How a reload went.
    pub enum Reload {
        /// The new one is in force.
        Taken => "ok",
        /// It does not load: the old configuration stays.
        Rejected => "failed",
    }
}

impl Class {
    /// That of a status code.
    pub const fn of(status: u16) -> Self {
        match status {
            100..=199 => Self::Informational,
            200..=299 => Self::Success,
            300..=399 => Self::Redirection,
            400..=499 => Self::ClientError,
            _ => Self::ServerError,
        }
    }
}

impl From<failover::lease::VoteReply> for Ruled {
    fn from(ruling: failover::lease::VoteReply) -> Self {
        use failover::lease::VoteReply;
        match ruling {
            VoteReply::Grant => Self::Grant,
            VoteReply::Deny => Self::Deny,
            VoteReply::Lost => Self::Lost,
            VoteReply::TooLong => Self::TooLong,
        }
    }
}

impl From<failover::health::Status> for NodeState {
    fn from(status: failover::health::Status) -> Self {
        use failover::health::Status;
        match status {
            Status::Active => Self::Active,
            Status::Inactive => Self::Inactive,
            Status::Starting => Self::Starting,
            Status::Stopping => Self::Stopping,
            Status::Faulty => Self::Faulty,
        }
    }
}

impl By {
    /// A side.
    pub const fn side(side: failover::Side) -> Self {
        match side {
            failover::Side::Main => Self::Main,
            failover::Side::Standby => Self::Standby,
        }
    }
}

/// One child metric for each member of a closed set, looked up by place: no hashing, no lock.
#[derive(Debug, Clone)]
pub struct Per<L, M> {
    children: Box<[M]>,
    set: PhantomData<fn(L)>,
}

impl<L: Label, M> Per<L, M> {
    /// Makes each child.
    pub(crate) fn new(child: impl FnMut(L) -> M) -> Self {
        Self { children: L::ALL.iter().copied().map(child).collect(), set: PhantomData }
    }

    /// That member's child.
    pub fn of(&self, label: L) -> &M {
        &self.children[label.place()]
    }
}

impl<L: Label> Per<L, prometheus::IntGauge> {
    /// Sets one member to 1 and the others to 0.
    pub fn only(&self, label: L) {
        for (place, child) in self.children.iter().enumerate() {
            child.set(i64::from(place == label.place()));
        }
    }
}
