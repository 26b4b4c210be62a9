//! The live side over HTTP, for helpers on other machines: a Kamailio that stands elsewhere cannot read the live file. The
//! same word, told to named networks and to nobody else; what a helper makes of it is left to the helper.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use daemon::{Accept, Answer, Handler, ServerLimits, json, not_allowed, not_found, refuse, serve, whole};
use http::header::{ACCEPT, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode};
use prometheus::IntCounter;
use serde::Serialize;
use settings::Span;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{Live, Mode, View};
use crate::config::{self, Network};

/// The epoch beside a plain answer: a shell finds it there without reading JSON.
const EPOCH: HeaderName = HeaderName::from_static("bascule-epoch");
/// The longest `wait`: a helper that asks again once a minute notices within that time that its connection is dead.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Questions that wait at once. Fewer than there are connections, so that a plain question is answered meanwhile.
const WAITING: usize = 48;
/// Helpers are a handful; each asks once, or waits up to `LONGEST_WAIT`.
const LIMITS: ServerLimits = ServerLimits {
    connections: 64,
    head: Duration::from_secs(5),
    answer: Duration::from_secs(65),
    whole: Duration::from_secs(70),
    body: 0,
};

/// The endpoint, open but not served yet.
#[derive(Debug)]
pub struct LiveEndpoint {
    listener: NamedListener,
}

impl LiveEndpoint {
    /// Binds the address. Whoever comes from elsewhere than the named networks is added to `strangers`.
    ///
    /// # Errors
    /// The address cannot be had: somebody listens there, or it is none of this machine.
    pub async fn open(endpoint: &config::LiveListen, strangers: IntCounter) -> io::Result<Self> {
        let tcp = TcpListener::bind(endpoint.listen).await?;
        Ok(Self { listener: NamedListener { tcp, from: endpoint.from.clone(), strangers } })
    }

    /// Serves until the future is dropped.
    pub async fn serve(self, live: Arc<Live>) {
        let handler = Arc::new(RequestHandler { live, waiting: Semaphore::new(WAITING) });
        serve("live", &self.listener, handler, LIMITS).await;
    }
}

/// Lets in whoever comes from the named networks.
#[derive(Debug)]
struct NamedListener {
    tcp: TcpListener,
    from: Vec<Network>,
    strangers: IntCounter,
}

impl Accept for NamedListener {
    type Stream = TcpStream;
    type Peer = SocketAddr;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            let (stream, peer) = self.tcp.accept().await?;
            if self.from.iter().any(|network| network.contains(peer.ip())) {
                return Ok((stream, peer));
            }
            // Without an answer, and before a place is used up: strangers who dawdle would keep the helpers out.
            self.strangers.inc();
            tracing::debug!(%peer, "not one of live.from: closed");
        }
    }
}

/// The live side as JSON.
#[derive(Debug, Serialize)]
struct Told {
    live: failover::Side,
    epoch: u64,
    /// Whether the side works: false in an outage, in which traffic stays where it is.
    serving: bool,
}

struct RequestHandler {
    live: Arc<Live>,
    waiting: Semaphore,
}

impl Handler<SocketAddr> for RequestHandler {
    async fn answer(&self, request: Request<Bytes>, _: SocketAddr) -> Answer {
        let as_json = match request.uri().path() {
            "/live" => wants_json(&request),
            "/live.json" => true,
            path => return not_found(path),
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return not_allowed(request.method(), "GET");
        }
        match Question::read(request.uri().query().unwrap_or_default()) {
            Ok(question) => answer(self.seen(question).await, as_json),
            Err(sentence) => refuse(StatusCode::BAD_REQUEST, "query", sentence),
        }
    }
}

impl RequestHandler {
    /// Looks, at once or when there is news.
    async fn seen(&self, question: Question) -> View {
        let Question { after, wait } = question;
        // Any other epoch is news, not only a later one: an Edge that lost its disk begins again.
        let is_news = |view: &View| view.mode != Mode::Deciding && after != Some(view.epoch);
        let news = async {
            let mut view = self.live.view();
            while !is_news(&view) {
                view = self.live.changed_from(view).await;
            }
            view
        };
        if wait.is_zero() {
            return self.live.view();
        }
        // One too many is answered at once with the present word, which is true as well.
        let Ok(_place) = self.waiting.try_acquire() else { return self.live.view() };
        timeout(wait, news).await.unwrap_or_else(|_| self.live.view())
    }
}

fn answer(view: View, as_json: bool) -> Answer {
    let View { side, mode, epoch } = view;
    if mode == Mode::Deciding {
        // Nobody is believed yet, the remembered side neither: a helper that was told it could undo what another Edge said.
        let sentence = "No side has been judged yet: go on with the last word.".to_owned();
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "deciding", sentence);
    }
    let mut answer = if as_json {
        json(StatusCode::OK, &Told { live: side, epoch, serving: mode == Mode::Serving })
    } else {
        whole(StatusCode::OK, "text/plain; charset=utf-8", format!("{side}\n").into_bytes())
    };
    answer.headers_mut().insert(EPOCH, HeaderValue::from(epoch));
    answer
}

fn wants_json(request: &Request<Bytes>) -> bool {
    let kinds = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut kinds = kinds.flat_map(|list| list.split(',')).filter_map(|kind| kind.split(';').next());
    kinds.any(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// What is asked: `after=EPOCH&wait=30s`, both optional.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Question {
    /// The epoch that the helper knows.
    after: Option<u64>,
    /// How long an answer may wait for another one.
    wait: Duration,
}

impl Question {
    fn read(query: &str) -> Result<Self, String> {
        let mut question = Self { after: None, wait: Duration::ZERO };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match key {
                "after" => {
                    let epoch =
                        value.parse().map_err(|_| "`after` is no epoch: write the number of the last answer.")?;
                    question.after = Some(epoch);
                }
                "wait" => {
                    let wait = Span::parse(value).filter(|Span(wait)| *wait <= LONGEST_WAIT);
                    let Some(Span(wait)) = wait else {
                        let most = Span(LONGEST_WAIT);
                        return Err(format!("`wait` is no time up to {most}: write one such as 30s."));
                    };
                    question.wait = wait;
                }
                _ => return Err("There are `after` and `wait`, as in /live?after=7&wait=30s.".to_owned()),
            }
        }
        Ok(question)
    }
}

#[cfg(test)]
mod tests {
    use failover::Side;
    use http_body_util::BodyExt;

    use super::*;

    fn view(side: Side, mode: Mode, epoch: u64) -> View {
        View { side, mode, epoch }
    }

    fn handler(view: View) -> Arc<RequestHandler> {
        Arc::new(RequestHandler { live: Arc::new(Live::new(view)), waiting: Semaphore::new(WAITING) })
    }

    async fn ask(
        handler: &RequestHandler,
        method: Method,
        target: &str,
        accept: &str,
    ) -> (u16, Option<String>, String) {
        let request = Request::builder().method(method).uri(target).header(ACCEPT, accept).body(Bytes::new()).unwrap();
        let answer = handler.answer(request, "127.0.0.1:9".parse().unwrap()).await;
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let epoch = answer.headers().get(EPOCH).map(|epoch| epoch.to_str().unwrap().to_owned());
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, epoch, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn get(handler: &RequestHandler, target: &str) -> (u16, Option<String>, String) {
        ask(handler, Method::GET, target, "*/*").await
    }

    #[tokio::test]
    async fn the_answer_is_the_word_of_the_file_or_json_with_the_epoch() {
        let handler = handler(view(Side::Standby, Mode::Waiting, 7));
        let seven = || Some("7".to_owned());
        assert_eq!(get(&handler, "/live").await, (200, seven(), "standby\n".to_owned()));
        let json = (200, seven(), r#"{"live":"standby","epoch":7,"serving":false}"#.to_owned());
        let asked = ask(&handler, Method::GET, "/live", "text/html, Application/JSON;q=0.9").await;
        assert_eq!((asked.0, asked.1, asked.2.trim_end()), (json.0, json.1, json.2.as_str()));
        assert_eq!(get(&handler, "/live.json").await.2.trim_end(), json.2);
        assert_eq!(ask(&handler, Method::POST, "/live", "*/*").await.0, 405);
        assert_eq!(get(&handler, "/metrics").await.0, 404);
    }

    #[tokio::test]
    async fn an_edge_that_has_not_judged_names_no_side() {
        let handler = handler(view(Side::Main, Mode::Deciding, 3));
        let (status, epoch, body) = get(&handler, "/live").await;
        assert_eq!((status, epoch), (503, None));
        assert!(body.contains("last word") && !body.contains("main"), "{body}");
    }

    #[tokio::test]
    async fn a_question_that_cannot_be_read_is_refused_with_what_to_write() {
        let handler = handler(view(Side::Main, Mode::Serving, 1));
        for query in [
            "after=x",
            "after=",
            "after=-1",
            "wait=61s",
            "wait=30",
            "wait=5m",
            "wait=",
            "wait=99999999999999999999",
            "x=1",
            "after",
        ] {
            let (status, _, body) = get(&handler, &format!("/live?{query}")).await;
            assert!(status == 400 && body.contains("sentence"), "{query}: {body}");
        }
        assert_eq!(
            Question::read("wait=30s&after=4").unwrap(),
            Question { after: Some(4), wait: Duration::from_secs(30) }
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_helper_that_waits_is_told_of_a_switch_at_once_and_of_none_in_time() {
        let handler = handler(view(Side::Main, Mode::Serving, 1));
        let began = tokio::time::Instant::now();
        // Known already: waits as long as was asked.
        assert_eq!(get(&handler, "/live?after=1&wait=30s").await.2, "main\n");
        assert_eq!(began.elapsed().as_secs(), 30);
        // Not known: at once.
        assert_eq!(get(&handler, "/live?after=9&wait=30s").await.2, "main\n");
        assert_eq!(began.elapsed().as_secs(), 30);
        let waiting = tokio::spawn({
            let handler = handler.clone();
            async move { get(&handler, "/live?after=1&wait=30s").await }
        });
        tokio::time::sleep(Duration::from_secs(3)).await;
        // An outage is no news: the side stays.
        handler.live.publish(view(Side::Main, Mode::Waiting, 1));
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(!waiting.is_finished());
        handler.live.publish(view(Side::Standby, Mode::Serving, 2));
        assert_eq!(waiting.await.unwrap(), (200, Some("2".to_owned()), "standby\n".to_owned()));
        assert_eq!(began.elapsed().as_secs(), 36);
    }

    #[tokio::test(start_paused = true)]
    async fn one_waiter_too_many_is_answered_at_once() {
        let handler = handler(view(Side::Main, Mode::Serving, 1));
        let all: Vec<_> = (0..WAITING)
            .map(|_| {
                let handler = handler.clone();
                tokio::spawn(async move { get(&handler, "/live?after=1&wait=60s").await })
            })
            .collect();
        let began = tokio::time::Instant::now();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(get(&handler, "/live?after=1&wait=60s").await.2, "main\n");
        assert_eq!(began.elapsed().as_secs(), 1);
        for one in all {
            assert_eq!(one.await.unwrap().0, 200);
        }
    }

    #[tokio::test]
    async fn a_stranger_gets_no_answer_and_is_counted() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let strangers = IntCounter::new("strangers", "A test.").unwrap();
        for (from, answered) in [("127.0.0.0/8", true), ("10.0.0.0/8", false)] {
            let from = vec![Network::parse(from).unwrap()];
            let listen = config::LiveListen { listen: "127.0.0.1:0".parse().unwrap(), from };
            let endpoint = LiveEndpoint::open(&listen, strangers.clone()).await.unwrap();
            let address = endpoint.listener.tcp.local_addr().unwrap();
            let serving = tokio::spawn(endpoint.serve(Arc::new(Live::new(view(Side::Main, Mode::Serving, 1)))));
            let mut stream = TcpStream::connect(address).await.unwrap();
            // The Edge may have closed it already.
            let _ = stream.write_all(b"GET /live HTTP/1.1\r\nHost: e\r\n\r\n").await;
            let mut said = Vec::new();
            let _ = stream.read_to_end(&mut said).await;
            assert_eq!(String::from_utf8_lossy(&said).ends_with("main\n"), answered);
            assert_eq!(said.is_empty(), !answered);
            serving.abort();
        }
        assert_eq!(strangers.get(), 1);
    }
}
