//! The proxies that stay in the path of a dialog (RFC 3261, 12.1 and 12.2.1.1).

use crate::message::{Headers, Method, Name, NameAddr, Request};
use bytes::Bytes;

/// Route header elements in the order a request visits them, as the proxies wrote them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RouteSet(Vec<Bytes>);

impl RouteSet {
    /// Seen by the recipient of a request: the proxy nearest to us is on top.
    pub(super) fn of_request(headers: &Headers) -> Self {
        Self(headers.list(Name::RecordRoute).map(Bytes::copy_from_slice).collect())
    }

    /// Seen by the recipient of a response: the proxy nearest to us is at the bottom.
    pub(super) fn of_response(headers: &Headers) -> Self {
        let mut routes = Self::of_request(headers);
        routes.0.reverse();
        routes
    }

    /// The URI of the first proxy.
    pub(super) fn first(&self) -> Option<Bytes> {
        self.0.first().map(uri_of)
    }

    /// A request to `target` by way of the proxies: Request-URI and Route only.
    pub(super) fn request(&self, method: Method, target: &Bytes) -> Request {
        let Some((first, others)) = self.0.split_first() else {
            return Request::new(method, target.clone());
        };
        if is_loose(first) {
            let mut request = Request::new(method, target.clone());
            for route in &self.0 {
                request.headers.push(Name::Route, route.clone());
            }
            return request;
        }
        // A strict router (RFC 2543) wants itself as Request-URI and the target last.
        let mut request = Request::new(method, uri_of(first));
        for route in others {
            request.headers.push(Name::Route, route.clone());
        }
        request.headers.push(Name::Route, [b"<", target.as_ref(), b">"].concat());
        request
    }
}

fn is_loose(route: &Bytes) -> bool {
    NameAddr::parse(route)
        .and_then(|address| address.uri())
        .is_ok_and(|uri| uri.param("lr").is_some())
}

/// What is no address stands for itself: the transport then fails to resolve it, which says more
/// than an empty URI.
fn uri_of(route: &Bytes) -> Bytes {
    NameAddr::parse(route).map_or_else(|_| route.clone(), |address| route.slice_ref(address.uri))
}
