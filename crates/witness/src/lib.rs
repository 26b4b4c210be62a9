//! The Edge's vote: a voter and its disk. Nothing is answered that is not written. Its thread, its clock and its file are
//! left to the Edge; here they are arguments, so that a simulation has the same voter as a site.

use std::io;

use failover::Instant;
use failover::lease::{Answer, Event, Memory, Output, Record, Request, Timing, Voter};

/// Where the vote is kept.
pub trait Disk {
    /// Returns once it would survive a power cut.
    ///
    /// # Errors
    /// What the system says; nobody knows then what the disk holds.
    fn save(&mut self, memory: &Memory) -> io::Result<()>;
}

/// Answers requests, and writes first what the answer rests on.
#[derive(Debug)]
pub struct DurableVoter<D> {
    /// The rules of promising: a machine without clock or disk.
    pub voter: Voter,
    /// Where the vote is kept over restarts.
    pub disk: D,
    /// What the voter remembers is what the disk holds. After a write that failed nobody knows what the disk holds: until
    /// one succeeds, nothing is answered.
    written: bool,
    /// Why the last write failed.
    pub trouble: Option<String>,
    /// What the vote became, to be told.
    pub news: Vec<Record>,
}

impl<D: Disk> DurableVoter<D> {
    /// Begins with what was remembered; none: the disk was lost.
    pub fn new(timing: &Timing, memory: Option<&Memory>, disk: D, now: Instant) -> Self {
        let (voter, outputs) = Voter::new(timing, memory, now);
        let mut durable = Self { voter, disk, written: true, trouble: None, news: Vec::new() };
        let before = durable.voter;
        // What could not be written is written before the first answer.
        let _ = durable.carry_out(before, outputs);
        durable
    }

    /// Rules over a request.
    ///
    /// # Errors
    /// Why there is no answer: what it would rest on is not written.
    pub fn ask(&mut self, request: Request, now: Instant) -> Result<Answer, String> {
        let before = self.voter;
        let outputs = self.voter.handle(Event::Asked(request), now);
        let answer = self.carry_out(before, outputs)?;
        answer.ok_or_else(|| "the witness has no answer".to_owned())
    }

    /// Lets time pass, so that promises lapse; writes what follows.
    pub fn tick(&mut self, now: Instant) {
        let before = self.voter;
        let outputs = self.voter.handle(Event::Timer, now);
        let _ = self.carry_out(before, outputs);
    }

    /// A batch of which a write fails has not happened: the voter is as it was before.
    fn carry_out(&mut self, before: Voter, outputs: Vec<Output>) -> Result<Option<Answer>, String> {
        let mut news = Vec::new();
        let mut answer = None;
        for output in outputs {
            let written = match output {
                Output::Persist(memory) => self.write(&memory),
                Output::Answer(ruled) => {
                    answer = Some(ruled);
                    // Not even a renewal rests on a disk of which nobody knows what it holds.
                    if self.written { Ok(()) } else { self.write(&self.voter.memory()) }
                }
                Output::Changed(record) => {
                    news.push(record);
                    Ok(())
                }
            };
            if let Err(why) = written {
                self.voter = before;
                return Err(why);
            }
        }
        // Only a batch that holds is news: of one that was undone nothing became of the vote.
        self.news.append(&mut news);
        Ok(answer)
    }

    fn write(&mut self, memory: &Memory) -> Result<(), String> {
        let saved = self.disk.save(memory).map_err(|error| format!("the witness's vote cannot be written: {error}"));
        self.written = saved.is_ok();
        self.trouble = saved.as_ref().err().cloned();
        saved
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use failover::Side;
    use failover::health::Status;
    use failover::lease::{Ask, Promise, Report, VoteReply};

    use super::*;

    /// A disk that can be made to fail before or after it took what was written.
    #[derive(Default)]
    struct Plate {
        held: Option<Memory>,
        fails: bool,
        takes_it_all_the_same: bool,
    }

    impl Disk for &mut Plate {
        fn save(&mut self, memory: &Memory) -> io::Result<()> {
            if !self.fails || self.takes_it_all_the_same {
                self.held = Some(*memory);
            }
            if self.fails { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }
    }

    fn request(from: Side, ask: Ask, campaign: u64) -> Request {
        let report = Report { status: Status::Inactive, fit: true, witness_out: false, unguarded: false };
        let needs = Timing::DEFAULT.shortest_promise();
        Request { from, ask, campaign, epoch: 0, report, settled: true, hears: true, instance: 1, needs }
    }

    fn at(ms: u64) -> Instant {
        Instant::ORIGIN + Duration::from_millis(ms)
    }

    const FREE: Memory = Memory { record: Record::Free, epoch: 0 };

    #[test]
    fn a_grant_is_on_the_disk_before_it_is_answered() {
        let mut plate = Plate::default();
        let mut durable = DurableVoter::new(&Timing::DEFAULT, Some(&FREE), &mut plate, at(0));
        assert_eq!(std::mem::take(&mut durable.news), [Record::Free]);
        let answer = durable.ask(request(Side::Main, Ask::Want, 1), at(1)).unwrap();
        assert_eq!(answer.ruling, VoteReply::Grant);
        let (epoch, length) = (answer.epoch, Timing::DEFAULT.promise);
        let promise = Promise { holder: Side::Main, campaign: 1, epoch, length, instance: Some(1) };
        assert_eq!(durable.news, [Record::Promised(promise)]);
        assert_eq!(plate.held.unwrap().record, Record::Promised(promise));
    }

    #[test]
    fn w1_a_vote_that_cannot_be_written_is_promised_to_nobody() {
        let mut plate = Plate { fails: true, ..Plate::default() };
        let mut durable = DurableVoter::new(&Timing::DEFAULT, Some(&FREE), &mut plate, at(0));
        durable.news.clear();
        let refused = durable.ask(request(Side::Main, Ask::Want, 1), at(1)).unwrap_err();
        assert!(refused.contains("cannot be written"), "{refused}");
        assert!(durable.voter.is_free() && durable.news.is_empty() && durable.trouble.is_some());
        durable.disk.fails = false;
        assert_eq!(durable.ask(request(Side::Standby, Ask::Want, 1), at(2)).unwrap().ruling, VoteReply::Grant);
        assert_eq!(durable.trouble, None);
    }

    #[test]
    fn w1_after_a_write_of_unknown_outcome_not_even_a_renewal_is_granted_before_the_disk_says_so() {
        let mut plate = Plate::default();
        let mut durable = DurableVoter::new(&Timing::DEFAULT, Some(&FREE), &mut plate, at(0));
        durable.ask(request(Side::Main, Ask::Want, 1), at(1)).unwrap();
        // Main's promise lapses; Standby's is written, and the disk says that it was not.
        (durable.disk.fails, durable.disk.takes_it_all_the_same) = (true, true);
        durable.ask(request(Side::Standby, Ask::Want, 1), at(4000)).unwrap_err();
        durable.disk.takes_it_all_the_same = false;
        durable.ask(request(Side::Main, Ask::Renew, 1), at(4001)).unwrap_err();
        durable.disk.fails = false;
        assert_eq!(durable.ask(request(Side::Main, Ask::Renew, 1), at(4002)).unwrap().ruling, VoteReply::Grant);
        let held = plate.held.unwrap().record;
        assert!(matches!(held, Record::Promised(Promise { holder: Side::Main, .. })), "{held}");
    }

    #[test]
    fn w1_a_lost_disk_is_quiet_for_its_time_and_says_so_on_the_new_one_first() {
        let mut plate = Plate { fails: true, ..Plate::default() };
        let mut durable = DurableVoter::new(&Timing::DEFAULT, None, &mut plate, at(0));
        durable.ask(request(Side::Main, Ask::Renew, 1), at(1)).unwrap_err();
        durable.disk.fails = false;
        assert_eq!(durable.ask(request(Side::Main, Ask::Renew, 1), at(2)).unwrap().ruling, VoteReply::Deny);
        assert_eq!(durable.disk.held.unwrap().record, Record::Unknown);
        assert_eq!(durable.ask(request(Side::Main, Ask::Want, 1), at(2499)).unwrap().ruling, VoteReply::Deny);
        durable.tick(at(2500));
        assert_eq!(durable.disk.held.unwrap().record, Record::Free);
        assert_eq!(durable.ask(request(Side::Main, Ask::Want, 1), at(2501)).unwrap().ruling, VoteReply::Grant);
    }
}
