//! Carries out what operators order of maintenance: remember, tell the router, say so. What ends when is the pure part's
//! (`site::maintenance`).

use super::Engine;
use super::act::Asker;
use crate::admin::EngineError;
use crate::admin::api::{Done, Event, MaintenanceRequest, Time};
use crate::site::maintenance::{Maintenance, name_of};

impl Engine {
    /// Puts the site or a route into maintenance, or takes it out.
    pub(super) async fn order_maintenance(&mut self, request: MaintenanceRequest) -> Result<Done, EngineError> {
        let MaintenanceRequest { on, route, until, reason, by } = request;
        let asker = Asker { by, why: reason };
        let now = Time::now();
        let routes = self.plan.site.config.routes.iter();
        let route = route.map(|meant| match name_of(routes, &meant) {
            // Of a route that a reload took away an entry may stand, and must be possible to end.
            Err(_) if !on && self.is_in_maintenance(&meant) => Ok(meant),
            known => known,
        });
        let route = route.transpose().map_err(EngineError::NotFound)?;
        let sentence = if on {
            let one = Maintenance { route, until, by: asker.by.clone(), why: asker.why.clone(), since: now };
            let end = until.map_or_else(|| "bascule maintenance off".to_owned(), |until| until.to_string());
            let sentence = format!("{} is in maintenance until: {end}", one.subject());
            self.switcher.maintenance.begin(one, now).map_err(EngineError::Refused)?;
            sentence
        } else {
            let ended = self.switcher.maintenance.end(route.as_deref()).map_err(EngineError::Refused)?;
            if ended.is_empty() {
                return Ok(Done { sentence: "Nothing was in maintenance.".to_owned() });
            }
            let ended: Vec<_> = ended.iter().map(Maintenance::subject).collect();
            format!("in service again: {}", ended.join(", "))
        };
        // The disk first, as with every act: an answer that says "done" must hold over a restart.
        self.remember_maintenance().await;
        tracing::warn!("{sentence}");
        self.journal_of(Event::Maintenance, sentence.clone(), Some(&asker));
        Ok(Done { sentence: capitalised(&sentence) })
    }

    fn is_in_maintenance(&self, route: &str) -> bool {
        self.switcher.maintenance.all().iter().any(|one| one.route.as_deref() == Some(route))
    }

    /// Ends what is over by now.
    pub(super) async fn end_maintenance(&mut self) {
        let over = self.switcher.maintenance.take_over(Time::now());
        if over.is_empty() {
            return;
        }
        self.remember_maintenance().await;
        for one in over {
            let sentence = format!("{} is in service again: its maintenance was until now", one.subject());
            tracing::info!("{sentence}");
            self.journal(Event::Maintenance, sentence);
        }
    }

    async fn remember_maintenance(&mut self) {
        let memory = self.switcher.switch.memory(self.clock.now());
        self.switcher.persist(memory).await;
        self.show_maintenance();
    }

    /// Tells the router of the site in force, also of one that is about to be: no request shall slip through a reload.
    pub(super) fn show_maintenance(&self) {
        let all = &self.switcher.maintenance;
        self.plan.site.router.stand(|route| all.of(route));
        self.means.metrics.maintenance.set(i64::try_from(all.all().len()).unwrap_or(i64::MAX));
    }
}

fn capitalised(sentence: &str) -> String {
    let mut letters = sentence.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters).chain(['.']).collect()
}
