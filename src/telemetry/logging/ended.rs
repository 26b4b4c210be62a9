//! Why requests, sessions and connections that are passed on end.

use failover::{closed_set, display_label};

closed_set! {
    /// Why a request, a session or a connection that is passed on ended; the first reason wins.
    pub enum Ended {
        /// As both sides wished.
        Complete => "complete",
        /// The client left.
        ClientGone => "client_gone",
        /// The client was too slow.
        ClientTimeout => "client_timeout",
        /// The client broke the protocol.
        ClientProtocol => "client_protocol",
        /// The Edge's rules refused it.
        Refused => "refused",
        /// An operator has its route in maintenance.
        Maintenance => "maintenance",
        /// No upstream could be connected.
        ConnectFailed => "connect_failed",
        /// The upstream left.
        UpstreamGone => "upstream_gone",
        /// The upstream was too slow.
        UpstreamTimeout => "upstream_timeout",
        /// The upstream broke the protocol.
        UpstreamProtocol => "upstream_protocol",
        /// A peer did not take what was there for it.
        WriteStall => "write_stall",
        /// Nothing moved on it for as long as it may stand still.
        Idle => "idle",
        /// A request waited for a switch longer than it may.
        ParkExpired => "park_expired",
        /// Neither side works: the waiting page.
        NobodyWorks => "nobody_works",
        /// A switch closed it, as a Close frame says.
        Switched => "switched",
        /// A switch cut it.
        Cut => "cut",
        /// The Edge drained.
        Drained => "drained",
        /// The Edge failed.
        Internal => "internal",
    }
}
display_label!(Ended);
