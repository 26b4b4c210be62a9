//! The zone of a request: counted, held until its time, or refused. Shared by requests and upgrades.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::context::{Context, Ending};
use crate::telemetry::metrics::ZoneOutcome;
use crate::traffic::edge::Edge;
use crate::traffic::zones::Verdict;

/// Lets a request of `client` pass its route's zone, now or when its time has come. `gone` ends when the client leaves.
///
/// # Errors
/// How the request ends instead: over the rate, its client left, or the Edge goes away.
pub async fn pass(
    edge: &Edge,
    ctx: &mut Context,
    client: IpAddr,
    gone: impl Future<Output = ()>,
) -> Result<(), Ending> {
    let site = ctx.site.clone();
    let Some(route) = ctx.route_index else { return Ok(()) };
    let Some(verdict) = site.zones.ask(route, client, Instant::now(), edge.live.serving_since()) else { return Ok(()) };
    let counted = site.zones.of_route(route).map(|zone| &site.counted.zones[zone]);
    let count = |outcome| {
        if let Some(zone) = counted {
            zone.of(outcome).inc();
        }
    };
    match verdict {
        Verdict::Exempt => count(ZoneOutcome::Exempt),
        Verdict::Pass => count(ZoneOutcome::Passed),
        Verdict::Refuse(retry_after) => {
            count(ZoneOutcome::Refused);
            return Err(refused(ctx, retry_after));
        }
        Verdict::Delay(time) => {
            let Some(_place) = site.zones.wait(route) else {
                count(ZoneOutcome::Full);
                return Err(refused(ctx, time));
            };
            count(ZoneOutcome::Delayed);
            hold(edge, ctx, time, gone).await?;
        }
    }
    Ok(())
}

/// Waits for the request's time.
async fn hold(edge: &Edge, ctx: &mut Context, time: Duration, gone: impl Future<Output = ()>) -> Result<(), Ending> {
    let began = Instant::now();
    let ended = tokio::select! {
        biased;
        () = edge.drain.over() => Err(Ending::Draining),
        () = gone => Err(if ctx.is_given_up() { Ending::Draining } else { Ending::ClientGone }),
        () = sleep(time) => Ok(()),
    };
    ctx.delayed = began.elapsed();
    ended
}

fn refused(ctx: &mut Context, retry_after: Duration) -> Ending {
    // Rounded up: a client that comes when it was told to is let through.
    ctx.retry_after = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
    Ending::OverRate
}
