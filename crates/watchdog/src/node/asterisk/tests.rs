use super::table::{contacts, registrations};
use super::*;

const LIMIT: Duration = Duration::from_secs(20);

/// What Asterisk 16.28 printed on a machine whose interfaces have other names than it expects.
const REGISTRATIONS: &str = include_str!("samples/registrations-16.txt");
const UNREGISTERED: &str = include_str!("samples/registrations-16-unregistered.txt");
const CONTACTS: &str = include_str!("samples/contacts-16.txt");
const AORS: &str = include_str!("samples/aors-16.txt");

/// The forms of versions around it: without expiry and hash, and with longer words.
const REGISTRATIONS_13: &str = "
 <Registration/ServerURI..............................>  <Auth..........>  <Status.......>
==========================================================================================

 mds1/sip:10.0.0.31                                      mds1              Registered
 mds2/sip:10.0.0.32:5062                                 n/a               Unregistered
";
const CONTACTS_13: &str = "
  Contact:  <Aor/ContactUri...............................>  <Status....>  <RTT(ms)..>
==========================================================================================

  Contact:  xivo/sip:xivo@10.0.0.12:5060;transport=tcp       Unavail              nan
";
const REGISTRATIONS_22: &str = "
 <Registration/ServerURI..............................>  <Auth....................>  <Status.......>
==========================================================================================

 mds1/sip:[fd00::31]                                     mds1                        Stopped           (exp. 4s ago)
 mds2/sip:10.0.0.32                                      mds2                        Unregistering     (exp. 4s)

Objects found: 2
";

fn states(text: &str) -> Vec<(String, RegistrationState)> {
    registrations(text).unwrap().into_iter().map(|found| (found.name, found.state)).collect()
}

#[test]
fn registrations_are_read_whatever_stands_around_them() {
    use RegistrationState::{Other, Registered, Rejected, Stopped, Unregistered};
    let named = |name: &str, state| (name.to_owned(), state);
    let long = "an-extremely-long-name-of-a-media-server-in-the-north";
    let first =
        [named(long, Registered), named("mds1", Registered), named("mds2", Rejected), named("mds_three", Rejected)];
    assert_eq!(states(REGISTRATIONS), first);
    assert_eq!(states(UNREGISTERED)[1], named("mds1", Unregistered));
    assert_eq!(states(REGISTRATIONS_13), [named("mds1", Registered), named("mds2", Unregistered)]);
    assert_eq!(states(REGISTRATIONS_22), [named("mds1", Stopped), named("mds2", Other("Unregistering".into()))]);
    assert_eq!(states("a warning\nNo objects found.\n\n"), []);
}

#[test]
fn a_name_that_is_cut_is_known_by_its_beginning() {
    let long = "a-name-of-more-than-fifty-four-characters-that-asterisk-cuts-somewhere";
    let row = format!("==========\n {:.54}  auth  Registered\n", format!("{long}/sip:10.0.0.31"));
    let found = registrations(&row).unwrap().remove(0);
    assert!(found.cut && found.is(long) && !found.is("a-name"));
    let whole = registrations("==========\n mds1/sip:x  auth  Registered").unwrap().remove(0);
    assert!(whole.is("mds1") && !whole.is("mds10"));
}

#[test]
fn contacts_are_read_with_their_addresses() {
    let found = contacts(CONTACTS).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].aor.as_str(), found[0].address, found[0].status.as_str()), ("other", None, "NonQual"));
    assert_eq!((found[1].aor.as_str(), found[1].uri.as_str()), ("xivo", "sip:xivo@10.0.0.11:5060"));
    assert_eq!((found[1].address, found[1].status.as_str()), (Some("10.0.0.11".parse().unwrap()), "Avail"));
    assert_eq!(contacts(AORS).unwrap(), found, "the same in the table of addresses of record");
    let found = contacts(CONTACTS_13).unwrap().remove(0);
    assert_eq!((found.address, found.status.as_str()), (Some("10.0.0.12".parse().unwrap()), "Unavail"));
}

#[test]
fn an_address_that_may_be_cut_is_none() {
    let of = |uri: &str| {
        let text = format!(
            "Contact:  <Aor/ContactUri.....> <Hash....> <Status> <RTT(ms)..>\n\
             =====\n\
             Contact:  {uri} 109897e98a Avail 1\n"
        );
        contacts(&text).unwrap().remove(0).address
    };
    let address = |text: &str| Some(text.parse().unwrap());
    assert_eq!(of("a/sip:10.0.0.11"), address("10.0.0.11"));
    assert_eq!(of("abc/sip:xy@10.0.0.1"), address("10.0.0.1"));
    assert_eq!(of("abcdef/sip:xy@10.0.0.1"), None, "it fills the column: 10.0.0.11 looks the same");
    assert_eq!(of("abcde/sip:x@10.0.0.1:"), address("10.0.0.1"));
    assert_eq!(of("abcdef/sip:x@[fd00::1"), None);
    assert_eq!(of("a/sips:[fd00::1]:5061"), address("fd00::1"));
    assert_eq!(of("a/tel:123"), None);
}

#[test]
fn what_is_no_table_or_not_the_whole_of_it_is_not_taken_for_one() {
    assert!(registrations("").is_err() && contacts("Asterisk ending (0).\n").is_err());
    let short = REGISTRATIONS.replace(" mds1/sip:10.0.0.31 ", "").replace("Objects found: 4", "Objects found: 5");
    assert!(registrations(&short).is_err());
    assert!(contacts(&CONTACTS.replace("Avail         0.539", "")).is_err());
    let cut = REGISTRATIONS.find("mds2/").unwrap();
    assert!(registrations(&REGISTRATIONS[..cut + 4]).is_err());
}

#[test]
fn the_sides_are_known_by_their_addresses() {
    let contact = |address: &str, status: &str| Contact {
        aor: "xivo".into(),
        uri: String::new(),
        address: address.parse().ok(),
        status: status.into(),
    };
    let [main, standby] = ["10.0.0.11", "10.0.0.12"].map(|address| address.parse().unwrap());
    let among = |contacts: &[Contact]| Present::among(contacts, main, standby);
    assert_eq!(among(&[]), Present { main: false, standby: false });
    let both = [contact("10.0.0.12", "Avail"), contact("10.0.0.11", "NonQual"), contact("10.0.0.9", "Avail")];
    assert_eq!(among(&both), Present { main: true, standby: true });
    let dead = [contact("10.0.0.12", "Avail"), contact("10.0.0.11", "Unavail")];
    assert_eq!(among(&dead), Present { main: false, standby: true });
}

/// An Asterisk that prints `said`.
fn asterisk(said: &str, code: i32) -> Asterisk {
    let script = format!("cat <<'EOF'\n{said}\nEOF\nexit {code}");
    Asterisk::new(AsteriskSpec {
        command: ["sh", "-c", &script, "asterisk"].map(String::from).into(),
        time_limit: LIMIT,
    })
}

#[tokio::test]
async fn complaints_are_found_though_the_exit_code_says_well_done() {
    let noise = "No ethernet interface found for seeding global EID. You will have to set it manually.";
    let unknown = format!("{noise}\nUnable to retrieve registration x\nCommand 'pjsip send register x' failed.");
    assert_eq!(asterisk(&unknown, 0).register("x").await, Err(AsteriskError::NoSuchRegistration("x".into())));
    let not_loaded = format!("{noise}\nNo such command 'pjsip show contacts' (type 'core show help pjsip show')");
    let error = asterisk(&not_loaded, 0).contacts().await.unwrap_err().to_string();
    assert!(error.starts_with("asterisk: `pjsip show contacts`: No such command"), "{error}");
    let gone = format!("Unable to connect to remote asterisk (does /run/asterisk/asterisk.ctl exist?)\n{noise}");
    let error = asterisk(&gone, 1).registrations().await.unwrap_err().to_string();
    assert!(error.contains("Unable to connect to remote asterisk"), "{error}");
    assert_eq!(asterisk(noise, 0).unregister("mds1").await, Ok(()));
    assert!(matches!(asterisk(noise, 0).contacts().await, Err(AsteriskError::Unreadable { .. })));
    assert_eq!(asterisk(CONTACTS, 0).contacts().await.unwrap().len(), 2);
    let missing = Asterisk::new(AsteriskSpec { command: vec!["/no/such/asterisk".into()], time_limit: LIMIT });
    assert!(missing.registrations().await.unwrap_err().to_string().contains("no such program"));
}

#[tokio::test]
async fn only_plain_names_are_sent() {
    for name in ["", "*all", "a b", "a\nb", "é"] {
        assert!(matches!(asterisk("", 0).unregister(name).await, Err(AsteriskError::BadName(_))), "{name}");
    }
    let words =
        Asterisk::new(AsteriskSpec { command: vec!["asterisk".into(), "-C".into(), "/x".into()], time_limit: LIMIT });
    assert_eq!(words.unregistering("mds1").to_string(), "asterisk -C /x -rx pjsip send unregister mds1");
}

const TRANSPORTS: &str = "
Transport:  <TransportId........>  <Type>  <cos>  <tos>  <BindAddress....................>
==========================================================================================

Transport:  own                       udp      0      0  127.0.0.1:5999
Transport:  transport-tcp             tcp      0      0  [::]:5160
Transport:  transport-udp             udp      0      0  0.0.0.0:5060
Transport:  transport-wss             wss      0      0  0.0.0.0:5060

Objects found: 4
";
const HTTP: &str = "HTTP Server Status:
Prefix: 
Server: Asterisk/16.28.0~dfsg-0+deb11u4
Server Enabled and Bound to 0.0.0.0:5039

HTTPS Server Enabled and Bound to [::]:8089

Enabled URI's:
/httpstatus => Asterisk HTTP General Status
/ws => Asterisk HTTP WebSocket
";
const CHAN_SIP: &str = "

Global Settings:
----------------
  UDP Bindaddress:        0.0.0.0:5070
  TCP SIP Bindaddress:    Disabled
  TLS SIP Bindaddress:    10.0.0.11:5071
";

#[test]
fn where_asterisk_listens_is_read_and_what_is_its_hosts_alone_left_out() {
    let numbers = |ports: Vec<Port>| ports.into_iter().map(|(port, _)| port).collect::<Vec<_>>();
    assert_eq!(numbers(ports::transports(TRANSPORTS)), [5160, 5060]);
    assert_eq!(numbers(ports::websocket(HTTP)), [5039, 8089]);
    assert!(ports::websocket(&HTTP.replace("/ws => Asterisk HTTP WebSocket", "")).is_empty(), "no phones there");
    assert!(ports::websocket("HTTP Server Status:\nServer Disabled\n").is_empty());
    assert_eq!(numbers(ports::chan_sip(CHAN_SIP)), [5070, 5071]);
    let ported: Vec<_> = registrations(REGISTRATIONS_13).unwrap().into_iter().map(|found| found.port).collect();
    assert_eq!(ported, [None, Some(5062)]);
    let mut all = Ports::default();
    all.extend(ports::transports(TRANSPORTS));
    all.extend(ports::websocket(HTTP));
    let said = all.beyond(&[5060, 5061, 8089]).unwrap();
    assert!(said.contains("5039 (WebSocket, http.conf), 5160 (tcp, transport transport-tcp)"), "{said}");
    assert!(said.contains("ports: [5060, 5061, 8089, 5039, 5160]"), "{said}");
    assert_eq!(all.beyond(&[5060, 5039, 5160, 8089]), None);
}

#[test]
fn a_port_that_is_there_for_udp_and_for_tcp_is_told_with_both() {
    let mut all = Ports::default();
    for _ in 0..2 {
        all.extend(ports::transports(&TRANSPORTS.replace("[::]:5160", "0.0.0.0:5060")));
    }
    assert_eq!(all.sentence(), "5060 (tcp, transport transport-tcp; udp, transport transport-udp)");
    assert_eq!(all.beyond(&[5060]), None);
}
