//! What the Edge itself adds to a request before it is sent: every step of the decision, and all of it.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use bascule::config::HostHeader;
use bascule::telemetry::logging::{RequestId, SafePath};
use bascule::traffic::downstream::head::{self, HeadLimits};
use bascule::traffic::http::forward::{self, ForwardedHeaders};
use bascule::traffic::route::path::normalise;
use bascule::traffic::route::{Asked, Router};
use bytes::BytesMut;
use criterion::{Criterion, criterion_group, criterion_main};
use failover::Side;
use futures_util::FutureExt;
use pingora::http::RequestHeader;
use tokio::time::Instant;

use site::{FQDN, Site};

#[path = "site/site.rs"]
mod site;

const PAGE: Asked<'_> = Asked { method: "GET", host: Some(FQDN), path: "/ccagent", query: None, upgrade: None };
const API: Asked<'_> = Asked {
    method: "GET",
    host: Some(FQDN),
    path: "/xuc/api/2.0/history/customer",
    query: Some("size=20"),
    upgrade: None,
};
const SOCKET: Asked<'_> = Asked {
    method: "GET",
    host: Some(FQDN),
    path: "/xuc/api/2.0/cti",
    query: Some(concat!("token=eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJsb2dpbiI6ImFsaWNlIiwiZXhwIjoxNzAw", ".c2ln")),
    upgrade: Some(None),
};
const NOWHERE: Asked<'_> = Asked { method: "GET", host: Some(FQDN), path: "/wp-login.php", query: None, upgrade: None };

/// A request as a browser words it.
const HEAD: &[u8] = b"GET /xuc/api/2.0/history/customer?size=20 HTTP/1.1\r\n\
    Host: edge.example.org\r\n\
    Connection: keep-alive\r\n\
    sec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\"\r\n\
    sec-ch-ua-mobile: ?0\r\n\
    sec-ch-ua-platform: \"Linux\"\r\n\
    Authorization: Bearer eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJsb2dpbiI6ImFsaWNlIiwiZXhwIjoxNzAwfQ.c2ln\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n\
    Accept: application/json, text/plain, */*\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Sec-Fetch-Mode: cors\r\n\
    Sec-Fetch-Dest: empty\r\n\
    Referer: https://edge.example.org/ccagent\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: fr-FR,fr;q=0.9,en;q=0.8\r\n\
    Cookie: PLAY_SESSION=0123456789abcdef0123456789abcdef; lang=fr\r\n\r\n";

fn path(c: &mut Criterion) {
    let mut group = c.benchmark_group("path");
    group.bench_function("plain", |b| b.iter(|| normalise(black_box(API.path))));
    group.bench_function("odd", |b| b.iter(|| normalise(black_box("/xuc//api/%32.0/./history/../cti/caf%c3%a9"))));
    group.finish();
}

fn route(c: &mut Criterion) {
    let Site { router, .. } = Site::with_backends(1);
    let decide = |router: &Router, asked: &Asked<'_>| router.decide(black_box(asked)).map(|carried| carried.route);
    let mut group = c.benchmark_group("route");
    for (name, asked) in [("page", PAGE), ("api", API), ("socket", SOCKET), ("nowhere", NOWHERE)] {
        group.bench_function(name, |b| b.iter(|| decide(&router, &asked)));
    }
    group.finish();
}

fn side(c: &mut Criterion) {
    let site = Site::with_backends(1);
    c.bench_function("live view", |b| b.iter(|| black_box(&site.live).view()));
}

fn backend(c: &mut Criterion) {
    let mut group = c.benchmark_group("backend");
    for backends in [1, 3] {
        let site = Site::with_backends(backends);
        let cc = site.router.decide(&PAGE).map(|carried| site.router.routes()[carried.route].service);
        let pool = site.upstreams.pool(&site.config, cc.expect("the preset has the page"), Side::Main);
        group.bench_function(format!("of {backends}"), |b| b.iter(|| pool.choose(black_box(&[])).map(|up| up.index)));
    }
    group.finish();
}

fn decision(c: &mut Criterion) {
    let site = Site::with_backends(1);
    let mut group = c.benchmark_group("decision");
    for (name, asked) in [("page", PAGE), ("api", API), ("socket", SOCKET)] {
        group.bench_function(name, |b| b.iter(|| site.decide(black_box(&asked)).map(|upstream| upstream.index)));
    }
    group.finish();
}

/// A request's zone; beside `decision`, which is the rest of what the Edge decides.
fn zone(c: &mut Criterion) {
    let site = Site::with_backends(1);
    let zones = site.zones();
    let route = |asked: &Asked<'_>| site.router.decide(asked).map(|carried| carried.route).expect("a route");
    let (api, login) = (route(&API), route(&SOCKET));
    let public = |host: u32| IpAddr::from(Ipv4Addr::from(0xc000_0200 + host % 50_000));
    let since = Instant::now();
    let mut group = c.benchmark_group("zone");
    let ask = |route, client: IpAddr, now| zones.ask(route, black_box(client), now, since);
    group.bench_function("exempt", |b| b.iter(|| ask(api, "10.1.2.3".parse().expect("an address"), Instant::now())));
    let mut host = 0_u32;
    group.bench_function("passed", |b| {
        b.iter(|| {
            host += 1;
            ask(api, public(host), Instant::now())
        });
    });
    group.bench_function("refused", |b| b.iter(|| ask(login, public(1), since)));
    group.finish();
}

fn head(c: &mut Criterion) {
    use std::time::Duration;
    let limits =
        HeadLimits { idle: Duration::from_secs(75), whole: Duration::from_secs(10), bytes: 32 << 10, fields: 100 };
    // Its time limits want a clock; nothing here waits for it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a clock");
    let _entered = runtime.enter();
    c.bench_function("head of a browser", |b| {
        b.iter(|| {
            let mut buf = BytesMut::new();
            head::read(&mut black_box(HEAD), &mut buf, limits).now_or_never().expect("it is all there")
        });
    });
}

fn log(c: &mut Criterion) {
    let target = format!("{}?{}", SOCKET.path, SOCKET.query.unwrap_or_default());
    let mut group = c.benchmark_group("logged path");
    group.bench_function("plain", |b| b.iter(|| SafePath::new(black_box(API.path))));
    group.bench_function("token", |b| b.iter(|| SafePath::new(black_box(&target))));
    group.finish();
}

fn forward(c: &mut Criterion) {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut parsed = httparse::Request::new(&mut fields);
    parsed.parse(HEAD).expect("a head");
    let mut request = RequestHeader::build("GET", parsed.path.unwrap_or_default().as_bytes(), None).expect("a head");
    for field in parsed.headers.iter() {
        request.append_header(field.name.to_owned(), field.value).expect("a field");
    }
    let client = "192.0.2.9".parse().expect("an address");
    c.bench_function("forwarding headers", |b| {
        b.iter(|| {
            // As Pingora does for each request.
            let mut request = request.clone();
            let forwarded = ForwardedHeaders::new(black_box(client), FQDN, RequestId::random());
            forward::apply(&mut request, &forwarded, &HostHeader::Fqdn).map(|()| request)
        });
    });
}

criterion_group!(request_path, path, route, side, backend, decision, zone, head, forward, log);
criterion_main!(request_path);
