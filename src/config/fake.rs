//! A route as tests of other parts need one: everything at its plainest.

use std::time::Duration;

use super::{Close, Follow, Matching, Replay, Route, ServiceIndex, Token, WebSocket};

pub(crate) fn route(path: &str, matching: Matching) -> Route {
    Route {
        name: path.into(),
        path: path.into(),
        matching,
        service: ServiceIndex(0),
        zone: None,
        websocket: WebSocket::No,
        token: Token::None,
        replay: Replay::Idempotent,
        close: Close { code: 1012, reason: String::new() },
        follow: Follow::Live,
        response_limit: Duration::from_secs(60),
        body_limit: 1 << 20,
        methods: Vec::new(),
        headers: Vec::new(),
    }
}
