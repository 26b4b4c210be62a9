//! Tells systemd which side is live, for the first line that an administrator reads: `systemctl status`.

use std::sync::Arc;

use crate::live::{Live, Mode, View};

/// Keeps the unit's status line as the live side is, for ever.
pub async fn follow(live: Arc<Live>) {
    let mut told: Option<String> = None;
    loop {
        let seen = live.view();
        let line = line(seen);
        // By the words alone: epochs come and go within them.
        if told.as_deref() != Some(&line) {
            daemon::systemd::status(&line);
            told = Some(line);
        }
        live.changed_from(seen).await;
    }
}

fn line(View { side, mode, .. }: View) -> String {
    match mode {
        Mode::Serving => format!("{side} is live"),
        Mode::Deciding => "both sides are being judged; requests wait".to_owned(),
        Mode::Waiting => format!("OUTAGE: {side} is live and does not work; users see the waiting page"),
    }
}

#[cfg(test)]
mod tests {
    use failover::Side;

    use super::*;

    #[test]
    fn the_line_names_the_live_side_and_an_outage() {
        let of = |mode| line(View { side: Side::Standby, mode, epoch: 7 });
        assert_eq!(of(Mode::Serving), "standby is live");
        assert!(of(Mode::Waiting).starts_with("OUTAGE: standby"));
        assert!(!of(Mode::Deciding).contains("standby"), "nobody is believed yet");
    }
}
