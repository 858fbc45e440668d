//! HTTP as we serve it: so many connections at once, each for so long; and what is served on the metrics
//! address: `/metrics`, `/healthz`, `/readyz`.

use crate::readiness::{Phase, Readiness};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusHandle;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Octets of a request's head.
const HEAD_MAX: usize = 16 << 10;
/// How long the next request may take to come: scrapes are a minute apart at most, as a rule.
const SILENCE_MAX: Duration = Duration::from_secs(75);
/// How long the last request of a connection that has lasted long enough may take to be answered.
const FAREWELL_MAX: Duration = Duration::from_secs(20);
/// After a connection that could not be accepted.
const PAUSE: Duration = Duration::from_millis(50);
/// Of whoever scrapes or asks whether we live; there are a few.
const ASKING: Bounds = Bounds { connections: 64, life: Duration::from_secs(900) };

/// What a server takes upon itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Connections at once; the next is accepted when one has ended.
    pub(crate) connections: usize,
    /// How long each may last, whatever it does.
    pub(crate) life: Duration,
}

/// What a request gets.
pub(crate) type Answer = Response<Full<Bytes>>;

/// Serves each connection as `served` does, within `bounds`.
pub(crate) async fn serve<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    bounds: Bounds,
    served: impl Fn(TcpStream) -> F,
) {
    let room = Arc::new(Semaphore::new(bounds.connections));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let served = tokio::time::timeout(bounds.life, served(stream));
                tokio::spawn(async move {
                    let _permit = permit;
                    let _ = served.await;
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Answers the one request of a connection.
pub(crate) async fn answer_one(stream: TcpStream, answer: impl Fn(&Method, &str) -> Answer) {
    let service = service_fn(|request| answered(&request, &answer));
    let _ = http1().keep_alive(false).serve_connection(TokioIo::new(stream), service).await;
}

/// Answers the requests of a connection as they come, the last of them before its `life` is over.
async fn answer_all(stream: TcpStream, life: Duration, answer: impl Fn(&Method, &str) -> Answer) {
    let service = service_fn(|request| answered(&request, &answer));
    let mut connection = pin!(http1().serve_connection(TokioIo::new(stream), service));
    let most = life.saturating_sub(FAREWELL_MAX);
    if tokio::time::timeout(most, &mut connection).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}

fn http1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(SILENCE_MAX).max_buf_size(HEAD_MAX);
    builder
}

fn answered(
    request: &Request<Incoming>,
    answer: impl Fn(&Method, &str) -> Answer,
) -> std::future::Ready<Result<Answer, Infallible>> {
    std::future::ready(Ok(answer(request.method(), request.uri().path())))
}

/// Nothing but a status.
pub(crate) fn bare(status: StatusCode) -> Answer {
    let mut answer = Answer::default();
    *answer.status_mut() = status;
    answer
}

/// What the metrics address shows.
#[derive(Clone)]
pub(crate) struct Shown {
    /// Renders the metrics.
    pub(crate) metrics: PrometheusHandle,
    /// Whether new calls are taken.
    pub(crate) readiness: Arc<Readiness>,
}

/// Serves the metrics address.
pub(crate) async fn show(listener: TcpListener, shown: Shown) {
    show_within(listener, ASKING, shown).await;
}

async fn show_within(listener: TcpListener, bounds: Bounds, shown: Shown) {
    let served = |stream| {
        let shown = shown.clone();
        answer_all(stream, bounds.life, move |method, path| shown.answer(method, path))
    };
    serve(listener, bounds, served).await;
}

impl Shown {
    fn answer(&self, method: &Method, path: &str) -> Answer {
        if *method != Method::GET && *method != Method::HEAD {
            let mut answer = bare(StatusCode::METHOD_NOT_ALLOWED);
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET,HEAD"));
            return answer;
        }
        match path {
            "/metrics" => said(StatusCode::OK, METRICS, self.metrics.render()),
            "/healthz" => said(StatusCode::OK, TEXT, "ok\n".to_owned()),
            "/readyz" => {
                let phase = self.readiness.phase();
                let status = match phase {
                    Phase::Ready => StatusCode::OK,
                    Phase::Starting | Phase::Draining | Phase::Stopping => {
                        StatusCode::SERVICE_UNAVAILABLE
                    }
                };
                said(status, TEXT, format!("{}\n", phase.as_str()))
            }
            _ => bare(StatusCode::NOT_FOUND),
        }
    }
}

const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

fn said(status: StatusCode, kind: HeaderValue, text: String) -> Answer {
    let mut answer = Answer::new(Full::from(text));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::Instant;

    async fn served(bounds: Bounds) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let metrics = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let (metrics, readiness) = (metrics.handle(), Arc::new(Readiness::default()));
        readiness.enter(Phase::Ready);
        let shown = Shown { metrics, readiness };
        tokio::spawn(show_within(listener, bounds, shown));
        at
    }

    async fn ask(stream: &mut TcpStream, request: &str) -> String {
        let request = format!("{request} HTTP/1.1\r\nHost: sbc1\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut said = vec![0; 4096];
        let count = stream.read(&mut said).await.unwrap();
        String::from_utf8_lossy(&said[..count]).to_ascii_lowercase()
    }

    #[tokio::test]
    async fn one_connection_is_answered_as_often_as_it_asks() {
        let mut stream = TcpStream::connect(served(ASKING).await).await.unwrap();
        let metrics = ask(&mut stream, "GET /metrics").await;
        assert!(metrics.starts_with("http/1.1 200"), "{metrics}");
        assert!(metrics.contains("content-type: text/plain; version=0.0.4\r\n"), "{metrics}");
        let ready = ask(&mut stream, "GET /readyz?verbose").await;
        assert!(ready.starts_with("http/1.1 200") && ready.ends_with("\r\n\r\nready\n"), "{ready}");
        let head = ask(&mut stream, "HEAD /healthz").await;
        assert!(head.starts_with("http/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
        for (request, status) in [("GET /", "404"), ("DELETE /metrics", "405")] {
            let said = ask(&mut stream, request).await;
            assert!(said.starts_with(&format!("http/1.1 {status}")), "{said}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_says_nothing_is_closed() {
        let at = served(ASKING).await;
        let began = Instant::now();
        let mut silent = TcpStream::connect(at).await.unwrap();
        assert_eq!(silent.read(&mut [0; 1]).await.unwrap(), 0);
        assert!((SILENCE_MAX..ASKING.life).contains(&began.elapsed()), "{:?}", began.elapsed());
    }

    /// Nor does one that takes nothing of its answer, or of which each octet is long in coming.
    #[tokio::test(start_paused = true)]
    async fn no_connection_outlasts_its_life() {
        let life = Duration::from_secs(60);
        let at = served(Bounds { life, ..ASKING }).await;
        let began = Instant::now();
        let mut slow = TcpStream::connect(at).await.unwrap();
        slow.write_all(b"GET /metrics HTTP/1.1\r\n").await.unwrap();
        assert_eq!(slow.read(&mut [0; 1]).await.unwrap(), 0);
        assert!(began.elapsed() <= life + Duration::from_secs(1), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_when_all_places_are_taken_is_answered_when_one_is_free() {
        let at = served(Bounds { connections: 2, ..ASKING }).await;
        let began = Instant::now();
        let _silent =
            (TcpStream::connect(at).await.unwrap(), TcpStream::connect(at).await.unwrap());
        let mut next = TcpStream::connect(at).await.unwrap();
        assert!(ask(&mut next, "GET /healthz").await.starts_with("http/1.1 200"));
        assert!(began.elapsed() >= SILENCE_MAX, "{:?}", began.elapsed());
    }
}
