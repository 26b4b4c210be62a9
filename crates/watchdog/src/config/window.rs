//! The window of `failback: window`: days of the week and hours, in local time.

use failover::duty;
use jiff::ZonedDateTime;
use jiff::civil::DateTime;

/// Days and hours at which a failback is welcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Days on which it opens, Monday first.
    pub days: [bool; 7],
    /// Minute of the day at which it opens.
    pub from: u16,
    /// Minute of the day at which it closes; not after `from`: on the next day.
    pub to: u16,
}

impl Window {
    /// Tells whether it is open now, by this machine's time zone.
    pub fn now(&self) -> duty::Window {
        self.at(ZonedDateTime::now().datetime())
    }

    /// Tells whether it is open at a local time.
    pub fn at(&self, time: DateTime) -> duty::Window {
        let today = usize::from(time.weekday().to_monday_zero_offset().unsigned_abs());
        let minute = u16::from(time.hour().unsigned_abs()) * 60 + u16::from(time.minute().unsigned_abs());
        let open = if self.from < self.to {
            self.days[today] && (self.from..self.to).contains(&minute)
        } else {
            // A window over midnight belongs to the day on which it opens, the hours of the morning too.
            self.days[today] && minute >= self.from || self.days[(today + 6) % 7] && minute < self.to
        };
        if open { duty::Window::Open } else { duty::Window::Closed }
    }

    /// Reads `02:30` as a minute of the day; `24:00` is its end.
    pub(super) fn minute(text: &str) -> Option<u16> {
        let (hours, minutes) = text.split_once(':')?;
        let digits = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(hours) || !digits(minutes) {
            return None;
        }
        let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
        (minutes < 60 && hours * 60 + minutes <= 24 * 60).then_some(hours * 60 + minutes)
    }
}

#[cfg(test)]
mod tests {
    use failover::duty::Window::{Closed, Open};
    use jiff::civil::date;

    use super::Window;

    fn at(window: &Window, day: i8, hour: i8, minute: i8) -> failover::duty::Window {
        // 2024-01-01 was a Monday.
        window.at(date(2024, 1, day).at(hour, minute, 0, 0))
    }

    #[test]
    fn a_window_is_open_from_its_first_minute_until_its_last() {
        let mut days = [false; 7];
        days[0] = true;
        let window = Window { days, from: 120, to: 240 };
        let seen = [(1, 1, 59), (1, 2, 0), (1, 3, 59), (1, 4, 0), (2, 3, 0)].map(|(d, h, m)| at(&window, d, h, m));
        assert_eq!(seen, [Closed, Open, Open, Closed, Closed]);
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_opens() {
        let mut days = [false; 7];
        days[6] = true;
        let window = Window { days, from: 23 * 60, to: 60 };
        let seen = [(7, 22, 59), (7, 23, 0), (8, 0, 59), (8, 1, 0), (7, 0, 30)].map(|(d, h, m)| at(&window, d, h, m));
        assert_eq!(seen, [Closed, Open, Open, Closed, Closed]);
    }

    #[test]
    fn a_time_of_day_is_read_strictly() {
        assert_eq!(["00:00", "02:30", "24:00"].map(Window::minute), [Some(0), Some(150), Some(1440)]);
        for wrong in ["2:30", "02:60", "24:01", "25:00", "0230", "", "aa:bb", "+2:30"] {
            assert_eq!(Window::minute(wrong), None, "{wrong}");
        }
    }
}
