//! One service over HTTP/1.1: connections that are kept, TLS where its address says so, a bounded answer.
//! No redirect is followed: the operator has said who is asked.

use b2bua::plan::{Hook, Roots};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Octets of an answer: eight trunks and two numbers take a few hundred.
pub(super) const ANSWER_MAX: usize = 16 << 10;
/// Octets of its head.
const HEAD_MAX: usize = 16 << 10;
/// Connections that are kept for the next question.
const IDLE_MAX: usize = 8;
/// For so long: services and what stands before them close theirs after a minute or so.
const IDLE_FOR: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failed {
    /// The service cannot be reached, or has another status than 200.
    Unavailable(String),
    /// It does not take our token, or wants one.
    Unauthorized,
    /// It says too much.
    TooLarge,
}

impl Failed {
    pub(super) fn of(error: impl std::fmt::Display) -> Self {
        Self::Unavailable(error.to_string())
    }
}

type Sender = SendRequest<Full<Bytes>>;

/// A client of one service.
pub(super) struct Client {
    /// The host and port to connect to.
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    authority: HeaderValue,
    path: Uri,
    token_file: Option<PathBuf>,
    /// What was in that file when it was last read.
    token: Mutex<Option<HeaderValue>>,
    idle: Mutex<Vec<(Sender, Instant)>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({}:{})", self.host, self.port)
    }
}

impl Client {
    /// A client of the service that `hook` names; nothing is connected yet.
    pub(super) fn new(hook: &Hook) -> Result<Self, String> {
        let uri: Uri = hook.url.parse().map_err(|error| format!("{}: {error}", hook.url))?;
        let authority = uri.authority().ok_or("the URL has no host")?.clone();
        let secure = uri.scheme_str() == Some("https");
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = match secure {
            true => Some((
                tls(&hook.roots)?,
                ServerName::try_from(host.clone()).map_err(|e| e.to_string())?,
            )),
            false => None,
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            host,
            tls,
            authority: HeaderValue::from_str(authority.as_str()).map_err(|e| e.to_string())?,
            path: path.parse().map_err(|error| format!("{path}: {error}"))?,
            token_file: hook.token_file.clone(),
            token: Mutex::new(None),
            idle: Mutex::new(Vec::new()),
        })
    }

    /// Posts `body`; the octets of a 200. A token that is not taken may have been replaced in its file.
    pub(super) async fn post(&self, body: String) -> Result<Bytes, Failed> {
        let body = Bytes::from(body);
        let known = self.token().clone();
        let token = match &known {
            Some(token) => Some(token.clone()),
            None => self.read_token().await?,
        };
        let answer = self.post_as(token, body.clone()).await;
        if known.is_some() && matches!(answer, Err(Failed::Unauthorized)) {
            let token = self.read_token().await?;
            if token != known {
                return self.post_as(token, body).await;
            }
        }
        answer
    }

    async fn post_as(&self, token: Option<HeaderValue>, body: Bytes) -> Result<Bytes, Failed> {
        // One that was kept may have been closed at the far end a moment ago: that says nothing yet.
        while let Some(mut sender) = self.kept() {
            if sender.ready().await.is_err() {
                continue;
            }
            match self.ask(sender, token.clone(), body.clone()).await {
                Err(Asked::Lost(_)) => break,
                Err(Asked::Failed(failed)) => return Err(failed),
                Ok(octets) => return Ok(octets),
            }
        }
        let sender = self.connect().await?;
        self.ask(sender, token, body).await.map_err(|asked| match asked {
            Asked::Lost(why) => Failed::Unavailable(why),
            Asked::Failed(failed) => failed,
        })
    }

    async fn ask(
        &self,
        mut sender: Sender,
        token: Option<HeaderValue>,
        body: Bytes,
    ) -> Result<Bytes, Asked> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, self.authority.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static("Tollgate"));
        headers.extend(token.map(|token| (AUTHORIZATION, token)));
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(|error| Asked::Lost(error.to_string()))?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            return Err(Asked::Failed(Failed::Unauthorized));
        }
        if answer.status() != StatusCode::OK {
            let why = format!("status {}", answer.status().as_u16());
            return Err(Asked::Failed(Failed::Unavailable(why)));
        }
        let octets = match Limited::new(answer.into_body(), ANSWER_MAX).collect().await {
            Ok(octets) => octets.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return Err(Asked::Failed(Failed::TooLarge));
            }
            Err(error) => return Err(Asked::Failed(Failed::of(error))),
        };
        self.keep(sender);
        Ok(octets)
    }

    fn token(&self) -> MutexGuard<'_, Option<HeaderValue>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read_token(&self) -> Result<Option<HeaderValue>, Failed> {
        let Some(file) = &self.token_file else { return Ok(None) };
        let octets = tokio::fs::read(file).await.map_err(Failed::of)?;
        let unfit = |_| Failed::Unavailable("the token cannot stand in a header".to_owned());
        let mut token = HeaderValue::from_bytes(&[b"Bearer ", octets.trim_ascii_end()].concat())
            .map_err(unfit)?;
        token.set_sensitive(true);
        *self.token() = Some(token.clone());
        Ok(Some(token))
    }

    async fn connect(&self) -> Result<Sender, Failed> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.map_err(Failed::of)?;
        // A question is one segment, and somebody waits for it.
        let _ = stream.set_nodelay(true);
        match &self.tls {
            Some((tls, name)) => {
                handshake(tls.connect(name.clone(), stream).await.map_err(Failed::of)?).await
            }
            None => handshake(stream).await,
        }
    }

    fn kept(&self) -> Option<Sender> {
        let now = crate::clock::now().mono;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(sender, since)| !sender.is_closed() && now < *since + IDLE_FOR);
        idle.pop().map(|(sender, _)| sender)
    }

    fn keep(&self, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX && !sender.is_closed() {
            idle.push((sender, crate::clock::now().mono));
        }
    }
}

/// How one request can fail.
enum Asked {
    /// The connection has gone before there was an answer.
    Lost(String),
    Failed(Failed),
}

async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<Sender, Failed> {
    let mut builder = Builder::new();
    builder.max_buf_size(HEAD_MAX);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(Failed::of)?;
    // Ends with its sender, or when the far end closes; whoever asks on it learns why.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}

fn tls(roots: &Roots) -> Result<TlsConnector, String> {
    let roots = crate::transport::load_roots(roots).map_err(|error| error.to_string())?;
    let config: Arc<ClientConfig> =
        certs::service_config(&roots).map_err(|error| error.to_string())?;
    Ok(config.into())
}
