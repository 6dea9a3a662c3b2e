//! One TCP or TLS listener on threads of its own, and the log of what arrived on it.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    runtime::Runtime,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    ca::Identity,
    http::{Recorded, read_request},
    idp::Reply,
    watched::Watched,
};

/// What a server has seen.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) requests: Vec<Recorded>,
    pub(crate) connections: usize,
    in_flight: usize,
    max_in_flight: usize,
}

/// A listener on 127.0.0.1 that stops when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    addr: SocketAddr,
    tls: bool,
    log: Arc<Watched<Log>>,
    runtime: Option<Runtime>,
}

impl Server {
    /// Listens on a free port: TLS with an identity, else plain HTTP. `answer` is asked once a request.
    pub(crate) fn start(
        identity: Option<&Identity>,
        answer: impl Fn(&Recorded) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on 127.0.0.1");
        listener.set_nonblocking(true).expect("a listener that does not block");
        let addr = listener.local_addr().expect("an address");
        let acceptor = identity.map(|identity| TlsAcceptor::from(identity.tls.clone()));
        let log = Arc::new(Watched::<Log>::default());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("kit-server")
            .enable_all()
            .build()
            .expect("a runtime");
        let tls = acceptor.is_some();
        runtime.spawn(accept(listener, acceptor, Arc::new(answer), Arc::clone(&log)));
        Self { addr, tls, log, runtime: Some(runtime) }
    }

    /// `https://127.0.0.1:PORT`.
    pub(crate) fn base_url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.addr)
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.log.read(|log| log.requests.clone())
    }

    pub(crate) fn connections(&self) -> usize {
        self.log.read(|log| log.connections)
    }

    pub(crate) fn max_in_flight(&self) -> usize {
        self.log.read(|log| log.max_in_flight)
    }

    /// Waits until the log is as `ready` wants it.
    pub(crate) fn wait(&self, timeout: Duration, ready: impl Fn(&Log) -> bool) -> bool {
        self.log.wait(timeout, |log| ready(log).then_some(())).is_some()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // In the background: a test may drop its server inside a runtime of its own.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

type Answer = Arc<dyn Fn(&Recorded) -> Reply + Send + Sync>;

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, answer: Answer, log: Arc<Watched<Log>>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener for tokio");
    loop {
        let Ok((tcp, _)) = listener.accept().await else { continue };
        log.update(|log| log.connections += 1);
        let (tls, answer, log) = (tls.clone(), Arc::clone(&answer), Arc::clone(&log));
        tokio::spawn(async move {
            let stream = match tls {
                Some(acceptor) => acceptor.accept(tcp).await.map(|tls| Stream::Tls(Box::new(tls))),
                None => Ok(Stream::Plain(tcp)),
            };
            // A client that turns away from a bad certificate is no fault of the server.
            if let Ok(stream) = stream {
                let _ = serve(stream, &answer, &log).await;
            }
        });
    }
}

async fn serve(mut stream: Stream, answer: &Answer, log: &Watched<Log>) -> io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer).await? {
        let reply = answer(&request);
        let _in_flight = InFlight::enter(log, request);
        match reply.send(stream).await? {
            Some(kept) => stream = kept,
            None => break,
        }
    }
    Ok(())
}

/// A request between its arrival and the last byte of its answer.
struct InFlight<'a>(&'a Watched<Log>);

impl<'a> InFlight<'a> {
    fn enter(log: &'a Watched<Log>, request: Recorded) -> Self {
        log.update(|log| {
            log.requests.push(request);
            log.in_flight += 1;
            log.max_in_flight = log.max_in_flight.max(log.in_flight);
        });
        Self(log)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.update(|log| log.in_flight -= 1);
    }
}

/// A connection, with or without TLS.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Ends the connection with a reset instead of an orderly close.
    pub(crate) fn reset(self) {
        let tcp = match &self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        };
        let _ = tcp.set_zero_linger();
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
