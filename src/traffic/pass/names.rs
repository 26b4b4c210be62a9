//! Whose a connection is, by the name in its ClientHello: the site's, a service's to which it is passed on, or nobody's.

use std::collections::HashMap;

use crate::config::{Pass, UnknownName};

/// Every other name, and none.
const ANY: &str = "*";

/// Names of a configuration, looked up without making anything.
#[derive(Debug)]
pub struct Names {
    /// Nothing is passed on, nothing is refused: no name is looked at.
    idle: bool,
    exact: HashMap<Box<str>, Whose>,
    /// By what stands behind `*.`.
    below: HashMap<Box<str>, Whose>,
    /// Of every other name, and of none.
    any: Whose,
    passes: bool,
}

/// Whose a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The site's: TLS ends here.
    Site,
    /// Passed on: a position in the list of those who are passed on.
    Passed(usize),
    /// Nobody's here.
    Nobody,
}

impl Names {
    /// Those of a configuration whose site has `own`.
    pub fn new<'a>(own: impl IntoIterator<Item = &'a String>, pass: &[Pass], unknown: UnknownName) -> Self {
        let (mut exact, mut below) = (HashMap::new(), HashMap::new());
        let mut any = match unknown {
            UnknownName::Serve => Whose::Site,
            UnknownName::Refuse => Whose::Nobody,
        };
        for (index, pass) in pass.iter().enumerate() {
            let whose = Whose::Passed(index);
            for name in &pass.names {
                if name == ANY {
                    any = whose;
                } else if let Some(parent) = name.strip_prefix("*.") {
                    below.insert(parent.into(), whose);
                } else {
                    exact.insert(name.as_str().into(), whose);
                }
            }
        }
        // Whatever a wildcard says.
        exact.extend(own.into_iter().map(|name| (name.as_str().into(), Whose::Site)));
        let passes = !pass.is_empty();
        Self { idle: !passes && any == Whose::Site, exact, below, any, passes }
    }

    /// Whether any connection is passed on: what is read of one must be kept until it is known whose it is.
    pub fn pass_any(&self) -> bool {
        self.passes
    }

    /// Whose a connection is that asks for `name`, in lower case. A wildcard stands for one label, as in a certificate.
    pub fn whose(&self, name: Option<&str>) -> Whose {
        if self.idle {
            return Whose::Site;
        }
        let known = name.and_then(|name| {
            let below = || self.below.get(name.split_once('.')?.1);
            self.exact.get(name).or_else(below)
        });
        known.copied().unwrap_or(self.any)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::ProxyHeader;

    fn names(passed: &[&[&str]], unknown: UnknownName) -> Names {
        let pass = |names: &&[&str]| Pass {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            to: vec!["10.0.0.1:5349".parse().unwrap()],
            proxy_protocol: ProxyHeader::None,
            idle: Duration::from_secs(1),
        };
        let own = ["edge.example.org".to_owned(), "www.example.org".to_owned()];
        Names::new(&own, &passed.iter().map(pass).collect::<Vec<_>>(), unknown)
    }

    #[test]
    fn the_sites_own_names_stay_whatever_a_wildcard_says() {
        let names = names(&[&["turn.example.org", "*.example.org"], &["*.sip.example.org"]], UnknownName::Serve);
        for (name, whose) in [
            (Some("edge.example.org"), Whose::Site),
            (Some("www.example.org"), Whose::Site),
            (Some("turn.example.org"), Whose::Passed(0)),
            (Some("other.example.org"), Whose::Passed(0)),
            (Some("a.sip.example.org"), Whose::Passed(1)),
            (Some("a.b.example.org"), Whose::Site),
            (Some("example.org"), Whose::Site),
            (Some("org"), Whose::Site),
            (None, Whose::Site),
        ] {
            assert_eq!(names.whose(name), whose, "{name:?}");
        }
    }

    #[test]
    fn another_name_and_none_are_served_refused_or_passed_on_as_written() {
        let others = [None, Some("elsewhere.org"), Some("10.0.0.1"), Some("edge.example.org.")];
        let table: [(&[&[&str]], _, _); 4] = [
            (&[], UnknownName::Serve, Whose::Site),
            (&[&["turn.example.org"]], UnknownName::Serve, Whose::Site),
            (&[], UnknownName::Refuse, Whose::Nobody),
            (&[&["turn.example.org"], &["*"]], UnknownName::Serve, Whose::Passed(1)),
        ];
        for (passed, unknown, whose) in table {
            let names = names(passed, unknown);
            for name in others {
                assert_eq!(names.whose(name), whose, "{passed:?} {unknown:?} {name:?}");
            }
            assert_eq!(names.whose(Some("edge.example.org")), Whose::Site, "{passed:?} {unknown:?}");
        }
    }
}
