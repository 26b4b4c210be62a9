//! Makes an input that fails shorter while it still fails, so that a person sees what is wrong with it.

/// Inputs tried at most: each may print a panic.
const MOST_TRIED: usize = 400;

/// Takes parts away, half of the input first, single bytes last.
pub(crate) fn least(mut input: Vec<u8>, fails: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut tried = 0;
    let mut part = input.len() / 2;
    while part > 0 {
        let mut at = 0;
        while at < input.len() {
            if tried == MOST_TRIED {
                return input;
            }
            tried += 1;
            let mut shorter = input.clone();
            drop(shorter.drain(at..(at + part).min(input.len())));
            if fails(&shorter) {
                input = shorter;
            } else {
                at += part;
            }
        }
        part /= 2;
    }
    input
}
