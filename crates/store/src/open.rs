//! Opens files that somebody else may have put there: a fifo, a socket, a disk or a directory under one of our names is an
//! error at once. Opening a fifo waits for its other end, without end, and a start would hang on it. A character device
//! passes: an operator may mean `/dev/null`, and opened so that nothing waits it keeps nobody.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Linux's O_NONBLOCK: without effect on files, and what makes opening a fifo return.
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits() as i32;

/// Opens `path` as `options` say, if what is there is a regular file or a character device.
///
/// # Errors
/// What the system says; `InvalidInput` for anything else.
pub fn regular(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let passes = |found: &Metadata| found.is_file() || found.file_type().is_char_device();
    let irregular = || io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file");
    // Some things act on being opened.
    if std::fs::metadata(path).is_ok_and(|found| !passes(&found)) {
        return Err(irregular());
    }
    let file = options.custom_flags(NONBLOCK).open(path)?;
    if passes(&file.metadata()?) { Ok(file) } else { Err(irregular()) }
}

/// The same, for reading.
///
/// # Errors
/// As [`regular`].
pub fn to_read(path: &Path) -> io::Result<File> {
    regular(OpenOptions::new().read(true), path)
}
