//! When two sentences are of one trouble.

/// Returns whether two sentences say the same but for their numbers: a trouble that is seen again after another time, with
/// another count or process number, is no new one, and must not fill a journal.
pub fn alike(one: &str, other: &str) -> bool {
    let words = |text| str::split(text, |c: char| c.is_ascii_digit()).filter(|part: &&str| !part.is_empty());
    words(one).eq(words(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_may_differ() {
        assert!(alike("exit code 3 after 80 ms", "exit code 3 after 1234 ms"));
        assert!(alike("99 of them", "7 of them") && alike("", ""));
        assert!(!alike("exit code 3: licence missing", "exit code 3: port in use"));
        assert!(!alike("main", "main 2"));
    }
}
