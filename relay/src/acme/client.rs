//! HTTPS to an authority: a connection for each request, as there are a dozen in months, and an answer
//! that is bounded.

use b2bua::plan::Roots;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Octets of an answer: a chain has a few thousand.
const ANSWER_MAX: usize = 256 << 10;
/// From the look-up of its name to the last octet of its answer.
const REQUEST_MAX: Duration = Duration::from_secs(30);

/// Speaks to authorities whose servers chain to these roots.
pub(super) struct Https {
    tls: Arc<ClientConfig>,
}

impl Https {
    pub(super) fn new(roots: &Roots) -> Result<Self, String> {
        let roots = crate::transport::load_roots(roots).map_err(|error| error.to_string())?;
        let tls = certs::service_config(&roots).map_err(|error| error.to_string())?;
        Ok(Self { tls })
    }
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

impl HttpClient for Https {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let tls = Arc::clone(&self.tls);
        Box::pin(async move {
            let asked = tokio::time::timeout(REQUEST_MAX, ask(tls, request)).await;
            let answered = asked.unwrap_or_else(|_| Err("the authority does not answer".into()));
            answered.map(BytesResponse::from).map_err(Error::Other)
        })
    }
}

async fn ask(
    tls: Arc<ClientConfig>,
    mut request: Request<BodyWrapper<Bytes>>,
) -> Result<Response<Full<Bytes>>, Failed> {
    let uri = request.uri().clone();
    if uri.scheme_str() != Some("https") {
        return Err("the authority names an address that is not https://".into());
    }
    let authority = uri.authority().ok_or("a URL has no host")?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let stream = TcpStream::connect((host.as_str(), authority.port_u16().unwrap_or(443)))
        .await
        .map_err(|error| format!("{authority}: {error}"))?;
    let name = ServerName::try_from(host)?;
    let stream = TlsConnector::from(tls).connect(name, stream).await;
    let stream = stream.map_err(|error| format!("{authority}: {error}"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with its sender.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    let host = HeaderValue::from_str(authority.as_str())?;
    request.headers_mut().insert(HOST, host);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse::<Uri>()?;
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, ANSWER_MAX).collect().await?.to_bytes();
    Ok(Response::from_parts(parts, Full::new(body)))
}
