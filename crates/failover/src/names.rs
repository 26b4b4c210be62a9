//! Names for the small numbers inside reasons, so that a sentence reads as the operator's configuration does.

use core::fmt::{self, Display as _};

use crate::health::{BackendId, CheckId, NodeId, ServiceId};
use crate::register::MdsId;
use crate::time::Instant;

/// Looks up the names of what a topology numbers.
pub trait Names {
    /// Writes a service's name, such as `xivo`.
    ///
    /// # Errors
    /// The formatter's own, as for every function here.
    fn service(&self, id: ServiceId, f: &mut fmt::Formatter<'_>) -> fmt::Result;
    /// Writes a backend's name, such as `10.0.0.12:5060`.
    ///
    /// # Errors
    /// The formatter's own.
    fn backend(&self, id: BackendId, f: &mut fmt::Formatter<'_>) -> fmt::Result;
    /// Writes a check's name, such as `sip`.
    ///
    /// # Errors
    /// The formatter's own.
    fn check(&self, id: CheckId, f: &mut fmt::Formatter<'_>) -> fmt::Result;
    /// Writes a node's name, such as `xivo of main`.
    ///
    /// # Errors
    /// The formatter's own.
    fn node(&self, id: NodeId, f: &mut fmt::Formatter<'_>) -> fmt::Result;
    /// Writes the name of an MDS, such as `mds1`; by default its number.
    ///
    /// # Errors
    /// The formatter's own.
    fn mds(&self, id: MdsId, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MDS {}", id.0)
    }
    /// Writes a point in time, as people read it; by default on the driver's clock.
    ///
    /// # Errors
    /// The formatter's own.
    fn instant(&self, at: Instant, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        at.fmt(f)
    }
}

/// Names everything by its number: `service 0`, `check 3`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Numbered;

impl Names for Numbered {
    fn service(&self, id: ServiceId, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "service {}", id.0)
    }

    fn backend(&self, id: BackendId, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "backend {}", id.0)
    }

    fn check(&self, id: CheckId, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "check {}", id.0)
    }

    fn node(&self, id: NodeId, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", id.0)
    }
}

/// A value that explains itself in one sentence.
///
/// Its `Display` names by number; [`Explain::named`] with the site's own names.
pub trait Explain {
    /// Writes the sentence with these names.
    ///
    /// # Errors
    /// The formatter's own.
    fn explain(&self, names: &dyn Names, f: &mut fmt::Formatter<'_>) -> fmt::Result;

    /// Returns the sentence with these names, ready to be displayed.
    fn named<'a>(&'a self, names: &'a dyn Names) -> Named<'a>
    where
        Self: Sized,
    {
        Named { value: self, names }
    }
}

/// A sentence with the site's own names.
#[derive(Clone, Copy)]
pub struct Named<'a> {
    value: &'a dyn Explain,
    names: &'a dyn Names,
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.explain(self.names, f)
    }
}

/// Gives each type a `Display` that names by number.
macro_rules! display_numbered {
    ($($type:ty),+ $(,)?) => {$(
        impl core::fmt::Display for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                $crate::names::Explain::explain(self, &$crate::names::Numbered, f)
            }
        }
    )+};
}
pub(crate) use display_numbered;
