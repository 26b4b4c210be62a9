//! `bascule certs`: the site's own authority and the certificates by which its nodes, Edges and operators know each other.
//! The authority's key stays where it was made; nothing but a certificate that is renewed is ever overwritten.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::{Args, Subcommand};
use failover::Side;
use protocol::identity::{CA, CHAIN, GRACE_DAYS, Identity, IdentityError};
use protocol::issue::{AUTHORITY_DAYS, Authority, CA_KEY, IssueError, Validity};
use protocol::who::{NAME_BYTES, Who, is_name};
use protocol::wire::Role;
use serde_json::{Value, json};

use crate::admin::api::{Time, side};

/// Where the authority is if nobody says otherwise.
const AUTHORITY: &str = "/etc/bascule/ca";

/// What to make or show.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum CertsVerb {
    /// Make the site's authority. Its key stays in this directory: keep it off the nodes.
    Ca {
        /// Where.
        #[arg(long, value_name = "DIR", default_value = AUTHORITY)]
        dir: PathBuf,
        /// The site's name, for people.
        #[arg(long, default_value = "site", value_parser = named)]
        site: String,
    },
    /// Make the identity of a node.
    Node {
        /// What it is.
        #[arg(long, value_parser = role)]
        role: Role,
        /// Its side; a media server has none.
        #[arg(long, value_name = "SIDE", value_parser = side::parse)]
        side: Option<Side>,
        /// How it is signed.
        #[command(flatten)]
        how: Issue,
    },
    /// Make the identity of an Edge.
    Edge {
        /// How it is signed.
        #[command(flatten)]
        how: Issue,
    },
    /// Make the identity of a person.
    Operator {
        /// How it is signed.
        #[command(flatten)]
        how: Issue,
    },
    /// Make the certificates of identities anew, where they are, expired or not: same role, side, name and key.
    Renew {
        /// Directories of identities; chain.pem is all that is read and replaced there.
        #[arg(required = true, value_name = "IDENTITY")]
        dirs: Vec<PathBuf>,
        /// The authority's directory.
        #[arg(long, value_name = "DIR", default_value = AUTHORITY)]
        ca: PathBuf,
        /// For how long they are valid.
        #[command(flatten)]
        valid: Valid,
    },
    /// Say whose an identity is, until when, and whether its files belong together.
    Show {
        /// The directory of an identity, or of an authority.
        dir: PathBuf,
    },
}

/// What every identity needs.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Issue {
    /// Its name, unique in the site.
    #[arg(long, value_parser = named)]
    name: String,
    /// The authority's directory.
    #[arg(long, value_name = "DIR", default_value = AUTHORITY)]
    ca: PathBuf,
    /// Where to: ca.pem, chain.pem and key.pem.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// For how long it is valid.
    #[command(flatten)]
    valid: Valid,
}

/// For how long certificates are valid.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Valid {
    /// For how many days it is valid; else for 825 on Main's XiVO, 795 on Standby's, 765 on the Edge and 676 to 735
    /// elsewhere, so that those of one day do not end on one day.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(AUTHORITY_DAYS)))]
    days: Option<u32>,
}

impl Valid {
    fn days_of(&self, who: &Who) -> u32 {
        self.days.unwrap_or_else(|| lifetime(who))
    }
}

/// For how many days a certificate is good. The three that vote end a month apart, the spare vote's first: a site that has
/// forgotten them loses one, and says so, while the other two go on. The rest is spread over two months by its name.
fn lifetime(who: &Who) -> u32 {
    const LONGEST: u32 = 825;
    const APART: u32 = 30;
    match who {
        Who::Node { role: Role::Xivo, side: Some(Side::Main), .. } => LONGEST,
        Who::Node { role: Role::Xivo, .. } => LONGEST - APART,
        Who::Edge { .. } => LONGEST - 2 * APART,
        Who::Node { .. } | Who::Operator { .. } => {
            // By the name and not by chance: a renewal gives the same length again.
            let mixed = who.uri().bytes().fold(0u32, |mixed, byte| mixed.wrapping_mul(31).wrapping_add(byte.into()));
            LONGEST - 3 * APART - mixed % (2 * APART)
        }
    }
}

/// Why nothing was made or shown.
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    /// An authority or a certificate could not be made.
    #[error("{}", in_words(.0))]
    Issue(#[from] IssueError),
    /// An identity could not be read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// What was asked makes no sense.
    #[error("{0}")]
    Usage(String),
    /// An identity was read, and is of no use.
    #[error("{0}")]
    Useless(String),
}

fn in_words(error: &IssueError) -> String {
    match error {
        // A key that is overwritten is a node that nobody knows any more, or an authority that is lost.
        IssueError::File { path, source } if source.kind() == std::io::ErrorKind::AlreadyExists => {
            format!("{}: exists, and nothing is overwritten; move it away first", path.display())
        }
        IssueError::File { path, source } if source.kind() == std::io::ErrorKind::NotFound => {
            format!("{}: does not exist; make an authority with: bascule certs ca --dir DIR", path.display())
        }
        other => other.to_string(),
    }
}

fn named(text: &str) -> Result<String, String> {
    match is_name(text) {
        true => Ok(text.to_owned()),
        false => Err(format!("a name is 1 to {NAME_BYTES} letters, digits, `.`, `_` and `-`")),
    }
}

fn role(text: &str) -> Result<Role, String> {
    let all = [Role::Xivo, Role::Cc, Role::Mds];
    all.into_iter().find(|role| role.label() == text).ok_or_else(|| format!("`{text}` is no role: use xivo, cc or mds"))
}

/// Carries it out; what to print.
///
/// # Errors
/// The command line asks for what cannot be, a file is in the way or cannot be read, or a certificate is none of the site's.
pub fn run(verb: &CertsVerb, as_json: bool) -> Result<String, CertsError> {
    let told = match verb {
        CertsVerb::Ca { dir, site } => {
            Authority::create(dir, site)?;
            let sentence = format!(
                "made the authority of {site} in {}; {CA_KEY} signs every node: keep it there, and a copy where no node is",
                dir.display()
            );
            (sentence, json!({ "authority": dir }))
        }
        CertsVerb::Node { role, side, how } => issue(&node(*role, *side, &how.name)?, how)?,
        CertsVerb::Edge { how } => issue(&Who::edge(&how.name), how)?,
        CertsVerb::Operator { how } => issue(&Who::Operator { name: how.name.clone() }, how)?,
        CertsVerb::Renew { dirs, ca, valid } => renew(dirs, ca, valid)?,
        CertsVerb::Show { dir } => show(dir)?,
    };
    Ok(if as_json { told.1.to_string() } else { told.0 })
}

fn node(role: Role, on: Option<Side>, name: &str) -> Result<Who, CertsError> {
    match (role, on) {
        (Role::Mds, None) => Ok(Who::media_server(name)),
        // Shared by both sides: a certificate of one would say of it what is not so.
        (Role::Mds, Some(_)) => Err(CertsError::Usage("a media server is of no side: leave out --side".into())),
        (role, Some(side)) => Ok(Who::of_side(role, side, name)),
        (role, None) => {
            Err(CertsError::Usage(format!("a {role} node is of a side: add --side main or --side standby")))
        }
    }
}

fn issue(who: &Who, how: &Issue) -> Result<(String, Value), CertsError> {
    let days = how.valid.days_of(who);
    Authority::open(&how.ca)?.issue(who, &how.out, Validity::days(days))?;
    let out = how.out.display();
    let sentence = format!(
        "made the identity of {who} in {out}, good for {days} days; copy the directory there, readable by its daemon alone"
    );
    Ok((sentence, json!({ "who": who.uri(), "directory": how.out, "days": days })))
}

/// Renews one after the other; the error says which were done before.
fn renew(dirs: &[PathBuf], ca: &Path, valid: &Valid) -> Result<(String, Value), CertsError> {
    let authority = Authority::open(ca)?;
    let (mut sentences, mut renewed) = (Vec::new(), Vec::new());
    for dir in dirs {
        let who = match authority.renew(dir, |who| Validity::days(valid.days_of(who))) {
            Ok(who) => who,
            Err(error) => {
                sentences.push(format!("NOT renewed, nor what comes after it: {}", in_words(&error)));
                return Err(CertsError::Useless(sentences.join("\n")));
            }
        };
        let days = valid.days_of(&who);
        sentences.push(format!("renewed the certificate of {who} in {}: good for {days} days", dir.display()));
        renewed.push(json!({ "who": who.uri(), "directory": dir, "days": days }));
    }
    sentences.push(format!("copy each {CHAIN} there, over the old one, and reload its daemon; keys stay as they are"));
    Ok((sentences.join("\n"), json!({ "renewed": renewed })))
}

fn show(dir: &Path) -> Result<(String, Value), CertsError> {
    if dir.join(CA_KEY).exists() && !dir.join(CHAIN).exists() {
        Authority::open(dir)?;
        let sentence =
            format!("{}: an authority, whose key is here ({CA_KEY}); its certificate is {CA}", dir.display());
        return Ok((sentence, json!({ "authority": dir })));
    }
    // Reading it checks that key and chain belong together, and the chain to the authority.
    let identity = Identity::load(dir)?;
    let (who, days) = (identity.who(), identity.days_left());
    let until = Time::from(identity.expires());
    // As of a failure, for scripts that watch dates: daemons take it for a while, and it must be renewed all the same.
    if identity.expires() <= SystemTime::now() {
        return Err(CertsError::Useless(format!(
            "{}: {who}; EXPIRED on {until}; daemons take it for {GRACE_DAYS} days from then: bascule certs renew",
            dir.display()
        )));
    }
    let sentence = format!(
        "{}: {who} ({}); valid until {until}, {days} days; key and chain belong together, and the chain to {CA}",
        dir.display(),
        who.uri()
    );
    Ok((sentence, json!({ "who": who.uri(), "directory": dir, "not_after": until, "days": days })))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn how(dir: &Path, name: &str) -> Issue {
        let valid = Valid { days: Some(30) };
        Issue { name: name.to_owned(), ca: dir.join("ca"), out: dir.join(name), valid }
    }

    #[test]
    fn an_authority_signs_identities_that_show_whose_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let lacks = run(&CertsVerb::Edge { how: how(dir, "edge") }, false).unwrap_err().to_string();
        assert!(lacks.contains("bascule certs ca"), "{lacks}");
        run(&CertsVerb::Ca { dir: dir.join("ca"), site: "lab".into() }, false).unwrap();
        let made = [
            (CertsVerb::Edge { how: how(dir, "edge") }, "edge", "bascule:edge/edge"),
            (
                CertsVerb::Node { role: Role::Cc, side: Some(Side::Main), how: how(dir, "cc1") },
                "cc1",
                "bascule:node/cc/main/cc1",
            ),
            (CertsVerb::Node { role: Role::Mds, side: None, how: how(dir, "mds1") }, "mds1", "bascule:node/mds/mds1"),
            (CertsVerb::Operator { how: how(dir, "alice") }, "alice", "bascule:operator/alice"),
        ];
        for (verb, name, uri) in made {
            run(&verb, false).unwrap();
            let shown = run(&CertsVerb::Show { dir: dir.join(name) }, false).unwrap();
            assert!(shown.contains(uri) && shown.contains("belong together"), "{shown}");
            let shown: Value =
                serde_json::from_str(&run(&CertsVerb::Show { dir: dir.join(name) }, true).unwrap()).unwrap();
            assert_eq!(shown["who"], uri);
            let mode = fs::metadata(dir.join(name).join("key.pem")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            assert!(!dir.join(name).join(CA_KEY).exists(), "the authority's key stays where it is");
            let again = run(&verb, false).unwrap_err().to_string();
            assert!(again.contains("nothing is overwritten"), "{again}");
        }
        assert!(run(&CertsVerb::Show { dir: dir.join("ca") }, false).unwrap().contains("an authority"));
        let again = run(&CertsVerb::Ca { dir: dir.join("ca"), site: "lab".into() }, false).unwrap_err().to_string();
        assert!(again.contains("nothing is overwritten"), "{again}");
    }

    #[test]
    fn what_makes_no_sense_is_refused_before_anything_is_written() {
        let dir = tempfile::tempdir().unwrap();
        for (role, side, word) in [(Role::Mds, Some(Side::Main), "of no side"), (Role::Xivo, None, "--side main")] {
            let verb = CertsVerb::Node { role, side, how: how(dir.path(), "n") };
            let error = run(&verb, false).unwrap_err();
            assert!(matches!(&error, CertsError::Usage(said) if said.contains(word)), "{error}");
        }
        assert!(named("a/b").is_err() && role("edge").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn certificates_of_one_day_end_on_different_days_those_of_voters_a_month_apart() {
        let node = |role, side, name| lifetime(&Who::of_side(role, side, name));
        let voters = [
            lifetime(&Who::edge("edge")),
            node(Role::Xivo, Side::Standby, "standby-xivo"),
            node(Role::Xivo, Side::Main, "main-xivo"),
        ];
        assert_eq!(voters, [765, 795, 825]);
        let others = [
            node(Role::Cc, Side::Main, "main-cc"),
            node(Role::Cc, Side::Standby, "standby-cc"),
            lifetime(&Who::media_server("mds1")),
            lifetime(&Who::media_server("mds2")),
        ];
        assert!(others.iter().all(|days| (676..=735).contains(days)), "{others:?}");
        let mut sorted = others;
        sorted.sort_unstable();
        assert!(sorted.windows(2).all(|two| two[0] < two[1]), "{others:?}");
    }

    #[test]
    fn all_identities_of_a_site_are_renewed_by_one_command_and_a_strangers_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let authority = Authority::create(&dir.join("ca"), "lab").unwrap();
        let dirs = ["edge", "main", "stranger", "late"].map(|name| dir.join(name));
        for (at, who) in dirs.iter().zip([Who::edge("edge"), Who::of_side(Role::Xivo, Side::Main, "main")]) {
            authority.issue(&who, at, Validity::ended(90)).unwrap();
        }
        let of = |dirs: &[PathBuf]| CertsVerb::Renew {
            dirs: dirs.to_vec(),
            ca: dir.join("ca"),
            valid: Valid { days: None },
        };
        let said = run(&of(&dirs[..2]), false).unwrap();
        assert!(
            said.contains("765 days") && said.contains("825 days") && said.contains("copy each chain.pem"),
            "{said}"
        );
        let shown = run(&CertsVerb::Show { dir: dirs[1].clone() }, false).unwrap();
        // The last of the days begins with the next second.
        assert!(["824 days", "825 days"].iter().any(|days| shown.contains(days)), "{shown}");
        Authority::create(&dir.join("ca2"), "x").unwrap().issue(&Who::edge("e"), &dirs[2], Validity::days(1)).unwrap();
        let error = run(&of(&dirs), false).unwrap_err().to_string();
        assert_eq!(error.lines().count(), 3, "{error}");
        assert!(error.contains("NOT renewed") && error.contains("not issued by this authority"), "{error}");
    }

    #[test]
    fn an_expired_or_broken_identity_is_told_as_such() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::create(&dir.path().join("ca"), "lab").unwrap();
        let old = dir.path().join("old");
        authority.issue(&Who::edge("edge"), &old, Validity::ended(0)).unwrap();
        let said = run(&CertsVerb::Show { dir: old.clone() }, false).unwrap_err().to_string();
        assert!(said.contains("EXPIRED"), "{said}");
        fs::remove_file(old.join("key.pem")).unwrap();
        assert!(run(&CertsVerb::Show { dir: old }, false).unwrap_err().to_string().contains("key.pem"));
    }
}
