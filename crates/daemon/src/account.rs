//! The account a service runs as, and the file system as that account sees it: to root, who asks, every file is open.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};

use super::people::{read, row_of};

/// `systemctl` waits for its bus; whoever checks a file shall not wait as long.
const PATIENCE: Duration = Duration::from_secs(2);

/// A user with its groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The name as the system's own tables have it.
    pub name: String,
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
}

/// There is no such account.
#[derive(Debug, thiserror::Error)]
#[error("there is no {kind} {name} on this machine; make it, or name another with --user")]
pub struct NoAccount {
    kind: &'static str,
    name: String,
}

/// Whose account a check is about.
#[derive(Debug, Clone, Copy)]
pub struct Service<'a> {
    /// The unit that runs the service.
    pub unit: &'a str,
    /// The user where no unit names one; none: the service runs as root.
    pub user: Option<&'a str>,
    /// Files below are the service's, whatever a unit says of them.
    pub home: &'a Path,
}

impl Account {
    /// The user of that name, with the groups that the machine's own files give it.
    ///
    /// # Errors
    /// That there is none.
    pub fn named(name: &str) -> Result<Self, NoAccount> {
        Self::of_files(name, &[], None, &read("/etc/passwd"), &read("/etc/group"))
    }

    /// Whom the service that reads `file` runs as; none: whoever asks sees what the service sees. Only root can look with
    /// another's eyes.
    ///
    /// # Errors
    /// That the account named by `user` or by the unit does not exist.
    pub fn of_service(service: Service<'_>, user: Option<&str>, file: &Path) -> Result<Option<Self>, NoAccount> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let account = match user {
            Some(user) => Some(Self::named(user)?),
            None => {
                let unit = shown(service.unit);
                let by_unit = unit.as_ref().filter(|unit| unit.reads(file) || file.starts_with(service.home));
                match by_unit {
                    Some(unit) if unit.user.is_empty() => None,
                    Some(Unit { user, group, supplementary, .. }) => {
                        let group = (!group.is_empty()).then_some(group.as_str());
                        let (passwd, groups) = (read("/etc/passwd"), read("/etc/group"));
                        Some(Self::of_files(user, supplementary, group, &passwd, &groups)?)
                    }
                    None if file.starts_with(service.home) => {
                        // Before the account is made there is nothing to look with.
                        service.user.and_then(|user| Self::named(user).ok())
                    }
                    None => None,
                }
            }
        };
        // A service that runs as root sees what root sees: there is nobody else's view to take.
        Ok(account.filter(|account| account.uid != 0))
    }

    fn of_files(
        name: &str,
        further: &[String],
        group: Option<&str>,
        passwd: &str,
        group_file: &str,
    ) -> Result<Self, NoAccount> {
        let missing = |kind, name: &str| NoAccount { kind, name: name.to_owned() };
        let row = row_of(passwd, name).ok_or_else(|| missing("user", name))?;
        let number = |row: &[&str], at: usize| row.get(at).and_then(|field| field.parse::<u32>().ok());
        let (Some(uid), Some(gid)) = (number(&row, 2), number(&row, 3)) else { return Err(missing("user", name)) };
        let of_group = |name: &str| match name.parse() {
            Ok(number) => Ok(number),
            Err(_) => row_of(group_file, name).and_then(|row| number(&row, 2)).ok_or_else(|| missing("group", name)),
        };
        let gid = group.map_or(Ok(gid), of_group)?;
        let mut groups = further.iter().map(|name| of_group(name)).collect::<Result<Vec<_>, _>>()?;
        for line in group_file.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            if fields.get(3).is_some_and(|members| members.split(',').any(|member| member == row[0])) {
                groups.extend(number(&fields, 2));
            }
        }
        Ok(Self { name: row[0].to_owned(), uid, gid, groups })
    }

    /// Has `look` done with this account's rights, on a thread of its own: the kernel judges by mode bits, access lists and
    /// directories alike, and the thread loses root's capabilities with its number. Only root can.
    ///
    /// # Errors
    /// That the system refuses, or that `look` panicked.
    pub fn looks<T: Send>(&self, look: impl FnOnce() -> T + Send) -> io::Result<T> {
        let looked = std::thread::scope(|scope| {
            let turned = || -> io::Result<T> {
                let groups: Vec<Gid> = self.groups.iter().copied().map(Gid::from_raw).collect();
                // The user last: afterwards nothing may be changed any more.
                set_thread_groups(&groups)?;
                set_thread_gid(Gid::from_raw(self.gid))?;
                set_thread_uid(Uid::from_raw(self.uid))?;
                Ok(look())
            };
            std::thread::Builder::new()
                .name("other-eyes".into())
                .spawn_scoped(scope, turned)?
                .join()
                .map_err(|_| io::Error::other("the look as another user failed"))
        });
        looked?
    }
}

/// What systemd says of a unit.
#[derive(Debug, Default, PartialEq, Eq)]
struct Unit {
    user: String,
    group: String,
    supplementary: Vec<String>,
    command: String,
}

impl Unit {
    /// None for a unit that is not there.
    fn parse(shown: &str) -> Option<Self> {
        let property = |name: &str| {
            let found = shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            found.unwrap_or_default().to_owned()
        };
        (property("LoadState") == "loaded").then(|| Self {
            user: property("User"),
            group: property("Group"),
            supplementary: property("SupplementaryGroups").split_whitespace().map(str::to_owned).collect(),
            command: property("ExecStart"),
        })
    }

    /// Whether its command names that file.
    fn reads(&self, file: &Path) -> bool {
        let named = |word: &str| {
            Path::new(word) == file || word.strip_prefix("--config=").is_some_and(|word| Path::new(word) == file)
        };
        self.command.split_whitespace().any(named)
    }
}

/// Asks systemd. Where there is none there is no unit.
#[expect(clippy::disallowed_methods, reason = "of a command line: nobody else is on its thread")]
fn shown(unit: &str) -> Option<Unit> {
    let properties = "--property=LoadState,User,Group,SupplementaryGroups,ExecStart";
    let mut command = Command::new("systemctl");
    command.args(["show", properties, unit]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut asked = command.spawn().ok()?;
    let until = Instant::now() + PATIENCE;
    // What it prints is less than a pipe holds.
    while asked.try_wait().ok()?.is_none() {
        if Instant::now() >= until {
            let _ = asked.kill();
            let _ = asked.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = asked.wait_with_output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
        .and_then(|text| Unit::parse(&text))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, chown};

    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nbascule:x:998:997::/var/lib/bascule:/usr/sbin/nologin\n";
    const GROUP: &str = "root:x:0:\nbascule:x:997:\nssl-cert:x:110:www-data,bascule\nadm:x:4:syslog\nlog:x:77:\n";

    #[test]
    fn an_account_has_its_groups_and_those_its_unit_adds() {
        let of = |name, further: &[&str], group| {
            let further: Vec<String> = further.iter().map(ToString::to_string).collect();
            Account::of_files(name, &further, group, PASSWD, GROUP)
        };
        let plain = of("bascule", &[], None).unwrap();
        assert_eq!((plain.uid, plain.gid, plain.groups), (998, 997, vec![110]));
        let more = of("bascule", &["adm", "12"], Some("log")).unwrap();
        assert_eq!((more.gid, more.groups), (77, vec![4, 12, 110]));
        assert_eq!(of("998", &[], None).unwrap().name, "bascule");
        let missing = of("nobody-here", &[], None).unwrap_err().to_string();
        assert!(missing.contains("no user nobody-here") && missing.contains("--user"), "{missing}");
        assert!(of("bascule", &["nothing"], None).unwrap_err().to_string().contains("no group nothing"));
    }

    #[test]
    fn a_unit_tells_its_account_and_which_file_it_reads() {
        let shown = "LoadState=loaded\nUser=bascule\nGroup=bascule\nSupplementaryGroups=ssl-cert adm\nExecStart={ \
            path=/usr/local/bin/bascule ; argv[]=/usr/local/bin/bascule run --config /srv/edge.yaml ; ignore_errors=no ; }\n";
        let unit = Unit::parse(shown).unwrap();
        assert_eq!((unit.user.as_str(), unit.group.as_str()), ("bascule", "bascule"));
        assert_eq!(unit.supplementary, ["ssl-cert", "adm"]);
        assert!(unit.reads(Path::new("/srv/edge.yaml")) && !unit.reads(Path::new("/srv/edge")));
        assert_eq!(Unit::parse("LoadState=not-found\nUser=\nExecStart=\n"), None);
        assert_eq!(Unit::parse(""), None);
    }

    #[test]
    fn what_an_account_may_not_read_root_sees_through_its_eyes() {
        if !rustix::process::geteuid().is_root() {
            return println!("skipped: only root can look as somebody else");
        }
        let directory = tempfile::tempdir().unwrap();
        let open = |mode| fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).unwrap();
        let file = directory.path().join("key.pem");
        fs::write(&file, "secret").unwrap();
        let somebody = Account { name: "somebody".into(), uid: 54_321, gid: 54_322, groups: vec![54_323] };
        let reads = || somebody.looks(|| fs::read(&file).is_ok()).unwrap();
        for (directory_mode, mode, group, may) in [
            (0o755, 0o644, 0, true),
            (0o700, 0o644, 0, false),
            (0o755, 0o640, 0, false),
            (0o755, 0o640, 54_322, true),
            (0o755, 0o640, 54_323, true),
            (0o755, 0o600, 54_323, false),
        ] {
            open(directory_mode);
            chown(&file, Some(0), Some(group)).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(reads(), may, "directory {directory_mode:o}, file {mode:o} of group {group}");
        }
        // Root is root still.
        assert!(rustix::process::geteuid().is_root() && fs::read(&file).is_ok());
    }
}
