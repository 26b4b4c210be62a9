//! Takes the application out of the Pingora service it was built into.
//!
//! Pingora 0.9 makes a proxy with a connector of one's own only inside a `Service`, which lends it out and never gives
//! it away; a front that accepts connections itself must own it. This is all the code of this project that is `unsafe`,
//! in a crate of its own so that all others can forbid it. It goes when Pingora offers the constructor.

use std::mem::ManuallyDrop;

use pingora::services::listening::Service;

/// Takes the application out of a service that was not started; none if it was. What else the service owns (its name,
/// and listeners nobody added) is leaked: once in the life of a process.
#[expect(unsafe_code, reason = "moves a value out of a container that only lends it")]
pub fn application<A>(service: Service<A>) -> Option<A> {
    let mut service = ManuallyDrop::new(service);
    let lent: *const A = service.app_logic_mut()?;
    // SAFETY: the pointer was made of an exclusive reference a line above, so it is valid, aligned and initialised. The
    // service is never used nor dropped again, so that the value read out of it is its only owner.
    Some(unsafe { lent.read() })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_application_has_one_owner_and_is_dropped_once() {
        let counted = Arc::new(());
        let taken = application(Service::new("test".to_owned(), counted.clone()));
        assert_eq!(Arc::strong_count(&counted), 2);
        drop(taken);
        assert_eq!(Arc::strong_count(&counted), 1);
    }
}
