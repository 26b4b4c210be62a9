//! Feeds a parser with changed seeds and holds it to its properties. The targets stand beside the parsers they try, as
//! tests in modules called `fuzz`; what they have in common is here: seeds, changes, keeping, shrinking.
//!
//! A target says of each input in a few words what the parser made of it (its *shape*). An input of a new shape is kept
//! and changed further, so that a run gets from a seed to what lies many changes away: on the stable compiler, without
//! instrumented code, and the same in each run. [`SECONDS`] in the environment makes it another run each time, and as
//! long as wanted.

#![allow(clippy::disallowed_methods, reason = "a run lasts as long as somebody wants it to")]

mod change;
mod corpus;
mod shrink;

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use change::Changes;
use corpus::Corpus;

/// Names the variable of the environment that has each target run for so many seconds, with other inputs each time,
/// instead of its number of runs.
pub const SECONDS: &str = "BASCULE_FUZZ_SECONDS";

/// Inputs of a new shape that are kept at most: a target whose shapes never end gets no slower by it.
const MOST_KEPT: usize = 4096;

/// A parser to be tried, and with what.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    name: &'static str,
    runs: u32,
    words: &'static [&'static [u8]],
    longest: usize,
    in_all: Bound,
    at_once: Bound,
}

/// Bytes of memory: so many, and so many more for each byte of input.
#[derive(Debug, Clone, Copy)]
struct Bound {
    fixed: u64,
    each: u64,
}

impl Bound {
    const fn of(self, input: &[u8]) -> u64 {
        self.fixed + self.each * input.len() as u64
    }
}

impl Target {
    /// Names a target after the directory of its seeds in `fuzz/corpus`; `runs` is how many changed inputs one test takes.
    #[must_use]
    pub const fn new(name: &'static str, runs: u32) -> Self {
        let bound = Bound { fixed: 1 << 20, each: 256 };
        Self { name, runs, words: &[], longest: 4096, in_all: bound, at_once: bound }
    }

    /// Gives words that mean something to the parser: a change puts one of them somewhere.
    #[must_use]
    pub const fn words(self, words: &'static [&'static [u8]]) -> Self {
        Self { words, ..self }
    }

    /// Sets how many bytes an input has at most; 4096 unless told.
    #[must_use]
    pub const fn longest(self, longest: usize) -> Self {
        Self { longest, ..self }
    }

    /// Bounds the memory that one input costs, added up over the whole run of the property and its own oracles: `fixed`
    /// bytes, and `each` for every byte of input. What copies its input once for each of its bytes fails. 1 MiB and 256
    /// unless told.
    #[must_use]
    pub const fn allocates(self, fixed: u64, each: u64) -> Self {
        Self { in_all: Bound { fixed, each }, ..self }
    }

    /// Bounds the memory that is held at one time, likewise.
    #[must_use]
    pub const fn holds(self, fixed: u64, each: u64) -> Self {
        Self { at_once: Bound { fixed, each }, ..self }
    }

    /// Runs `property` on each seed as it is, then on changed ones. It panics where a property does not hold, and returns
    /// the input's shape: which error, which kind, how many parts. Too fine a shape keeps everything and finds nothing.
    ///
    /// # Panics
    /// When the property does, or allocates beyond the bound. The input is made as short as it can be, told, and written
    /// beside the seeds, where each later run begins with it.
    pub fn check<S: Hash>(self, property: impl Fn(&[u8]) -> S) {
        let corpus = Corpus::read(self.name);
        let mut pool: Vec<Vec<u8>> = corpus.seeds().to_vec();
        let mut shapes = HashSet::new();
        for seed in corpus.seeds() {
            shapes.insert(self.run(&property, seed, &corpus));
        }
        let mut rng = fastrand::Rng::with_seed(hash(&self.name));
        let mut end = End::After(self.runs);
        if let Some(seconds) = std::env::var(SECONDS).ok().and_then(|text| text.parse().ok()) {
            rng = fastrand::Rng::new();
            end = End::At(Instant::now() + Duration::from_secs(seconds));
        }
        let mut tried: u64 = 0;
        while !end.reached() {
            let input =
                Changes { rng: &mut rng, words: self.words, longest: self.longest }.of(&pool, corpus.seeds().len());
            tried += 1;
            if shapes.insert(self.run(&property, &input, &corpus)) && pool.len() < MOST_KEPT {
                pool.push(input);
            }
        }
        println!("{}: {} seeds, {tried} changed, {} shapes", self.name, corpus.seeds().len(), shapes.len());
    }

    /// Runs one input; the hash of its shape.
    fn run<S: Hash>(&self, property: &impl Fn(&[u8]) -> S, input: &[u8], corpus: &Corpus) -> u64 {
        match self.attempt(property, input) {
            Ok(shape) => shape,
            Err(why) => {
                let least = shrink::least(input.to_vec(), |shorter| self.attempt(property, shorter).is_err());
                let kept = corpus.keep(&least);
                panic!("{}: {why}\n{} bytes, {kept}: \"{}\"", self.name, least.len(), least.escape_ascii());
            }
        }
    }

    fn attempt<S: Hash>(&self, property: &impl Fn(&[u8]) -> S, input: &[u8]) -> Result<u64, String> {
        let mut outcome = Err(String::new());
        // Caught inside: a panic through the counter would leave it counting.
        let counted = allocation_counter::measure(|| {
            outcome = catch_unwind(AssertUnwindSafe(|| hash(&property(input)))).map_err(|panic| words(&*panic));
        });
        let shape = outcome?;
        let costs = [("allocated", counted.bytes_total, self.in_all), ("held", counted.bytes_max, self.at_once)];
        for (what, bytes, bound) in costs {
            let most = bound.of(input);
            if bytes > most {
                return Err(format!("{bytes} bytes were {what}, {most} at most may be"));
            }
        }
        Ok(shape)
    }
}

/// By a number in CI, so that each run is the same one; by the clock where somebody waits for it.
enum End {
    After(u32),
    At(Instant),
}

impl End {
    /// Counts one more input, unless it was the last.
    fn reached(&mut self) -> bool {
        match self {
            Self::After(left) => left.checked_sub(1).map(|fewer| *left = fewer).is_none(),
            Self::At(end) => Instant::now() >= *end,
        }
    }
}

/// The same in each run: the standard hasher without its keys.
fn hash(of: &impl Hash) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(of)
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}

#[cfg(test)]
mod tests;
