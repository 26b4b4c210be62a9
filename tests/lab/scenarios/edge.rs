//! An Edge alone: somebody switches by hand, no watchdog anywhere.

use std::time::{Duration, Instant};

use super::Stage;
use super::session::Session;
use crate::net::Host;
use crate::outcome::{Outcome, ensure};
use crate::site::Site;

const SOON: Duration = Duration::from_secs(10);

pub(super) fn alone(stage: &mut Stage) -> Outcome {
    let place = stage.place("edge-alone")?;
    let mut site = Site::lay_out(&place, stage.binaries()?, false)?;
    site.telephony.main.start()?;
    site.contact_centre(Host::MainCc, "start")?;
    site.edge.start()?;
    site.serves(Host::MainXivo, SOON)?;
    let softphone = Session::softphone(&site)?;
    let (node, _) = softphone.next("on", SOON)?;
    ensure(node == "main", || format!("the softphone is registered on {node}"))?;

    let since = Instant::now();
    site.telephony.main.kill()?;
    site.contact_centre(Host::MainCc, "stop")?;
    site.telephony.standby.start()?;
    site.contact_centre(Host::StandbyCc, "start")?;
    site.serves(Host::StandbyXivo, SOON)?;
    let moved = site.user.first_answer("standby", since).map_or(0.0, |at| at.duration_since(since).as_secs_f64());
    println!("  the user is on Standby after {moved:.2} s: {}", site.user.story(since));
    softphone.moves("standby", since, SOON)?;
    softphone.end()
}
