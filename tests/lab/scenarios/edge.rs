//! An Edge alone: somebody switches by hand, no watchdog anywhere.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Stage;
use super::session::Session;
use crate::net::Host;
use crate::outcome::{Outcome, ensure, wait_for};
use crate::site::Site;
use crate::web;

const SOON: Duration = Duration::from_secs(10);
/// A request is on its way to a side after so long.
const SENT: Duration = Duration::from_millis(300);
/// What a planned switch leaves under way is cut after so long.
const DRAIN: Duration = Duration::from_secs(2);

pub(super) fn alone(stage: &mut Stage) -> Outcome {
    let place = stage.place("edge-alone")?;
    let mut site = Site::lay_out(&place, stage.binaries()?, false)?;
    site.telephony.main.start()?;
    site.contact_centre(Host::MainCc, "start")?;
    let drain = format!("switches_per_hour: 1000, drain_limit: {}s", DRAIN.as_secs());
    site.edge.reconfigure(|text| text.replace("switches_per_hour: 1000", &drain))?;
    site.serves(Host::MainXivo, SOON)?;
    let softphone = Session::softphone(&site)?;
    let (node, _) = softphone.next("on", SOON)?;
    ensure(node == "main", || format!("the softphone is registered on {node}"))?;

    let since = Instant::now();
    site.stand_in_by_hand(SOON)?;
    let moved = site.user.first_answer("standby", since).map_or(0.0, |at| at.duration_since(since).as_secs_f64());
    println!("  the user is on Standby after {moved:.2} s: {}", site.user.story(since));
    softphone.moves("standby", since, SOON)?;
    softphone.end()?;
    there_and_back(&mut site)
}

/// Both sides work. Traffic is switched to Main and back within `drain_limit`, while requests are under way on Standby that
/// outlast the limit: the cut that the first switch was to make then would hit the side that is live again, and cuts nothing.
fn there_and_back(site: &mut Site) -> Outcome {
    site.telephony.main.start()?;
    site.contact_centre(Host::MainCc, "start")?;
    wait_for("Main works, too", SOON, || {
        let status = site.edge.status()?;
        ensure(status.pointer("/sides/main/health") == Some(&"working".into()), || status.to_string())
    })?;
    let begin = Instant::now();
    let mut posts = Posts::default();
    posts.send(site, 6, DRAIN + Duration::from_secs(2))?;
    std::thread::sleep(SENT);
    site.edge.verb(&["switch", "--to", "main", "--reason", "lab"])?;
    wait_for("users are on Main", SOON, || {
        ensure(site.user.first_answer("main", begin).is_some(), || site.user.story(begin))
    })?;
    posts.send(site, 6, Duration::from_millis(500))?;
    std::thread::sleep(SENT);
    site.edge.verb(&["switch", "--to", "standby", "--reason", "lab"])?;
    ensure(begin.elapsed() < DRAIN, || "this machine is too slow to switch twice within the limit".to_owned())?;
    posts.send(site, 6, DRAIN)?;
    let answers = posts.answers()?;
    println!("  there and back in {:.2} s: {answers:?}", begin.elapsed().as_secs_f64());
    let expected = [("standby", 6), ("main", 6), ("standby", 6)];
    let expected = expected.map(|(side, count)| vec![Ok(side.to_owned()); count]).concat();
    ensure(answers == expected, || format!("requests were cut: {answers:?}"))?;
    let lost = site.user.requests(begin).into_iter().find(|request| request.answer.is_err());
    ensure(lost.is_none(), || format!("users lose requests: {}", site.user.story(begin)))
}

/// Requests that must not be sent twice, each on a connection of its own.
#[derive(Default)]
struct Posts(Vec<JoinHandle<Outcome<String>>>);

impl Posts {
    /// Sends so many, which are answered after so long.
    fn send(&mut self, site: &Site, count: usize, after: Duration) -> Outcome {
        for _ in 0..count {
            let (tls, path) = (site.web.client()?, format!("/xuc/lab/count?ms={}", after.as_millis()));
            self.0.push(site.net().inside(Host::User, move || web::post(&tls, &path, "1"))?);
        }
        Ok(())
    }

    /// The sides that answered, or what came instead, in the order in which they were asked.
    fn answers(self) -> Outcome<Vec<Outcome<String>>> {
        self.0.into_iter().map(|post| post.join().map_err(|_| "a user panicked".to_owned())).collect()
    }
}
