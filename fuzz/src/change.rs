//! Changes of an input: what a hand, a faulty program or an attacker would do to a message.

use fastrand::Rng;

/// Changes that one input gets at most. A few at once pass checks that no single change passes.
const MOST: usize = 6;

/// Numbers at the borders of what fields hold.
const NUMBERS: [&str; 12] = [
    "0",
    "1",
    "-1",
    "+1",
    "00",
    "127",
    "65535",
    "65536",
    "4294967296",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
];

/// Makes new inputs of known ones.
pub(crate) struct Changes<'a> {
    pub(crate) rng: &'a mut Rng,
    pub(crate) words: &'static [&'static [u8]],
    pub(crate) longest: usize,
}

impl Changes<'_> {
    /// Changes one of `pool`, of which the first `seeds` are seeds: every other time it is one of them, lest a run loses
    /// itself in what it found.
    pub(crate) fn of(&mut self, pool: &[Vec<u8>], seeds: usize) -> Vec<u8> {
        let among = if self.rng.bool() { seeds } else { pool.len() };
        let mut input = pool[self.rng.usize(..among)].clone();
        for _ in 0..self.rng.usize(1..=MOST) {
            self.change(&mut input, pool);
        }
        input.truncate(self.longest);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, pool: &[Vec<u8>]) {
        let at = self.rng.usize(..=input.len());
        let part = at..(at + self.rng.usize(..32)).min(input.len());
        match self.rng.u8(..11) {
            0 if at < input.len() => input[at] ^= 1 << self.rng.u8(..8),
            1 if at < input.len() => input[at] = self.rng.u8(..),
            2 => input.insert(at, self.rng.u8(..)),
            3 => drop(input.drain(part)),
            4 => input.truncate(at),
            5 => {
                let again = input[part].to_vec();
                put(input, at, &again);
            }
            // A word many times over finds what grows.
            6 => {
                let word = self.word();
                let times = 1 << self.rng.u32(..9);
                put(input, at, &word.repeat(times));
            }
            7 => {
                let number = NUMBERS[self.rng.usize(..NUMBERS.len())];
                replace_number(input, at, number.as_bytes());
            }
            8 => {
                let other = &pool[self.rng.usize(..pool.len())];
                let from = self.rng.usize(..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => {
                let word = self.word();
                put(input, at, &word);
            }
        }
    }

    fn word(&mut self) -> Vec<u8> {
        match self.words.len() {
            0 => vec![self.rng.u8(..)],
            words => self.words[self.rng.usize(..words)].to_vec(),
        }
    }
}

fn put(input: &mut Vec<u8>, at: usize, what: &[u8]) {
    drop(input.splice(at..at, what.iter().copied()));
}

/// Replaces the first number behind `at`; puts one there if there is none.
fn replace_number(input: &mut Vec<u8>, at: usize, number: &[u8]) {
    let start = input[at..].iter().position(u8::is_ascii_digit).map_or(at, |more| at + more);
    let length = input[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    drop(input.splice(start..start + length, number.iter().copied()));
}
