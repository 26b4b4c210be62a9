//! OPTIONS over UDP: sent again and again until a final response comes (RFC 3261, 17.1.2, fitted into the check's time
//! limit).

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::message::Head;
use super::{HEAD_LIMIT, Meaning, SipCheck, Transaction, Waiting, request};
use crate::check::Check;
use crate::failure::Failure;
use crate::meter::Meter;
use crate::tcp;

/// RFC 3261's T1 and T2: the first interval between retransmissions, and the longest.
const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
/// Below this, retransmissions would only flood a target that is slow.
const SHORTEST: Duration = Duration::from_millis(20);

pub(super) async fn ask(
    sip: &SipCheck,
    check: &Check,
    transaction: &Transaction,
    meter: &mut Meter,
) -> Result<u16, Failure> {
    let socket = tcp::datagrams(check.target, check.source).await?;
    meter.needs_no_connection();
    let local = socket.local_addr().map_err(|error| Failure::local("read the local address", error))?;
    let request = request(sip, check.target, local, transaction);
    let first_byte = meter.first_byte();
    let mut waiting = Waiting::new(meter);
    // What does not fit is cut off: a head longer than this is no answer anyway.
    let mut buffer = vec![0; HEAD_LIMIT];
    let mut interval = first_interval(check.time_limit);
    let mut next_send = Instant::now();
    loop {
        // No answer yet, or not even asked: (once more) the question.
        let Ok(received) = timeout_at(next_send, socket.recv(&mut buffer)).await else {
            socket.send(request.as_bytes()).await.map_err(|error| Failure::of_io(&error))?;
            next_send += interval;
            interval = (interval * 2).min(T2);
            continue;
        };
        // A connected socket reports ICMP's "port unreachable" here.
        let length = received.map_err(|error| Failure::of_io(&error))?;
        first_byte.seen();
        match Head::parse(&buffer[..length]).map_or(Meaning::Stray, |head| transaction.meaning(&head)) {
            Meaning::Final(status) => return Ok(status),
            // The target has the request: it is asked again only so that a lost final response is repeated (RFC 3261
            // section 17.1.2.2).
            Meaning::Provisional(status) => {
                waiting.provisional(status);
                interval = T2;
                next_send = Instant::now() + T2;
            }
            Meaning::Stray => waiting.stray()?,
        }
    }
}

/// T1 suits limits of half a minute. An eighth of the limit sends at 0, 1/8, 3/8 and 7/8 of it: one lost datagram, or
/// two, do not make a target silent.
fn first_interval(time_limit: Duration) -> Duration {
    (time_limit / 8).clamp(SHORTEST, T1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retransmissions_fit_into_the_time_limit_and_never_outpace_a_flood() {
        assert_eq!(first_interval(Duration::from_millis(800)), Duration::from_millis(100));
        assert_eq!(first_interval(Duration::from_secs(32)), T1);
        assert_eq!(first_interval(Duration::from_millis(1)), SHORTEST);
    }
}
