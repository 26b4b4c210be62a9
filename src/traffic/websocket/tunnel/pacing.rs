//! In which order and how fast users leave a demoted side. Only time and users; what it means to leave is the caller's.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

use super::User;

/// How a demotion is spread over time, so that users do not all come back in the same instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pacing {
    /// Users per second; none: all at once.
    pub reconnect_rate: Option<NonZeroU32>,
    /// After this time whoever is left goes at once.
    pub drain_limit: Duration,
}

impl Pacing {
    /// Everybody in the same instant.
    pub const OFF: Self = Self { reconnect_rate: None, drain_limit: Duration::ZERO };

    pub(super) fn interval(&self) -> Option<Duration> {
        self.reconnect_rate.map(|rate| Duration::from_secs(1) / rate.get())
    }
}

/// Users who must leave and wait for their turn. Demotions queue up: all share one rate, each keeps its own limit.
#[derive(Debug, Default)]
pub(super) struct Queue {
    batches: VecDeque<Batch>,
    next_turn: Option<Instant>,
}

#[derive(Debug)]
struct Batch {
    users: Vec<User>,
    interval: Duration,
    begun: Instant,
    deadline: Instant,
}

impl Queue {
    /// Adds the users of one demotion in an order that favours nobody.
    pub(super) fn push(&mut self, mut users: Vec<User>, interval: Duration, limit: Duration, now: Instant) {
        if !users.is_empty() {
            fastrand::shuffle(&mut users);
            self.batches.push_back(Batch { users, interval, begun: now, deadline: now + limit });
        }
    }

    /// Dismisses every user whose turn has come and returns when the next comes, if anybody is left. `dismiss` tells
    /// how many sessions it closed; a user who had none does not use up a turn.
    pub(super) fn run(&mut self, now: Instant, mut dismiss: impl FnMut(&User) -> usize) -> Option<Instant> {
        // Whose limit is over goes first, whatever the rate says: nobody stays behind (E6).
        self.batches.retain(|batch| {
            let waits = batch.deadline > now;
            if !waits {
                batch.dismiss_all(&mut dismiss);
            }
            waits
        });
        while let Some(batch) = self.batches.front_mut() {
            let turn = self.next_turn.map_or(batch.begun, |turn| turn.max(batch.begun));
            if turn > now {
                return self.batches.iter().map(|batch| batch.deadline).min().map(|deadline| deadline.min(turn));
            }
            match batch.users.pop() {
                // From the turn and not from now: a timer that is late is caught up with, and the rate holds on the
                // whole.
                Some(user) if dismiss(&user) > 0 => self.next_turn = Some(turn + batch.interval),
                Some(_) => {}
                None => drop(self.batches.pop_front()),
            }
        }
        None
    }

    /// Dismisses everybody at once: nobody will have turns carried out any more.
    pub(super) fn run_out(&mut self, mut dismiss: impl FnMut(&User) -> usize) {
        for batch in self.batches.drain(..) {
            batch.dismiss_all(&mut dismiss);
        }
    }
}

impl Batch {
    fn dismiss_all(&self, mut dismiss: impl FnMut(&User) -> usize) {
        for user in &self.users {
            dismiss(user);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const TENTH: Duration = Duration::from_millis(100);

    fn users(from: u8, to: u8) -> Vec<User> {
        (from..to).map(|n| User::of(None, IpAddr::from([192, 0, 2, n]))).collect()
    }

    /// Runs the queue to its end; who was dismissed when, in milliseconds after `begun`.
    fn run_through(queue: &mut Queue, begun: Instant, sessions: impl Fn(&User) -> usize) -> Vec<(u128, User)> {
        let (mut now, mut dismissed) = (begun, Vec::new());
        loop {
            let next = queue.run(now, |user| {
                dismissed.push(((now - begun).as_millis(), user.clone()));
                sessions(user)
            });
            match next {
                Some(next) => now = next,
                None => return dismissed,
            }
        }
    }

    #[test]
    fn users_leave_at_the_rate_and_the_rest_at_the_limit() {
        let (mut queue, begun) = (Queue::default(), Instant::now());
        queue.push(users(0, 10), TENTH, Duration::from_millis(450), begun);
        let times: Vec<u128> = run_through(&mut queue, begun, |_| 2).into_iter().map(|(at, _)| at).collect();
        assert_eq!(times, [0, 100, 200, 300, 400, 450, 450, 450, 450, 450]);
    }

    #[test]
    fn a_user_who_left_alone_uses_no_turn() {
        let (mut queue, begun) = (Queue::default(), Instant::now());
        let all = users(0, 10);
        queue.push(all.clone(), TENTH, Duration::from_secs(60), begun);
        let dismissed = run_through(&mut queue, begun, |user| usize::from(*user == all[0] || *user == all[1]));
        assert_eq!(dismissed.len(), 10);
        assert!(dismissed.iter().all(|(at, _)| *at <= 200), "two turns were used: {dismissed:?}");
    }

    #[test]
    fn two_demotions_share_one_rate_and_keep_their_own_limits() {
        let (mut queue, begun) = (Queue::default(), Instant::now());
        queue.push(users(0, 5), TENTH, Duration::from_secs(60), begun);
        queue.push(users(10, 15), TENTH, Duration::from_millis(650), begun + Duration::from_millis(50));
        let times: Vec<u128> = run_through(&mut queue, begun, |_| 1).into_iter().map(|(at, _)| at).collect();
        assert_eq!(times, [0, 100, 200, 300, 400, 500, 600, 700, 700, 700]);
    }

    #[test]
    fn a_late_timer_catches_up() {
        let (mut queue, begun) = (Queue::default(), Instant::now());
        queue.push(users(0, 10), TENTH, Duration::from_secs(60), begun);
        let mut gone = 0;
        let next = queue.run(begun + Duration::from_millis(350), |_| {
            gone += 1;
            1
        });
        assert_eq!((gone, next), (4, Some(begun + Duration::from_millis(400))));
    }
}
