use super::*;

fn at(seconds: i64) -> Time {
    Time::from_unix_ms(1_700_000_000_000 + seconds * 1000)
}

fn one(route: Option<&str>, until: Option<i64>) -> Maintenance {
    let (route, until) = (route.map(Into::into), until.map(at));
    Maintenance { route, until, by: "ann".into(), why: "upgrade".into(), since: at(0) }
}

fn route(name: &str) -> Route {
    crate::config::fake::route(name, crate::config::Matching::Prefix)
}

#[test]
fn a_route_is_out_by_itself_or_with_the_site_and_the_later_end_counts() {
    let ends = [None, Some(5), Some(9)];
    for site in [None, Some(None), Some(Some(5)), Some(Some(9))] {
        for its in std::iter::once(None).chain(ends.map(Some)) {
            let mut all = Maintenances::default();
            for (name, until) in [(None, site), (Some("/a"), its)] {
                if let Some(until) = until {
                    all.begin(one(name, until), at(0)).unwrap();
                }
            }
            let both: Vec<Option<i64>> = site.into_iter().chain(its).collect();
            let later = |ends: &[Option<i64>]| match ends {
                [] => Standing::InService,
                ends if ends.contains(&None) => Standing::Out { until: None },
                ends => Standing::Out { until: ends.iter().flatten().max().map(|end| at(*end)) },
            };
            assert_eq!(all.of(&route("/a")), later(&both), "{site:?} {its:?}");
            assert_eq!(all.of(&route("/b")), later(site.as_slice()), "{site:?}");
        }
    }
}

#[test]
fn a_route_takes_those_below_its_path_along_and_none_beside_it() {
    let mut all = Maintenances::default();
    all.begin(one(Some("/xuc"), None), at(0)).unwrap();
    for (path, out) in [("/xuc", true), ("/xuc/api/2.0/cti", true), ("/xucmgt", false), ("/", false), ("/a/xuc", false)]
    {
        assert_eq!(all.of(&route(path)) != Standing::InService, out, "{path}");
    }
    all.end(None).unwrap();
    all.begin(one(Some("/"), None), at(0)).unwrap();
    assert_eq!(all.of(&route("/xuc")), Standing::InService, "for all of it there is the whole site");
    assert_ne!(all.of(&route("/")), Standing::InService);
}

#[test]
fn what_has_an_end_ends_by_itself_at_that_moment_and_what_has_none_stays() {
    let mut all = Maintenances::default();
    for (name, until) in [(Some("/a"), Some(7)), (Some("/b"), None), (None, Some(7200))] {
        all.begin(one(name, until), at(0)).unwrap();
    }
    assert_eq!(all.next_end(at(5)), Some(Duration::from_secs(2)));
    assert_eq!(all.take_over(Time::from_unix_ms(at(7).unix_ms() - 1)), []);
    assert_eq!(all.take_over(at(7)), [one(Some("/a"), Some(7))]);
    assert_eq!(all.of(&route("/a")), Standing::Out { until: Some(at(7200)) }, "with the site");
    // A loop that was late, or an Edge that was off meanwhile: past is over.
    assert_eq!(all.take_over(at(100_000)), [one(None, Some(7200))]);
    assert_eq!((all.of(&route("/a")), all.next_end(at(100_000))), (Standing::InService, None));
    assert_eq!(all.of(&route("/b")), Standing::Out { until: None });
}

#[test]
fn who_orders_it_again_says_anew_until_when_and_a_past_end_changes_nothing() {
    let mut all = Maintenances::default();
    all.begin(one(Some("/a"), Some(7)), at(0)).unwrap();
    all.begin(one(Some("/a"), Some(9)), at(1)).unwrap();
    assert_eq!(all.all(), [one(Some("/a"), Some(9))]);
    for past in [-1, 2] {
        let refused = all.begin(one(Some("/a"), Some(past)), at(2)).unwrap_err();
        assert!(refused.contains("past already"), "{refused}");
    }
    assert_eq!(all.all(), [one(Some("/a"), Some(9))]);
}

#[test]
fn off_ends_everything_and_with_a_route_that_alone() {
    let all = || {
        let mut all = Maintenances::default();
        for name in [Some("/a"), Some("/b"), None] {
            all.begin(one(name, None), at(0)).unwrap();
        }
        all
    };
    let mut each = all();
    assert_eq!(each.end(Some("/a")).unwrap(), [one(Some("/a"), None)]);
    let refused = each.end(Some("/a")).unwrap_err();
    assert!(refused.contains("The whole site is in maintenance"), "{refused}");
    let mut every = all();
    assert_eq!(every.end(None).unwrap().len(), 3);
    assert_eq!(every.end(None).unwrap(), []);
    assert_eq!(every.end(Some("/a")).unwrap_err(), "/a is not in maintenance by itself.");
}

#[test]
fn they_are_bounded_and_one_that_stands_may_always_be_changed() {
    let mut all = Maintenances::default();
    for number in 0..MOST {
        all.begin(one(Some(&format!("/{number}")), None), at(0)).unwrap();
    }
    assert!(all.begin(one(Some("/more"), None), at(0)).unwrap_err().contains("without --route"));
    all.begin(one(Some("/7"), Some(9)), at(0)).unwrap();
    assert_eq!(all.all().len(), MOST);
}

#[test]
fn a_route_is_meant_by_name_or_path_and_an_unknown_one_is_told_those_there_are() {
    let mut nested = route("/xuc/api");
    nested.name = "xuc api".into();
    let routes = [route("/xuc"), nested];
    for (meant, name) in [("/xuc", "/xuc"), ("xuc api", "xuc api"), ("/xuc/api", "xuc api")] {
        assert_eq!(name_of(routes.iter(), meant).unwrap(), name);
    }
    let unknown = name_of(routes.iter(), "/xcu").unwrap_err();
    assert_eq!(unknown, "There is no route /xcu. The routes are: /xuc, xuc api.");
}

#[test]
fn a_client_is_told_to_come_back_when_it_is_over_and_never_at_once() {
    for (until, now, seconds) in [(Some(7200), 0, 7200), (Some(7), 7, 1), (Some(7), 9, 1), (None, 0, 60)] {
        assert_eq!(retry_after(until.map(at), at(now)), seconds);
    }
    assert_eq!(retry_after(Some(at(2)), Time::from_unix_ms(at(0).unix_ms() + 1)), 2, "rounded up");
}
