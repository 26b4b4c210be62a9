//! What users see while no side works: a page that returns by itself to where they were. Who is shown it, and when, is
//! left to the proxy; the other pages of our own are in [`ErrorPages`].
//!
//! Everything here is HTML, for programs too: a web application that gets JSON instead of its `auth/check` erases the
//! user's stored credentials.

mod answer;
mod errors;
mod language;
#[cfg(test)]
mod tests;

use std::time::Duration;

use http::header::{ACCEPT, ACCEPT_LANGUAGE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Method, StatusCode};

pub use self::answer::Answer;
use self::answer::{Bilingual, Page, Rendered};
pub use self::errors::{ErrorPage, ErrorPages};
use self::language::Language;

/// Marks a 503 as ours: the page looks for it to know whether it still has to wait.
pub const MARKER: HeaderName = HeaderName::from_static("bascule-waiting");

/// The page, and its short form for whatever is not a person looking at a browser.
#[derive(Debug, Clone)]
pub struct WaitingPage {
    page: Bilingual,
    short: Bilingual,
}

impl WaitingPage {
    /// Renders the page. `retry_after` (rounded up to a second, at least one) is what clients without our script are
    /// told to wait.
    pub fn new(retry_after: Duration) -> Self {
        let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
        // `Retry-After: 0` would have programs come back in a loop.
        let seconds = seconds.max(1);
        Self {
            page: Bilingual::new(|language| waiting(language, seconds)),
            short: Bilingual::new(|language| short(language, seconds)),
        }
    }

    /// The whole page, in the language the client prefers.
    pub fn answer(&self, accept_language: Option<&[u8]>) -> Answer<'_> {
        self.page.answer(accept_language)
    }

    /// The short form: same status and fields, no script.
    pub fn short(&self, accept_language: Option<&[u8]>) -> Answer<'_> {
        self.short.answer(accept_language)
    }

    /// The form that suits a request: the whole page for a navigation, the short form for everything else.
    pub fn for_request(&self, method: &Method, headers: &HeaderMap) -> Answer<'_> {
        let accept_language = headers.get(ACCEPT_LANGUAGE).map(HeaderValue::as_bytes);
        if is_navigation(method, headers) { self.answer(accept_language) } else { self.short(accept_language) }
    }
}

/// Whether a browser is about to show the answer as a page. `Sec-Fetch-Mode` (W3C Fetch Metadata) says so; browsers
/// that do not send it ask for `text/html` by name when they navigate.
fn is_navigation(method: &Method, headers: &HeaderMap) -> bool {
    // A page that returns by itself would load the address with GET: a form that was sent would be lost without a word.
    if method != Method::GET && method != Method::HEAD {
        return false;
    }
    match headers.get("sec-fetch-mode") {
        Some(mode) => mode == "navigate",
        None => headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|accept| accept.to_str().ok())
            // By name: `*/*` is what scripts and images ask for, too.
            .any(|accept| accept.to_ascii_lowercase().contains("text/html")),
    }
}

fn waiting(language: Language, seconds: u64) -> Rendered {
    let (title, what) = announcement(language);
    let [calm, since, still, back] = match language {
        Language::English => [
            "Nothing to do: this page returns by itself to where you were, as soon as the service is back.",
            "Waiting since {time}. You can leave this page open.",
            "You can leave this page open.",
            "The service is back. Returning…",
        ],
        Language::French => [
            "Rien à faire\u{a0}: vous retrouverez votre page automatiquement, dès que le service sera rétabli.",
            "En attente depuis {time}. Vous pouvez laisser cette page ouverte.",
            "Vous pouvez laisser cette page ouverte.",
            "Le service est rétabli. Retour à votre page…",
        ],
    };
    let page = Page {
        template: include_str!("pages/waiting.html"),
        style: include_str!("pages/waiting.css").trim_end(),
        script: Some(include_str!("pages/waiting.js").trim_end()),
        words: &[
            ("lang", language.tag()),
            ("seconds", &seconds.to_string()),
            ("title", title),
            ("what", what),
            ("calm", calm),
            ("since", since),
            ("still", still),
            ("back", back),
        ],
    };
    marked(Rendered::new(StatusCode::SERVICE_UNAVAILABLE, language, &page), seconds)
}

fn short(language: Language, seconds: u64) -> Rendered {
    marked(errors::plain(StatusCode::SERVICE_UNAVAILABLE, language, announcement(language)), seconds)
}

/// Title and first sentence.
fn announcement(language: Language) -> (&'static str, &'static str) {
    match language {
        Language::English => ("One moment, please", "The service is briefly unavailable. It is being restored."),
        Language::French => (
            "Un instant, s’il vous plaît",
            "Le service est momentanément indisponible. Il est en cours de rétablissement.",
        ),
    }
}

fn marked(rendered: Rendered, seconds: u64) -> Rendered {
    rendered.with(RETRY_AFTER, HeaderValue::from(seconds)).with(MARKER, HeaderValue::from_static("1"))
}
