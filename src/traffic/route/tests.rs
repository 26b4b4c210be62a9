use super::*;

fn route(path: &str, matching: Matching) -> Arc<Route> {
    Arc::new(crate::config::fake::route(path, matching))
}

fn router(routes: Vec<Arc<Route>>) -> Router {
    Router { names: vec!["edge.example.org".into()], standings: Standings::new(routes.len()), routes }
}

fn get<'a>(host: &'a str, path: &'a str) -> Asked<'a> {
    Asked { method: "GET", host: Some(host), path, query: None, upgrade: None }
}

#[test]
fn only_listed_paths_are_carried() {
    let router = router(vec![route("/xuc", Matching::Prefix), route("/version", Matching::Exact)]);
    let at = |path| router.decide(&get("edge.example.org", path)).map(|c| c.route);
    assert_eq!(at("/xuc"), Ok(0));
    assert_eq!(at("/xuc/api"), Ok(0));
    assert_eq!(at("/xucmgt"), Err(Refusal::NoRoute));
    assert_eq!(at("/version"), Ok(1));
    assert_eq!(at("/version/x"), Err(Refusal::NoRoute));
    assert_eq!(at("/"), Err(Refusal::NoRoute));
}

#[test]
fn a_prefix_cannot_be_escaped() {
    let router = router(vec![route("/assets", Matching::Prefix)]);
    for path in ["/assets/../config", "/assets/%2e%2e/config", "/assets/./../config", "/assets/..;/config"] {
        assert_eq!(router.decide(&get("edge.example.org", path)).map(|c| c.route), Err(Refusal::NoRoute), "{path}");
    }
    assert!(matches!(
        router.decide(&get("edge.example.org", "/assets/..%2fconfig")),
        Err(Refusal::BadPath(BadPath::Separator))
    ));
}

#[test]
fn only_our_names_are_served() {
    let router = router(vec![route("/a", Matching::Prefix)]);
    for host in ["edge.example.org", "EDGE.example.org", "edge.example.org:8443", "edge.example.org."] {
        assert!(router.decide(&get(host, "/a")).is_ok(), "{host}");
    }
    for host in ["", "other.org", "edge.example.org.evil.org", "10.0.0.1", "[::1]:443", "edge.example.org:80x"] {
        assert_eq!(router.decide(&get(host, "/a")).map(|c| c.route), Err(Refusal::WrongHost), "{host}");
    }
    let nobody = Asked { method: "GET", host: None, path: "/a", query: None, upgrade: None };
    assert_eq!(router.decide(&nobody).map(|c| c.route), Err(Refusal::NoHost));
}

#[test]
fn a_route_carries_the_methods_it_lists_and_says_which() {
    let mut some = Arc::unwrap_or_clone(route("/a", Matching::Prefix));
    some.methods = vec![http::Method::GET, http::Method::HEAD];
    let router = router(vec![Arc::new(some), route("/b", Matching::Prefix)]);
    let by =
        |method, path| router.decide(&Asked { method, ..get("edge.example.org", path) }).map(|carried| carried.route);
    assert_eq!((by("GET", "/a"), by("HEAD", "/a/x")), (Ok(0), Ok(0)));
    for method in ["POST", "OPTIONS", "get", "PROPFIND"] {
        assert_eq!(by(method, "/a"), Err(Refusal::MethodNotAllowed { route: 0 }), "{method}");
        assert_eq!(by(method, "/b"), Ok(1), "{method}");
    }
    assert_eq!(by("TRACE", "/b"), Err(Refusal::Method));
}

#[test]
fn an_upgrade_needs_a_route_that_carries_it() {
    let mut sip = (*route("/wssip", Matching::Exact)).clone();
    sip.websocket = WebSocket::Allowed { subprotocols: vec!["sip".into()] };
    let router = router(vec![Arc::new(sip), route("/xuc", Matching::Prefix)]);
    let upgrade = |path, offered| {
        router
            .decide(&Asked { method: "GET", host: Some("edge.example.org"), path, query: None, upgrade: Some(offered) })
            .is_ok()
    };
    assert!(upgrade("/wssip", Some("sip")));
    assert!(!upgrade("/wssip", Some("chat")));
    assert!(!upgrade("/wssip", Some("sip, chat")));
    assert!(!upgrade("/wssip", None));
    assert!(!upgrade("/xuc", None));
}

#[test]
fn a_route_in_maintenance_is_refused_whatever_is_asked_of_it_and_no_other_is() {
    let mut socket = route("/ws", Matching::Prefix);
    let its = Arc::make_mut(&mut socket);
    (its.websocket, its.methods) = (WebSocket::Allowed { subprotocols: Vec::new() }, vec![http::Method::GET]);
    let router = router(vec![socket, route("/version", Matching::Exact)]);
    let (host, until) = ("edge.example.org", Some(Time::from_unix_ms(7)));
    for until in [until, None] {
        router.stand(|route| match route.name == "/ws" {
            true => Standing::Out { until },
            false => Standing::InService,
        });
        let out = Refusal::Maintenance { route: 0, until };
        let asked = get(host, "/ws/a");
        for asked in [asked, Asked { method: "POST", ..asked }, Asked { upgrade: Some(None), ..asked }] {
            assert_eq!(router.decide(&asked).map(|c| c.route), Err(out), "{asked:?}");
        }
        assert_eq!(router.decide(&get(host, "/version")).map(|c| c.route), Ok(1));
        // What is no route is none in maintenance either, and another site's name is never told of ours.
        assert_eq!(router.decide(&get(host, "/wsx")).map(|c| c.route), Err(Refusal::NoRoute));
        assert_eq!(router.decide(&get("other.org", "/ws")).map(|c| c.route), Err(Refusal::WrongHost));
    }
    router.stand(|_| Standing::InService);
    assert_eq!(router.decide(&get(host, "/ws")).map(|c| c.route), Ok(0));
}
