//! An answer made once and given many times: status, fields and body, ready to be written.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::StatusCode;
use http::header::{
    CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
    X_CONTENT_TYPE_OPTIONS,
};

use super::language::Language;

/// What the Edge says instead of an upstream. Nothing in it is made per request.
#[derive(Debug, Clone)]
pub struct Answer<'a> {
    /// Status line.
    pub status: StatusCode,
    /// Every field it needs, `Content-Length` among them.
    pub headers: &'a [(HeaderName, HeaderValue)],
    /// An HTML page; to be left out in answer to HEAD.
    pub body: Bytes,
}

/// One answer in each language.
#[derive(Debug, Clone)]
pub(super) struct Bilingual {
    english: Rendered,
    french: Rendered,
}

impl Bilingual {
    pub(super) fn new(render: impl Fn(Language) -> Rendered) -> Self {
        Self { english: render(Language::English), french: render(Language::French) }
    }

    pub(super) fn answer(&self, accept_language: Option<&[u8]>) -> Answer<'_> {
        match Language::preferred(accept_language) {
            Language::English => self.english.answer(),
            Language::French => self.french.answer(),
        }
    }
}

/// An [`Answer`] that owns what it says.
#[derive(Debug, Clone)]
pub(super) struct Rendered {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

impl Rendered {
    pub(super) fn new(status: StatusCode, language: Language, page: &Page<'_>) -> Self {
        let body = Bytes::from(page.html());
        let headers = vec![
            (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
            (CONTENT_LENGTH, HeaderValue::from(body.len())),
            (CONTENT_LANGUAGE, HeaderValue::from_static(language.tag())),
            // A page of ours must not come out of a cache once the site is back.
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            // Taken for nothing but HTML, whatever asked for it.
            (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (CONTENT_SECURITY_POLICY, page.content_security_policy()),
        ];
        Self { status, headers, body }
    }

    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    fn answer(&self) -> Answer<'_> {
        Answer { status: self.status, headers: &self.headers, body: self.body.clone() }
    }
}

/// A page before it is rendered.
pub(super) struct Page<'a> {
    pub(super) template: &'a str,
    pub(super) style: &'a str,
    pub(super) script: Option<&'a str>,
    /// What stands for `{name}` in the template. Our own words: nothing a client sent, so nothing is escaped.
    pub(super) words: &'a [(&'a str, &'a str)],
}

impl Page<'_> {
    fn html(&self) -> String {
        // Words first: style and script have braces of their own.
        let html = self
            .words
            .iter()
            .fold(self.template.to_owned(), |html, (name, word)| html.replace(&format!("{{{name}}}"), word));
        html.replace("{style}", self.style).replace("{script}", self.script.unwrap_or_default())
    }

    /// Allows the page its own style and script, by their hashes, and to ask its own origin; nothing else.
    fn content_security_policy(&self) -> HeaderValue {
        // Hashes, no `unsafe-inline`: what somebody brings into the page from outside does not run.
        let mut policy = format!("default-src 'none'; img-src data:; style-src {}", source_hash(self.style));
        if let Some(script) = self.script {
            policy += &format!("; script-src {}; connect-src 'self'", source_hash(script));
        }
        policy += "; base-uri 'none'; form-action 'none'";
        HeaderValue::try_from(policy).expect("base64 and keywords are visible ASCII")
    }
}

/// A hash source of an inline element (CSP Level 3, section 2.3.1).
fn source_hash(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(digest(&SHA256, text.as_bytes())))
}
