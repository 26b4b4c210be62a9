//! WebSockets (E6): nothing is stranded, nobody is split from himself, and what is open stays open until it must end.

mod crowd;
mod endings;
mod lasting;
mod users;

use failover::Side;

use crate::shared::{Shared, blocking};
use crate::site::Site;

/// What the preset's routes say on a switch.
const REASON: &str = "switched to the other side";
/// The sides' own WebSockets, which no XiVO has.
const LAB: &str = "routes: [ { path: /xuc/lab/ws, service: cc, websocket: true } ]\n";

/// A site with the sides' own WebSockets and a shared SIP proxy.
pub fn site(shared: &Shared, extra: &str) -> Site {
    blocking(|| Site::start_with(&format!("{}{LAB}{extra}", shared.config())))
}

/// Has the operator make `to` live.
#[track_caller]
fn switch(site: &Site, to: Side) {
    blocking(|| {
        site.wait_health(to, "working");
        let (code, text) = site.verb(&["switch", "--to", to.label()]);
        assert_eq!(code, Some(0), "{text}");
        assert_eq!(site.live().0, to.label());
    });
}
