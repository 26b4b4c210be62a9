//! The Edge's own refusals and failures, as small pages.

use http::StatusCode;

use super::answer::{Answer, Bilingual, Page, Rendered};
use super::language::Language;

/// Why a request is answered by the Edge itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorPage {
    /// 400: not a well-formed request, or a token that is not one.
    BadRequest,
    /// 403: an upgrade or a method the route does not carry.
    Forbidden,
    /// 404: not a listed route.
    NotFound,
    /// 405: the route carries other methods. Whoever sends it says which.
    MethodNotAllowed,
    /// 408: the request did not arrive in time.
    RequestTimeout,
    /// 413: the body is larger than the route allows.
    ContentTooLarge,
    /// 421: another name than the site's.
    Misdirected,
    /// 429: the client's zone is used up. Whoever sends it says when to come back.
    TooManyRequests,
    /// 431: the head is too large.
    HeadTooLarge,
    /// 500: a fault of the Edge.
    Internal,
    /// 502: the upstream's answer was lost, and the request must not be sent twice.
    BadGateway,
    /// 503: an operator has the route in maintenance. Whoever sends it says when to come back.
    Maintenance,
    /// 504: the upstream did not answer in time.
    GatewayTimeout,
}

impl ErrorPage {
    /// Every page, in the order of the statuses.
    pub const ALL: [Self; 13] = [
        Self::BadRequest,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::ContentTooLarge,
        Self::Misdirected,
        Self::TooManyRequests,
        Self::HeadTooLarge,
        Self::Internal,
        Self::BadGateway,
        Self::Maintenance,
        Self::GatewayTimeout,
    ];

    /// The status it is sent with.
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::ContentTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::BadGateway => StatusCode::BAD_GATEWAY,
            Self::Maintenance => StatusCode::SERVICE_UNAVAILABLE,
            Self::GatewayTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Title and one sentence.
    fn words(self, language: Language) -> (&'static str, &'static str) {
        match language {
            Language::English => self.english(),
            Language::French => self.french(),
        }
    }

    fn english(self) -> (&'static str, &'static str) {
        match self {
            Self::BadRequest => ("Request not understood", "Something in this request is not as it should be."),
            Self::Forbidden => ("Not possible here", "This address does not accept such a request."),
            Self::NotFound => ("Page not found", "There is nothing at this address. Please check it."),
            Self::MethodNotAllowed => ("Not possible here", "This address does not accept such a request."),
            Self::RequestTimeout => ("Request too slow", "The request did not arrive in time. Please try again."),
            Self::ContentTooLarge => ("Too much data", "What was sent is larger than this address accepts."),
            Self::Misdirected => ("Wrong address", "This site does not answer to that name."),
            Self::TooManyRequests => ("Too many requests", "Please wait a moment, then try again."),
            Self::HeadTooLarge => ("Request too large", "Please clear this site’s cookies, then try again."),
            Self::Internal => ("Something went wrong", "The fault is ours. Please try again in a moment."),
            // What the user does about it: whether it was done is not known here, and to try again might do it twice
            // (E5).
            Self::BadGateway => {
                ("Answer lost", "The service stopped while it answered. Please check whether it did what you asked.")
            }
            Self::Maintenance => {
                ("Under maintenance", "This service is being worked on. Please come back a little later.")
            }
            Self::GatewayTimeout => {
                ("No answer in time", "The service takes too long. Please check whether it did what you asked.")
            }
        }
    }

    fn french(self) -> (&'static str, &'static str) {
        match self {
            Self::BadRequest => ("Demande incomprise", "Quelque chose dans cette demande n’est pas correct."),
            Self::Forbidden => ("Impossible ici", "Cette adresse n’accepte pas une telle demande."),
            Self::NotFound => ("Page introuvable", "Il n’y a rien à cette adresse. Veuillez la vérifier."),
            Self::MethodNotAllowed => ("Impossible ici", "Cette adresse n’accepte pas une telle demande."),
            Self::RequestTimeout => ("Demande trop lente", "La demande n’est pas arrivée à temps. Veuillez réessayer."),
            Self::ContentTooLarge => ("Trop de données", "L’envoi dépasse ce que cette adresse accepte."),
            Self::Misdirected => ("Mauvaise adresse", "Ce site ne répond pas à ce nom."),
            Self::TooManyRequests => ("Trop de demandes", "Veuillez patienter un instant, puis réessayer."),
            Self::HeadTooLarge => {
                ("Demande trop volumineuse", "Veuillez effacer les cookies de ce site, puis réessayer.")
            }
            Self::Internal => {
                ("Une erreur est survenue", "L’erreur vient de nous. Veuillez réessayer dans un instant.")
            }
            Self::BadGateway => (
                "Réponse perdue",
                "Le service s’est arrêté pendant sa réponse. Veuillez vérifier si votre demande a abouti.",
            ),
            Self::Maintenance => {
                ("En maintenance", "Ce service est en cours de maintenance. Veuillez revenir un peu plus tard.")
            }
            Self::GatewayTimeout => (
                "Pas de réponse à temps",
                "Le service met trop de temps à répondre. Veuillez vérifier si votre demande a abouti.",
            ),
        }
    }
}

/// All pages, rendered once.
#[derive(Debug, Clone)]
pub struct ErrorPages {
    pages: [Bilingual; ErrorPage::ALL.len()],
}

impl ErrorPages {
    /// Renders every page.
    pub fn new() -> Self {
        Self { pages: ErrorPage::ALL.map(|page| Bilingual::new(|language| render(page, language))) }
    }

    /// One page, in the language the client prefers.
    pub fn answer(&self, page: ErrorPage, accept_language: Option<&[u8]>) -> Answer<'_> {
        // `ALL` is in the order of the variants: a test compares them.
        self.pages[page as usize].answer(accept_language)
    }
}

impl Default for ErrorPages {
    fn default() -> Self {
        Self::new()
    }
}

fn render(page: ErrorPage, language: Language) -> Rendered {
    plain(page.status(), language, page.words(language))
}

/// Renders a page without a script.
pub(super) fn plain(status: StatusCode, language: Language, (title, what): (&str, &str)) -> Rendered {
    let words = [("lang", language.tag()), ("title", title), ("what", what), ("code", status.as_str())];
    let style = include_str!("plain.css").trim_end();
    let page = Page { template: include_str!("plain.html"), style, script: None, words: &words };
    Rendered::new(status, language, &page)
}
