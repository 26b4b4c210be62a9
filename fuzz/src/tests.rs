use super::*;

const WORDS: &[&[u8]] = &[b"ab", b"cd", b"ef", b"gh"];

/// The corpus `itself` has two seeds for these tests.
fn itself(runs: u32) -> Target {
    Target::new("itself", runs).words(WORDS)
}

fn failure(of: impl FnOnce()) -> String {
    words(&*catch_unwind(AssertUnwindSafe(of)).unwrap_err())
}

/// A target whose failures are not written beside the seeds of the tree.
fn shortest(input: &[u8], fails: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    assert!(fails(input));
    shrink::least(input.to_vec(), fails)
}

#[test]
fn a_run_is_the_same_each_time() {
    let inputs = || {
        let seen = std::cell::RefCell::new(Vec::new());
        itself(200).check(|input| seen.borrow_mut().push(input.to_vec()));
        seen.into_inner()
    };
    let first = inputs();
    assert_eq!(first.len(), 202, "seeds first");
    assert_eq!(inputs(), first);
}

#[test]
fn what_lies_many_changes_away_is_found_by_its_shapes() {
    // Four words in a row: hardly any change of a seed gets there at once.
    let reached = std::cell::Cell::new(0);
    itself(20_000).check(|input| {
        let letters = (b'a'..=b'h').zip(input).take_while(|(letter, byte)| letter == *byte).count();
        reached.set(reached.get().max(letters));
        letters
    });
    assert_eq!(reached.get(), 8);
}

#[test]
fn what_fails_is_made_short() {
    let long = [b"xyz ".repeat(40), b"bad".to_vec(), b" xyz".repeat(40)].concat();
    assert_eq!(shortest(&long, |input| input.windows(3).any(|window| window == b"bad")), b"bad");
}

#[test]
fn a_panic_and_a_copy_too_many_are_failures() {
    let target = itself(1).allocates(1024, 8);
    assert_eq!(target.attempt(&|_: &[u8]| -> u8 { panic!("no {}", 1) }, b"x"), Err("no 1".to_owned()));
    let greedy = |input: &[u8]| input.iter().map(|_| input.to_vec().len()).sum::<usize>();
    assert!(target.attempt(&greedy, &[0; 8]).is_ok());
    let why = target.attempt(&greedy, &[0; 1000]).unwrap_err();
    assert_eq!(why, "1000000 bytes were allocated, 9024 at most may be");
    assert!(target.attempt(&greedy, &[0; 8]).is_ok(), "the counter counts on after a failure");
}

#[test]
fn a_target_without_seeds_is_none() {
    assert!(failure(|| Target::new("nobody's", 1).check(|_| ())).contains("no seeds in"));
}
