//! Acting as a run's ServiceAccount. Pure: it only adds a header to a request.
//!
//! One client, and so one pool of connections, serves all ServiceAccounts. Only `Impersonate-User` is sent: for
//! the user name of a ServiceAccount the API server adds its groups by itself (`system:serviceaccounts`,
//! `system:serviceaccounts:<namespace>`, `system:authenticated`), and so the controller needs no right to
//! impersonate groups, which could not be limited to these.

use http::{HeaderValue, Request};

/// Whose rights a request is made with.
#[derive(Clone, Copy, Debug)]
pub enum Identity<'a> {
    /// The controller's own: for reads and for its own objects.
    Controller,
    /// A run's ServiceAccount: for everything the run makes or changes.
    ServiceAccount {
        /// Its namespace; a valid name.
        namespace: &'a str,
        /// Its name; a valid name.
        name: &'a str,
    },
}

/// Makes the request with that identity. `Err` if the names cannot stand in a header.
pub fn apply<B>(
    request: &mut Request<B>,
    identity: Identity<'_>,
) -> Result<(), http::header::InvalidHeaderValue> {
    if let Identity::ServiceAccount { namespace, name } = identity {
        let user = HeaderValue::from_str(&format!("system:serviceaccount:{namespace}:{name}"))?;
        request.headers_mut().insert("impersonate-user", user);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Identity, apply};
    use http::Request;

    #[test]
    fn a_line_break_cannot_smuggle_in_another_header() {
        let mut request = Request::new(());
        let identity =
            Identity::ServiceAccount { namespace: "a\r\nImpersonate-Group: system:masters", name: "b" };
        assert!(apply(&mut request, identity).is_err());
        assert!(request.headers().is_empty());
    }

    #[test]
    fn the_controller_itself_impersonates_nobody() {
        let mut request = Request::new(());
        apply(&mut request, Identity::Controller).unwrap();
        assert!(request.headers().is_empty());
    }
}
