//! Where a request goes now: the live side's backend, or a place to wait. Shared by requests and upgrades.

use std::sync::Arc;

use tokio::time::Instant;

use super::context::{Context, Ending};
use super::park::Released;
use crate::config::Route;
use crate::live::{Mode, View};
use crate::traffic::edge::Edge;
use crate::traffic::upstream::Upstream;

/// Chooses a backend for the next attempt, waiting for a decision where one is due.
///
/// # Errors
/// How the request ends instead: no side works, or it waited as long as it may.
pub async fn next(edge: &Edge, ctx: &mut Context, route: &Route) -> Result<(View, Arc<Upstream>), Ending> {
    let site = ctx.site.clone();
    let shared = site.config.services[route.service.0].is_shared();
    let pool_of = |view: View| site.upstreams.pool(&site.config, route.service, view.side);
    loop {
        // What is begun now would be cut at once.
        if edge.drain.is_over() {
            return Err(Ending::Draining);
        }
        let view = edge.live.view();
        // What failed under another view says nothing of this one: the other side's backends, or the same ones after a
        // decision.
        if ctx.view.is_some_and(|seen| seen != view) {
            ctx.tried.clear();
            ctx.attempts_here = 0;
        }
        let failed_here = ctx.attempts_here > 0;
        ctx.view = Some(view);
        let pool = pool_of(view);
        let untried = pool.untried(&ctx.tried);
        let may_go = match view.mode {
            // A backend that has just failed is not tried again at once: all waiting requests would hammer one that
            // restarts.
            Mode::Serving => !failed_here || untried,
            // At once, not after `park_limit`: no decision is near for which it would wait.
            Mode::Waiting if !shared => return Err(Ending::Waiting),
            // A shared service needs no live side.
            Mode::Deciding | Mode::Waiting => shared && (!failed_here || untried),
        };
        if !may_go {
            let service = &site.config.services[route.service.0];
            // Only required services move the live side.
            if failed_here && !service.required && pool.is_down() {
                // No decision will ever come for it.
                return Err(Ending::Lost);
            }
            // Where a move is near, the live side is not tried again: the decision is what releases the request.
            let retries = view.mode == Mode::Serving || shared;
            wait(edge, ctx, view, retries).await?;
            // The view may be as before: then the same backends are tried once more.
            ctx.tried.clear();
            // Looked at again from the beginning: the pool, too, is another one under another view.
            if edge.live.view() != view || view.mode != Mode::Serving && !shared {
                continue;
            }
        }
        let Some(upstream) = pool_of(view).choose(&ctx.tried) else { return Err(Ending::Internal) };
        ctx.pooled = false;
        ctx.answered_after = None;
        ctx.attempts_here += 1;
        ctx.attempt_began = Instant::now();
        return Ok((view, upstream.clone()));
    }
}

async fn wait(edge: &Edge, ctx: &mut Context, view: View, retries: bool) -> Result<(), Ending> {
    let switching = &ctx.site.config.switch;
    let began = Instant::now();
    // Set by the first wait and kept: a request that is released and parked again has one limit for all of it.
    let deadline = *ctx.park_until.get_or_insert(began + switching.park_limit);
    ctx.parked_since = Some(began);
    let attempt = retries.then(|| ctx.attempts_here.saturating_sub(1));
    let released = tokio::select! {
        biased;
        released = edge.parking.wait(&edge.live, view, attempt, deadline, switching.park_requests.get()) => released,
        () = edge.drain.over() => return Err(Ending::Draining),
    };
    ctx.unpark();
    match released {
        Released::Again => Ok(()),
        Released::TimedOut => Err(Ending::ParkedTooLong),
        Released::Full => Err(Ending::ParkingFull),
    }
}
