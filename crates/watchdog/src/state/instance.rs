//! Which machine of its name this one is: a number that a copy of its disk does not have.
//!
//! It is made up once in a boot and kept beside the control socket, so that a watchdog that is started again is the same
//! machine to the voters, and one that was restored from a copy of the disk is another.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use failover::lease::Instance;
use serde::{Deserialize, Serialize};
use store::Document;

use super::handover::boot;

const DOCUMENT: Document = Document {
    format: "bascule instance",
    version: 1,
    program: "bascule-watchdog",
    what: "number of this machine",
    anew: "to be another machine to the voters until what they promised has lapsed",
};
const RANDOM: &str = "/dev/urandom";
/// JSON readers keep so many bits of a number.
const BITS: u32 = 53;

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// The kernel's word for this boot: a machine that boots from a copy of the disk is another one, wherever this stands.
    boot: String,
    instance: Instance,
}

/// Returns the number of this machine in this boot; makes one up if there is none at `path`.
///
/// # Errors
/// That the kernel gives neither the boot's name nor random bytes. What cannot be written is another number after the next
/// start, which costs that watchdog the time of one promise.
pub fn of(path: &Path) -> io::Result<Instance> {
    let boot = boot()?;
    let kept = DOCUMENT.load::<Kept>(path).unwrap_or_else(|error| {
        tracing::warn!(%error, "another number is made up");
        None
    });
    if let Some(kept) = kept.filter(|kept| kept.boot == boot) {
        return Ok(kept.instance);
    }
    let mut bytes = [0; 8];
    File::open(RANDOM)?.read_exact(&mut bytes)?;
    let instance = Instance::from_ne_bytes(bytes) >> (Instance::BITS - BITS);
    if let Err(error) = DOCUMENT.save_until_boot(path, &Kept { boot, instance }) {
        tracing::warn!(%error, path = %path.display(), "the number of this machine cannot be kept");
    }
    Ok(instance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_that_starts_again_is_the_same_machine_and_one_of_another_boot_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("instance.json");
        let first = of(&path).unwrap();
        assert_eq!(of(&path).unwrap(), first);
        DOCUMENT.save_until_boot(&path, &Kept { boot: "another boot".into(), instance: first }).unwrap();
        let second = of(&path).unwrap();
        assert_ne!(second, first);
        std::fs::write(&path, "{").unwrap();
        assert_ne!(of(&path).unwrap(), second, "a damaged file is none");
        assert_ne!(of(&dir.path().join("missing").join("instance.json")).unwrap(), second, "nowhere to keep it");
    }
}
