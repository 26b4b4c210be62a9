//! Mistakes, and the words they are answered with.

use super::errors;

#[test]
fn five_mistakes_in_one_file_give_five_messages_with_line_key_and_remedy() {
    let text = "\
preset: xivo
fqnd: edge.example.org
certificate: { chain: /etc/bascule/tls/chain.pem, key: /etc/bascule/tls/key.pem }
sides:
  main: { cc: 10.0.0.300, xivo: 10.0.0.11 }
  standby: { cc: 10.0.0.22 }
probe:
  interval: 5
failback: stiky
";
    let expected = [
        "edge.yaml:2: fqnd: unknown key; did you mean fqdn?",
        "edge.yaml:5: sides.main.cc: \"10.0.0.300\" is not an address; write an IP address (10.0.0.21, \
         10.0.0.21:8443, [2001:db8::1]:443, https://10.0.0.21); names are not resolved here, so that a dead DNS \
         stops nobody",
        "edge.yaml:6: sides.standby.xivo: is missing, but required; write its address, or take xivo out of required",
        "edge.yaml:8: probe.interval: the number 5 is of the wrong kind; write a time with its unit, such as 800ms, \
         5s or 1m30s",
        "edge.yaml:9: failback: \"stiky\" is not known here; did you mean sticky? write sticky or prefer-main",
    ];
    assert_eq!(errors(text), expected);
}
