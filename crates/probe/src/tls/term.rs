//! From when until when a certificate is good, and when its end is worth a word.

use std::time::{SystemTime, UNIX_EPOCH};

const DAY: i64 = 24 * 60 * 60;
/// An end is told from so many days on: time for whoever renews by hand.
pub const SOON_DAYS: i64 = 30;
/// Nor before the last quarter: certificates that live for weeks are renewed by a machine, and late.
const LAST_PART: i64 = 4;

/// From when until when a certificate is good, both included, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// The first second in which it is valid, of the Unix epoch.
    pub not_before: i64,
    /// The last second in which it is valid.
    pub not_after: i64,
}

/// How near a certificate's end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It ends so far away that nobody needs to know.
    Far,
    /// It is to be renewed: whole days left.
    Soon(i64),
    /// It is over: whole days since.
    Past(i64),
}

impl Term {
    /// The term of a parsed certificate.
    #[must_use]
    pub fn of(certificate: &x509_parser::certificate::X509Certificate<'_>) -> Self {
        let validity = certificate.validity();
        Self { not_before: validity.not_before.timestamp(), not_after: validity.not_after.timestamp() }
    }

    /// Whole days left, rounded down; negative once it is over.
    #[must_use]
    pub fn days_left(&self, now: SystemTime) -> i64 {
        self.not_after.saturating_sub(seconds(now)).div_euclid(DAY)
    }

    /// How near its end is.
    #[must_use]
    pub fn end(&self, now: SystemTime) -> End {
        let left = self.not_after.saturating_sub(seconds(now));
        let last_part = self.not_after.saturating_sub(self.not_before) / LAST_PART;
        match left {
            ..0 => End::Past(left.saturating_neg() / DAY),
            _ if left < (SOON_DAYS * DAY).min(last_part) => End::Soon(left / DAY),
            _ => End::Far,
        }
    }
}

fn seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_secs()).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_end_is_told_in_the_last_month_of_long_terms_and_the_last_quarter_of_short_ones() {
        let at =
            |days: i64, hours: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(days * DAY + hours * 3600).unwrap());
        let table = [
            (365, (334, 0), End::Far),
            (365, (335, 1), End::Soon(29)),
            (365, (364, 23), End::Soon(0)),
            (365, (365, 0), End::Soon(0)),
            (365, (365, 1), End::Past(0)),
            (365, (368, 1), End::Past(3)),
            // Renewed by certbot with 30 days to go.
            (90, (62, 0), End::Far),
            (90, (68, 0), End::Soon(22)),
            (6, (4, 0), End::Far),
            (6, (5, 0), End::Soon(1)),
        ];
        for (days, (day, hour), end) in table {
            let term = Term { not_before: 0, not_after: days * DAY };
            assert_eq!(term.end(at(day, hour)), end, "{days} days, after {day} days and {hour} hours");
        }
        let wild = Term { not_before: i64::MIN, not_after: i64::MAX };
        assert_eq!(
            (wild.end(UNIX_EPOCH), Term { not_after: i64::MIN, ..wild }.end(UNIX_EPOCH)),
            (End::Far, End::Past(i64::MAX / DAY))
        );
    }
}
