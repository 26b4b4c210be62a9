//! A real phone, as XiVO's documentation has it: Main is its registrar, Standby the one for when Main is silent.

use std::time::{Duration, Instant};

use super::Stage;
use crate::net::Host;
use crate::outcome::{Outcome, ensure, wait_for};
use crate::phone::Baresip;
use crate::site::Telephony;

const SOON: Duration = Duration::from_secs(10);
/// It registers every 10 s and gives up on a silent registrar after 32 s: the phone's own limits.
const PHONE: Duration = Duration::from_secs(50);

pub(super) fn follows(stage: &mut Stage) -> Outcome {
    let site = Telephony::up(&stage.place("phone")?)?;
    site.main.start()?;
    let debian = stage.place.cache.join("phone");
    let mut phone = Baresip::start(&site.net, site.machine(Host::Phone)?, &debian)?;
    registered(&site, Host::MainXivo)?;
    call(&mut phone, Host::MainXivo)?;
    let since = Instant::now();
    site.main.kill()?;
    site.standby.start()?;
    registered(&site, Host::StandbyXivo)?;
    println!("  the phone is registered on Standby {:.1} s after Main was killed", since.elapsed().as_secs_f64());
    call(&mut phone, Host::StandbyXivo)?;
    let since = Instant::now();
    site.standby.stop()?;
    site.main.start()?;
    registered(&site, Host::MainXivo)?;
    println!("  and on Main again {:.1} s after Standby was stopped", since.elapsed().as_secs_f64());
    call(&mut phone, Host::MainXivo)
}

fn registered(site: &Telephony, node: Host) -> Outcome {
    let asterisk = if node == Host::MainXivo { &site.main } else { &site.standby };
    wait_for(&format!("the phone registers on {}", node.name()), PHONE, || {
        let contacts = asterisk.says("pjsip show contacts")?;
        ensure(contacts.contains("1001/sip:1001"), || contacts.trim().to_owned())
    })
}

fn call(phone: &mut Baresip, node: Host) -> Outcome {
    phone.dial("600", node)?;
    phone.event("CALL_ESTABLISHED", "", SOON)?;
    phone.hang_up()?;
    phone.event("CALL_CLOSED", "", SOON).map(drop)
}
